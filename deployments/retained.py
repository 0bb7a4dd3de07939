"""What a deleted stack has left in the account: the next stack of the same names takes it over, by a resource import.

CloudFormation's automatic import takes only names that stand in the template itself, and ours are parameters.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import boto3
from botocore.exceptions import ClientError, WaiterError

from deployments.cloudformation import StackFailed, body, follow, say
from deployments.template import template

CHANGE_SET = "take-over"
_TAGS = ("recording-archive:resource", "aws:cloudformation:logical-id")  # of stack.yaml; of CloudFormation itself
_OUR_STATEMENT = "OnlyErasuresAskToErase"  # of the audit bucket's policy
_ABSENT = ("404", "NoSuchBucket", "NoSuchBucketPolicy", "RepositoryNotFoundException")
_WITHOUT = ("ObjectLockConfigurationNotFoundError", "NoSuchTagSet")


def take_over(client: Any, name: str, given: Mapping[str, str]) -> bool:
    """Create the stack with what is there already, and nothing else; whether there was anything."""
    audit_bucket = "" if given.get("RecordingsAccount") else given.get("AuditBucket", "")
    found = retained(name if given.get("VpcId") else "", audit_bucket)
    if not found:
        return False
    if "AuditTable" in found:
        check_audit_bucket(audit_bucket)
    if "Images" in found:
        check_repository(name)
    whole = template()
    resources = {key: whole["Resources"][key] for key in found}
    part = {**{key: value for key, value in whole.items() if key != "Outputs"}, "Resources": resources}
    say(f"the account has kept {', '.join(found)} of an earlier stack: the new stack takes them over")
    client.create_change_set(
        StackName=name,
        ChangeSetName=CHANGE_SET,
        ChangeSetType="IMPORT",
        TemplateBody=body(part),
        Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in given.items()],
        ResourcesToImport=[
            {"ResourceType": resources[key]["Type"], "LogicalResourceId": key, "ResourceIdentifier": identifier}
            for key, identifier in found.items()
        ],
    )
    try:
        client.get_waiter("change_set_create_complete").wait(StackName=name, ChangeSetName=CHANGE_SET)
    except WaiterError as error:
        reason = error.last_response.get("StatusReason")
        raise StackFailed(f"CloudFormation does not take them over: {reason}") from error
    client.execute_change_set(StackName=name, ChangeSetName=CHANGE_SET)
    follow(client, name)
    return True


def retained(repository: str, audit_bucket: str) -> dict[str, dict[str, str]]:
    """The identifier of each resource that is there already, by its name in stack.yaml. Empty names mean none.

    Raises StackFailed if the bucket is somebody else's.
    """
    s3, ecr = boto3.client("s3"), boto3.client("ecr")
    looks: dict[str, tuple[dict[str, str], Callable[[], Any]]] = {}
    if audit_bucket:
        looks["AuditTable"] = ({"BucketName": audit_bucket}, lambda: _head_bucket(s3, audit_bucket))
        looks["AuditTablePolicy"] = ({"Bucket": audit_bucket}, lambda: s3.get_bucket_policy(Bucket=audit_bucket))
    if repository:
        images = {"RepositoryName": repository}
        looks["Images"] = (images, lambda: ecr.describe_repositories(repositoryNames=[repository]))
    return {name: identifier for name, (identifier, look) in looks.items() if _answer(look) is not None}


def check_audit_bucket(bucket: str) -> None:
    """Raises StackFailed if the bucket is not one that a stack of ours has made: an import changes nothing of it."""
    s3 = boto3.client("s3")
    versioned = s3.get_bucket_versioning(Bucket=bucket).get("Status") == "Enabled"
    if not (versioned and _answer(lambda: s3.get_object_lock_configuration(Bucket=bucket))):
        raise StackFailed(
            f"bucket {bucket} exists, and is not versioned with Object Lock, as an audit bucket is: name another one"
        )
    tags = (_answer(lambda: s3.get_bucket_tagging(Bucket=bucket)) or {}).get("TagSet", [])
    if not (_is_ours(tags, "AuditTable") or _has_our_policy(s3, bucket)):
        raise StackFailed(
            f"bucket {bucket} exists, and nothing shows that a stack of this software made it (the tag "
            f"{_tag('AuditTable')}, or a policy with the statement {_OUR_STATEMENT}): choose another name as "
            "AuditBucket. If the bucket has an audit table and nothing else, give it this tag, and repeat the command"
        )


def check_repository(name: str) -> None:
    """Raises StackFailed if no stack of ours has made the repository: our lifecycle rules would delete its images."""
    ecr = boto3.client("ecr")
    (found,) = ecr.describe_repositories(repositoryNames=[name])["repositories"]
    if not _is_ours(ecr.list_tags_for_resource(resourceArn=found["repositoryArn"])["tags"], "Images"):
        raise StackFailed(
            f"the image repository {name} exists, and nothing shows that a stack of this software made it (the tag "
            f"{_tag('Images')}). The stack's lifecycle rules would delete its images: choose another name for the "
            "stack. If the repository has images of this software and nothing else, give it this tag, and repeat the "
            "command"
        )


def _tag(resource: str) -> str:
    return f"{_TAGS[0]}={resource}"


def _is_ours(tags: Iterable[Mapping[str, str]], resource: str) -> bool:
    """Whether the tags are those of the resource of stack.yaml; older stacks gave it only CloudFormation's own."""
    return any(each["Key"] in _TAGS and each["Value"] == resource for each in tags)


def _has_our_policy(s3: Any, bucket: str) -> bool:
    policy = _answer(lambda: s3.get_bucket_policy(Bucket=bucket))
    statements = json.loads(policy["Policy"])["Statement"] if policy else []
    return any(each.get("Sid") == _OUR_STATEMENT for each in statements)


def _head_bucket(s3: Any, bucket: str) -> Any:
    try:
        return s3.head_bucket(Bucket=bucket)
    except ClientError as error:
        if error.response["Error"]["Code"] not in ("403", "AccessDenied"):
            raise
        raise StackFailed(
            f"bucket {bucket} exists, and belongs to another account or is not visible to this role: "
            "choose another name as AuditBucket, or have the role see the bucket (s3:ListBucket)"
        ) from error


def _answer(look: Callable[[], Any]) -> Any:
    """What AWS answers; None if it has no such thing."""
    try:
        return look()
    except ClientError as error:
        if error.response["Error"]["Code"] in (*_ABSENT, *_WITHOUT):
            return None
        raise
