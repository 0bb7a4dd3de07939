"""``python -m deployments.stack NAME Parameter=value ...``: create or update the project's part of the AWS account.

On an update, parameters that are not given stay as they are. With ``--instance emea``, the stack is that of an instance
of deployments/estate.yaml, named after it; with ``--worker``, that of the worker. Without a name, the template is
printed, for review or for another tool.
"""

import argparse
import json
import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from deployments.cloudformation import StackFailed, body, follow, newest_event, read_stack, say, why_it_failed
from deployments.estate import EXECUTION_ROLE, FILE, read_estate, stack_parameters, tasks_of
from deployments.refused import Refused
from deployments.retained import CHANGE_SET, take_over
from deployments.template import read_template, template

_NEVER_CREATED = ("ROLLBACK_COMPLETE", "ROLLBACK_FAILED", "CREATE_FAILED", "REVIEW_IN_PROGRESS")
_DENIED = ("UnauthorizedOperation", "AccessDenied", "AccessDeniedException")


Template = Mapping[str, Any]
_OF_WORKER = {  # the parameters of the worker's stack that the shell has for make deploy, too
    **{"WorkPool": "ARCHIVE_WORK_POOL", "Cluster": "ARCHIVE_CLUSTER", "Subnets": "ARCHIVE_SUBNETS"},
    **{"SecurityGroups": "ARCHIVE_SECURITY_GROUPS", "Image": "ARCHIVE_IMAGE", "LogGroup": "ARCHIVE_LOG_GROUP"},
    **{"ExecutionRoleArn": EXECUTION_ROLE, "PrefectApiUrl": "PREFECT_API_URL"},
    **{"ApiKeySecretArn": "ARCHIVE_API_KEY_SECRET_ARN", "AuthStringSecretArn": "ARCHIVE_AUTH_STRING_SECRET_ARN"},
    **{"Architecture": "ARCHIVE_ARCHITECTURE"},
}


def install(name: str, parameters: Mapping[str, str], *, of_worker: bool = False) -> dict[str, str]:
    """Create or update the stack and wait for it; returns its outputs as the variables that make deploy needs.

    Shows the stack's events as they happen. Raises StackFailed with the reasons, and Refused.
    """
    _keep_table_apart(parameters)
    client, document = boto3.client("cloudformation"), read_template("worker.yaml") if of_worker else template()
    stack = read_stack(client, name)
    if stack and stack["StackStatus"] in _NEVER_CREATED:
        _clear_away(client, stack)
        stack = None
    if stack:
        _keep_table_apart({**_parameters_of(stack), **parameters})
    given = {**parameters, **_without_second_endpoint(client, stack, parameters)}
    if stack is None and not of_worker and take_over(client, name, given):
        stack = read_stack(client, name)
    if stack is None:
        client.create_stack(StackName=name, **_asked(document, given))
        follow(client, name)
    else:
        _update(client, stack, document, given)
    outputs = (read_stack(client, name) or {}).get("Outputs", [])
    return {_variable(each["OutputKey"]): each["OutputValue"] for each in outputs}


def _parameters_of(stack: Mapping[str, Any]) -> dict[str, str]:
    return {each["ParameterKey"]: each["ParameterValue"] for each in stack.get("Parameters", [])}


def _keep_table_apart(given: Mapping[str, str]) -> None:
    """Raises Refused if the audit table would be in the bucket of the recordings, which would become the stack's."""
    bucket = given.get("AuditBucket")
    if bucket and bucket == given.get("RecordingsBucket"):
        raise Refused(f"AuditBucket and RecordingsBucket are both {bucket}: the audit table needs a bucket of its own")


def _asked(document: Template, given: Mapping[str, str], *kept: Mapping[str, Any]) -> dict[str, Any]:
    named = [{"ParameterKey": key, "ParameterValue": value} for key, value in given.items()]
    return {
        "TemplateBody": body(document),
        "Parameters": [*named, *kept],
        "Capabilities": ["CAPABILITY_NAMED_IAM"],
    }


