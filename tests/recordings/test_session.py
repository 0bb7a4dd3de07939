"""Who and where are boto3's own, for writer and readers alike: on a server that knows who is who."""

import gc
import json
import os
import sys
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any, cast

import boto3
import pytest

from demo.servers import Server, s3_server
from recordings.errors import StoreRefused, StoreUnavailable
from recordings.pricing import prices
from recordings.recording import Day
from recordings.s3.session import assume_role, own_session
from recordings.savings.sums import savings
from recordings.table.evidence import verify_audit
from recordings.table.files import AuditFiles, open_table
from recordings.table.parquet import write_rows
from recordings.table.reading import audit_dataset, audit_parts, final_recordings, read_audit
from tests.bucket import DAY
from tests.fixtures import Setting
from tests.recordings.tables import ROW

pytestmark = pytest.mark.slow

TO_TABLE = ("s3:ListBucket", "s3:GetObject", "s3:PutObject")
NOWHERE = "http://127.0.0.1:9"  # the port of discard, on which nobody listens
WRONG = {"AWS_ACCESS_KEY_ID": "AKIANOBODY", "AWS_SECRET_ACCESS_KEY": "secret"}
KEY = "calls/2026/01/12/a.wav"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with s3_server(tmp_path_factory.mktemp("who"), enforce_iam=True, services="s3,iam,sts") as server:
        yield server


@cache
def client(service: str, url: str) -> Any:
    """The server's owner's: botocore takes half a second to read its model of IAM."""
    return boto3.Session("demo", "demo", region_name="us-east-1").client(cast(Any, service), endpoint_url=url)


class World:
    """A bucket, people who may use it, and an environment that says nothing of any of them."""

    def __init__(self, server: Server, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.url, self._folder, self._monkeypatch = server.url, folder, monkeypatch
        self._iam, self.s3 = client("iam", server.url), client("s3", server.url)
        self.bucket = f"audit-{uuid.uuid4().hex[:8]}"
        self.s3.create_bucket(Bucket=self.bucket)
        self.audit_uri = f"s3://{self.bucket}/table"
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            monkeypatch.delenv(name)
        self.env(AWS_CONFIG_FILE=folder / "config", AWS_SHARED_CREDENTIALS_FILE=folder / "credentials")
        self.env(AWS_EC2_METADATA_DISABLED="true", AWS_DEFAULT_REGION="us-east-1")

    def env(self, **variables: object) -> None:
        for name, value in variables.items():
            self._monkeypatch.setenv(name, str(value))

    def config(self, text: str) -> None:
        (self._folder / "config").write_text(text)

    def user(self, *actions: str) -> dict[str, Any]:
        """The keys of a new user who may do this and nothing else."""
        name = f"user-{uuid.uuid4().hex[:8]}"
        self._iam.create_user(UserName=name)
        self._iam.put_user_policy(UserName=name, PolicyName="may", PolicyDocument=may(*actions))
        key = self._iam.create_access_key(UserName=name)["AccessKey"]
        return {"aws_access_key_id": key["AccessKeyId"], "aws_secret_access_key": key["SecretAccessKey"]}

    def role(self, *actions: str) -> str:
        """A new role that anybody may assume who may assume roles."""
        name = f"role-{uuid.uuid4().hex[:8]}"
        trust = {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"AWS": "*"}}
        document = json.dumps({"Version": "2012-10-17", "Statement": [trust]})
        arn: str = self._iam.create_role(RoleName=name, AssumeRolePolicyDocument=document)["Role"]["Arn"]
        self._iam.put_role_policy(RoleName=name, PolicyName="may", PolicyDocument=may(*actions))
        return arn

    def dismiss(self, keys: dict[str, str]) -> None:
        self._iam.delete_access_key(AccessKeyId=keys["aws_access_key_id"], UserName=self._owner(keys))

    def _owner(self, keys: dict[str, str]) -> str:
        used: str = self._iam.get_access_key_last_used(AccessKeyId=keys["aws_access_key_id"])["UserName"]
        return used


def may(*actions: str) -> str:
    statement = {"Effect": "Allow", "Action": list(actions), "Resource": "*"}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def lines(keys: dict[str, str]) -> str:
    return "".join(f"{name} = {value}\n" for name, value in keys.items())


