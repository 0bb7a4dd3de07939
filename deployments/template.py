"""The template of the project's part of an AWS account: stack.yaml, with a role for each policy in policies/."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]

HERE = Path(__file__).parent
KEY_STATEMENT = "UseTheRecordingsKey"
_OF_EVERY_ROLE = ("Path", "PermissionsBoundary")
_KEY_ACTIONS = {"s3:GetObject": "kms:Decrypt", "s3:PutObject": "kms:GenerateDataKey"}
_NOTHING = {"Ref": "AWS::NoValue"}
_KEYS = {"Fn::Split": [",", {"Ref": "RecordingsKeyArn"}]}
_IAM = "arn:${AWS::Partition}:iam::"
_ROLE_OF_STACK = ":role${Path}${AWS::StackName}-"
_PATH = {"Path": {"Fn::If": ["HasRolePath", {"Ref": "RolePath"}, "/"]}}


def read_template(name: str) -> dict[str, Any]:
    """A template of this folder, without YAML's short forms."""
    found: dict[str, Any] = yaml.load((HERE / name).read_text(), _WithFunctions)  # noqa: S506 (a SafeLoader)
    return found


def template() -> dict[str, Any]:
    """The template, as CloudFormation takes it."""
    stack = read_template("stack.yaml")
    execution = stack["Resources"]["ExecutionRole"]["Properties"]
    alike = {name: execution[name] for name in _OF_EVERY_ROLE}
    for path in sorted((HERE / "policies").glob("*.json")):
        stack["Resources"][f"{path.stem.title()}Role"] = _role(path, alike)
    return stack


def _role(policy: Path, alike: Mapping[str, Any]) -> dict[str, Any]:
    document = json.loads(policy.read_text())
    own = [*map(_statement, document["Statement"]), *_audit_key(document["Statement"])]
    statements = {"Fn::If": ["IsElsewhere", [_act_elsewhere(policy.stem)], own]}
    return {
        "Type": "AWS::IAM::Role",
        "Condition": "HasInstance",
        "Properties": {
            "RoleName": {"Fn::Sub": f"${{AWS::StackName}}-{policy.stem}"},
            **alike,
            "AssumeRolePolicyDocument": {"Version": document["Version"], "Statement": _who_may_act(policy.stem)},
            "Policies": [{"PolicyName": policy.stem, "PolicyDocument": {**document, "Statement": statements}}],
        },
    }


def _act_elsewhere(policy: str) -> Mapping[str, Any]:
    """The right to act as the role of the same name in the account of the recordings, and nothing else."""
    role = {"Fn::Sub": [f"{_IAM}${{RecordingsAccount}}{_ROLE_OF_STACK}{policy}", _PATH]}
    return {"Sid": "ActElsewhere", "Effect": "Allow", "Action": "sts:AssumeRole", "Resource": role}


def _who_may_act(policy: str) -> Sequence[Mapping[str, Any]]:
    """Tasks of ECS, or the role of the same name in their account; in the report role, the report on all instances."""
    elsewhere = _by_role("${TasksAccount}", f"{_ROLE_OF_STACK}{policy}")
    here = {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Service": "ecs-tasks.amazonaws.com"}}
    trusted = {"Fn::If": ["HasTasksElsewhere", elsewhere, here]}
    if policy != "report":
        return [trusted]
    estate = ":role${Path}${TasksStack}-estate"
    reporting = {
        "Fn::If": ["HasTasksElsewhere", _by_role("${TasksAccount}", estate), _by_role("${AWS::AccountId}", estate)]
    }
    return [trusted, {"Fn::If": ["IsReported", reporting, _NOTHING]}]


def _by_role(account: str, role: str) -> Mapping[str, Any]:
    """One role of the account, which need not exist yet: IAM refuses a role that does not exist as a principal."""
    return {
        "Effect": "Allow",
        "Action": "sts:AssumeRole",
        "Principal": {"AWS": {"Fn::Sub": f"{_IAM}{account}:root"}},
        "Condition": {"ArnEquals": {"aws:PrincipalArn": {"Fn::Sub": [f"{_IAM}{account}{role}", _PATH]}}},
    }


def _statement(statement: Mapping[str, Any]) -> Mapping[str, Any]:
    """The statement with the stack's parameters filled in; the statement on KMS keys only where there are keys."""
    resource = statement["Resource"].replace("arn:aws:", "arn:${AWS::Partition}:")
    filled = {**statement, "Resource": {"Fn::Sub": resource}}
    if statement["Sid"] != KEY_STATEMENT:
        return filled
    return {"Fn::If": ["HasKey", {**filled, "Resource": _KEYS}, _NOTHING]}


def _audit_key(statements: Iterable[Mapping[str, Any]]) -> Sequence[Mapping[str, Any]]:
    """The use of the audit table's KMS key, where there is one, by a role that may read or write there."""
    of_table = {action for each in statements if "${AuditBucket}" in each["Resource"] for action in each["Action"]}
    actions = [needed for action, needed in _KEY_ACTIONS.items() if action in of_table]
    allowed = {"Sid": "UseTheAuditKey", "Effect": "Allow", "Action": actions, "Resource": {"Ref": "AuditKeyArn"}}
    return [{"Fn::If": ["HasAuditKey", allowed, _NOTHING]}] if actions else []


class _WithFunctions(yaml.SafeLoader):  # type: ignore[misc]
    """Reads CloudFormation's short forms (!Ref, !Sub) as the long ones, which JSON requires."""


def _long_form(loader: yaml.SafeLoader, suffix: str, node: yaml.Node) -> dict[str, Any]:
    value: Any
    if isinstance(node, yaml.ScalarNode):
        value = loader.construct_scalar(node)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    else:
        raise ValueError(f"!{suffix} of a mapping: write its long form")
    if suffix == "GetAtt":
        value = value.split(".")
    return {suffix if suffix in ("Ref", "Condition") else f"Fn::{suffix}": value}


_WithFunctions.add_multi_constructor("!", _long_form)
