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
from tests.recordings.expiring import KEEP_30, Archive
from tests.recordings.tables import ARCHIVED, ARCHIVED_AT, NOW

pytestmark = [pytest.mark.slow, ON_BOTH_IN_FULL]
KEY = key_of(1)


@pytest.fixture
def archive(bucket: Bucket, tmp_path: Path) -> Archive:
    return Archive(bucket, tmp_path / "audit")


def test_all_versions_go_and_the_row_certifies_it(archive: Archive) -> None:
    row = archive.archived(1)
    ended = archive.expire()
    assert (ended.counts, ended.problems) == ({"expired": 1}, [])
    assert archive.left(1) == []
    (told,) = archive.rows(Status.EXPIRED)
    kept = ("sha256_before", "sha256_after", "bytes_before", "bytes_after", "version_before", "version_after")
    assert [getattr(told, name) for name in kept] == [getattr(row, name) for name in kept]
    assert (told.run_id, told.original_kept) == (ended.job.run_id, False)
    assert told.reason == "retention: kept 30 days after the call (rule for all other recordings)"
    assert verify_audit(str(archive.root)).discrepancies == ()
    assert archive.expire().counts == {}, "and nothing is left to look at"


def tag(archive: Archive, row: AuditRow, version: str | None, name: str, value: str) -> None:
    tags = {"TagSet": [{"Key": name, "Value": value}]}
    archive.bucket.client.put_object_tagging(Bucket=row.bucket, Key=row.key, VersionId=version, Tagging=tags)


def lockable(archive: Archive) -> None:
    archive.bucket.client.put_object_lock_configuration(
        Bucket=archive.bucket.name, ObjectLockConfiguration={"ObjectLockEnabled": "Enabled"}
    )


def hold(archive: Archive, row: AuditRow, version: str | None) -> None:
    lockable(archive)
    archive.bucket.client.put_object_legal_hold(
        Bucket=row.bucket, Key=row.key, VersionId=version, LegalHold={"Status": "ON"}
    )


def lock(archive: Archive, row: AuditRow, version: str | None) -> None:
    lockable(archive)
    retention = {"Mode": "GOVERNANCE", "RetainUntilDate": datetime.now(UTC) + timedelta(days=1)}
    archive.bucket.client.put_object_retention(Bucket=row.bucket, Key=row.key, VersionId=version, Retention=retention)


def case_in_table(archive: Archive, row: AuditRow) -> None:
    archive.tell(replace(row, status=Status.HELD, reason="case: 2026-CV-1", started_at=NOW))


def mark_exempt(archive: Archive, row: AuditRow) -> None:
    """As a restore marks what has ten tags."""
    original = {"ETag": row.etag_before, "VersionId": row.version_before}
    answer = archive.bucket.put(row.key, b"original" * 4, Metadata=dict([EXEMPT_METADATA]))
    archive.told(row.key, original, answer)