@pytest.fixture
def world(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    return World(server, tmp_path, monkeypatch)


def by_environment(world: World) -> None:
    world.env(**{name.upper(): value for name, value in world.user(*TO_TABLE).items()}, AWS_ENDPOINT_URL=world.url)


def by_environment_of_s3(world: World) -> None:
    by_environment(world)
    world.env(AWS_ENDPOINT_URL=NOWHERE, AWS_ENDPOINT_URL_S3=world.url)


def by_shared_credentials(world: World) -> None:
    Path(os.environ["AWS_SHARED_CREDENTIALS_FILE"]).write_text(f"[acme]\n{lines(world.user(*TO_TABLE))}")
    world.env(AWS_PROFILE="acme", AWS_ENDPOINT_URL=world.url)


def by_profile_with_endpoint(world: World) -> None:
    world.config(f"[profile acme]\nendpoint_url = {world.url}\n{lines(world.user(*TO_TABLE))}")
    world.env(AWS_PROFILE="acme")


def by_role_of_profile(world: World) -> None:
    source = f"[profile source]\n{lines(world.user('sts:AssumeRole'))}"
    world.config(f"{source}[profile acme]\nrole_arn = {world.role(*TO_TABLE)}\nsource_profile = source\n")
    world.env(AWS_PROFILE="acme", AWS_ENDPOINT_URL=world.url)


def by_process(world: World) -> None:
    told = Path(os.environ["AWS_CONFIG_FILE"]).with_name("told.json")
    tell(told, world.user(*TO_TABLE))
    world.config(f"[profile acme]\ncredential_process = {process(told)}\nendpoint_url = {world.url}\n")
    world.env(AWS_PROFILE="acme")


def process(told: Path) -> str:
    return f"{sys.executable} -S -c \"print(open('{told}').read())\""


def tell(told: Path, keys: dict[str, str]) -> None:
    """What the process answers: keys so close to their end that each request asks anew."""
    ends_at = datetime.now(UTC) + timedelta(minutes=5)
    told.write_text(
        json.dumps(
            {
                "Version": 1,
                "AccessKeyId": keys["aws_access_key_id"],
                "SecretAccessKey": keys["aws_secret_access_key"],
                "Expiration": ends_at.isoformat(),
            }
        )
    )


WAYS = (by_environment, by_environment_of_s3, by_shared_credentials, by_profile_with_endpoint, by_role_of_profile)


def reads(world: World, session: Any = None) -> dict[str, Any]:
    """Each reader of the table, to be called."""
    day = Day(prefix="calls/", date=DAY)
    known = {"bucket": "recordings", "profile": "alaw-mono", "software_version": "1"}

    def files() -> AuditFiles:
        return open_table(world.audit_uri, session)

    return {
        "read_audit": lambda: len(read_audit(world.audit_uri, session=session)),
        "audit_dataset": lambda: audit_dataset(world.audit_uri, DAY, DAY, session).count_rows(),
        "final_recordings": lambda: len(final_recordings(files(), day, **known).recordings),
        "savings": lambda: int(savings(files(), prices()).sums["recordings"].sum()),
        "verify_audit": lambda: len(verify_audit(world.audit_uri, session).discrepancies),  # no run lists the file
    }


def write(world: World, session: Any = None, **changes: Any) -> None:
    write_rows(open_table(world.audit_uri, session), [replace(ROW, key=KEY, **changes)], run_id="r", number=1)


@pytest.mark.parametrize("way", [*WAYS, by_process])
def test_who_may_write_may_read(world: World, way: Callable[[World], None]) -> None:
    way(world)
    write(world)
    assert {name: read() for name, read in reads(world).items()} == dict.fromkeys(reads(world), 1)


@pytest.mark.parametrize("way", [by_shared_credentials, by_profile_with_endpoint, by_role_of_profile, by_process])
def test_a_session_that_is_given_is_used_by_all(world: World, way: Callable[[World], None]) -> None:
    way(world)
    given = boto3.Session(profile_name="acme")
    given.client("s3")  # it has read its profile
    world.env(AWS_PROFILE="nobody")
    write(world, given)
    assert {name: read() for name, read in reads(world, given).items()} == dict.fromkeys(reads(world), 1)


def test_keys_that_change_in_a_long_run_are_renewed(world: World) -> None:
    by_process(world)
    told = Path(os.environ["AWS_CONFIG_FILE"]).with_name("told.json")
    files = open_table(world.audit_uri, own_session())
    days = [DAY + timedelta(days=n) for n in range(3)]
    write_rows(files, [replace(ROW, recording_date=day) for day in days], run_id="r", number=1)
    read = []
    for part in audit_parts(files, days=1):
        read.append(part.count_rows())
        old, new = json.loads(told.read_text()), world.user(*TO_TABLE)
        tell(told, new)
        world.dismiss({"aws_access_key_id": old["AccessKeyId"]})
    assert read == [1, 1, 1]
    write_rows(files, [ROW], run_id="r", number=2)


def test_a_role_that_was_assumed_is_assumed_again_before_it_ends(world: World) -> None:
    world.env(AWS_ENDPOINT_URL=world.url)
    session = boto3.Session(**world.user("sts:AssumeRole"))
    assume_role(session, world.role(*TO_TABLE), DurationSeconds=900)  # botocore renews them 15 minutes before the end
    write(world, session)
    assert {name: read() for name, read in reads(world, session).items()} == dict.fromkeys(reads(world), 1)
    credentials = session.get_credentials()
    assert credentials
    first, again = (credentials.access_key for _ in range(2))
    assert first != again


def test_a_role_needs_somebody_to_assume_it(world: World) -> None:
    with pytest.raises(StoreRefused, match="no credentials with which to assume"):
        assume_role(own_session(), world.role(*TO_TABLE))


@pytest.fixture
def written(world: World) -> World:
    """A table of one row, and an environment that says where it is but not who asks."""
    world.env(AWS_ENDPOINT_URL=world.url)
    write(world, boto3.Session(**world.user(*TO_TABLE)))
    return world


def nobody(world: World) -> None:
    """No credentials at all."""


def unknown_profile(world: World) -> None:
    world.env(AWS_PROFILE="nobody")


def unknown_key(world: World) -> None:
    world.env(**WRONG)


def wrong_secret(world: World) -> None:
    world.env(**WRONG | {"AWS_ACCESS_KEY_ID": world.user(*TO_TABLE)["aws_access_key_id"]})


def no_endpoint(world: World) -> None:
    world.env(AWS_ENDPOINT_URL="nowhere")


def no_bucket(world: World) -> None:
    by_environment(world)
    world.s3.delete_object(Bucket=world.bucket, Key=f"table/recording_date={DAY}/r-0001.parquet")
    world.s3.delete_bucket(Bucket=world.bucket)


def may_not_get(world: World) -> None:
    world.env(**{name.upper(): value for name, value in world.user("s3:ListBucket").items()})


def may_not_list(world: World) -> None:
    world.env(**{name.upper(): value for name, value in world.user("s3:GetObject").items()})


@pytest.mark.parametrize(
    ("refusal", "message"),
    [
        (nobody, "Unable to locate credentials: set AWS credentials"),
        (unknown_profile, "profile \\(nobody\\) could not be found"),
        (unknown_key, "InvalidAccessKeyId"),
        (wrong_secret, "SignatureDoesNotMatch"),
        (no_endpoint, "Invalid endpoint: nowhere"),
        (no_bucket, "there is no bucket named"),
        (may_not_get, "GetObject on .* was refused"),
        (may_not_list, "ListObjectsV2 on .* was refused"),
    ],
)
def test_every_reader_says_why_it_was_refused(written: World, refusal: Callable[[World], None], message: str) -> None:
    refusal(written)
    for read in reads(written).values():
        with pytest.raises(StoreRefused, match=message):
            read()


def test_credentials_that_cannot_be_fetched_may_come_yet(written: World) -> None:
    written.config(f"[profile acme]\ncredential_process = {sys.executable} -S -c 'exit(1)'\n")
    written.env(AWS_PROFILE="acme")
    for read in reads(written).values():
        with pytest.raises(StoreUnavailable, match="Error when retrieving credentials"):
            read()


def test_a_server_that_does_not_answer_is_unavailable(written: World, setting: Setting) -> None:
    written.env(**WRONG, AWS_ENDPOINT_URL=NOWHERE)
    setting(PATIENCE_S=0.1, MAX_ATTEMPTS=1)
    for read in reads(written).values():
        with pytest.raises(StoreUnavailable, match="Could not connect"):
            read()


def test_tls_is_checked_against_the_bundle_that_boto3_is_told_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with s3_server(tmp_path / "tls", tls=True) as server:
        for name in ("AWS_ENDPOINT_URL", "AWS_CA_BUNDLE", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.setenv(name, server.env[name])
        with closing(boto3.client("s3")) as client:
            client.create_bucket(Bucket="audit")
        write_rows(open_table("s3://audit"), [ROW], run_id="r", number=1)
        assert len(read_audit("s3://audit")) == 1
        gc.collect()  # ends our connections: over TLS the server would wait for them
