"""What an expiry deletes, and what it leaves: each recording that stays has just one reason for that."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from demo.servers import Server
from recordings.errors import Skipped, StoreRefused
from recordings.holds import reason_of
from recordings.jobs.engine import intents
from recordings.jobs.engine.intents import open_intents
from recordings.jobs.engine.job import batches_of, plan_job
from recordings.jobs.engine.object_search import rows_of_keys
from recordings.jobs.engine.traces import MARKER_LEFT, PARTLY
from recordings.jobs.erase import erase_batch
from recordings.jobs.fixity import check_batch
from recordings.jobs.release import release_batch
from recordings.keys import contact_of
from recordings.marks import EXEMPT_METADATA
from recordings.pool import Pool
from recordings.retention_rules import RetentionRule
from recordings.s3.deleting import DeletingStore, Removable
from recordings.s3.objects import StoredObject
from recordings.settings import Settings
from recordings.table.evidence import verify_audit
from recordings.table.reading import current, read_audit
from recordings.table.records import Kind, record_end, record_start
from recordings.table.rows import AuditRow, Status
from tests.bucket import DAY, ON_BOTH_IN_FULL, ON_MINISTACK, Bucket, key_of
from tests.faults import EVENT_HOLD, AddingProxy, faulty_proxy
from tests.fixtures import MakeCall, PlanRun, Stages
from tests.recordings.expiring import KEEP_30, World
from tests.recordings.tables import ARCHIVED, ARCHIVED_AT, NOW

pytestmark = [pytest.mark.slow, ON_BOTH_IN_FULL]
KEY = key_of(1)


@pytest.fixture
def world(bucket: Bucket, tmp_path: Path) -> World:
    return World(bucket, tmp_path / "audit")


def test_all_versions_go_and_the_row_certifies_it(world: World) -> None:
    row = world.add(1)
    ended = world.expire()
    assert (ended.counts, ended.problems) == ({"expired": 1}, [])
    assert world.left(1) == []
    (told,) = world.rows(Status.EXPIRED)
    kept = ("sha256_before", "sha256_after", "bytes_before", "bytes_after", "version_before", "version_after")
    assert [getattr(told, name) for name in kept] == [getattr(row, name) for name in kept]
    assert (told.run_id, told.original_kept) == (ended.job.run_id, False)
    assert told.reason == "retention: kept 30 days after the call (rule for all other recordings)"
    assert verify_audit(str(world.root)).discrepancies == ()
    assert world.expire().counts == {}, "and nothing is left to look at"


def tag(world: World, row: AuditRow, version: str | None, name: str, value: str) -> None:
    tags = {"TagSet": [{"Key": name, "Value": value}]}
    world.bucket.client.put_object_tagging(Bucket=row.bucket, Key=row.key, VersionId=version, Tagging=tags)


def lockable(world: World) -> None:
    world.bucket.client.put_object_lock_configuration(
        Bucket=world.bucket.name, ObjectLockConfiguration={"ObjectLockEnabled": "Enabled"}
    )


def hold(world: World, row: AuditRow, version: str | None) -> None:
    lockable(world)
    world.bucket.client.put_object_legal_hold(
        Bucket=row.bucket, Key=row.key, VersionId=version, LegalHold={"Status": "ON"}
    )


def lock(world: World, row: AuditRow, version: str | None) -> None:
    lockable(world)
    retention = {"Mode": "GOVERNANCE", "RetainUntilDate": datetime.now(UTC) + timedelta(days=1)}
    world.bucket.client.put_object_retention(Bucket=row.bucket, Key=row.key, VersionId=version, Retention=retention)


def case_in_table(world: World, row: AuditRow) -> None:
    world.tell(replace(row, status=Status.HELD, reason="case: 2026-CV-1", started_at=NOW))


def mark_exempt(world: World, row: AuditRow) -> None:
    """As a restore marks what has ten tags."""
    original = {"ETag": row.etag_before, "VersionId": row.version_before}
    answer = world.bucket.put(row.key, b"original" * 4, Metadata=dict([EXEMPT_METADATA]))
    world.told(row.key, original, answer)


REASONS: dict[str, tuple[Callable[[World, AuditRow], Any], str]] = {
    "hold on the newest": (lambda a, row: hold(a, row, row.version_after), "held: version"),
    "hold on the original only": (lambda a, row: hold(a, row, row.version_before), "held: version"),
    "lock on the newest": (lambda a, row: lock(a, row, row.version_after), "locked: version"),
    "lock on the original only": (lambda a, row: lock(a, row, row.version_before), "locked: version"),
    "case in the table only": (case_in_table, "held: held for 2026-CV-1"),
    "tag of a case": (lambda a, row: tag(a, row, row.version_after, "legal-hold", "C-1"), "held: held for"),
    "tag without a case": (lambda a, row: tag(a, row, row.version_after, "legal-hold", ""), "held: held for"),
    "tag on the original only": (lambda a, row: tag(a, row, row.version_before, "legal-hold", "C-1"), "held: held for"),
    "exempt": (lambda a, row: tag(a, row, row.version_after, "archive", "exempt"), "exempt: marked"),
    "exempt, the original only": (
        lambda a, row: tag(a, row, row.version_before, "archive", "exempt"),
        "exempt: marked",
    ),
    "exempt by metadata": (mark_exempt, "exempt: marked"),
    "overwritten": (lambda a, row: a.bucket.put(row.key, b"theirs"), "changed-since: S3 shows"),
    "written anew, the same": (lambda a, row: a.bucket.put(row.key, b"small" * 4), "changed-since: S3 shows"),
    "resurrected": (
        lambda a, row: a.tell(replace(row, status=Status.EXPIRED, state_at=NOW)),
        "resurrected: run",
    ),
    "kept by its rule": (lambda a, row: tag(a, row, row.version_after, "retention", "long"), "in-retention: kept"),
}
RULES = (RetentionRule(tag="retention=long", keep_days=36500), *KEEP_30)


@pytest.mark.parametrize("reason", REASONS)
def test_a_recording_stays_for_each_reason(world: World, reason: str) -> None:
    """And its neighbour goes."""
    act, said = REASONS[reason]
    row, _ = world.add(1), world.add(2)
    act(world, row)
    before = world.left(1)
    dry = world.expire(RULES, dry_run=True)
    assert sum(dry.counts.values()) == 2
    assert world.left(2), "a dry run deletes nothing"
    world.expire(RULES)
    assert (world.left(1), world.left(2)) == (before, [])
    (told,) = [each for each in world.rows() if each.key == KEY and each.run_id.startswith("2") and each.finished_at
               and each.started_at > NOW and each.status in (Status.SKIPPED, Status.CHANGED)]  # fmt: skip
    assert str(told.reason).startswith(said)
    assert open_intents(world.files, world.bucket.name) == []


def test_an_event_hold_alone_keeps_an_expiry_and_an_erasure_off(
    bucket: Bucket, s3: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No server to be had has event holds: a proxy shows one on each version, and nothing else holds it."""
    with faulty_proxy(AddingProxy(s3.url, EVENT_HOLD, contact_of(KEY) or "")) as address:
        monkeypatch.setenv("AWS_ENDPOINT_URL", address)
        world = World(bucket, tmp_path / "audit")
        row, _ = world.add(1), world.add(2)
        assert world.expire().reasons == {"held": 1}
        job = plan_job(Kind.ERASE, bucket=bucket.name, audit_uri=str(world.root), keys=[KEY], case="1")
        [batch] = batches_of(rows_of_keys([KEY], job, reason_of("1")))
        assert erase_batch(world.store, world.files, batch, job, world.pool).reasons == {"held": 1}
    assert (world.left(1), world.left(2)) == ([row.version_after, row.version_before], [])


