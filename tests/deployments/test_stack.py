"""Our part of an AWS account, deployed to one on this machine."""

import json
import os
import re
import subprocess
import sys
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import boto3
import pytest
from aiohttp import web

from demo.servers import Server
from deployments.cloudformation import StackFailed, read_stack
from deployments.environment import NEEDED
from deployments.refused import Refused
from deployments.retained import check_audit_bucket, check_repository
from deployments.stack import install, main
from deployments.template import read_template, template
from recordings.table.records import CLOSED, END, ERASED, ERASURE, START
from tests.deployments.conftest import NAME, known_here
from tests.faults import Proxy, faulty_proxy

ROOT = Path(__file__).parents[2]
SECRETS = "arn:aws:secretsmanager:us-east-1:000000000000:secret:"
RELEASED = Path(__file__).parent / "released.json"
POLICIES = {path.stem: json.loads(path.read_text()) for path in (ROOT / "deployments" / "policies").glob("*.json")}


def test_cfn_lint_finds_nothing(tmp_path: Path) -> None:
    path = tmp_path / "stack.json"
    path.write_text(json.dumps(template()))
    cfn_lint = Path(sys.executable).parent / "cfn-lint"
    done = subprocess.run([cfn_lint, path], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr


@pytest.mark.parametrize("name", ["stack.yaml", "worker.yaml"])
def test_no_name_of_a_resource_changes_its_type(name: str) -> None:
    """AWS refuses the update of each stack that has the resource. released.json has every name that was ever given."""
    whole = template() if name == "stack.yaml" else read_template(name)
    types = {logical_id: each["Type"] for logical_id, each in whole["Resources"].items()}
    assert types.items() <= json.loads(RELEASED.read_text())[name].items()


def test_the_alarm_that_replaces_one_has_another_name() -> None:
    """AWS makes the new resource first, and deletes the old one last."""
    told = template()["Resources"]["NoSuccessFor26Hours"]["Properties"]
    assert told["AlarmName"] == {"Fn::Sub": "${AWS::StackName}-NoSuccessFor26Hours"}


def test_a_role_has_a_path_only_if_one_is_given(outputs: dict[str, str]) -> None:
    """A path makes a role anew, which AWS refuses for one with a name: "/" is a change for roles without a path."""
    whole = template()
    assert whole["Parameters"]["RolePath"]["Default"] == ""
    roles = [each["Properties"] for each in whole["Resources"].values() if each["Type"] == "AWS::IAM::Role"]
    given = {"Fn::If": ["HasRolePath", {"Ref": "RolePath"}, {"Ref": "AWS::NoValue"}]}
    assert [each["Path"] for each in roles] == [given] * (2 + len(POLICIES))
    assert outputs["ARCHIVE_ROLE_PREFIX"] == f"arn:aws:iam::000000000000:role/{NAME}-"
    assert statements_of(f"{NAME}-estate", "estate")["ActAsTheReportOfEachInstance"]["Resource"] == (
        f"arn:aws:iam::*:role/{NAME}*-report"
    )


def test_it_says_what_make_deploy_asks_for(outputs: dict[str, str]) -> None:
    assert outputs["ARCHIVE_AUDIT_URI"] == "s3://calls-audit/recordings"
    assert outputs.keys() - {"ARCHIVE_REPOSITORY"} <= NEEDED.keys()


def test_the_same_again_changes_nothing(parameters: dict[str, str], outputs: dict[str, str]) -> None:
    assert install(NAME, parameters) == outputs


def test_an_update_keeps_what_is_not_given(
    parameters: dict[str, str], outputs: dict[str, str], capfd: pytest.CaptureFixture[str]
) -> None:
    assert install(NAME, {"AlarmTopicArn": "arn:aws:sns:us-east-1:000000000000:alarms"}) == outputs
    shown = capfd.readouterr().err
    assert "UPDATE_COMPLETE recording-archive" in shown
    assert "CREATE_COMPLETE recording-archive" not in shown  # the events of this update only
    (stack,) = boto3.client("cloudformation").describe_stacks(StackName=NAME)["Stacks"]
    has = {each["ParameterKey"]: each["ParameterValue"] for each in stack["Parameters"]}
    assert parameters.items() <= has.items()
    alarms: Any = {each["MetricName"]: each for each in boto3.client("cloudwatch").describe_alarms()["MetricAlarms"]}
    assert alarms["Lost"]["AlarmActions"] == [has["AlarmTopicArn"]]
    assert install(NAME, {}) == outputs
    assert "nothing to change" in capfd.readouterr().err


def test_the_worker_is_watched_once_it_is_named(outputs: dict[str, str]) -> None:
    cloudwatch = boto3.client("cloudwatch")
    assert not [each for each in cloudwatch.describe_alarms()["MetricAlarms"] if each["Namespace"].startswith("AWS/")]
    install(NAME, {"WorkerCluster": "calls"})
    of_aws = [each for each in cloudwatch.describe_alarms()["MetricAlarms"] if each["Namespace"].startswith("AWS/")]
    dimensions = {each["Namespace"]: [pair["Value"] for pair in each["Dimensions"]] for each in of_aws}
    assert dimensions == {"AWS/ECS": ["calls", "ecs-workers"], "AWS/SQS": ["ecs-ecs-events-dlq"]}
    install(NAME, {"WorkerCluster": ""})


@pytest.fixture(scope="module")
def worker(aws: Server, outputs: dict[str, str]) -> dict[str, Any]:
    """The worker's stack beside ours, with the variables of the runbook's shell: its resources by their names."""
    subnets = [each["SubnetId"] for each in boto3.client("ec2").describe_subnets()["Subnets"]]
    boto3.client("ecs").create_cluster(clusterName="calls")
    image = {"repositoryName": NAME, "imageManifest": '{"schemaVersion": 2}', "imageTag": "7"}
    boto3.client("ecr").put_image(**image)
    shell = {
        **{"ARCHIVE_WORK_POOL": "ecs", "ARCHIVE_CLUSTER": "calls", "ARCHIVE_SUBNETS": ",".join(subnets[:2])},
        **{"ARCHIVE_IMAGE": outputs["ARCHIVE_REPOSITORY"] + ":7", "PREFECT_API_URL": "https://prefect.example.com/api"},
        **{"ARCHIVE_API_KEY_SECRET_ARN": SECRETS + "key", "ARCHIVE_AUTH_STRING_SECRET_ARN": SECRETS + "auth"},
    }
    environment = {**os.environ, **outputs, **shell}
    command = [sys.executable, "-m", "deployments.stack", "recording-archive-worker", "--worker"]
    subprocess.run(command, cwd=ROOT, env=environment, check=True)
    found = boto3.client("cloudformation").list_stack_resources(StackName="recording-archive-worker")
    return {each["LogicalResourceId"]: each["PhysicalResourceId"] for each in found["StackResourceSummaries"]}


def test_the_worker_runs_our_image_by_digest_and_is_handed_both_secrets(
    worker: dict[str, Any], outputs: dict[str, str]
) -> None:
    ecs: Any = boto3.client("ecs")
    (service,) = ecs.describe_services(cluster="calls", services=["ecs-workers"])["services"]
    definition = ecs.describe_task_definition(taskDefinition=service["taskDefinition"])["taskDefinition"]
    (container,) = definition["containerDefinitions"]
    (image,) = boto3.client("ecr").describe_images(repositoryName=NAME)["imageDetails"]
    assert container["image"] == f"{outputs['ARCHIVE_REPOSITORY']}@{image['imageDigest']}"
    assert len(container["secrets"]) == 2
    # This account's CloudFormation hides their names, for which it has capitals as the template has.
    (declared,) = read_template("worker.yaml")["Resources"]["Task"]["Properties"]["ContainerDefinitions"]
    assert [each["Fn::If"][:2] for each in declared["Secrets"]] == [
        ["HasApiKey", {"Name": "PREFECT_API_KEY", "ValueFrom": {"Ref": "ApiKeySecretArn"}}],
        ["HasAuthString", {"Name": "PREFECT_API_AUTH_STRING", "ValueFrom": {"Ref": "AuthStringSecretArn"}}],
    ]
    settings = {each["name"]: each["value"] for each in container["environment"]}
    assert settings["PREFECT_INTEGRATIONS_AWS_ECS_OBSERVER_SQS_QUEUE_NAME"] == "ecs-ecs-events"
    assert definition["executionRoleArn"] == outputs["ARCHIVE_EXECUTION_ROLE_ARN"]


def test_the_worker_may_pass_the_roles_of_the_archive_and_no_other(
    worker: dict[str, Any], outputs: dict[str, str]
) -> None:
    statements = statements_of("recording-archive-worker-task", "worker")
    passing = statements["GiveTasksTheRolesOfTheArchive"]
    assert passing["Condition"] == {"StringEquals": {"iam:PassedToService": "ecs-tasks.amazonaws.com"}}
    roles: Any = boto3.client("iam").list_roles()["Roles"]
    may_pass = {each["RoleName"] for each in roles if fnmatchcase(each["Arn"], passing["Resource"])}
    policies = {f"{NAME}-{policy}" for policy in POLICIES}
    assert policies | {f"{NAME}-execution", f"{NAME}-estate"} <= may_pass
    assert not fnmatchcase("arn:aws:iam::000000000000:role/admin", passing["Resource"])
    everywhere = {name for name, each in statements.items() if each["Resource"] == "*"}
    assert everywhere == {"DefineTasks", "TagWhatIsNew"}
    cluster = {"ArnEquals": {"ecs:cluster": "arn:aws:ecs:us-east-1:000000000000:cluster/calls"}}
    assert statements["RunTasks"]["Condition"] == statements["StopAndSeeTasks"]["Condition"] == cluster


def test_the_alarms_know_the_worker_by_the_names_of_its_stack(worker: dict[str, Any]) -> None:
    resources = template()["Resources"]
    (_, service), (queue,) = (resources[name]["Properties"]["Dimensions"] for name in ("WorkerGone", "EventsNotTaken"))
    named = [each["Value"]["Fn::Sub"].replace("${WorkPool}", "ecs") for each in (service, queue)]
    assert named[0] in worker["Service"]
    assert named[1] in worker["DeadEvents"]


def test_an_image_that_is_not_in_the_repository_is_named(
    outputs: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    image = outputs["ARCHIVE_REPOSITORY"] + ":never-pushed"
    monkeypatch.setenv("ARCHIVE_IMAGE", image)
    with pytest.raises(SystemExit, match=f"^Image={image}: .* Run make deploy first"):
        main(["other-worker", "--worker"])


@pytest.mark.parametrize("partition", ["aws", "aws-us-gov", "aws-cn"])
@pytest.mark.parametrize("name", ["stack.yaml", "worker.yaml"])
def test_each_arn_is_of_the_partition_that_the_stack_is_in(name: str, partition: str) -> None:
    whole = template() if name == "stack.yaml" else read_template(name)
    text = json.dumps(whole["Resources"] | whole.get("Outputs", {})).replace("${AWS::Partition}", partition)
    arns = re.findall(r"arn:([^:\"]*):", text)
    assert len(arns) > 5
    assert {*arns} == {partition}
    hosts = {*re.findall(r"[\w.${}:-]*amazonaws[\w.${}:-]*", text)}
    services = {"ecs-tasks.amazonaws.com", "events.amazonaws.com"}  # principals have these names in every partition
    assert hosts <= services | {"com.amazonaws.${AWS::Region}.s3"}


def test_no_code_knows_the_partition() -> None:
    folders = ("deployments", "recordings", "tasks", "flows")
    files = [*(path for each in folders for path in (ROOT / each).rglob("*.py")), ROOT / "prefect.yaml"]
    files += [ROOT / "deployments" / "ecs-base-job-template.json", ROOT / "deployments" / "automations.yaml"]
    naming = {path.name for path in files if "arn:aws:" in path.read_text()}
    assert naming == {"template.py"}  # which replaces it in the policies


def test_a_route_table_gets_no_second_endpoint(
    aws: Server, parameters: dict[str, str], capfd: pytest.CaptureFixture[str]
) -> None:
    """AWS would refuse it ("route table ... already has a route"), and with it the whole stack."""
    ec2 = boto3.client("ec2")
    other = ec2.create_route_table(VpcId=parameters["VpcId"])["RouteTable"]["RouteTableId"]
    there = {"VpcId": parameters["VpcId"], "ServiceName": "com.amazonaws.us-east-1.s3", "VpcEndpointType": "Gateway"}
    theirs: Any = ec2.create_vpc_endpoint(**there, RouteTableIds=[other])["VpcEndpoint"]["VpcEndpointId"]
    before = {each["VpcEndpointId"] for each in ec2.describe_vpc_endpoints()["VpcEndpoints"]}
    try:
        given = {**parameters, "AuditBucket": "second-audit", "RouteTableIds": other}
        install("second", given)
        assert {each["VpcEndpointId"] for each in ec2.describe_vpc_endpoints()["VpcEndpoints"]} == before
        assert f"{other} has the S3 gateway endpoint {theirs} already" in capfd.readouterr().err
        install("second", {"RouteTableIds": f"{other},rtb-free"})
        new = [each for each in ec2.describe_vpc_endpoints()["VpcEndpoints"] if each["VpcEndpointId"] not in before]
        assert [each["RouteTableIds"] for each in new] == [["rtb-free"]]
        install("second", {"RouteTableIds": f"{other},rtb-free"})  # its own endpoint does not count
        assert len(ec2.describe_vpc_endpoints()["VpcEndpoints"]) == len(before) + 1
    finally:
        destroy("second")
        ec2.delete_vpc_endpoints(VpcEndpointIds=[theirs])


def destroy(name: str) -> None:
    client = boto3.client("cloudformation")
    client.delete_stack(StackName=name)
    client.get_waiter("stack_delete_complete").wait(StackName=name, WaiterConfig={"Delay": 1})


def test_a_stack_that_was_never_created_is_made_anew(
    aws: Server, parameters: dict[str, str], capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """This account refuses an alarm without a metric, where AWS would refuse a second endpoint."""
    given = {**parameters, "AuditBucket": "third-audit", "RouteTableIds": ""}
    refused = {"S3Endpoint": {"Type": "AWS::CloudWatch::Alarm", "Properties": {}}}
    with monkeypatch.context() as patched:
        whole = known_here()
        patched.setattr("deployments.stack.template", lambda: {**whole, "Resources": whole["Resources"] | refused})
        with pytest.raises(StackFailed) as failed:
            install("third", given)
    said = str(failed.value).splitlines()
    assert said[0] == "stack third is ROLLBACK_COMPLETE:"
    assert said[1].startswith("  CREATE_FAILED S3Endpoint: ")
    assert "third-audit" not in [each["Name"] for each in boto3.client("s3").list_buckets()["Buckets"]]
    capfd.readouterr()
    assert install("third", given)["ARCHIVE_AUDIT_URI"] == "s3://third-audit/recordings"
    shown = capfd.readouterr().err
    assert "stack third is ROLLBACK_COMPLETE: its creation failed, so it is deleted and made anew" in shown
    assert "  CREATE_FAILED S3Endpoint: " in shown
    assert shown.index("DELETE_COMPLETE third") < shown.index("CREATE_COMPLETE third")
    destroy("third")


def test_a_new_stack_takes_over_what_the_old_one_left(
    aws: Server, parameters: dict[str, str], capfd: pytest.CaptureFixture[str]
) -> None:
    """This account's CloudFormation imports buckets, and neither their policies nor repositories; AWS imports all."""
    s3, ecr = boto3.client("s3"), boto3.client("ecr")
    given = {**parameters, "AuditBucket": "fourth-audit", "RouteTableIds": ""}
    first = install("fourth", given)
    s3.put_object(Bucket="fourth-audit", Key="recordings/kept", Body=b"evidence")
    destroy("fourth")
    assert s3.get_bucket_policy(Bucket="fourth-audit")
    s3.delete_bucket_policy(Bucket="fourth-audit")
    ecr.delete_repository(repositoryName="fourth")
    with pytest.raises(StackFailed, match="is not versioned with Object Lock"):
        install("fourth", given)
    # This account's CloudFormation forgets the lock and the tags; AWS would not.
    locked: Any = {"ObjectLockEnabled": "Enabled"}
    s3.put_object_lock_configuration(Bucket="fourth-audit", ObjectLockConfiguration=locked)
    with pytest.raises(StackFailed, match="nothing shows that a stack of this software made it"):
        install("fourth", given)
    tags: Any = template()["Resources"]["AuditTable"]["Properties"]["Tags"]
    s3.put_bucket_tagging(Bucket="fourth-audit", Tagging={"TagSet": tags})
    again = install("fourth", given)
    assert {name for name in first if again[name] != first[name]} == {"ARCHIVE_SECURITY_GROUPS"}  # it has a new id
    assert "IMPORT_COMPLETE AuditTable" in capfd.readouterr().err
    assert s3.get_object(Bucket="fourth-audit", Key="recordings/kept")["Body"].read() == b"evidence"
    assert s3.get_bucket_policy(Bucket="fourth-audit")


def test_a_bucket_that_no_stack_of_ours_made_is_not_taken_over(aws: Server, parameters: dict[str, str]) -> None:
    """Versioned with Object Lock, it could be the bucket of somebody's recordings."""
    s3 = boto3.client("s3")
    s3.create_bucket(Bucket="theirs", ObjectLockEnabledForBucket=True)
    given = {**parameters, "AuditBucket": "theirs", "RouteTableIds": ""}
    with pytest.raises(
        StackFailed, match=r"nothing shows that a stack of this software made it .* choose another name"
    ):
        install("sixth", given)
    assert read_stack(boto3.client("cloudformation"), "sixth") is None
    for key in ("recording-archive:resource", "aws:cloudformation:logical-id"):
        s3.put_bucket_tagging(Bucket="theirs", Tagging={"TagSet": [{"Key": key, "Value": "AuditTable"}]})
        check_audit_bucket("theirs")
    of_images: Any = template()["Resources"]["Images"]["Properties"]["Tags"]
    s3.put_bucket_tagging(Bucket="theirs", Tagging={"TagSet": of_images})
    with pytest.raises(StackFailed):
        check_audit_bucket("theirs")
    policy = s3.get_bucket_policy(Bucket="calls-audit")["Policy"].replace("calls-audit", "theirs")
    s3.put_bucket_policy(Bucket="theirs", Policy=policy)
    check_audit_bucket("theirs")


def test_a_repository_that_no_stack_of_ours_made_is_not_taken_over(aws: Server, parameters: dict[str, str]) -> None:
    """Our lifecycle rules would delete its images."""
    ecr = boto3.client("ecr")
    theirs = ecr.create_repository(repositoryName="seventh")["repository"]["repositoryArn"]
    with pytest.raises(StackFailed, match=r"image repository seventh exists, and nothing shows .* choose another name"):
        install("seventh", {**parameters, "AuditBucket": "seventh-audit", "RouteTableIds": ""})
    assert read_stack(boto3.client("cloudformation"), "seventh") is None
    tag = {"Key": "recording-archive:resource", "Value": "Images"}
    ecr.tag_resource(resourceArn=theirs, tags=[tag])
    check_repository("seventh")
    (ours,) = ecr.describe_repositories(repositoryNames=[NAME])["repositories"]
    assert tag in ecr.list_tags_for_resource(resourceArn=ours["repositoryArn"])["tags"]


def test_the_bucket_of_the_recordings_is_no_audit_bucket(
    outputs: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    said = "AuditBucket and RecordingsBucket are both calls"
    with pytest.raises(Refused, match=said):
        install(NAME, {"AuditBucket": "calls"})  # the stack has the other
    monkeypatch.setattr(boto3, "client", None)  # AWS is not asked
    with pytest.raises(Refused, match=said):
        install("eighth", {"RecordingsBucket": "calls", "AuditBucket": "calls"})


class Answering(Proxy):
    """A service of AWS that has one answer."""

    def __init__(self, status: int, text: str = "") -> None:
        super().__init__("http://127.0.0.1")
        self._answer = status, text

    async def handle(self, _: web.Request) -> web.StreamResponse:
        status, text = self._answer
        return web.Response(status=status, text=text, content_type="text/xml")


def test_a_bucket_of_another_account_is_named(
    aws: Server, parameters: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with faulty_proxy(Answering(403)) as s3:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", s3)
        with pytest.raises(StackFailed, match=r"bucket taken exists, and belongs to another account .* another name"):
            install("eighth", {**parameters, "AuditBucket": "taken", "RouteTableIds": ""})


def test_a_role_that_may_not_look_for_endpoints_is_told_the_way_out(
    aws: Server, parameters: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    error = "<Error><Code>UnauthorizedOperation</Code><Message>You are not authorized</Message></Error>"
    with faulty_proxy(Answering(403, f"<Response><Errors>{error}</Errors></Response>")) as ec2:
        monkeypatch.setenv("AWS_ENDPOINT_URL_EC2", ec2)
        with pytest.raises(StackFailed, match="Grant this role ec2:DescribeVpcEndpoints, or leave RouteTableIds out"):
            install("eighth", {**parameters, "AuditBucket": "eighth-audit"})


def test_an_endpoint_that_is_deleted_is_no_endpoint(
    parameters: dict[str, str],
    outputs: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """AWS lists it for a while."""
    states = ("available", "deleting", "deleted")
    items = "".join(
        f"<item><vpcEndpointId>vpce-{state}</vpcEndpointId><vpcEndpointType>Gateway</vpcEndpointType>"
        f"<serviceName>com.amazonaws.us-east-1.s3</serviceName><state>{state}</state>"
        f"<routeTableIdSet><item>rtb-{state}</item></routeTableIdSet></item>"
        for state in states
    )
    found = f"<DescribeVpcEndpointsResponse><vpcEndpointSet>{items}</vpcEndpointSet></DescribeVpcEndpointsResponse>"
    with faulty_proxy(Answering(200, found)) as ec2, monkeypatch.context() as patched:
        patched.setenv("AWS_ENDPOINT_URL_EC2", ec2)
        install(NAME, {"RouteTableIds": ",".join(f"rtb-{state}" for state in states)})
    assert re.findall(r"route table (\S+) has", capfd.readouterr().err) == ["rtb-available"]
    (stack,) = boto3.client("cloudformation").describe_stacks(StackName=NAME)["Stacks"]
    has = {each["ParameterKey"]: each["ParameterValue"] for each in stack["Parameters"]}
    assert has["RouteTableIds"] == "rtb-deleting,rtb-deleted"
    install(NAME, parameters)


def test_a_stack_that_somebody_has_prepared_is_not_deleted(aws: Server, parameters: dict[str, str]) -> None:
    client = boto3.client("cloudformation")
    body = json.dumps({"Resources": {"Queue": {"Type": "AWS::SQS::Queue"}}})
    for change_set in ("theirs", "take-over"):
        client.create_change_set(StackName="ninth", ChangeSetName=change_set, ChangeSetType="CREATE", TemplateBody=body)
    given = {**parameters, "AuditBucket": "ninth-audit", "RouteTableIds": ""}
    with pytest.raises(Refused, match=r"^stack ninth is REVIEW_IN_PROGRESS, and has the change set theirs, which"):
        install("ninth", given)
    client.delete_change_set(StackName="ninth", ChangeSetName="theirs")
    assert install("ninth", given)["ARCHIVE_AUDIT_URI"] == "s3://ninth-audit/recordings"
    destroy("ninth")


@pytest.mark.parametrize(
    ("missing", "said"), [("AWS_DEFAULT_REGION", "specify a region"), ("AWS_ACCESS_KEY_ID", "locate credentials")]
)
def test_a_shell_that_cannot_ask_aws_is_told_so(
    aws: Server, monkeypatch: pytest.MonkeyPatch, missing: str, said: str
) -> None:
    for variable in (missing, "AWS_REGION") if "REGION" in missing else (missing, "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(variable, raising=False)
    for variable in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(variable, os.devnull)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)  # which remembers the credentials
    with pytest.raises(SystemExit, match=f"^AWS has not answered: .*{said}[.] "):
        main(["recording-archive"])


def test_roles_and_keys_are_as_the_account_wants_them(aws: Server, parameters: dict[str, str]) -> None:
    boundary, audit_key = "arn:aws:iam::000000000000:policy/boundary", "arn:aws:kms:us-east-1:000000000000:key/audit"
    more = {
        **{"RolePath": "/calls/", "PermissionsBoundaryArn": boundary, "AuditKeyArn": audit_key},
        **{"RecordingsKeyArn": "arn:aws:kms:key/1,arn:aws:kms:key/2", "SecretKeyArn": "arn:aws:kms:key/secrets"},
    }
    outputs = install("fifth", {**parameters, "AuditBucket": "fifth-audit", "RouteTableIds": "", **more})
    assert outputs["ARCHIVE_ROLE_PREFIX"].endswith("role/calls/fifth-")
    iam = boto3.client("iam")
    for name in ["execution", *POLICIES]:
        role: Any = iam.get_role(RoleName=f"fifth-{name}")["Role"]
        assert role["Path"] == "/calls/", name
    by_role = {name: statements_of(f"fifth-{name}", name) for name in POLICIES}
    assert by_role["archive"]["UseTheRecordingsKey"]["Resource"] == more["RecordingsKeyArn"].split(",")
    assert {name for name, of in by_role.items() if "UseTheAuditKey" not in of} == {"inspect"}
    assert by_role["archive"]["UseTheAuditKey"]["Action"] == ["kms:Decrypt", "kms:GenerateDataKey"]
    assert by_role["estimate"]["UseTheAuditKey"]["Action"] == ["kms:Decrypt"]
    # This account's CloudFormation hears neither of a bucket's encryption nor of a boundary.
    resources = template()["Resources"]
    (rule,) = resources["AuditTable"]["Properties"]["BucketEncryption"]["ServerSideEncryptionConfiguration"]
    assert rule["ServerSideEncryptionByDefault"]["SSEAlgorithm"] == {"Fn::If": ["HasAuditKey", "aws:kms", "AES256"]}
    roles = [each["Properties"] for each in resources.values() if each["Type"] == "AWS::IAM::Role"]
    bounded = {"Fn::If": ["HasBoundary", {"Ref": "PermissionsBoundaryArn"}, {"Ref": "AWS::NoValue"}]}
    assert [each["PermissionsBoundary"] for each in roles] == [bounded] * (2 + len(POLICIES))
    policy: Any = json.loads(boto3.client("s3").get_bucket_policy(Bucket="fifth-audit")["Policy"])
    (asking,) = [each for each in policy["Statement"] if each["Sid"] == "OnlyErasuresAskToErase"]
    erasing: Any = iam.get_role(RoleName="fifth-erase")["Role"]
    assert asking["Condition"] == {"ArnNotEquals": {"aws:PrincipalArn": erasing["Arn"]}}
    executing: Any = iam.get_role_policy(RoleName="fifth-execution", PolicyName="execution")["PolicyDocument"]
    (decrypt,) = [each for each in executing["Statement"] if each.get("Action") == "kms:Decrypt"]
    assert decrypt["Resource"] == more["SecretKeyArn"]
    assert decrypt["Condition"] == {"StringEquals": {"kms:ViaService": "secretsmanager.us-east-1.amazonaws.com"}}
    destroy("fifth")


def statements_of(role: str, policy: str) -> dict[str, Any]:
    document: Any = boto3.client("iam").get_role_policy(RoleName=role, PolicyName=policy)["PolicyDocument"]
    return {each["Sid"]: each for each in document["Statement"] if each}


def test_the_repository_counts_builds_and_not_their_parts(outputs: dict[str, str]) -> None:
    text = boto3.client("ecr").get_lifecycle_policy(repositoryName=NAME)["lifecyclePolicyText"]
    tagged, untagged = (each["selection"] for each in json.loads(text)["rules"])
    assert (tagged["tagStatus"], tagged["tagPatternList"], tagged["countNumber"]) == ("tagged", ["*"], 10)
    assert (untagged["tagStatus"], untagged["countType"]) == ("untagged", "sinceImagePushed")


def test_26_hours_are_26_hours_and_nothing_pages_before_the_first_runs() -> None:
    resources = template()["Resources"]
    no_success, established, told = (
        resources[name]["Properties"] for name in ("NoSuccess", "Established", "NoSuccessFor26Hours")
    )
    formula, metric = no_success["Metrics"]
    assert formula["Expression"] == f"FILL({metric['Id']}, 0)"
    assert metric["MetricStat"]["Period"] * no_success["EvaluationPeriods"] == 26 * 3600
    assert no_success["DatapointsToAlarm"] == no_success["EvaluationPeriods"]
    same = {name: established[name] for name in ("Namespace", "MetricName", "Dimensions")}
    assert metric["MetricStat"]["Metric"] == same
    assert established["TreatMissingData"] == "ignore"
    assert "AlarmActions" not in no_success.keys() | established.keys()
    assert told["AlarmRule"] == {"Fn::Sub": 'ALARM("${NoSuccess}") AND ALARM("${Established}")'}
    assert "AlarmActions" in told


@pytest.mark.parametrize("policy", POLICIES)
def test_there_is_a_role_for_each_policy(outputs: dict[str, str], policy: str) -> None:
    role = outputs["ARCHIVE_ROLE_PREFIX"].rpartition("/")[2] + policy
    document = boto3.client("iam").get_role_policy(RoleName=role, PolicyName=policy)["PolicyDocument"]
    statements: Any = [each for each in document["Statement"] if each]
    of_file = [each for each in POLICIES[policy]["Statement"] if each["Sid"] != "UseTheRecordingsKey"]
    assert [each["Action"] for each in statements] == [each["Action"] for each in of_file]
    filled = {"${RecordingsBucket}": "calls", "${AuditBucket}": "calls-audit"}
    for statement, written in zip(statements, of_file, strict=True):
        resource = written["Resource"]
        for name, value in filled.items():
            resource = resource.replace(name, value)
        assert statement["Resource"] == resource


def test_ecs_itself_may_read_both_secrets_of_prefect(parameters: dict[str, str], outputs: dict[str, str]) -> None:
    role = outputs["ARCHIVE_EXECUTION_ROLE_ARN"].rpartition("/")[2]
    document: Any = boto3.client("iam").get_role_policy(RoleName=role, PolicyName="execution")["PolicyDocument"]
    may_read = [each["Resource"] for each in document["Statement"] if "secretsmanager" in str(each)]
    assert may_read == [[parameters["ApiKeySecretArn"]], [parameters["AuthStringSecretArn"]]]


def test_the_audit_bucket_is_versioned_encrypted_closed_and_wants_tls(outputs: dict[str, str]) -> None:
    s3 = boto3.client("s3")
    assert s3.get_bucket_versioning(Bucket="calls-audit")["Status"] == "Enabled"
    assert s3.get_bucket_encryption(Bucket="calls-audit")["ServerSideEncryptionConfiguration"]["Rules"]
    closed = s3.get_public_access_block(Bucket="calls-audit")["PublicAccessBlockConfiguration"]
    assert all(closed.values())
    wants_tls, _ = json.loads(s3.get_bucket_policy(Bucket="calls-audit")["Policy"])["Statement"]
    assert (wants_tls["Effect"], wants_tls["Condition"]) == ("Deny", {"Bool": {"aws:SecureTransport": "false"}})
    # This account's CloudFormation forgets the lock; AWS would not.
    assert template()["Resources"]["AuditTable"]["Properties"]["ObjectLockEnabled"] is True


def test_no_other_role_can_ask_to_erase(outputs: dict[str, str]) -> None:
    """A request in the table makes the scheduled run delete: else each role that writes rows could cause a deletion."""
    policy = json.loads(boto3.client("s3").get_bucket_policy(Bucket="calls-audit")["Policy"])
    _, denied = policy["Statement"]
    name = outputs["ARCHIVE_ROLE_PREFIX"].rpartition("/")[2] + "erase"
    erasing = boto3.client("iam").get_role(RoleName=name)["Role"]
    assert (denied["Effect"], denied["Principal"], denied["Action"]) == ("Deny", "*", "s3:PutObject")
    assert denied["Condition"] == {"ArnNotEquals": {"aws:PrincipalArn": erasing["Arn"]}}
    run = "arn:aws:s3:::calls-audit/recordings/_runs/20260112T030000Z-01234567"
    told = {ending: fnmatchcase(run + ending, denied["Resource"]) for ending in (ERASURE, ERASED, START, END, CLOSED)}
    assert [ending for ending, is_denied in told.items() if is_denied] == [ERASURE]


def test_s3_is_reached_through_its_own_endpoint(outputs: dict[str, str]) -> None:
    (endpoint,) = boto3.client("ec2").describe_vpc_endpoints()["VpcEndpoints"]
    assert (endpoint["ServiceName"], endpoint["VpcEndpointType"]) == ("com.amazonaws.us-east-1.s3", "Gateway")


def test_what_holds_evidence_outlives_the_stack() -> None:
    resources = template()["Resources"]
    kept = {name for name, each in resources.items() if each.get("DeletionPolicy") == "RetainExceptOnCreate"}
    assert kept == {"AuditTable", "AuditTablePolicy", "Images"}
    assert {resources[name]["UpdateReplacePolicy"] for name in kept} == {"Retain"}


def test_a_lifecycle_rule_joins_those_that_are_there(aws: Server) -> None:
    s3 = boto3.client("s3")
    s3.create_bucket(Bucket="with-rules")
    theirs: Any = {"ID": "theirs", "Status": "Enabled", "Filter": {"Prefix": "logs/"}, "Expiration": {"Days": 9}}
    s3.put_bucket_lifecycle_configuration(Bucket="with-rules", LifecycleConfiguration={"Rules": [theirs]})
    for path in sorted((ROOT / "deployments" / "lifecycle").glob("*.json")) * 2:
        subprocess.run([sys.executable, "-m", "deployments.lifecycle", "with-rules", str(path)], cwd=ROOT, check=True)
    rules = s3.get_bucket_lifecycle_configuration(Bucket="with-rules")["Rules"]
    assert len(rules) == 4
    assert rules[0] == theirs
    moving = {rule["ID"]: rule["Filter"]["And"] for rule in rules if rule.get("Transitions")}
    assert [each.get("Tags") for each in moving.values()] == [[{"Key": "converted", "Value": "True"}], None]
