"""The policies in deployments/: enough, not more, on a server that enforces them."""

import json
import os
import uuid
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, cast

import boto3
import duckdb
import pytest

from demo.servers import Server, s3_server
from recordings.errors import StoreRefused
from recordings.finding import PreflightFailed
from recordings.handover.export import plan_export
from recordings.handover.hand_over import hand_over
from recordings.jobs.drifts import Drift, write_differences
from recordings.jobs.engine.deletion import check_may_delete
from recordings.jobs.engine.intents import set_out
from recordings.jobs.engine.job import batches_of, plan_job
from recordings.jobs.engine.settlement import settle
from recordings.jobs.fixity import check_batch
from recordings.jobs.reconcile import reconcile_day
from recordings.jobs.release import release_batch
from recordings.jobs.restore import restore_batch
from recordings.plan import list_day
from recordings.pool import Pool
from recordings.preflight.canary import check_sight
from recordings.preflight.checks import all_findings, check_bucket
from recordings.pricing import prices
from recordings.recording import Batch, Day
from recordings.resample import resample_batch
from recordings.s3.deleting import DeletingStore
from recordings.s3.store import Store
from recordings.savings.sums import savings
from recordings.settings import Settings
from recordings.table.files import AuditFiles, open_files
from recordings.table.parquet import parquet_bytes, write_rows
from recordings.table.reading import final_recordings
from recordings.table.records import Kind
from recordings.table.rows import AuditRow, Status
from recordings.tag import tag_batch
from recordings.verify import verify_batch
from tests.bucket import DAY, PREFIX, key_of
from tests.fixtures import MakeCall, PlanRun

pytestmark = pytest.mark.slow
POLICIES = Path(__file__).parents[2] / "deployments" / "policies"
# What S3 asks for and this server does not: lock in the headers of a PUT, and who may see a lock ("Actions,
# resources, and condition keys for Amazon S3" in the Service Authorization Reference). KMS is no part of it either.
NOT_ENFORCED_HERE = {
    "s3:GetObjectLegalHold",
    "s3:GetObjectRetention",
    "s3:PutObjectLegalHold",
    "s3:PutObjectRetention",
    "kms:Decrypt",
    "kms:GenerateDataKey",
}
# The same for one role only: S3 tells that an object has tags only to who may read them, this server tells everybody;
# and it does not ask who may set tags where a PUT's or a copy's headers do.
NOT_ENFORCED_FOR = {
    ("estimate", "s3:GetObjectTagging"),
    ("estimate", "s3:GetObjectAcl"),  # in a bucket without versions
    ("restore", "s3:PutObjectTagging"),
}
# Needed only to settle what dead runs of other kinds have done: test_life_end_policies.py shows that.
NEEDED_TO_SETTLE = {
    *((policy, "s3:GetBucketObjectLockConfiguration") for policy in ("restore", "release", "reconcile", "check")),
    ("check", "s3:GetObjectVersionTagging"),
    *((policy, "s3:ListBucketVersions") for policy in ("restore", "release", "check")),
}
# Asked for where a request names no version, as is so in a bucket without versioning.
OF_UNVERSIONED = {"s3:GetObjectAcl", "s3:GetObjectTagging", "s3:PutObjectTagging"}

NOTES = ["left-alone-stays", "kept-for", "originals-cost"]  # on a sound bucket


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with s3_server(tmp_path_factory.mktemp("iam"), enforce_iam=True) as server:
        yield server


@cache
def client(service: str, url: str) -> Any:
    """Root's: botocore takes half a second to read its model of IAM."""
    return boto3.Session("demo", "demo", region_name="us-east-1").client(cast(Any, service), endpoint_url=url)


@lru_cache(maxsize=4)
def store_of(bucket: str, _user: str) -> DeletingStore:
    """A user's, the same one for each use: it takes 60 ms to make."""
    return DeletingStore(bucket, Settings())


