"""The AwsCredentials block that the settings name decides credentials and endpoint, in every flow and for the table."""

import json
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, cast

import boto3
import pytest
from botocore.config import Config
from prefect_aws import AwsCredentials
from prefect_aws.client_parameters import AwsClientParameters

from demo.servers import Server, s3_server
from flows.archive import archive_recordings
from flows.estimate import estimate_savings
from flows.parameters import Table
from flows.reconcile import reconcile_audit
from flows.release import release_originals
from flows.report import report_estate, report_savings
from flows.restore import restore_recordings
from recordings.savings.estate import EstateIncomplete
from recordings.settings import settings
from tasks.workplace import session
from tests.bucket import DAY, PREFIX, key_of
from tests.fixtures import MakeCall, Setting

pytestmark = pytest.mark.usefixtures("prefect")
ROOT = boto3.Session("demo", "demo", region_name="us-east-1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A server that enforces identities, and a bucket on it."""

    url: str
    bucket: str

    def client(self, service: str) -> Any:
        return cast(Any, ROOT).client(service, endpoint_url=self.url)

    def user(self, action: str) -> dict[str, str]:
        """The keys of a new user who may do this and nothing else."""
        name, iam = f"user-{uuid.uuid4().hex[:8]}", self.client("iam")
        iam.create_user(UserName=name)
        iam.put_user_policy(UserName=name, PolicyName="may", PolicyDocument=document(Action=action, Resource="*"))
        key = iam.create_access_key(UserName=name)["AccessKey"]
        return {"aws_access_key_id": key["AccessKeyId"], "aws_secret_access_key": key["SecretAccessKey"]}

    def role(self, action: str) -> str:
        name, iam = f"role-{uuid.uuid4().hex[:8]}", self.client("iam")
        trust = document(Action="sts:AssumeRole", Principal={"AWS": "*"})
        arn: str = iam.create_role(RoleName=name, AssumeRolePolicyDocument=trust)["Role"]["Arn"]
        iam.put_role_policy(RoleName=name, PolicyName="may", PolicyDocument=document(Action=action, Resource="*"))
        return arn


def document(**statement: Any) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", **statement}]})


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with s3_server(tmp_path_factory.mktemp("who"), enforce_iam=True, services="s3,iam,sts") as server:
        yield server


@pytest.fixture
def place(server: Server, a_call: MakeCall, setting: Setting, monkeypatch: pytest.MonkeyPatch) -> Place:
    """One call in a bucket; the environment names somebody whom the server does not know."""
    there = Place(url=server.url, bucket=f"recordings-{uuid.uuid4().hex[:8]}")
    s3 = there.client("s3")
    s3.create_bucket(Bucket=there.bucket)
    s3.put_bucket_versioning(Bucket=there.bucket, VersioningConfiguration={"Status": "Enabled"})
    s3.put_object(Bucket=there.bucket, Key=key_of(1), Body=a_call())
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIANOBODY")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    setting(AWS_CREDENTIALS_BLOCK="archive")
    return there


def save_keys(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """The block says all: who, and where."""
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    where = AwsClientParameters(endpoint_url=place.url)
    block = AwsCredentials(**place.user("s3:*"), region_name="us-east-1", aws_client_parameters=where)
    block.save("archive", overwrite=True)


def save_role(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", place.url)
    block = AwsCredentials(**place.user("sts:AssumeRole"), region_name="us-east-1", assume_role_arn=place.role("s3:*"))
    block.save("archive", overwrite=True)


def name_role(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """No block: the process may only act in the role that the settings name, as a task of another account."""
    monkeypatch.delenv("ARCHIVE_AWS_CREDENTIALS_BLOCK")
    monkeypatch.setenv("AWS_ENDPOINT_URL", place.url)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("ARCHIVE_ASSUME_ROLE_ARN", place.role("s3:*"))
    for name, value in place.user("sts:AssumeRole").items():
        monkeypatch.setenv(name.upper(), value)


@pytest.mark.parametrize("save", [save_keys, save_role, name_role])
def test_every_flow_asks_as_the_block_says(
    place: Place, monkeypatch: pytest.MonkeyPatch, save: Callable[[Place, pytest.MonkeyPatch], None]
) -> None:
    save(place, monkeypatch)
    audit_uri = f"s3://{place.bucket}/audit"
    what: dict[str, Any] = {"bucket": place.bucket, "audit_uri": audit_uri, "start_date": DAY, "end_date": DAY}
    assert archive_recordings(prefixes=[PREFIX], **what).counts == {"archived": 1}
    assert archive_recordings(prefixes=[PREFIX], **what).final == 1
    assert estimate_savings(prefixes=[PREFIX], **what).recordings == 0
    assert report_savings(audit_uri).recordings == 1
    assert reconcile_audit(prefixes=[PREFIX], **what).drifts == {}
    assert release_originals(**what, grace_days=0).counts == {"released": 1}  # a dry run
    assert restore_recordings(**what, everything=True, dry_run=False).counts == {"restored": 1}


def test_the_report_on_all_instances_acts_as_the_role_of_each(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    name_role(place, monkeypatch)
    audit_uri = f"s3://{place.bucket}/audit"
    archive_recordings(bucket=place.bucket, prefixes=[PREFIX], audit_uri=audit_uri, start_date=DAY, end_date=DAY)
    monkeypatch.delenv("ARCHIVE_ASSUME_ROLE_ARN")
    settings.cache_clear()
    tables = [
        Table(name="first", audit_uri=audit_uri, role_arn=place.role("s3:*")),
        Table(name="shut", audit_uri=audit_uri, role_arn=place.role("s3:ListBucket")),
        Table(name="own", audit_uri=audit_uri),
    ]
    with pytest.raises(EstateIncomplete) as incomplete:
        report_estate(tables)
    assert [line.partition(" ")[0] for line in str(incomplete.value).split("; ") if " is not in " in line] == [
        "shut",
        "own",
    ]


def test_a_role_is_renewed_and_a_client_is_made_as_the_block_says(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_role(place, monkeypatch)
    block: Any = AwsCredentials.load("archive")
    block.assume_role_kwargs.DurationSeconds = 900  # botocore renews what ends within 15 minutes
    block.aws_client_parameters = AwsClientParameters(
        endpoint_url="http://127.0.0.1:9", config=Config(retries={"mode": "legacy"})
    )
    block.save("archive", overwrite=True)
    made = session()
    credentials = made.get_credentials()
    assert credentials
    first, again = (credentials.access_key for _ in range(2))
    assert first != again
    client = made.client("s3", config=Config(read_timeout=7))
    assert client.meta.endpoint_url == "http://127.0.0.1:9"
    config: Any = client.meta.config
    assert (config.retries["mode"], config.read_timeout) == ("legacy", 7)