def _update(client: Any, stack: Mapping[str, Any], document: Template, given: Mapping[str, str]) -> None:
    """Update the stack; what it has been given before and is not given now stays as it is."""
    has = _parameters_of(stack).keys() & document["Parameters"].keys()
    kept = [{"ParameterKey": key, "UsePreviousValue": True} for key in sorted(has - given.keys())]
    last = newest_event(client, stack["StackId"])
    try:
        client.update_stack(StackName=stack["StackId"], **_asked(document, given, *kept))
    except ClientError as error:
        if "No updates are to be performed" not in str(error):
            raise
        say("nothing to change")
    else:
        follow(client, stack["StackId"], after=last)


def _clear_away(client: Any, stack: Mapping[str, Any]) -> None:
    """Delete a stack whose creation failed: CloudFormation does not update one that was never complete.

    Raises Refused if somebody has prepared something in the stack.
    """
    if theirs := [each for each in _change_sets(client, stack) if each != CHANGE_SET]:
        raise Refused(
            f"stack {stack['StackName']} is {stack['StackStatus']}, and has the change set {', '.join(theirs)}, which "
            "this command did not make: execute or delete it, or choose another name for the stack"
        )
    said = f"stack {stack['StackName']} is {stack['StackStatus']}: its creation failed, so it is deleted and made anew"
    say("\n  ".join([said, *why_it_failed(client, stack["StackId"])]))
    last = newest_event(client, stack["StackId"])
    client.delete_stack(StackName=stack["StackId"])
    follow(client, stack["StackId"], ("DELETE_COMPLETE",), after=last)


def _change_sets(client: Any, stack: Mapping[str, Any]) -> list[str]:
    """The names of the change sets of a stack that waits for one."""
    if stack["StackStatus"] != "REVIEW_IN_PROGRESS":
        return []
    pages = client.get_paginator("list_change_sets").paginate(StackName=stack["StackName"])
    return [each["ChangeSetName"] for page in pages for each in page["Summaries"]]


def _without_second_endpoint(
    client: Any, stack: Mapping[str, Any] | None, given: Mapping[str, str]
) -> Mapping[str, str]:
    """The route tables without those that have an S3 gateway endpoint, of which each can have only one.

    Raises StackFailed if this role may not look.
    """
    if not given.get("RouteTableIds"):
        return {}
    asked, own = given["RouteTableIds"].split(","), _own_endpoint(client, stack)
    try:
        there = dict(_endpoints(own))
    except ClientError as error:
        if error.response["Error"]["Code"] not in _DENIED:
            raise
        raise StackFailed(
            f"it is not known whether the route tables already have an S3 gateway endpoint: {error}. "
            "Grant this role ec2:DescribeVpcEndpoints, or leave RouteTableIds out"
        ) from error
    for table in asked:
        if table in there:
            say(f"route table {table} has the S3 gateway endpoint {there[table]} already, and gets no second one")
    return {"RouteTableIds": ",".join(table for table in asked if table not in there)}


def _endpoints(own: str | None) -> Iterator[tuple[str, str]]:
    """Each route table with an S3 gateway endpoint that is not the stack's ``own``, and that endpoint."""
    for page in boto3.client("ec2").get_paginator("describe_vpc_endpoints").paginate():
        for each in page["VpcEndpoints"]:
            is_of_s3 = each["VpcEndpointType"] == "Gateway" and each["ServiceName"].endswith(".s3")
            is_going = each.get("State", "").lower() in ("deleting", "deleted")
            if is_of_s3 and not is_going and each["VpcEndpointId"] != own:
                yield from ((table, each["VpcEndpointId"]) for table in each.get("RouteTableIds", []))