class World:
    """Two buckets on the enforcing server, root's view of them, and users with policies."""

    def __init__(self, server: Server, monkeypatch: pytest.MonkeyPatch, *, versioned: bool = True) -> None:
        self.recordings, self.audit = f"recordings-{uuid.uuid4().hex[:8]}", f"audit-{uuid.uuid4().hex[:8]}"
        self._monkeypatch = monkeypatch
        for name, value in server.env.items():
            monkeypatch.setenv(name, value)
        self.root, self._iam = client("s3", server.url), client("iam", server.url)
        for bucket in (self.recordings, self.audit):
            self.root.create_bucket(Bucket=bucket)
        if versioned:
            self.root.put_bucket_versioning(Bucket=self.recordings, VersioningConfiguration={"Status": "Enabled"})

    def enable_acls(self) -> None:
        self.root.put_bucket_ownership_controls(
            Bucket=self.recordings, OwnershipControls={"Rules": [{"ObjectOwnership": "ObjectWriter"}]}
        )

    def become(self, policy: str, *, without: str | None = None) -> None:
        """A user with this policy (less one action), and nothing else."""
        name = f"user-{uuid.uuid4().hex[:8]}"
        self._iam.create_user(UserName=name)
        document = json.dumps(self.filled(policy, without))
        self._iam.put_user_policy(UserName=name, PolicyName=policy, PolicyDocument=document)
        key = self._iam.create_access_key(UserName=name)["AccessKey"]
        self._monkeypatch.setenv("AWS_ACCESS_KEY_ID", key["AccessKeyId"])
        self._monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", key["SecretAccessKey"])

    def filled(self, policy: str, without: str | None) -> dict[str, Any]:
        text = (POLICIES / f"{policy}.json").read_text()
        for name, value in (("RecordingsBucket", self.recordings), ("AuditBucket", self.audit)):
            text = text.replace("${" + name + "}", value)
        document: dict[str, Any] = json.loads(
            text.replace("${RecordingsKeyArn}", "arn:aws:kms:us-east-1:000000000000:key/k")
        )
        for statement in document["Statement"]:
            statement["Action"] = [action for action in statement["Action"] if action != without]
        document["Statement"] = [statement for statement in document["Statement"] if statement["Action"]]
        return document

    @property
    def store(self) -> DeletingStore:
        return store_of(self.recordings, os.environ["AWS_ACCESS_KEY_ID"])

    @property
    def files(self) -> AuditFiles:
        return open_files(f"s3://{self.audit}/table", lambda bucket: store_of(bucket, os.environ["AWS_ACCESS_KEY_ID"]))


@pytest.fixture
def world(server: Server, monkeypatch: pytest.MonkeyPatch) -> World:
    return World(server, monkeypatch)


@pytest.fixture
def unversioned_world(server: Server, monkeypatch: pytest.MonkeyPatch) -> World:
    return World(server, monkeypatch, versioned=False)


def archive_by_every_request(world: World, plan: PlanRun, pool: Pool, body: bytes) -> list[AuditRow]:
    """Every request that a run can send, and that nothing was refused."""
    for number, tagging in ((1, "a=b"), (2, "")):
        world.root.put_object(Bucket=world.recordings, Key=key_of(number), Body=body, Tagging=tagging)
    accept = ["unversioned"]
    run = plan(world.recordings, audit_uri=f"s3://{world.audit}/table", readback_percent=100, accept=accept)
    store = world.store
    findings = check_bucket(store, [PREFIX], oldest_days=13, may_write=True, accept=accept)
    assert not [finding.code for finding in findings if finding.code.startswith("cannot-see")]
    listing = list_day(store, world.files, Day(prefix=PREFIX, date=DAY), run)
    store.sight = check_sight(store, run)
    resampled = resample_batch(store, Batch(DAY, 1, listing.open), run, pool)
    asked_one_by_one = store.requests["HeadObject"]
    rows = verify_batch(store, resampled, pool, 100)
    assert store.requests["HeadObject"] == asked_one_by_one  # by one listing of versions
    rows = tag_batch(store, rows, pool)
    assert [(row.status, row.tagged) for row in rows] == [(Status.ARCHIVED, True)] * 2, rows[0].reason
    again = resample_batch(store, Batch(DAY, 1, list_day(store, world.files, listing.day, run).open), run, pool)
    assert {row.status for row in again} == {Status.ARCHIVED}
    write_rows(world.files, rows, run_id=run.run_id, number=1)
    assert list_day(store, world.files, listing.day, run).final_count == 2
    return rows


def job(world: World, kind: Kind) -> Any:
    uri = f"s3://{world.audit}/table"
    return plan_job(kind, bucket=world.recordings, audit_uri=uri, start_date=DAY, end_date=DAY, grace_days=0)


def restore(world: World, rows: list[AuditRow], pool: Pool) -> None:
    next(iter(world.store.list_objects(PREFIX)))
    wanted = job(world, Kind.RESTORE)
    (batch,) = batches_of(rows)
    done = restore_batch(world.store, world.files, batch, wanted, pool)
    assert done.counts == {"restored": 2}, done.failures
    assert settle(world.store, world.files, pool, abandoned_after=timedelta(0)).problems == []


def release(world: World, rows: list[AuditRow], pool: Pool) -> None:
    wanted = job(world, Kind.RELEASE)
    check_may_delete(world.store)
    (batch,) = batches_of(rows)
    done = release_batch(world.store, world.files, batch, wanted, pool)
    assert done.counts == {"released": 2}, done.failures
    assert settle(world.store, world.files, pool, abandoned_after=timedelta(0)).problems == []


