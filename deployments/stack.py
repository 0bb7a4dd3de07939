"""``python -m deployments.stack NAME Parameter=value ...``: create or update the project's part of the AWS account.

Without arguments it prints the template, for review or for another tool.
"""

import json
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import boto3
import yaml  # type: ignore[import-untyped]

HERE = Path(__file__).parent
KEY_STATEMENT = "UseTheRecordingsKey"


def template() -> dict[str, Any]:
    """stack.yaml, with a role for each policy in policies/."""
    stack: dict[str, Any] = yaml.load((HERE / "stack.yaml").read_text(), _WithFunctions)  # noqa: S506 (a SafeLoader)
    assumed_by = stack["Resources"]["ExecutionRole"]["Properties"]["AssumeRolePolicyDocument"]
    for path in sorted((HERE / "policies").glob("*.json")):
        stack["Resources"][f"{path.stem.title()}Role"] = _role(path, assumed_by)
    return stack


def _role(policy: Path, assumed_by: Mapping[str, Any]) -> dict[str, Any]:
    document = json.loads(policy.read_text())
    statements = [_statement(each) for each in document["Statement"]]
    return {
        "Type": "AWS::IAM::Role",
        "Properties": {
            "RoleName": {"Fn::Sub": f"${{AWS::StackName}}-{policy.stem}"},
            "AssumeRolePolicyDocument": assumed_by,
            "Policies": [{"PolicyName": policy.stem, "PolicyDocument": {**document, "Statement": statements}}],
        },
    }


def _statement(statement: Mapping[str, Any]) -> Mapping[str, Any]:
    """The statement with the stack's parameters filled in; the statement on the KMS key only where there is a key."""
    resource = statement["Resource"].replace("arn:aws:", "arn:${AWS::Partition}:")
    filled = {**statement, "Resource": {"Fn::Sub": resource}}
    if statement["Sid"] != KEY_STATEMENT:
        return filled
    return {"Fn::If": ["HasKey", {**filled, "Resource": {"Ref": "RecordingsKeyArn"}}, {"Ref": "AWS::NoValue"}]}


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
    return {suffix if suffix == "Ref" else f"Fn::{suffix}": value}


_WithFunctions.add_multi_constructor("!", _long_form)


def install(name: str, parameters: Mapping[str, str]) -> dict[str, str]:
    """Create or update the stack and wait for it; returns its outputs as the variables that make deploy needs."""
    client = boto3.client("cloudformation")
    known = {
        each["StackName"] for page in client.get_paginator("describe_stacks").paginate() for each in page["Stacks"]
    }
    change, waiter = (client.update_stack, "update") if name in known else (client.create_stack, "create")
    try:
        change(
            StackName=name,
            TemplateBody=json.dumps(template()),
            Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()],
            Capabilities=["CAPABILITY_NAMED_IAM"],
        )
    except client.exceptions.ClientError as error:
        if "No updates are to be performed" not in str(error):
            raise
    else:
        client.get_waiter(f"stack_{waiter}_complete").wait(StackName=name)
    (stack,) = client.describe_stacks(StackName=name)["Stacks"]
    return {_variable(each["OutputKey"]): each["OutputValue"] for each in stack.get("Outputs", [])}


def _variable(output: str) -> str:
    """The variable of an output: ArchiveAuditUri as ARCHIVE_AUDIT_URI."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", output).upper()


def main(arguments: Sequence[str]) -> None:
    if not arguments:
        print(json.dumps(template(), indent=1))
        return
    name, *given = arguments
    for variable, value in install(name, dict(each.split("=", 1) for each in given)).items():
        print(f"export {variable}={value}")


if __name__ == "__main__":
    main(sys.argv[1:])