REASONS: dict[str, tuple[Callable[[Archive, AuditRow], Any], str]] = {
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
def test_a_recording_stays_for_each_reason(archive: Archive, reason: str) -> None:
    """And its neighbour goes."""
    act, said = REASONS[reason]
    row, _ = archive.archived(1), archive.archived(2)
    act(archive, row)
    before = archive.left(1)
    dry = archive.expire(RULES, dry_run=True)
    assert sum(dry.counts.values()) == 2
    assert archive.left(2), "a dry run deletes nothing"
    archive.expire(RULES)
    assert (archive.left(1), archive.left(2)) == (before, [])
    (told,) = [each for each in archive.rows() if each.key == KEY and each.run_id.startswith("2") and each.finished_at
               and each.started_at > NOW and each.status in (Status.SKIPPED, Status.CHANGED)]  # fmt: skip
    assert str(told.reason).startswith(said)
    assert open_intents(archive.files, archive.bucket.name) == []


def test_an_event_hold_alone_keeps_an_expiry_and_an_erasure_off(
    bucket: Bucket, s3: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No server to be had has event holds: a proxy shows one on each version, and nothing else holds it."""
    with faulty_proxy(AddingProxy(s3.url, EVENT_HOLD, contact_of(KEY) or "")) as address:
        monkeypatch.setenv("AWS_ENDPOINT_URL", address)
        archive = Archive(bucket, tmp_path / "audit")
        row, _ = archive.archived(1), archive.archived(2)
        assert archive.expire().reasons == {"held": 1}
        job = plan_job(Kind.ERASE, bucket=bucket.name, audit_uri=str(archive.root), keys=[KEY], case="1")
        [batch] = batches_of(rows_of_keys([KEY], job, reason_of("1")))
        assert erase_batch(archive.store, archive.files, batch, job, archive.pool).reasons == {"held": 1}
    assert (archive.left(1), archive.left(2)) == ([row.version_after, row.version_before], [])


def test_what_the_table_does_not_know_stays(archive: Archive) -> None:
    archive.archived(1)
    archive.bucket.put(key_of(2), b"unknown")
    archive.bucket.put(KEY.replace(".wav", ".json"), b"no recording")
    assert archive.expire().reasons == {"not-in-table": 1}
    assert (archive.left(1), len(archive.left(2))) == ([], 1)


def never_archived(archive: Archive, status: Status = Status.REJECTED, **properties: Any) -> str:
    """One of two recordings; returns its version."""
    answer = archive.bucket.put(KEY, b"not WAV", **properties)
    row = replace(archive.archived(2), key=KEY, status=status, etag_before=answer["ETag"], version_before=None)
    row = replace(row, version_after=None, etag_after=None, sha256_before=None, sha256_after=None, state_at=None)
    archive.tell(row)
    return str(answer["VersionId"])


@pytest.mark.parametrize("status", [Status.SKIPPED, Status.REJECTED])
def test_what_was_never_archived_goes_as_well(archive: Archive, status: Status) -> None:
    """S3 stored no SHA-256 with it, so it is read for the certificate, but not in a dry run."""
    version = never_archived(archive, status)
    archive.expire(dry_run=True)
    assert archive.store.requests["GetObject"] == 0
    assert archive.expire().counts == {"expired": 2}
    assert archive.left(1) == []
    told = {row.key: row for row in archive.rows(Status.EXPIRED)}[KEY]
    assert (told.version_before, told.sha256_before) == (version, sha256(b"not WAV").hexdigest())
    assert archive.store.requests["GetObject"] == 1


def test_the_certificate_has_the_hashes_of_both_versions_if_the_table_has_none(archive: Archive) -> None:
    archive.tell(replace(archive.archived(1), sha256_before=None, sha256_after=None, started_at=NOW))
    assert archive.expire().counts == {"expired": 1}
    (told,) = archive.rows(Status.EXPIRED)
    hashes = [sha256(each * 4).hexdigest() for each in (b"original", b"small")]
    assert [told.sha256_before, told.sha256_after] == hashes


def test_what_must_be_thawed_to_be_read_goes_and_the_row_says_so(archive: Archive) -> None:
    never_archived(archive, StorageClass="DEEP_ARCHIVE")
    assert archive.expire().counts == {"expired": 2}
    told = {row.key: row for row in archive.rows(Status.EXPIRED)}[KEY]
    assert told.sha256_before is None
    assert "; its SHA-256 is not known: needs-thaw: " in str(told.reason)


def test_what_cannot_be_read_for_its_certificate_stays(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    never_archived(archive)

    def refused(*_: Any, **__: Any) -> Any:
        raise StoreRefused("AccessDenied: no")

    monkeypatch.setattr(archive.store, "read", refused)
    ended = archive.expire()
    assert (ended.counts, ended.reasons) == ({"expired": 1, "failed": 1}, {"refused": 1})
    assert archive.left(1)


def test_what_only_failed_stays(archive: Archive) -> None:
    answer = archive.bucket.put(KEY, b"whatever")
    row = replace(archive.archived(2), key=KEY, status=Status.FAILED, etag_before=answer["ETag"], state_at=None)
    archive.tell(row)
    assert archive.expire().reasons == {"not-in-table": 1}


def test_what_vanished_is_told(archive: Archive) -> None:
    row, _ = archive.archived(1), archive.archived(2)
    for version in (row.version_before, row.version_after):
        archive.bucket.client.delete_object(Bucket=row.bucket, Key=row.key, VersionId=version)
    assert archive.expire().reasons == {"vanished": 1}


def one_vanished(archive: Archive, **rule: Any) -> None:
    """One of two recordings, in a bucket with this lifecycle rule, whose days are over unless it says otherwise."""
    row, _ = archive.archived(1), archive.archived(2)
    days = {"Expiration": {"Days": 9}, "NoncurrentVersionExpiration": {"NoncurrentDays": 1}}
    rule = {"ID": "r", "Status": "Enabled", "Filter": {"Prefix": ""}, **days, **rule}
    if not rule["NoncurrentVersionExpiration"]:
        del rule["NoncurrentVersionExpiration"]
    archive.bucket.client.put_bucket_lifecycle_configuration(
        Bucket=archive.bucket.name, LifecycleConfiguration={"Rules": [rule]}
    )
    for version in (row.version_before, row.version_after):
        archive.bucket.client.delete_object(Bucket=row.bucket, Key=row.key, VersionId=version)


@pytest.mark.parametrize(
    "rule",
    [
        {},
        {"Filter": {"Tag": {"Key": "converted", "Value": "True"}}},
        {"Filter": {"ObjectSizeGreaterThan": (ARCHIVED.bytes_after or 0) - 1}},
        {"Expiration": {"Date": datetime(2026, 1, 30, tzinfo=UTC)}},
    ],
)
def test_what_a_lifecycle_rule_may_have_deleted_is_no_difference(archive: Archive, rule: dict[str, Any]) -> None:
    one_vanished(archive, **rule)
    ended = archive.expire(stop_above_percent=0.0)
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
def test_what_no_lifecycle_rule_can_have_deleted_stops_the_run(archive: Archive, rule: dict[str, Any]) -> None:
    one_vanished(archive, **rule)
    ended = archive.expire(stop_above_percent=49.9)
    assert (ended.counts, ended.expiry.notes) == ({}, [])
    assert "1 of 2 recordings (50.0 %) differ from the audit table" in ended.problems[0]
    assert archive.left(2)


def test_a_lifecycle_rule_counts_from_the_last_writing(archive: Archive) -> None:
    """The release of the original writes nothing; what was never archived may be as old as the call."""
    one_vanished(archive, Expiration={"Days": 100})
    (row,) = [row for row in archive.rows() if row.key == KEY]
    released = row.state_at + timedelta(days=90) if row.state_at else None
    archive.tell(replace(row, status=Status.RELEASED, original_kept=False, state_at=released))
    skipped = replace(row, key=key_of(3), status=Status.SKIPPED, etag_before='"e"', version_before=None, state_at=None)
    archive.tell(replace(skipped, version_after=None, etag_after=None))
    ends = {1: ARCHIVED_AT.date() + timedelta(days=101), 3: DAY + timedelta(days=101)}
    for today in (ends[3] - timedelta(days=1), ends[3], ends[1], ends[1] + timedelta(days=1)):
        ended = archive.expire(today=today, dry_run=True)
        gone = {1: today > ends[1], 3: today >= ends[3]}
        assert ended.reasons.get("vanished", 0) == 2 - sum(gone.values()), today


@pytest.mark.slow
@pytest.mark.s3_servers("seaweed")  # ministack shows no tags of versions below a delete marker
def test_a_delete_marker_on_top_goes_last(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a lifecycle rule hides a recording: in between, nobody sees it again."""
    row = archive.archived(1)
    marker = archive.bucket.client.delete_object(Bucket=row.bucket, Key=row.key)["VersionId"]
    order = deletions(archive, monkeypatch)
    ended = archive.expire()
    assert ended.counts == {"expired": 1}, [row.reason for row in ended.expiry.sums.failures]
    assert order == [row.version_before, row.version_after, marker]
    assert archive.left(1) == []


@pytest.mark.s3_servers("seaweed")  # ministack shows no tags of versions below a delete marker
@pytest.mark.parametrize("how", ["refused", "died", "taken by somebody"])
def test_a_delete_marker_that_is_left_is_told_and_goes_with_the_next_run(
    archive: Archive, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """No row certifies the whole until the marker is gone, too, even if a lifecycle rule may have set it."""
    row = archive.archived(1)
    marker = archive.bucket.client.delete_object(Bucket=row.bucket, Key=row.key)["VersionId"]
    rule = {"ID": "r", "Status": "Enabled", "Filter": {"Prefix": ""}, "Expiration": {"Days": 9}}
    archive.bucket.client.put_bucket_lifecycle_configuration(
        Bucket=archive.bucket.name, LifecycleConfiguration={"Rules": [rule]}
    )
    delete = archive.store.delete_version

    def without_marker(removable: Removable) -> datetime:
        if removable.stored is None:
            raise Died if how == "died" else StoreRefused("AccessDenied")
        return delete(removable)

    with monkeypatch.context() as patch:
        patch.setattr(archive.store, "delete_version", without_marker)
        if how == "died":
            with pytest.raises(Died):
                archive.expire()
        else:
            assert archive.expire().reasons == {MARKER_LEFT: 1}
            assert "the rest: refused: AccessDenied" in str(archive.rows(Status.EXPIRED)[0].reason)
            assert archive.expire().reasons == {MARKER_LEFT: 1}, "again"
    assert archive.left(1) == [marker]
    again = archive.bucket.put(KEY, b"small" * 4)["VersionId"]
    assert archive.expire().reasons == {"resurrected": 1}
    assert archive.left(1) == [again, marker]
    archive.bucket.client.delete_object(Bucket=row.bucket, Key=row.key, VersionId=again)
    if how == "taken by somebody":
        archive.bucket.client.delete_object(Bucket=row.bucket, Key=row.key, VersionId=marker)
    ended = archive.expire()
    assert (ended.counts, ended.reasons, ended.problems) == ({"expired": 1}, {}, [])
    assert archive.left(1) == []
    whole = archive.rows(Status.EXPIRED)[-1]
    assert whole.reason == "retention: kept 30 days after the call (rule for all other recordings)"
    kept = ("sha256_before", "sha256_after", "version_before", "version_after")
    assert [getattr(whole, name) for name in kept] == [getattr(row, name) for name in kept]
    assert current(read_audit(str(archive.root)))["reason"].tolist() == [whole.reason]
    assert archive.expire().counts == {}
    assert verify_audit(str(archive.root)).discrepancies == ()


@pytest.mark.s3_servers("seaweed")
def test_why_a_hash_is_missing_is_still_told_when_the_marker_goes(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    never_archived(archive)
    archive.bucket.client.delete_object(Bucket=archive.bucket.name, Key=KEY)
    delete = archive.store.delete_version

    def without_marker(removable: Removable) -> datetime:
        if removable.stored is None:
            raise StoreRefused("AccessDenied")
        return delete(removable)

    def frozen(_: StoredObject) -> str:
        raise Skipped("needs-thaw", "it lies in DEEP_ARCHIVE")

    with monkeypatch.context() as patch:
        patch.setattr(archive.store, "delete_version", without_marker)
        patch.setattr(archive.store, "sha256_of", frozen)
        assert archive.expire().reasons == {MARKER_LEFT: 1}
    assert archive.expire().counts == {"expired": 1}
    reason = str(archive.rows(Status.EXPIRED)[-1].reason)
    assert "; its SHA-256 is not known: needs-thaw: " in reason
    assert "the rest" not in reason


def test_a_delete_marker_in_the_middle_goes(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    original = archive.bucket.put(KEY, b"original")
    marker = archive.bucket.client.delete_object(Bucket=archive.bucket.name, Key=KEY)["VersionId"]
    replacement = archive.bucket.put(KEY, b"small")
    archive.told(KEY, original, replacement)
    order = deletions(archive, monkeypatch)
    assert archive.expire().counts == {"expired": 1}
    assert order[-1] == replacement["VersionId"]
    assert set(order) == {original["VersionId"], marker, replacement["VersionId"]}
    assert archive.left(1) == []


def deletions(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The version ids in the order in which they are deleted, from now on."""
    order, delete = list[str](), archive.store.delete_version

    def noted(removable: Removable) -> datetime:
        order.append(removable.version_id)
        return delete(removable)

    monkeypatch.setattr(archive.store, "delete_version", noted)
    return order


def test_seven_versions_go_oldest_first(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = [archive.bucket.put(KEY, b"take" * n) for n in range(1, 8)]
    archive.told(KEY, answers[-2], answers[-1])
    order = deletions(archive, monkeypatch)
    assert archive.expire().counts == {"expired": 1}
    assert order == [answer["VersionId"] for answer in answers]


@pytest.mark.parametrize("became", ["", "Enabled", "Suspended"])
def test_what_is_older_than_versioning_goes(unversioned_bucket: Bucket, tmp_path: Path, became: str) -> None:
    archive = Archive(unversioned_bucket, tmp_path / "audit")
    archive.archived(1)
    if became:
        archive.bucket.client.put_bucket_versioning(
            Bucket=archive.bucket.name, VersioningConfiguration={"Status": became}
        )
    assert archive.expire().counts == {"expired": 1}
    assert archive.left(1) == []


def test_the_boundary_is_a_whole_day(archive: Archive) -> None:
    today = datetime.now(UTC).date()
    ages = {1: 29, 2: 30, 3: 31, 4: 32}
    for number, age_days in ages.items():
        archive.archived(number, today - timedelta(days=age_days))
    assert archive.expire().counts == {"expired": 2}
    gone = {row.recording_date for row in archive.rows(Status.EXPIRED)}
    assert gone == {today - timedelta(days=31), today - timedelta(days=32)}


def test_s3s_clock_decides(archive: Archive) -> None:
    """This machine's is a day ahead."""
    today = datetime.now(UTC).date()
    archive.archived(1, today - timedelta(days=30))
    assert archive.expire(today=today + timedelta(days=1)).reasons == {"in-retention": 1}


def test_what_a_rule_keeps_costs_no_more_requests(archive: Archive) -> None:
    """Until the rules are others, or somebody asks for its day."""
    archive.archived(1, Tagging="retention=long")
    assert archive.expire(RULES).reasons == {"in-retention": 1}
    before = sum(archive.store.requests.values())
    assert archive.expire(RULES).counts == {}
    assert sum(archive.store.requests.values()) == before
    assert archive.expire(RULES, start_date=DAY).reasons == {"in-retention": 1}
    other = (RetentionRule(tag="retention=long", keep_days=36000), *KEEP_30)
    assert archive.expire(other).reasons == {"in-retention": 1}
    assert archive.expire().counts == {"expired": 1}


def test_too_many_differences_stop_the_run(archive: Archive) -> None:
    """The day before is done; of the day, and of later ones, nothing goes."""
    days = [DAY + timedelta(days=n) for n in range(3)]
    for day in days:
        for number in range(4):
            archive.archived(number, day)
    archive.bucket.put(key_of(1, days[1]), b"theirs")
    for percent in (24.9, 24.9):
        ended = archive.expire(stop_above_percent=percent)
        (said,) = ended.problems
        assert f"calls of {days[1]}" in said
        assert "1 of 4 recordings (25.0 %)" in said
        assert "give a higher stop_above_percent" in said
        assert {row.recording_date for row in archive.rows(Status.EXPIRED)} == {days[0]}
    ended = archive.expire(stop_above_percent=25.0)
    assert (ended.counts, ended.problems) == ({"expired": 7, "changed": 1}, [])
    assert archive.expire(stop_above_percent=25.0).problems == [], "what is already deleted counts in the share, too"


def test_places_of_a_day_stop_together(archive: Archive) -> None:
    other = "other/acme/CallRecordings/"
    row = archive.archived(1)
    key = key_of(1).replace("connect/", "other/", 1)
    archive.told(key, archive.bucket.put(key, b"original"), archive.bucket.put(key, b"small"))
    archive.bucket.put(key, b"theirs")
    ended = archive.expire(prefixes=["connect/acme/CallRecordings/", other], stop_above_percent=0.0)
    assert (ended.counts, len(ended.problems)) == ({}, 1)
    assert archive.left(1) == [row.version_after, row.version_before]


@pytest.mark.parametrize("asked", [{"prefixes": ["connect/other/"]}, {"end_date": DAY - timedelta(days=1)}])
def test_what_is_not_asked_for_stays(archive: Archive, asked: dict[str, Any]) -> None:
    row = archive.archived(1)
    assert archive.expire(**asked).counts == {}
    assert archive.left(1) == [row.version_after, row.version_before]


def test_a_table_of_another_bucket_deletes_nothing(archive: Archive) -> None:
    row = archive.archived(1)
    archive.tell(replace(row, bucket="another"))
    elsewhere = Archive(archive.bucket, archive.root.parent / "other")
    elsewhere.tell(replace(row, bucket="another"))
    assert elsewhere.expire().counts == {}
    assert archive.left(1)


def test_a_damaged_file_costs_its_day(archive: Archive) -> None:
    archive.archived(1)
    archive.archived(1, DAY + timedelta(days=1))
    next((archive.root / f"recording_date={DAY}").glob("*.parquet")).write_bytes(b"PAR1")
    ended = archive.expire()
    assert (ended.counts, len(ended.problems)) == ({"expired": 1}, 1)
    assert f"calls of {DAY}" in ended.problems[0]
    assert archive.left(1)


def test_a_day_that_cannot_be_listed_costs_its_day(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    archive.archived(1)
    archive.archived(1, DAY + timedelta(days=1))
    listing = archive.store.list_versions

    def refused(prefix: str, **more: Any) -> Any:
        if f"{DAY:%Y/%m/%d}" in prefix:
            raise StoreRefused("no")
        return listing(prefix, **more)

    monkeypatch.setattr(archive.store, "list_versions", refused)
    ended = archive.expire()
    assert (ended.counts, ended.problems) == (
        {"expired": 1},
        [f"calls of {DAY} connect/acme/CallRecordings/ are left out: no"],
    )


class Died(BaseException):
    """The process ends here: nobody catches it."""


@pytest.mark.parametrize("deletions_done", [0, 1, 2, 3])
def test_a_crash_between_deletions(archive: Archive, monkeypatch: pytest.MonkeyPatch, deletions_done: int) -> None:
    """Of the original and the replacement of two recordings."""
    for number in (1, 2):
        archive.archived(number)
    archive.pool = Archive(archive.bucket, archive.root, threads=1).pool
    delete, left = archive.store.delete_version, [deletions_done]

    def dying(removable: Removable) -> datetime:
        left[0] -= 1
        if left[0] < 0:
            raise Died
        return delete(removable)

    with monkeypatch.context() as patch:
        patch.setattr(archive.store, "delete_version", dying)
        with pytest.raises(Died):
            archive.expire()
    (intent,) = open_intents(archive.files, archive.bucket.name)
    assert archive.expire(dry_run=True).reasons.get("vanished", 0) == 0
    assert archive.expire().problems == []
    assert (archive.left(1), archive.left(2)) == ([], [])
    partly = [row for row in archive.rows(Status.RELEASED) if str(row.reason).startswith(PARTLY)]
    assert [row.run_id for row in partly] == [intent.run_id] * (deletions_done % 2)
    expired = archive.rows(Status.EXPIRED)
    assert sorted(row.key for row in expired) == [key_of(1), key_of(2)]
    assert [row.run_id for row in expired].count(intent.run_id) == deletions_done // 2
    assert current(read_audit(str(archive.root)))["status"].tolist() == ["expired"] * 2
    assert verify_audit(str(archive.root)).discrepancies == ()
    assert open_intents(archive.files, archive.bucket.name) == []


@pytest.mark.parametrize(("kind", "status"), [(Kind.RELEASE, Status.RELEASED), (Kind.ERASE, Status.ERASED)])
def test_a_dead_run_is_not_said_to_have_deleted_what_a_later_run_did(
    archive: Archive, kind: Kind, status: Status
) -> None:
    """It had set out, and come to nothing."""
    archive.abandoned_after = timedelta(hours=6)
    row = archive.archived(1)
    asked: dict[str, Any] = {"bucket": archive.bucket.name, "audit_uri": str(archive.root)}
    asked |= {"everything": True} if kind is Kind.RELEASE else {"keys": [KEY], "case": "1"}
    dead = plan_job(kind, **asked)
    [batch] = batches_of([row])
    set_out_to = replace(row, run_id=dead.run_id, status=status, state_at=datetime.now(UTC))
    intents.set_out(archive.files, dead, batch, [set_out_to])
    assert archive.expire().counts == {"expired": 1}
    archive.expire()
    assert sorted(each.status for each in archive.rows()) == [Status.ARCHIVED, Status.EXPIRED]


def test_a_dead_expiry_is_not_certified_while_the_original_is_there(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It died before its first deletion, and somebody took the replacement away to have the original back."""

    def dies(_: Removable) -> datetime:
        raise Died

    row = archive.archived(1)
    with monkeypatch.context() as patch:
        patch.setattr(archive.store, "delete_version", dies)
        with pytest.raises(Died):
            archive.expire()
    archive.bucket.client.delete_object(Bucket=row.bucket, Key=row.key, VersionId=row.version_after)
    archive.expire()
    assert archive.left(1) == [row.version_before]
    assert archive.rows(Status.EXPIRED) == []


def test_a_refusal_after_the_original_went(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    row = archive.archived(1)
    delete = archive.store.delete_version

    def refused(removable: Removable) -> datetime:
        if removable.version_id == row.version_after:
            raise StoreRefused("locked meanwhile")
        return delete(removable)

    with monkeypatch.context() as patch:
        patch.setattr(archive.store, "delete_version", refused)
        assert archive.expire().reasons == {PARTLY: 1}
    (told,) = archive.rows(Status.RELEASED)
    assert "the rest: refused: locked meanwhile" in str(told.reason)
    assert told.original_kept is False
    assert archive.left(1) == [row.version_after]
    assert archive.expire().counts == {"expired": 1}


def test_a_restored_recording_stays_restored_if_its_expiry_dies(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = archive.archived(1)
    again = archive.bucket.put(KEY, b"original" * 4)
    restored = replace(row, status=Status.RESTORED, version_before=row.version_after, etag_before=row.etag_after,
                       version_after=again["VersionId"], etag_after=again["ETag"], state_at=NOW)  # fmt: skip
    archive.tell(restored)
    delete = archive.store.delete_version

    def refused(removable: Removable) -> datetime:
        if removable.version_id == again["VersionId"]:
            raise StoreRefused("no")
        return delete(removable)

    with monkeypatch.context() as patch:
        patch.setattr(archive.store, "delete_version", refused)
        assert archive.expire().counts == {"failed": 1}
    assert current(read_audit(str(archive.root)))["status"].tolist() == ["restored"]
    assert archive.expire().counts == {"expired": 1}


def test_a_hold_after_the_check_is_asked_for_once_more(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without Object Lock only the tag holds it, and a batch is proved before its first deletion."""
    row = archive.archived(1)
    written = intents.set_out

    def held_meanwhile(*args: Any) -> Any:
        tag(archive, row, row.version_after, "legal-hold", "C-1")
        return written(*args)

    monkeypatch.setattr("recordings.jobs.engine.deletion.set_out", held_meanwhile)
    assert archive.expire().reasons == {"held": 1}
    assert archive.left(1) == [row.version_after, row.version_before]


def test_two_expiries_at_once(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second runs from its beginning to its end while the first is in the middle of a day."""
    for number in range(4):
        archive.archived(number)
    delete, others = archive.store.delete_version, list[Any]()

    def meanwhile(removable: Removable) -> datetime:
        if removable.key == key_of(2) and not others:
            others.append(None)
            others[0] = Archive(archive.bucket, archive.root).expire(stop_above_percent=0.0)
        return delete(removable)

    monkeypatch.setattr(archive.store, "delete_version", meanwhile)
    archive.pool = Archive(archive.bucket, archive.root, threads=1).pool
    archive.expire(stop_above_percent=0.0)
    assert others[0].problems == []
    assert all(archive.left(number) == [] for number in range(4))
    assert current(read_audit(str(archive.root)))["status"].tolist() == ["expired"] * 4
    assert verify_audit(str(archive.root)).discrepancies == ()


@ON_MINISTACK
@pytest.mark.parametrize("moment", ["checked, and nothing deleted", "in the middle of a recording"])
@pytest.mark.parametrize("other", ["release", "archive"])
def test_beside_a_release_or_an_archiving_run(
    archive: Archive,
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
        archive.bucket.put(key, a_call(number, 0.5))
    archive.tell(*run_stages(plan(archive.bucket.name)))
    archive.bucket.put(key_of(9), a_call(9, 0.5))  # that the archiving run of the day will find

    def runs_meanwhile() -> None:
        if other == "archive":
            archive.tell(*run_stages(plan(archive.bucket.name)))
            return
        job = plan_job(
            Kind.RELEASE, bucket=archive.bucket.name, audit_uri=str(archive.root), grace_days=0, everything=True
        )
        record_start(archive.files, job)
        archived = [row for row in archive.rows() if row.status is Status.ARCHIVED]
        [batch] = batches_of(archived)
        done = release_batch(DeletingStore(archive.bucket.name, Settings()), archive.files, batch, job, pool)
        record_end(archive.files, job, totals={}, manifest=done.files)

    delete, begun = archive.store.delete_version, list[str]()

    def deleted(removable: Removable) -> datetime:
        begun.append(removable.key)
        if len(begun) == (1 if moment.startswith("checked") else 4):
            runs_meanwhile()
        return delete(removable)

    monkeypatch.setattr(archive.store, "delete_version", deleted)
    archive.pool = Archive(archive.bucket, archive.root, threads=1).pool
    archive.expire()
    told = {row.key for row in archive.rows() if row.status in (Status.RELEASED, Status.EXPIRED)}
    assert {key for number, key in enumerate(keys) if len(archive.left(number)) < 2} <= told
    archive.expire()
    assert all(archive.left(number) == [] for number in range(3))
    assert bool(archive.left(9)) == (other == "release"), "what no run has archived stays"
    last = current(read_audit(str(archive.root))).set_index("key")["status"]
    assert set(last) == {"expired"}
    assert not [row for row in archive.rows() if str(row.reason).startswith("bug")]
    assert open_intents(archive.files, archive.bucket.name) == []
    assert verify_audit(str(archive.root)).discrepancies == ()


@ON_MINISTACK
def test_requests_for_a_recording(archive: Archive) -> None:
    """What docs/performance.md says."""
    for number in range(20):
        archive.archived(number)
    before = len(archive.bucket.requests())
    archive.expire()
    counts = archive.bucket.requests_by_kind(before)
    assert {kind: count for kind, count in counts.items() if count >= 20} == {
        "HEAD": 60,
        "GET tags": 60,
        "DELETE": 40,
    }
    assert counts["LIST versions"] <= 4


def test_a_folder_of_which_the_table_knows_a_part(archive: Archive) -> None:
    for number in range(60):
        archive.bucket.put(key_of(100 + number), b"unknown")
    for number in range(3):
        archive.archived(number)
    ended = archive.expire(stop_above_percent=5.0)
    assert "60 of 63 recordings" in ended.problems[0]
    assert archive.expire().counts == {"expired": 3, "skipped": 60}


@pytest.mark.parametrize(("kind", "goes_on"), [(Kind.HOLD, False), (Kind.RESTORE, True)])
def test_an_open_intent_explains_what_its_run_may_have_done(archive: Archive, kind: Kind, goes_on: bool) -> None:
    """A hold deletes and overwrites nothing."""
    archive.abandoned_after = timedelta(hours=6)
    rows = [archive.archived(number) for number in range(5)]
    asked: dict[str, Any] = {"bucket": archive.bucket.name, "audit_uri": str(archive.root)}
    dead = plan_job(kind, **asked, keys=[row.key for row in rows], case="A" if kind is Kind.HOLD else "")
    [batch] = batches_of(rows)
    intents.set_out(archive.files, dead, batch, [replace(row, run_id=dead.run_id) for row in rows[:4]])
    for row in rows[:4]:
        archive.bucket.put(row.key, b"theirs")
    archive.expire(stop_above_percent=5.0)
    assert bool(archive.left(4)) is not goes_on


def test_a_check_takes_no_work_of_ours_for_a_loss(archive: Archive) -> None:
    """It reads its rows hours before it comes to the last of them."""
    later = DAY + timedelta(days=1)
    for number, day in enumerate((DAY, DAY, later, later)):
        archive.archived(number, day)
    [batch] = batches_of(archive.rows())
    asked: dict[str, Any] = {"bucket": archive.bucket.name, "audit_uri": str(archive.root)}
    checking, erasing = plan_job(Kind.FIXITY, **asked), plan_job(Kind.ERASE, **asked, keys=[key_of(3, later)], case="1")
    archive.expire(end_date=DAY)
    lost, erased = batch.rows[2:]
    intents.set_out(archive.files, erasing, batch, [replace(erased, run_id=erasing.run_id, status=Status.ERASED)])
    for row in (lost, erased):
        for version in (row.version_before, row.version_after):
            archive.bucket.client.delete_object(Bucket=row.bucket, Key=row.key, VersionId=version)
    result = check_batch(archive.store, archive.files, batch, checking, archive.pool)
    assert result.reasons == {"changed": 2, "vanished": 1, "underway": 1}
    assert result.counts == {"changed": 2, "failed": 1, "skipped": 1}
    assert all(str(row.reason).endswith(" expired it during this run") for row in archive.rows(Status.CHANGED))


def test_a_prefix_that_nothing_has_is_named_with_its_rule(archive: Archive) -> None:
    """If it is mistyped, the next rule decides, and deletes what the rule was to keep."""
    archive.archived(1)
    vip = RetentionRule(prefix="conect/vip/", keep_days=None)
    noted = "no key begins with 'conect/vip/', so rule 1 covers nothing: correct the rule if it is mistyped"
    assert archive.expire((vip, *KEEP_30), dry_run=True).expiry.notes == [noted]
    right = RetentionRule(prefix="connect/acme/", keep_days=None)
    ended = archive.expire((right, *KEEP_30), dry_run=True)
    assert (ended.counts, ended.expiry.notes) == ({}, [])


@pytest.mark.parametrize("dry_run", [True, False])
def test_a_tag_that_decided_nothing_is_named_with_its_rule(archive: Archive, dry_run: bool) -> None:
    """S3 tells capitals and small letters apart, and the next rule deletes what this rule was to keep."""
    archive.archived(1, Tagging="retention=long")
    archive.archived(2)
    mistyped = (RetentionRule(tag="Retention=long", keep_days=None), *RULES)
    noted = "rule 1, for the tag 'Retention=long', decided about no recording in this run"
    ended = archive.expire(mistyped, dry_run=dry_run)
    assert (sum(ended.counts.values()), ended.expiry.notes) == (2, [f"{noted}: correct the rule if it is mistyped"])
    assert archive.expire(RULES).expiry.notes == []


def test_a_tag_whose_recordings_were_looked_at_before_is_no_reason_for_a_note(archive: Archive) -> None:
    archive.archived(1, Tagging="retention=long")
    assert archive.expire(RULES).expiry.notes == []
    archive.archived(2)
    ended = archive.expire(RULES)
    assert (ended.counts, ended.expiry.notes) == ({"expired": 1}, [])
    assert archive.expire(RULES).expiry.notes == []


def test_an_earlier_rule_that_is_new_covers_what_another_one_kept(archive: Archive) -> None:
    archive.archived(1, Tagging="retention=long")
    assert archive.expire(RULES).reasons == {"in-retention": 1}
    assert archive.expire((RetentionRule(prefix="connect/", keep_days=10), *RULES)).counts == {"expired": 1}