def reconcile(world: World, rows: list[AuditRow], pool: Pool) -> None:
    wanted = job(world, Kind.RECONCILE)
    (batch,) = batches_of(rows)
    set_out(world.files, replace(wanted, kind=Kind.RELEASE), batch, rows)  # and died
    assert settle(world.store, world.files, pool, abandoned_after=timedelta(0)).problems == []
    drifts = reconcile_day(world.store, world.files, Day(prefix=PREFIX, date=DAY), wanted, pool)
    assert drifts == []
    assert write_differences(
        world.files, wanted, [Drift(code="vanished", key=rows[0].key, sentence="nothing is there")]
    )
    for row in rows:
        world.root.delete_object_tagging(Bucket=world.recordings, Key=row.key)
    begun_rows = [replace(row, verified=False, tagged=False) for row in rows]
    again = tag_batch(world.store, verify_batch(world.store, begun_rows, pool), pool)
    assert all(row.verified and row.tagged for row in again)
    world.store.head(rows[0].key)
    write_rows(world.files, again, run_id=f"r{uuid.uuid4().hex}", number=1)


def actions_of(policy: str) -> list[str]:
    statements = json.loads((POLICIES / f"{policy}.json").read_text())["Statement"]
    return sorted({action for statement in statements for action in statement["Action"]})


def enforced(policy: str) -> list[str]:
    asked = [action for action in actions_of(policy) if action not in NOT_ENFORCED_HERE]
    return [action for action in asked if (policy, action) not in NOT_ENFORCED_FOR | NEEDED_TO_SETTLE]


def report(world: World, rows: list[AuditRow], pool: Pool) -> None:
    assert savings(world.files, prices()).sums.shape[0]
    world.files.create(f"_reports/{uuid.uuid4().hex}.html", b"<html>")


def estimate(world: World, rows: list[AuditRow], pool: Pool) -> None:
    day, profile, version = Day(prefix=PREFIX, date=DAY), rows[0].profile, rows[0].software_version
    done = final_recordings(world.files, day, bucket=world.recordings, profile=profile, software_version=version)
    assert done.recordings
    store = world.store
    found = [store.head(item["Key"]) for item in store.list_objects(f"{PREFIX}{DAY:%Y/%m/%d}/")]
    assert found
    assert store.visible_lifecycle_rules == []
    for each in found:
        assert store.acls_enabled  # not known to this role, so each object is asked
        assert store.acl(each.key, each.version_id)
        assert store.tags(each.key, each.version_id)


def check(world: World, rows: list[AuditRow], pool: Pool) -> None:
    """One by the stored checksum, one read; and a third that is gone, which S3 may say only to who may list."""
    wanted = replace(job(world, Kind.FIXITY), sample_percent=100)
    gone = replace(rows[0], key=f"{rows[0].key}.gone")
    (batch,) = batches_of([replace(rows[0], read_back=True), replace(rows[1], read_back=False), gone])
    done = check_batch(world.store, world.files, batch, wanted, pool)
    assert done.counts == {"checked": 2, "failed": 1}, done.failures
    assert done.reasons == {"vanished": 1}
    assert settle(world.store, world.files, pool, abandoned_after=timedelta(0)).problems == []


def export(world: World, rows: list[AuditRow], pool: Pool) -> None:
    """To the audit bucket. Of a recording that is gone, S3 may say so only to who may list."""
    uri = f"s3://{world.audit}"
    asked = plan_export(
        bucket=world.recordings,
        audit_uri=f"{uri}/table",
        destination_uri=f"{uri}/_exports/{uuid.uuid4().hex}",
        keys=[row.key for row in rows],
        dry_run=False,
    )
    gone = replace(rows[0], key=f"{rows[0].key}.gone")
    name = f"table/recording_date={DAY}/gone-0001.parquet"
    world.root.put_object(Bucket=world.audit, Key=name, Body=parquet_bytes([gone]))
    asked = replace(asked, keys=(*(asked.keys or ()), gone.key))
    done = hand_over(asked, world.store, world.files, pool, Store(world.audit, Settings()))
    assert (done.recordings, len(done.problems)) == (2, 1), done.problems
    assert "deleted; this version no longer exists" in done.problems[0]
    assert [name for name in world.files.names("_runs") if asked.run_id in name and name.endswith(".end.json")]


DEEDS = {
    "export": export,
    "check": check,
    "restore": restore,
    "release": release,
    "reconcile": reconcile,
    "report": report,
    "estimate": estimate,
}
NEEDED = [(policy, action) for policy in DEEDS for action in enforced(policy)]
NEEDED.remove(("release", "s3:ListBucket"))  # without it S3 calls a missing version forbidden; this server does not


