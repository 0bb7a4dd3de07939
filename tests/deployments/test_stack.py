"""Our part of an AWS account, deployed to one on this machine."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import boto3
import pytest

from demo.servers import Server
from deployments.deploy import NEEDED
from deployments.stack import install, template
from tests.deployments.conftest import NAME

ROOT = Path(__file__).parents[2]
POLICIES = {path.stem: json.loads(path.read_text()) for path in (ROOT / "deployments" / "policies").glob("*.json")}


def test_cfn_lint_finds_nothing(tmp_path: Path) -> None:
    path = tmp_path / "stack.json"
    path.write_text(json.dumps(template()))
    cfn_lint = Path(sys.executable).parent / "cfn-lint"
    done = subprocess.run([cfn_lint, path], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr


def test_it_says_what_make_deploy_asks_for(outputs: dict[str, str]) -> None:
    assert outputs["ARCHIVE_AUDIT_URI"] == "s3://calls-audit/recordings"
    assert outputs.keys() - {"ARCHIVE_REPOSITORY"} <= NEEDED.keys()


def test_the_same_again_changes_nothing(parameters: dict[str, str], outputs: dict[str, str]) -> None:
    assert install(NAME, parameters) == outputs


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


def test_the_audit_bucket_is_versioned_encrypted_closed_and_wants_tls(outputs: dict[str, str]) -> None:
    s3 = boto3.client("s3")
    assert s3.get_bucket_versioning(Bucket="calls-audit")["Status"] == "Enabled"
    assert s3.get_bucket_encryption(Bucket="calls-audit")["ServerSideEncryptionConfiguration"]["Rules"]
    closed = s3.get_public_access_block(Bucket="calls-audit")["PublicAccessBlockConfiguration"]
    assert all(closed.values())
    (statement,) = json.loads(s3.get_bucket_policy(Bucket="calls-audit")["Policy"])["Statement"]
    assert (statement["Effect"], statement["Condition"]) == ("Deny", {"Bool": {"aws:SecureTransport": "false"}})
    # This account's CloudFormation forgets the lock; AWS would not.
    assert template()["Resources"]["AuditTable"]["Properties"]["ObjectLockEnabled"] is True


def test_s3_is_reached_through_its_own_endpoint_and_logs_are_watched(outputs: dict[str, str]) -> None:
    (endpoint,) = boto3.client("ec2").describe_vpc_endpoints()["VpcEndpoints"]
    assert (endpoint["ServiceName"], endpoint["VpcEndpointType"]) == ("com.amazonaws.us-east-1.s3", "Gateway")
    (alarm,) = boto3.client("cloudwatch").describe_alarms()["MetricAlarms"]
    assert (alarm["Period"] * alarm["EvaluationPeriods"], alarm["TreatMissingData"]) == (26 * 3600, "breaching")
    (watched,) = boto3.client("logs").describe_metric_filters()["metricFilters"]
    assert watched["filterPattern"] == '"archive-daily succeeded"'
    assert watched["metricTransformations"][0]["metricName"] == alarm["MetricName"]


def test_what_holds_evidence_outlives_the_stack() -> None:
    resources = template()["Resources"]
    kept = {name for name, each in resources.items() if each.get("DeletionPolicy") == "Retain"}
    assert kept == {"AuditTable", "AuditTablePolicy", "Images"}


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