def test_what_the_table_does_not_know_stays(world: World) -> None:
    world.add(1)
    world.bucket.put(key_of(2), b"unknown")
    world.bucket.put(KEY.replace(".wav", ".json"), b"no recording")
    assert world.expire().reasons == {"not-in-table": 1}
    assert (world.left(1), len(world.left(2))) == ([], 1)


def never_archived(world: World, status: Status = Status.REJECTED, **properties: Any) -> str:
    """One of two recordings; returns its version."""
    answer = world.bucket.put(KEY, b"not WAV", **properties)
    row = replace(world.add(2), key=KEY, status=status, etag_before=answer["ETag"], version_before=None)
    row = replace(row, version_after=None, etag_after=None, sha256_before=None, sha256_after=None, state_at=None)
    world.tell(row)
    return str(answer["VersionId"])


@pytest.mark.parametrize("status", [Status.SKIPPED, Status.REJECTED])
def test_what_was_never_archived_goes_as_well(world: World, status: Status) -> None:
    """S3 stored no SHA-256 with it, so it is read for the certificate, but not in a dry run."""
    version = never_archived(world, status)
    world.expire(dry_run=True)
    assert world.store.requests["GetObject"] == 0
    assert world.expire().counts == {"expired": 2}
    assert world.left(1) == []
    told = {row.key: row for row in world.rows(Status.EXPIRED)}[KEY]
    assert (told.version_before, told.sha256_before) == (version, sha256(b"not WAV").hexdigest())
    assert world.store.requests["GetObject"] == 1


def test_the_certificate_has_the_hashes_of_both_versions_if_the_table_has_none(world: World) -> None:
    world.tell(replace(world.add(1), sha256_before=None, sha256_after=None, started_at=NOW))
    assert world.expire().counts == {"expired": 1}
    (told,) = world.rows(Status.EXPIRED)
    hashes = [sha256(each * 4).hexdigest() for each in (b"original", b"small")]
    assert [told.sha256_before, told.sha256_after] == hashes