def test_archive_may_do_what_it_must(world: World, plan: PlanRun, pool: Pool, a_call: MakeCall) -> None:
    world.become("archive")
    archive_by_every_request(world, plan, pool, a_call())


def test_archive_may_do_what_it_must_where_acls_count(
    world: World, plan: PlanRun, pool: Pool, a_call: MakeCall
) -> None:
    world.enable_acls()
    world.become("archive")
    archive_by_every_request(world, plan, pool, a_call())


def test_archive_may_do_what_it_must_without_versions(
    unversioned_world: World, plan: PlanRun, pool: Pool, a_call: MakeCall
) -> None:
    unversioned_world.become("archive")
    archive_by_every_request(unversioned_world, plan, pool, a_call())


@pytest.mark.parametrize("action", enforced("archive"))
def test_archive_needs_each_action(
    server: Server, monkeypatch: pytest.MonkeyPatch, plan: PlanRun, pool: Pool, a_call: MakeCall, action: str
) -> None:
    world = World(server, monkeypatch, versioned=action not in OF_UNVERSIONED)
    if action.endswith("Acl"):
        world.enable_acls()
    world.become("archive", without=action)
    with pytest.raises((AssertionError, StoreRefused, OSError, PreflightFailed)):
        archive_by_every_request(world, plan, pool, a_call())


@pytest.mark.parametrize("policy", DEEDS)
def test_jobs_may_do_what_they_must(world: World, plan: PlanRun, pool: Pool, a_call: MakeCall, policy: str) -> None:
    rows = archive_by_every_request(world, plan, pool, a_call())
    world.become(policy)
    DEEDS[policy](world, rows, pool)


def test_reconcile_may_do_what_it_must_without_versions(
    unversioned_world: World, plan: PlanRun, pool: Pool, a_call: MakeCall
) -> None:
    rows = archive_by_every_request(unversioned_world, plan, pool, a_call())
    unversioned_world.become("reconcile")
    reconcile(unversioned_world, rows, pool)


@pytest.mark.parametrize(("policy", "action"), NEEDED)
def test_jobs_need_each_action(
    server: Server,
    monkeypatch: pytest.MonkeyPatch,
    plan: PlanRun,
    pool: Pool,
    a_call: MakeCall,
    policy: str,
    action: str,
) -> None:
    of_unversioned = policy == "reconcile" and action in OF_UNVERSIONED
    world = World(server, monkeypatch, versioned=not of_unversioned)
    rows = archive_by_every_request(world, plan, pool, a_call())
    world.become(policy, without=action)
    with pytest.raises((AssertionError, StoreRefused, OSError, duckdb.Error)):
        DEEDS[policy](world, rows, pool)


def test_an_export_may_add_bags_and_records_but_no_rows(
    world: World, plan: PlanRun, pool: Pool, a_call: MakeCall
) -> None:
    rows = archive_by_every_request(world, plan, pool, a_call())
    world.become("export")
    export(world, rows, pool)
    for folder in (f"recording_date={DAY}", "_differences", "_reports"):
        with pytest.raises(StoreRefused, match="s3:PutObject"):
            world.files.create(f"{folder}/r1-0001.parquet", b"1")


def test_no_policy_has_a_wildcard_action() -> None:
    assert not [action for path in POLICIES.glob("*.json") for action in actions_of(path.stem) if "*" in action]


@pytest.mark.parametrize("action", actions_of("inspect"))
def test_inspect_needs_each_action(world: World, action: str) -> None:
    world.become("inspect", without=action)
    with pytest.raises((AssertionError, StoreRefused)):
        assert codes(world) == NOTES


def codes(world: World) -> list[str]:
    world.root.put_object(Bucket=world.recordings, Key=key_of(1))
    findings = all_findings(world.store, [PREFIX], oldest_days=13, may_write=False)
    return [finding.code for finding in findings]


def test_a_refusal_names_the_missing_action(world: World) -> None:
    world.become("inspect", without="s3:GetBucketVersioning")
    with pytest.raises(StoreRefused, match="the role needs s3:GetBucketVersioning there"):
        world.store.versioning()


def test_inspect_may_look_and_nothing_more(world: World) -> None:
    world.become("inspect")
    assert codes(world) == NOTES
    with pytest.raises(StoreRefused):
        world.store.head(key_of(1))


def test_inspect_without_the_right_to_write_finds_what_it_can(world: World) -> None:
    world.become("inspect")
    world.root.put_object(Bucket=world.recordings, Key=key_of(1))
    findings = all_findings(world.store, [PREFIX], oldest_days=13)
    assert [finding.code for finding in findings] == ["cannot-see-conditional-writes", *NOTES]
    assert "s3:PutObject" in findings[0].sentence
