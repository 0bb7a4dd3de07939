"""The roles of expire, erase and hold: enough, no more, in every kind of bucket; and who settles whose dead runs."""

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

import pytest

from demo.servers import Server
from recordings.errors import StoreRefused, StoreUnavailable
from recordings.holds import reason_of
from recordings.jobs.engine.deletion import check_may_delete
from recordings.jobs.engine.intents import set_out
from recordings.jobs.engine.job import Job, batches_of, plan_job
from recordings.jobs.engine.kinds import TRAITS
from recordings.jobs.engine.settlement import settle
from recordings.jobs.erase import Erasure, erase_batch
from recordings.jobs.expire import Expiry, expire_batch
from recordings.jobs.hold import Holding, hold_batch
from recordings.plan import list_day
from recordings.pool import Pool
from recordings.recording import Batch, Day
from recordings.resample import resample_batch
from recordings.retention_rules import RetentionRule
from recordings.run import Run
from recordings.s3.deleting import DeletingStore
from recordings.s3.store import Store
from recordings.settings import Settings
from recordings.table.evidence import check_table
from recordings.table.files import AuditFiles, open_files
from recordings.table.parquet import write_rows
from recordings.table.records import Kind, record_end, record_start
from recordings.table.rows import AuditRow, Status
from recordings.tag import tag_batch
from recordings.verify import verify_batch
from tests.bucket import DAY, PREFIX, Bucket, key_of
from tests.faults import PolicyProxy, faulty_proxy
from tests.fixtures import MakeCall, PlanRun