def _own_endpoint(client: Any, stack: Mapping[str, Any] | None) -> str | None:
    if stack is None:
        return None
    pages = client.get_paginator("list_stack_resources").paginate(StackName=stack["StackName"])
    resources = (each for page in pages for each in page["StackResourceSummaries"])
    return next((each["PhysicalResourceId"] for each in resources if each["LogicalResourceId"] == "S3Endpoint"), None)


def _variable(output: str) -> str:
    """The variable of an output: ArchiveAuditUri as ARCHIVE_AUDIT_URI."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", output).upper()


def instance_stack(stack: str, wanted: str, given: Mapping[str, str]) -> tuple[str, dict[str, str]]:
    """The name and the parameters of the stack of an instance of the estate; ``stack`` is that of the tasks.

    This process works in the instance's region from now on, if the stack has its table. Raises Refused.
    """
    estate = read_estate()
    names = [each.name for each in estate.instances] if estate else []
    if not estate or wanted not in names:
        raise Refused(f"{FILE.name} has no instance {wanted}: it has {', '.join(names) or 'none, or is not there'}")
    instance = estate.instances[names.index(wanted)]
    account = boto3.client("sts").get_caller_identity()["Account"]
    found = stack_parameters(instance, stack, account, os.environ)
    if instance.region and "RecordingsAccount" not in found:
        os.environ["AWS_DEFAULT_REGION"] = instance.region
    return f"{stack}{instance.suffix}", {**found, **given}


def worker_parameters(given: Mapping[str, str]) -> dict[str, str]:
    """The parameters of the worker's stack: those given, and those that the shell has. The image is named by digest.

    Raises Refused.
    """
    of_shell = {name: os.environ[variable] for name, variable in _OF_WORKER.items() if os.environ.get(variable)}
    found = {**of_shell, **given}
    if "ExecutionRoleArn" in found:
        tasks = tasks_of({EXECUTION_ROLE: found["ExecutionRoleArn"]})
        found = {"RolePrefix": tasks.roles, "RolePath": tasks.path, **found}
    image = found.get("Image", "")
    return {**found, "Image": _by_digest(image)} if image and "@" not in image else found


def _by_digest(image: str) -> str:
    repository, _, tag = image.rpartition(":")
    registry, _, name = repository.partition("/")
    try:
        found = boto3.client("ecr").describe_images(repositoryName=name, imageIds=[{"imageTag": tag}])["imageDetails"]
    except ClientError as error:
        found, said = [], str(error)
    else:
        said = "the repository does not have it"
    if not found:
        raise Refused(f"Image={image}: {said}. Run make deploy first, which builds and pushes the image")
    return f"{registry}/{name}@{found[0]['imageDigest']}"


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m deployments.stack", description=__doc__)
    parser.add_argument("name", nargs="?", help="of the stack; with --instance, of the tasks' stack")
    parser.add_argument("parameters", nargs="*", metavar="Parameter=value", help="those that change")
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument("--instance", help="of deployments/estate.yaml: its stack, with its parameters")
    kind.add_argument("--worker", action="store_true", help="the stack of the worker")
    options = parser.parse_intermixed_args(arguments)
    if not options.name:
        print(json.dumps(read_template("worker.yaml") if options.worker else template(), indent=1))
        return
    if flaws := [each for each in options.parameters if "=" not in each]:
        parser.error(f"{flaws[0]} is no parameter: write it as Parameter=value")
    name, given = options.name, dict(each.split("=", 1) for each in options.parameters)
    try:
        if options.instance:
            name, given = instance_stack(name, options.instance, given)
        if options.worker:
            given = worker_parameters(given)
        outputs = install(name, given, of_worker=options.worker)
    except (Refused, StackFailed, ClientError) as error:
        sys.exit(str(error))
    except BotoCoreError as error:  # no region, no credentials, no network
        said = str(error).rstrip(".")
        sys.exit(f'AWS has not answered: {said}. "Once" in deployments/README.md says what the shell needs')
    for variable, value in outputs.items():
        print(f"export {variable}={value}")


if __name__ == "__main__":
    main(sys.argv[1:])