def test_what_must_be_thawed_to_be_read_goes_and_the_row_says_so(world: World) -> None:
    never_archived(world, StorageClass="DEEP_ARCHIVE")
    assert world.expire().counts == {"expired": 2}
    told = {row.key: row for row in world.rows(Status.EXPIRED)}[KEY]
    assert told.sha256_before is None
    assert "; its SHA-256 is not known: needs-thaw: " in str(told.reason)


def test_what_cannot_be_read_for_its_certificate_stays(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    never_archived(world)

    def refused(*_: Any, **__: Any) -> Any:
        raise StoreRefused("AccessDenied: no")

    monkeypatch.setattr(world.store, "read", refused)
    ended = world.expire()
    assert (ended.counts, ended.reasons) == ({"expired": 1, "failed": 1}, {"refused": 1})
    assert world.left(1)


def test_what_only_failed_stays(world: World) -> None:
    answer = world.bucket.put(KEY, b"whatever")
    row = replace(world.add(2), key=KEY, status=Status.FAILED, etag_before=answer["ETag"], state_at=None)
    world.tell(row)
    assert world.expire().reasons == {"not-in-table": 1}


def test_what_vanished_is_told(world: World) -> None:
    row, _ = world.add(1), world.add(2)
    for version in (row.version_before, row.version_after):
        world.bucket.client.delete_object(Bucket=row.bucket, Key=row.key, VersionId=version)
    assert world.expire().reasons == {"vanished": 1}


def one_vanished(world: World, **rule: Any) -> None:
    """One of two recordings, in a bucket with this lifecycle rule, whose days are over unless it says otherwise."""
    row, _ = world.add(1), world.add(2)
    days = {"Expiration": {"Days": 9}, "NoncurrentVersionExpiration": {"NoncurrentDays": 1}}
    rule = {"ID": "r", "Status": "Enabled", "Filter": {"Prefix": ""}, **days, **rule}
    if not rule["NoncurrentVersionExpiration"]:
        del rule["NoncurrentVersionExpiration"]
    world.bucket.client.put_bucket_lifecycle_configuration(
        Bucket=world.bucket.name, LifecycleConfiguration={"Rules": [rule]}
    )
    for version in (row.version_before, row.version_after):
        world.bucket.client.delete_object(Bucket=row.bucket, Key=row.key, VersionId=version)


@pytest.mark.parametrize(
    "rule",
    [
        {},
        {"Filter": {"Tag": {"Key": "converted", "Value": "True"}}},
        {"Filter": {"ObjectSizeGreaterThan": (ARCHIVED.bytes_after or 0) - 1}},
        {"Expiration": {"Date": datetime(2026, 1, 30, tzinfo=UTC)}},
    ],
)
def test_what_a_lifecycle_rule_may_have_deleted_is_no_difference(world: World, rule: dict[str, Any]) -> None:
    one_vanished(world, **rule)
    ended = world.expire(stop_above_percent=0.0)
    assert (ended.counts, ended.problems) == ({"expired": 1}, [])
    said = "1 recording vanished before this run; the bucket's lifecycle rules may be the reason"
    assert ended.expiry.notes == [said]


@pytest.mark.parametrize(
    "rule",
    [
        {"Expiration": {"Days": 36500}},
        {"Filter": {"Tag": {"Key": "retention", "Value": "short"}}},
        {"Filter": {"Prefix": "connect/other/"}},
        {"Filter": {"ObjectSizeGreaterThan": ARCHIVED.bytes_after}},
        {"Status": "Disabled"},
        {"NoncurrentVersionExpiration": {}},
        {"NoncurrentVersionExpiration": {"NoncurrentDays": 36500}},
        {"NoncurrentVersionExpiration": {"NoncurrentDays": 1, "NewerNoncurrentVersions": 1}},
    ],
)
def test_what_no_lifecycle_rule_can_have_deleted_stops_the_run(world: World, rule: dict[str, Any]) -> None:
    one_vanished(world, **rule)
    ended = world.expire(stop_above_percent=49.9)
    assert (ended.counts, ended.expiry.notes) == ({}, [])
    assert "1 of 2 recordings (50.0 %) differ from the audit table" in ended.problems[0]
    assert world.left(2)


def test_a_lifecycle_rule_counts_from_the_last_writing(world: World) -> None:
    """The release of the original writes nothing; what was never archived may be as old as the call."""
    one_vanished(world, Expiration={"Days": 100})
    (row,) = [row for row in world.rows() if row.key == KEY]
    released = row.state_at + timedelta(days=90) if row.state_at else None
    world.tell(replace(row, status=Status.RELEASED, original_kept=False, state_at=released))
    skipped = replace(row, key=key_of(3), status=Status.SKIPPED, etag_before='"e"', version_before=None, state_at=None)
    world.tell(replace(skipped, version_after=None, etag_after=None))
    ends = {1: ARCHIVED_AT.date() + timedelta(days=101), 3: DAY + timedelta(days=101)}
    for today in (ends[3] - timedelta(days=1), ends[3], ends[1], ends[1] + timedelta(days=1)):
        ended = world.expire(today=today, dry_run=True)
        gone = {1: today > ends[1], 3: today >= ends[3]}
        assert ended.reasons.get("vanished", 0) == 2 - sum(gone.values()), today


@pytest.mark.slow
@pytest.mark.s3_servers("seaweed")  # ministack shows no tags of versions below a delete marker
def test_a_delete_marker_on_top_goes_last(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a lifecycle rule hides a recording: in between, nobody sees it again."""
    row = world.add(1)
    marker = world.bucket.client.delete_object(Bucket=row.bucket, Key=row.key)["VersionId"]
    order = deletions(world, monkeypatch)
    ended = world.expire()
    assert ended.counts == {"expired": 1}, [row.reason for row in ended.expiry.sums.failures]
    assert order == [row.version_before, row.version_after, marker]
    assert world.left(1) == []


@pytest.mark.s3_servers("seaweed")  # ministack shows no tags of versions below a delete marker
@pytest.mark.parametrize("how", ["refused", "died", "taken by somebody"])
def test_a_delete_marker_that_is_left_is_told_and_goes_with_the_next_run(
    world: World, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """No row certifies the whole until the marker is gone, too, even if a lifecycle rule may have set it."""
    row = world.add(1)
    marker = world.bucket.client.delete_object(Bucket=row.bucket, Key=row.key)["VersionId"]
    rule = {"ID": "r", "Status": "Enabled", "Filter": {"Prefix": ""}, "Expiration": {"Days": 9}}
    world.bucket.client.put_bucket_lifecycle_configuration(
        Bucket=world.bucket.name, LifecycleConfiguration={"Rules": [rule]}
    )
    delete = world.store.delete_version

    def without_marker(removable: Removable) -> datetime:
        if removable.stored is None:
            raise Died if how == "died" else StoreRefused("AccessDenied")
        return delete(removable)

    with monkeypatch.context() as patch:
        patch.setattr(world.store, "delete_version", without_marker)
        if how == "died":
            with pytest.raises(Died):
                world.expire()
        else:
            assert world.expire().reasons == {MARKER_LEFT: 1}
            assert "the rest: refused: AccessDenied" in str(world.rows(Status.EXPIRED)[0].reason)
            assert world.expire().reasons == {MARKER_LEFT: 1}, "again"
    assert world.left(1) == [marker]
    again = world.bucket.put(KEY, b"small" * 4)["VersionId"]
    assert world.expire().reasons == {"resurrected": 1}
    assert world.left(1) == [again, marker]
    world.bucket.client.delete_object(Bucket=row.bucket, Key=row.key, VersionId=again)
    if how == "taken by somebody":
        world.bucket.client.delete_object(Bucket=row.bucket, Key=row.key, VersionId=marker)
    ended = world.expire()
    assert (ended.counts, ended.reasons, ended.problems) == ({"expired": 1}, {}, [])
    assert world.left(1) == []
    whole = world.rows(Status.EXPIRED)[-1]
    assert whole.reason == "retention: kept 30 days after the call (rule for all other recordings)"
    kept = ("sha256_before", "sha256_after", "version_before", "version_after")
    assert [getattr(whole, name) for name in kept] == [getattr(row, name) for name in kept]
    assert current(read_audit(str(world.root)))["reason"].tolist() == [whole.reason]
    assert world.expire().counts == {}
    assert verify_audit(str(world.root)).discrepancies == ()


@pytest.mark.s3_servers("seaweed")
def test_why_a_hash_is_missing_is_still_told_when_the_marker_goes(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    never_archived(world)
    world.bucket.client.delete_object(Bucket=world.bucket.name, Key=KEY)
    delete = world.store.delete_version

    def without_marker(removable: Removable) -> datetime:
        if removable.stored is None:
            raise StoreRefused("AccessDenied")
        return delete(removable)

    def frozen(_: StoredObject) -> str:
        raise Skipped("needs-thaw", "it lies in DEEP_ARCHIVE")

    with monkeypatch.context() as patch:
        patch.setattr(world.store, "delete_version", without_marker)
        patch.setattr(world.store, "sha256_of", frozen)
        assert world.expire().reasons == {MARKER_LEFT: 1}
    assert world.expire().counts == {"expired": 1}
    reason = str(world.rows(Status.EXPIRED)[-1].reason)
    assert "; its SHA-256 is not known: needs-thaw: " in reason
    assert "the rest" not in reason


def test_a_delete_marker_in_the_middle_goes(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    original = world.bucket.put(KEY, b"original")
    marker = world.bucket.client.delete_object(Bucket=world.bucket.name, Key=KEY)["VersionId"]
    replacement = world.bucket.put(KEY, b"small")
    world.told(KEY, original, replacement)
    order = deletions(world, monkeypatch)
    assert world.expire().counts == {"expired": 1}
    assert order[-1] == replacement["VersionId"]
    assert set(order) == {original["VersionId"], marker, replacement["VersionId"]}
    assert world.left(1) == []


def deletions(world: World, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The version ids in the order in which they are deleted, from now on."""
    order, delete = list[str](), world.store.delete_version

    def noted(removable: Removable) -> datetime:
        order.append(removable.version_id)
        return delete(removable)

    monkeypatch.setattr(world.store, "delete_version", noted)
    return order


def test_seven_versions_go_oldest_first(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = [world.bucket.put(KEY, b"take" * n) for n in range(1, 8)]
    world.told(KEY, answers[-2], answers[-1])
    order = deletions(world, monkeypatch)
    assert world.expire().counts == {"expired": 1}
    assert order == [answer["VersionId"] for answer in answers]


@pytest.mark.parametrize("became", ["", "Enabled", "Suspended"])
def test_what_is_older_than_versioning_goes(unversioned_bucket: Bucket, tmp_path: Path, became: str) -> None:
    world = World(unversioned_bucket, tmp_path / "audit")
    world.add(1)
    if became:
        world.bucket.client.put_bucket_versioning(Bucket=world.bucket.name, VersioningConfiguration={"Status": became})
    assert world.expire().counts == {"expired": 1}
    assert world.left(1) == []


def test_the_boundary_is_a_whole_day(world: World) -> None:
    today = datetime.now(UTC).date()
    ages = {1: 29, 2: 30, 3: 31, 4: 32}
    for number, age_days in ages.items():
        world.add(number, today - timedelta(days=age_days))
    assert world.expire().counts == {"expired": 2}
    gone = {row.recording_date for row in world.rows(Status.EXPIRED)}
    assert gone == {today - timedelta(days=31), today - timedelta(days=32)}


def test_s3s_clock_decides(world: World) -> None:
    """This machine's is a day ahead."""
    today = datetime.now(UTC).date()
    world.add(1, today - timedelta(days=30))
    assert world.expire(today=today + timedelta(days=1)).reasons == {"in-retention": 1}


def test_what_a_rule_keeps_costs_no_more_requests(world: World) -> None:
    """Until the rules are others, or somebody asks for its day."""
    world.add(1, Tagging="retention=long")
    assert world.expire(RULES).reasons == {"in-retention": 1}
    before = sum(world.store.requests.values())
    assert world.expire(RULES).counts == {}
    assert sum(world.store.requests.values()) == before
    assert world.expire(RULES, start_date=DAY).reasons == {"in-retention": 1}
    other = (RetentionRule(tag="retention=long", keep_days=36000), *KEEP_30)
    assert world.expire(other).reasons == {"in-retention": 1}
    assert world.expire().counts == {"expired": 1}


def test_too_many_differences_stop_the_run(world: World) -> None:
    """The day before is done; of the day, and of later ones, nothing goes."""
    days = [DAY + timedelta(days=n) for n in range(3)]
    for day in days:
        for number in range(4):
            world.add(number, day)
    world.bucket.put(key_of(1, days[1]), b"theirs")
    for percent in (24.9, 24.9):
        ended = world.expire(stop_above_percent=percent)
        (said,) = ended.problems
        assert f"calls of {days[1]}" in said
        assert "1 of 4 recordings (25.0 %)" in said
        assert "give a higher stop_above_percent" in said
        assert {row.recording_date for row in world.rows(Status.EXPIRED)} == {days[0]}
    ended = world.expire(stop_above_percent=25.0)
    assert (ended.counts, ended.problems) == ({"expired": 7, "changed": 1}, [])
    assert world.expire(stop_above_percent=25.0).problems == [], "what is already deleted counts in the share, too"


def test_places_of_a_day_stop_together(world: World) -> None:
    other = "other/acme/CallRecordings/"
    row = world.add(1)
    key = key_of(1).replace("connect/", "other/", 1)
    world.told(key, world.bucket.put(key, b"original"), world.bucket.put(key, b"small"))
    world.bucket.put(key, b"theirs")
    ended = world.expire(prefixes=["connect/acme/CallRecordings/", other], stop_above_percent=0.0)
    assert (ended.counts, len(ended.problems)) == ({}, 1)
    assert world.left(1) == [row.version_after, row.version_before]


@pytest.mark.parametrize("asked", [{"prefixes": ["connect/other/"]}, {"end_date": DAY - timedelta(days=1)}])
def test_what_is_not_asked_for_stays(world: World, asked: dict[str, Any]) -> None:
    row = world.add(1)
    assert world.expire(**asked).counts == {}
    assert world.left(1) == [row.version_after, row.version_before]


def test_a_table_of_another_bucket_deletes_nothing(world: World) -> None:
    row = world.add(1)
    world.tell(replace(row, bucket="another"))
    elsewhere = World(world.bucket, world.root.parent / "other")
    elsewhere.tell(replace(row, bucket="another"))
    assert elsewhere.expire().counts == {}
    assert world.left(1)


def test_a_damaged_file_costs_its_day(world: World) -> None:
    world.add(1)
    world.add(1, DAY + timedelta(days=1))
    next((world.root / f"recording_date={DAY}").glob("*.parquet")).write_bytes(b"PAR1")
    ended = world.expire()
    assert (ended.counts, len(ended.problems)) == ({"expired": 1}, 1)
    assert f"calls of {DAY}" in ended.problems[0]
    assert world.left(1)


def test_a_day_that_cannot_be_listed_costs_its_day(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.add(1)
    world.add(1, DAY + timedelta(days=1))
    listing = world.store.list_versions

    def refused(prefix: str, **more: Any) -> Any:
        if f"{DAY:%Y/%m/%d}" in prefix:
            raise StoreRefused("no")
        return listing(prefix, **more)

    monkeypatch.setattr(world.store, "list_versions", refused)
    ended = world.expire()
    assert (ended.counts, ended.problems) == (
        {"expired": 1},
        [f"calls of {DAY} connect/acme/CallRecordings/ are left out: no"],
    )


class Died(BaseException):
    """The process ends here: nobody catches it."""


@pytest.mark.parametrize("deletions_done", [0, 1, 2, 3])
def test_a_crash_between_deletions(world: World, monkeypatch: pytest.MonkeyPatch, deletions_done: int) -> None:
    """Of the original and the replacement of two recordings."""
    for number in (1, 2):
        world.add(number)
    world.pool = World(world.bucket, world.root, threads=1).pool
    delete, left = world.store.delete_version, [deletions_done]

    def dying(removable: Removable) -> datetime:
        left[0] -= 1
        if left[0] < 0:
            raise Died
        return delete(removable)

    with monkeypatch.context() as patch:
        patch.setattr(world.store, "delete_version", dying)
        with pytest.raises(Died):
            world.expire()
    (intent,) = open_intents(world.files, world.bucket.name)
    assert world.expire(dry_run=True).reasons.get("vanished", 0) == 0
    assert world.expire().problems == []
    assert (world.left(1), world.left(2)) == ([], [])
    partly = [row for row in world.rows(Status.RELEASED) if str(row.reason).startswith(PARTLY)]
    assert [row.run_id for row in partly] == [intent.run_id] * (deletions_done % 2)
    expired = world.rows(Status.EXPIRED)
    assert sorted(row.key for row in expired) == [key_of(1), key_of(2)]
    assert [row.run_id for row in expired].count(intent.run_id) == deletions_done // 2
    assert current(read_audit(str(world.root)))["status"].tolist() == ["expired"] * 2
    assert verify_audit(str(world.root)).discrepancies == ()
    assert open_intents(world.files, world.bucket.name) == []


@pytest.mark.parametrize(("kind", "status"), [(Kind.RELEASE, Status.RELEASED), (Kind.ERASE, Status.ERASED)])
def test_a_dead_run_is_not_said_to_have_deleted_what_a_later_run_did(world: World, kind: Kind, status: Status) -> None:
    """It had set out, and come to nothing."""
    world.abandoned_after = timedelta(hours=6)
    row = world.add(1)
    asked: dict[str, Any] = {"bucket": world.bucket.name, "audit_uri": str(world.root)}
    asked |= {"everything": True} if kind is Kind.RELEASE else {"keys": [KEY], "case": "1"}
    dead = plan_job(kind, **asked)
    [batch] = batches_of([row])
    set_out_to = replace(row, run_id=dead.run_id, status=status, state_at=datetime.now(UTC))
    intents.set_out(world.files, dead, batch, [set_out_to])
    assert world.expire().counts == {"expired": 1}
    world.expire()
    assert sorted(each.status for each in world.rows()) == [Status.ARCHIVED, Status.EXPIRED]


def test_a_dead_expiry_is_not_certified_while_the_original_is_there(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It died before its first deletion, and somebody took the replacement away to have the original back."""

    def dies(_: Removable) -> datetime:
        raise Died

    row = world.add(1)
    with monkeypatch.context() as patch:
        patch.setattr(world.store, "delete_version", dies)
        with pytest.raises(Died):
            world.expire()
    world.bucket.client.delete_object(Bucket=row.bucket, Key=row.key, VersionId=row.version_after)
    world.expire()
    assert world.left(1) == [row.version_before]
    assert world.rows(Status.EXPIRED) == []


def test_a_refusal_after_the_original_went(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    row = world.add(1)
    delete = world.store.delete_version

    def refused(removable: Removable) -> datetime:
        if removable.version_id == row.version_after:
            raise StoreRefused("locked meanwhile")
        return delete(removable)

    with monkeypatch.context() as patch:
        patch.setattr(world.store, "delete_version", refused)
        assert world.expire().reasons == {PARTLY: 1}
    (told,) = world.rows(Status.RELEASED)
    assert "the rest: refused: locked meanwhile" in str(told.reason)
    assert told.original_kept is False
    assert world.left(1) == [row.version_after]
    assert world.expire().counts == {"expired": 1}


def test_a_restored_recording_stays_restored_if_its_expiry_dies(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    row = world.add(1)
    again = world.bucket.put(KEY, b"original" * 4)
    restored = replace(row, status=Status.RESTORED, version_before=row.version_after, etag_before=row.etag_after,
                       version_after=again["VersionId"], etag_after=again["ETag"], state_at=NOW)  # fmt: skip
    world.tell(restored)
    delete = world.store.delete_version

    def refused(removable: Removable) -> datetime:
        if removable.version_id == again["VersionId"]:
            raise StoreRefused("no")
        return delete(removable)

    with monkeypatch.context() as patch:
        patch.setattr(world.store, "delete_version", refused)
        assert world.expire().counts == {"failed": 1}
    assert current(read_audit(str(world.root)))["status"].tolist() == ["restored"]
    assert world.expire().counts == {"expired": 1}


def test_a_hold_after_the_check_is_asked_for_once_more(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without Object Lock only the tag holds it, and a batch is proved before its first deletion."""
    row = world.add(1)
    written = intents.set_out

    def held_meanwhile(*args: Any) -> Any:
        tag(world, row, row.version_after, "legal-hold", "C-1")
        return written(*args)

    monkeypatch.setattr("recordings.jobs.engine.deletion.set_out", held_meanwhile)
    assert world.expire().reasons == {"held": 1}
    assert world.left(1) == [row.version_after, row.version_before]


def test_two_expiries_at_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second runs from its beginning to its end while the first is in the middle of a day."""
    for number in range(4):
        world.add(number)
    delete, others = world.store.delete_version, list[Any]()

    def meanwhile(removable: Removable) -> datetime:
        if removable.key == key_of(2) and not others:
            others.append(None)
            others[0] = World(world.bucket, world.root).expire(stop_above_percent=0.0)
        return delete(removable)

    monkeypatch.setattr(world.store, "delete_version", meanwhile)
    world.pool = World(world.bucket, world.root, threads=1).pool
    world.expire(stop_above_percent=0.0)
    assert others[0].problems == []
    assert all(world.left(number) == [] for number in range(4))
    assert current(read_audit(str(world.root)))["status"].tolist() == ["expired"] * 4
    assert verify_audit(str(world.root)).discrepancies == ()


@ON_MINISTACK
@pytest.mark.parametrize("moment", ["checked, and nothing deleted", "in the middle of a recording"])
@pytest.mark.parametrize("other", ["release", "archive"])
def test_beside_a_release_or_an_archiving_run(
    world: World,
    monkeypatch: pytest.MonkeyPatch,
    run_stages: Stages,
    plan: PlanRun,
    pool: Pool,
    a_call: MakeCall,
    other: str,
    moment: str,
) -> None:
    """The other one runs from its beginning to its end: nothing goes without a row, nothing stays half deleted."""
    keys = [key_of(number) for number in range(3)]
    for number, key in enumerate(keys):
        world.bucket.put(key, a_call(number, 0.5))
    world.tell(*run_stages(plan(world.bucket.name)))
    world.bucket.put(key_of(9), a_call(9, 0.5))  # that the archiving run of the day will find

    def runs_meanwhile() -> None:
        if other == "archive":
            world.tell(*run_stages(plan(world.bucket.name)))
            return
        job = plan_job(Kind.RELEASE, bucket=world.bucket.name, audit_uri=str(world.root), grace_days=0, everything=True)
        record_start(world.files, job)
        archived = [row for row in world.rows() if row.status is Status.ARCHIVED]
        [batch] = batches_of(archived)
        done = release_batch(DeletingStore(world.bucket.name, Settings()), world.files, batch, job, pool)
        record_end(world.files, job, totals={}, manifest=done.files)

    delete, begun = world.store.delete_version, list[str]()

    def deleted(removable: Removable) -> datetime:
        begun.append(removable.key)
        if len(begun) == (1 if moment.startswith("checked") else 4):
            runs_meanwhile()
        return delete(removable)

    monkeypatch.setattr(world.store, "delete_version", deleted)
    world.pool = World(world.bucket, world.root, threads=1).pool
    world.expire()
    told = {row.key for row in world.rows() if row.status in (Status.RELEASED, Status.EXPIRED)}
    assert {key for number, key in enumerate(keys) if len(world.left(number)) < 2} <= told
    world.expire()
    assert all(world.left(number) == [] for number in range(3))
    assert bool(world.left(9)) == (other == "release"), "what no run has archived stays"
    last = current(read_audit(str(world.root))).set_index("key")["status"]
    assert set(last) == {"expired"}
    assert not [row for row in world.rows() if str(row.reason).startswith("bug")]
    assert open_intents(world.files, world.bucket.name) == []
    assert verify_audit(str(world.root)).discrepancies == ()


@ON_MINISTACK
def test_requests_for_a_recording(world: World) -> None:
    """What docs/performance.md says."""
    for number in range(20):
        world.add(number)
    before = len(world.bucket.requests())
    world.expire()
    counts = world.bucket.requests_by_kind(before)
    assert {kind: count for kind, count in counts.items() if count >= 20} == {
        "HEAD": 60,
        "GET tags": 60,
        "DELETE": 40,
    }
    assert counts["LIST versions"] <= 4


def test_a_folder_of_which_the_table_knows_a_part(world: World) -> None:
    for number in range(60):
        world.bucket.put(key_of(100 + number), b"unknown")
    for number in range(3):
        world.add(number)
    ended = world.expire(stop_above_percent=5.0)
    assert "60 of 63 recordings" in ended.problems[0]
    assert world.expire().counts == {"expired": 3, "skipped": 60}


@pytest.mark.parametrize(("kind", "goes_on"), [(Kind.HOLD, False), (Kind.RESTORE, True)])
def test_an_open_intent_explains_what_its_run_may_have_done(world: World, kind: Kind, goes_on: bool) -> None:
    """A hold deletes and overwrites nothing."""
    world.abandoned_after = timedelta(hours=6)
    rows = [world.add(number) for number in range(5)]
    asked: dict[str, Any] = {"bucket": world.bucket.name, "audit_uri": str(world.root)}
    dead = plan_job(kind, **asked, keys=[row.key for row in rows], case="A" if kind is Kind.HOLD else "")
    [batch] = batches_of(rows)
    intents.set_out(world.files, dead, batch, [replace(row, run_id=dead.run_id) for row in rows[:4]])
    for row in rows[:4]:
        world.bucket.put(row.key, b"theirs")
    world.expire(stop_above_percent=5.0)
    assert bool(world.left(4)) is not goes_on


def test_a_check_takes_no_work_of_ours_for_a_loss(world: World) -> None:
    """It reads its rows hours before it comes to the last of them."""
    later = DAY + timedelta(days=1)
    for number, day in enumerate((DAY, DAY, later, later)):
        world.add(number, day)
    [batch] = batches_of(world.rows())
    asked: dict[str, Any] = {"bucket": world.bucket.name, "audit_uri": str(world.root)}
    checking, erasing = plan_job(Kind.FIXITY, **asked), plan_job(Kind.ERASE, **asked, keys=[key_of(3, later)], case="1")
    world.expire(end_date=DAY)
    lost, erased = batch.rows[2:]
    intents.set_out(world.files, erasing, batch, [replace(erased, run_id=erasing.run_id, status=Status.ERASED)])
    for row in (lost, erased):
        for version in (row.version_before, row.version_after):
            world.bucket.client.delete_object(Bucket=row.bucket, Key=row.key, VersionId=version)
    result = check_batch(world.store, world.files, batch, checking, world.pool)
    assert result.reasons == {"changed": 2, "vanished": 1, "underway": 1}
    assert result.counts == {"changed": 2, "failed": 1, "skipped": 1}
    assert all(str(row.reason).endswith(" expired it during this run") for row in world.rows(Status.CHANGED))


def test_a_prefix_that_nothing_has_is_named_with_its_rule(world: World) -> None:
    """If it is mistyped, the next rule decides, and deletes what the rule was to keep."""
    world.add(1)
    vip = RetentionRule(prefix="conect/vip/", keep_days=None)
    noted = "no key begins with 'conect/vip/', so rule 1 covers nothing: correct the rule if it is mistyped"
    assert world.expire((vip, *KEEP_30), dry_run=True).expiry.notes == [noted]
    right = RetentionRule(prefix="connect/acme/", keep_days=None)
    ended = world.expire((right, *KEEP_30), dry_run=True)
    assert (ended.counts, ended.expiry.notes) == ({}, [])


@pytest.mark.parametrize("dry_run", [True, False])
def test_a_tag_that_decided_nothing_is_named_with_its_rule(world: World, dry_run: bool) -> None:
    """S3 tells capitals and small letters apart, and the next rule deletes what this rule was to keep."""
    world.add(1, Tagging="retention=long")
    world.add(2)
    mistyped = (RetentionRule(tag="Retention=long", keep_days=None), *RULES)
    noted = "rule 1, for the tag 'Retention=long', decided about no recording in this run"
    ended = world.expire(mistyped, dry_run=dry_run)
    assert (sum(ended.counts.values()), ended.expiry.notes) == (2, [f"{noted}: correct the rule if it is mistyped"])
    assert world.expire(RULES).expiry.notes == []


def test_a_tag_whose_recordings_were_looked_at_before_is_no_reason_for_a_note(world: World) -> None:
    world.add(1, Tagging="retention=long")
    assert world.expire(RULES).expiry.notes == []
    world.add(2)
    ended = world.expire(RULES)
    assert (ended.counts, ended.expiry.notes) == ({"expired": 1}, [])
    assert world.expire(RULES).expiry.notes == []


def test_an_earlier_rule_that_is_new_covers_what_another_one_kept(world: World) -> None:
    world.add(1, Tagging="retention=long")
    assert world.expire(RULES).reasons == {"in-retention": 1}
    assert world.expire((RetentionRule(prefix="connect/", keep_days=10), *RULES)).counts == {"expired": 1}