pytestmark = pytest.mark.slow
POLICIES = Path(__file__).parents[2] / "deployments" / "policies"
CASE = "2026-CV-1"
DATE = datetime(2026, 1, 20, tzinfo=UTC)
SEALED = {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": "arn:aws:kms:us-east-1:000000000000:key/k"}
KINDS_OF_BUCKETS = ("locking", "versioned", "unversioned")
DEEDS = {kind: traits.done for kind, traits in TRAITS.items() if traits.trace and traits.done}
SETTLING = ["restore", "release", "reconcile", "check", "expire", "erase", "hold"]
SEEING_HOLDS = {  # each action with a kind of bucket in which only it shows a hold
    **dict.fromkeys(("s3:ListBucketVersions", "s3:GetBucketObjectLockConfiguration"), "locking"),
    **{"s3:GetObjectLegalHold": "locking", "s3:GetObjectVersionTagging": "versioned"},
}
DELETE, HOLD = {"s3:DeleteObjectVersion"}, {"s3:PutObjectLegalHold"}


def statements(policy: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((POLICIES / f"{policy}.json").read_text())["Statement"]
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """A bucket of recordings sealed by KMS, a bucket with the audit table that knows them, and the server of both."""

    server: Server
    recordings: Bucket
    audit: Bucket
    rows: list[AuditRow]

    @property
    def audit_uri(self) -> str:
        return f"s3://{self.audit.name}/table"

    @property
    def store(self) -> DeletingStore:
        return store_of(self.recordings.name, os.environ["AWS_ENDPOINT_URL"])

    @property
    def files(self) -> AuditFiles:
        return open_files(self.audit_uri, lambda bucket: store_of(bucket, os.environ["AWS_ENDPOINT_URL"]))

    @contextmanager
    def as_role(self, policy: str, *, without: tuple[str, str] | None = None) -> Iterator[PolicyProxy]:
        """This process acts as the role; ``without`` names a statement and one of its actions."""
        filled = json.dumps(statements(policy)).replace("${RecordingsBucket}", self.recordings.name)
        given = json.loads(filled.replace("${AuditBucket}", self.audit.name))
        for each in given:
            each["Action"] = [action for action in each["Action"] if (each["Sid"], action) != without]
        proxy = PolicyProxy(self.server.url, given)
        with faulty_proxy(proxy) as address, pytest.MonkeyPatch.context() as patch:
            patch.setenv("AWS_ENDPOINT_URL", address)
            patch.setenv("ARCHIVE_PATIENCE_S", "1")
            yield proxy

    def plan(self, kind: Kind, **parameters: Any) -> Job:
        place: dict[str, Any] = {"bucket": self.recordings.name, "prefixes": [PREFIX], "audit_uri": self.audit_uri}
        return plan_job(kind, **place, **parameters)


@lru_cache(maxsize=4)
def store_of(bucket: str, _endpoint: str) -> DeletingStore:
    """The same one for each use: it takes 60 ms to make. A role has an endpoint of its own, and so a store."""
    return DeletingStore(bucket, Settings())


class MakeWorld(Protocol):
    def __call__(self, kind: str, count: int = ...) -> World: ...


@pytest.fixture
def make_world(s3: Server, plan: PlanRun, pool: Pool, a_call: MakeCall) -> MakeWorld:
    def make(kind: str, count: int = 2) -> World:
        recordings, audit = Bucket(s3, versioned=kind != "unversioned"), Bucket(s3, versioned=False)
        if kind == "locking":
            lock = {"ObjectLockEnabled": "Enabled"}
            recordings.client.put_object_lock_configuration(Bucket=recordings.name, ObjectLockConfiguration=lock)
        for number in range(1, count + 1):
            recordings.put(key_of(number), a_call(number), **SEALED)
        world = World(server=s3, recordings=recordings, audit=audit, rows=[])
        run = plan(recordings.name, audit_uri=world.audit_uri, accept=["unversioned"])
        world.rows.extend(archived_rows(world.store, world.files, run, pool))
        assert {row.status for row in world.rows} == {Status.ARCHIVED}, world.rows[0].reason
        write_rows(world.files, world.rows, run_id=run.run_id, number=1)
        return world

    return make


def archived_rows(store: Store, files: AuditFiles, run: Run, pool: Pool) -> list[AuditRow]:
    listing = list_day(store, files, Day(prefix=PREFIX, date=DAY), run)
    resampled = resample_batch(store, Batch(DAY, 1, listing.open), run, pool)
    return tag_batch(store, verify_batch(store, resampled, pool), pool)


def carry_out(world: World, job: Job, pool: Pool, work: Callable[..., Any], each_batch: Callable[..., Any]) -> Any:
    """As the flow does: begin, settle, go over the batches, end."""
    if job.traits.deletes_versions:
        check_may_delete(world.store)
    if job.traits.relies_on_table:
        check_table(world.files, job.audit_uri)
    record_start(world.files, job)
    assert settle(world.store, world.files, pool, abandoned_after=timedelta(0)).problems == []
    walk = work(job, world.store, world.files)
    for batches in walk:
        walk.add(batches, [each_batch(world.store, world.files, batch, job, pool) for batch in batches])
    assert not walk.problems, walk.problems
    assert walk.sums.counts == {str(job.traits.done): len(world.rows)}, walk.sums.failures
    record_end(world.files, job, totals={}, manifest=walk.sums.files)
    return walk


def expire(world: World, pool: Pool) -> None:
    job = world.plan(Kind.EXPIRE, rules=(RetentionRule(tag="a=b", keep_days=1), RetentionRule(keep_days=30)))
    carry_out(world, job, pool, Expiry, expire_batch)
    assert not world.recordings.snapshot()


def erase(world: World, pool: Pool) -> None:
    job = world.plan(Kind.ERASE, keys=[row.key for row in world.rows], case="2026-GDPR-1")
    carry_out(world, job, pool, Erasure, erase_batch).conclude()
    assert not world.recordings.snapshot()


def hold(world: World, pool: Pool) -> None:
    for kind in (Kind.HOLD, Kind.LIFT):
        job = world.plan(kind, keys=[row.key for row in world.rows], case=CASE)
        carry_out(world, job, pool, Holding, hold_batch)


WORK = {"expire": expire, "erase": erase, "hold": hold}
EACH = [(policy, each["Sid"], action) for policy in WORK for each in statements(policy) for action in each["Action"]]


def settle_all(world: World, pool: Pool) -> None:
    settlement = settle(world.store, world.files, pool, abandoned_after=timedelta(0))
    assert (settlement.problems, settlement.rows) == ([], len(world.rows))


@pytest.mark.parametrize("kind", KINDS_OF_BUCKETS)
@pytest.mark.parametrize("policy", WORK)
def test_a_role_may_do_what_it_must(make_world: MakeWorld, pool: Pool, policy: str, kind: str) -> None:
    world = make_world(kind)
    with world.as_role(policy) as role:
        WORK[policy](world, pool)
    assert not role.refused
    assert not role.hidden


@pytest.mark.parametrize(("policy", "statement", "action"), EACH)
def test_a_role_needs_each_action(make_world: MakeWorld, pool: Pool, policy: str, statement: str, action: str) -> None:
    """In one kind of bucket at least, or to settle what a dead run has done."""
    assert any(ends_badly(each, policy, (statement, action)) for each in all_there_is_to_do(make_world, pool, policy))


Work = tuple[World, Callable[[World], None]]


def all_there_is_to_do(make_world: MakeWorld, pool: Pool, policy: str) -> Iterator[Work]:
    for kind in KINDS_OF_BUCKETS:
        yield make_world(kind), lambda world: WORK[policy](world, pool)
    world = make_world("locking", len(DEEDS))
    dead_runs(world)
    yield world, lambda world: settle_all(world, pool)
    if policy == "expire":
        world = make_world("unversioned")
        deleted_by_lifecycle(world, world.rows.pop())
        yield world, lambda world: expire(world, pool)


def deleted_by_lifecycle(world: World, row: AuditRow) -> None:
    client, name = world.recordings.client, world.recordings.name
    rule = {"ID": "r", "Status": "Enabled", "Filter": {"Prefix": PREFIX}, "Expiration": {"Date": DATE}}
    client.put_bucket_lifecycle_configuration(Bucket=name, LifecycleConfiguration={"Rules": [rule]})
    for version in world.recordings.versions(row.key):
        client.delete_object(Bucket=name, Key=row.key, VersionId=version["VersionId"])


def ends_badly(to_do: Work, policy: str, without: tuple[str, str]) -> bool:
    world, work = to_do
    with world.as_role(policy, without=without) as role:
        try:
            work(world)
        except (AssertionError, StoreRefused, StoreUnavailable, OSError):
            assert role.refused[without[1]] or role.hidden[without[1]]
            return True
    return False


def dead_runs(world: World) -> None:
    """A run of each kind that did its work and wrote no row."""
    client, name = world.recordings.client, world.recordings.name
    for row, (kind, status) in zip(world.rows, DEEDS.items(), strict=True):
        job = world.plan(kind, case=CASE, keys=[row.key], rules=[RetentionRule(keep_days=30)])
        (batch,) = batches_of([row])
        reason = reason_of(CASE) if kind in (Kind.HOLD, Kind.LIFT) else "retention: kept"
        set_out(world.files, job, batch, [replace(row, run_id=job.run_id, status=status, reason=reason)])
        if kind is Kind.RELEASE:
            client.delete_object(Bucket=name, Key=row.key, VersionId=row.version_before)
        if kind is Kind.RESTORE:
            world.recordings.put(row.key, world.recordings.body(row.key, row.version_before), **SEALED)
        if kind in (Kind.EXPIRE, Kind.ERASE):
            for version in world.recordings.versions(row.key):
                client.delete_object(Bucket=name, Key=row.key, VersionId=version["VersionId"])
        if kind is Kind.HOLD:
            held(world, row)


def held(world: World, row: AuditRow) -> None:
    client, of = world.recordings.client, {"Bucket": world.recordings.name, "Key": row.key}
    if world.store.locks_enabled:
        client.put_object_legal_hold(**of, VersionId=row.version_after, LegalHold={"Status": "ON"})
    else:
        tag_set = [{"Key": "legal-hold", "Value": CASE}]
        client.put_object_tagging(**of, VersionId=row.version_after, Tagging={"TagSet": tag_set})


@pytest.mark.parametrize("kind", ["locking", "versioned"])
@pytest.mark.parametrize("policy", SETTLING)
def test_each_role_settles_dead_runs_of_each_kind(make_world: MakeWorld, pool: Pool, policy: str, kind: str) -> None:
    world = make_world(kind, len(DEEDS))
    dead_runs(world)
    with world.as_role(policy):
        settle_all(world, pool)


@pytest.mark.parametrize("action", SEEING_HOLDS)
@pytest.mark.parametrize("policy", SETTLING)
def test_each_role_needs_to_see_holds_to_settle_them(
    make_world: MakeWorld, pool: Pool, policy: str, action: str
) -> None:
    world = make_world(SEEING_HOLDS[action], len(DEEDS))
    dead_runs(world)
    (statement,) = (each["Sid"] for each in statements(policy) if action in each["Action"])
    assert ends_badly((world, lambda world: settle_all(world, pool)), policy, (statement, action))


def test_who_may_delete_and_who_may_hold() -> None:
    actions = {path.stem: {a for each in statements(path.stem) for a in each["Action"]} for path in POLICIES.glob("*")}
    assert {policy for policy, allowed in actions.items() if allowed & DELETE} == {"release", "expire", "erase"}
    assert not {action for allowed in actions.values() for action in allowed if "Delete" in action} - DELETE
    # Archive and restore carry a hold over to the object that they write; only hold sets one anew.
    assert {policy for policy, allowed in actions.items() if allowed & HOLD} == {"hold", "archive", "restore"}
    for policy in ("release", "expire", "erase"):
        assert not {a for a in actions[policy] if a.startswith("s3:Put")} - {"s3:PutObject"}
        for each in statements(policy):
            assert "s3:PutObject" not in each["Action"] or "AuditBucket" in each["Resource"]
