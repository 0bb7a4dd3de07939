"""What a deleted stack has left in the account: the next stack of the same names takes it over, by a resource import.

CloudFormation's automatic import takes only names that stand in the template itself, and ours are parameters.
"""

from collections.abc import Callable, Mapping
from typing import Any

import boto3
from botocore.exceptions import ClientError, WaiterError

from deployments.cloudformation import StackFailed, body, follow, say
from deployments.template import template

_ABSENT = ("404", "NoSuchBucket", "NoSuchBucketPolicy", "RepositoryNotFoundException")
_CHANGE_SET = "take-over"


def take_over(client: Any, name: str, given: Mapping[str, str]) -> bool:
    """Create the stack with what is there already, and nothing else; whether there was anything."""
    audit_bucket = "" if given.get("RecordingsAccount") else given.get("AuditBucket", "")
    found = retained(name if given.get("VpcId") else "", audit_bucket)
    if not found:
        return False
    if "AuditTable" in found:
        check_audit_bucket(audit_bucket)
    whole = template()
    resources = {key: whole["Resources"][key] for key in found}
    part = {**{key: value for key, value in whole.items() if key != "Outputs"}, "Resources": resources}
    say(f"the account has kept {', '.join(found)} of an earlier stack: the new stack takes them over")
    client.create_change_set(
        StackName=name,
        ChangeSetName=_CHANGE_SET,
        ChangeSetType="IMPORT",
        TemplateBody=body(part),
        Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in given.items()],
        ResourcesToImport=[
            {"ResourceType": resources[key]["Type"], "LogicalResourceId": key, "ResourceIdentifier": identifier}
            for key, identifier in found.items()
        ],
    )
    try:
        client.get_waiter("change_set_create_complete").wait(StackName=name, ChangeSetName=_CHANGE_SET)
    except WaiterError as error:
        reason = error.last_response.get("StatusReason")
        raise StackFailed(f"CloudFormation does not take them over: {reason}") from error
    client.execute_change_set(StackName=name, ChangeSetName=_CHANGE_SET)
    follow(client, name)
    return True


def retained(repository: str, audit_bucket: str) -> dict[str, dict[str, str]]:
    """The identifier of each resource that is there already, by its name in stack.yaml. Empty names mean none."""
    s3, ecr = boto3.client("s3"), boto3.client("ecr")
    looks: dict[str, tuple[dict[str, str], Callable[[], Any]]] = {}
    if audit_bucket:
        looks["AuditTable"] = ({"BucketName": audit_bucket}, lambda: s3.head_bucket(Bucket=audit_bucket))
        looks["AuditTablePolicy"] = ({"Bucket": audit_bucket}, lambda: s3.get_bucket_policy(Bucket=audit_bucket))
    if repository:
        images = {"RepositoryName": repository}
        looks["Images"] = (images, lambda: ecr.describe_repositories(repositoryNames=[repository]))
    return {name: identifier for name, (identifier, look) in looks.items() if _is_there(look)}


def check_audit_bucket(bucket: str) -> None:
    """Raises StackFailed if the bucket is not one that a stack of ours has made: an import changes nothing of it."""
    s3 = boto3.client("s3")
    versioned = s3.get_bucket_versioning(Bucket=bucket).get("Status") == "Enabled"
    if not (versioned and _is_there(lambda: s3.get_object_lock_configuration(Bucket=bucket))):
        raise StackFailed(
            f"bucket {bucket} exists, and is not versioned with Object Lock, as an audit bucket is: name another one"
        )


def _is_there(look: Callable[[], Any]) -> bool:
    try:
        look()
    except ClientError as error:
        if error.response["Error"]["Code"] in (*_ABSENT, "ObjectLockConfigurationNotFoundError"):
            return False
        raise
    return True
