"""What a hold is asked for by, and that release, expiry and archive ask for it."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from flows.archive import archive_recordings
from flows.erase import erase_recordings
from flows.expire import expire_recordings
from flows.hold import hold_recordings
from flows.release import release_originals
from recordings.errors import InvalidRequest, StoreUnavailable
from recordings.jobs.engine.summary import JobFailed, JobSummary
from recordings.retention_rules import RetentionRule
from recordings.summary import RunFailed
from recordings.table.evidence import verify_audit
from recordings.table.reading import read_audit
from tests.bucket import DAY, ON_BOTH_IN_FULL, PREFIX, Bucket, key_of
from tests.fixtures import MakeCall

pytestmark = [pytest.mark.usefixtures("prefect"), ON_BOTH_IN_FULL]
KEY, LATER = key_of(1), key_of(7, DAY + timedelta(days=3))
CONTACT = KEY.rpartition("/")[2].partition("_")[0]
ANALYSIS = f"Analysis/Voice/2026/01/12/{CONTACT}_analysis_2026-01-12T00:01:00Z.json"
Hold = Callable[..., JobSummary]


@pytest.fixture
def hold(bucket: Bucket, audit_uri: str) -> Hold:
    where = {"bucket": bucket.name, "audit_uri": audit_uri, "prefixes": [PREFIX], "dry_run": False, "case": "A"}
    where["new_table"] = True
    return lambda **more: hold_recordings(**{**where, **more})


@pytest.fixture(params=[True, False], ids=["Object Lock", "tags"])
def locks(request: pytest.FixtureRequest, bucket: Bucket) -> None:
    if request.param:
        lock = {"ObjectLockEnabled": "Enabled"}
        bucket.client.put_object_lock_configuration(Bucket=bucket.name, ObjectLockConfiguration=lock)


def held(bucket: Bucket, audit_uri: str) -> list[str]:
    rows = read_audit(audit_uri)
    return sorted(rows[rows["status"].eq("held")]["key"])


@pytest.mark.parametrize(
    ("asked", "keys"),
    [
        ({"contact_ids": [CONTACT]}, [ANALYSIS, KEY]),
        ({"contact_ids": [CONTACT], "start_date": DAY, "end_date": DAY}, [ANALYSIS, KEY]),
        ({"keys": [LATER, ANALYSIS]}, [ANALYSIS, LATER]),
        ({"start_date": DAY, "end_date": DAY}, [key_of(n) for n in range(3)]),
        ({"start_date": DAY + timedelta(days=1)}, [LATER]),
        ({"end_date": DAY + timedelta(days=2)}, [key_of(n) for n in range(3)]),
    ],
)
def test_what_is_asked_for_is_held(
    bucket: Bucket, archived: Any, hold: Hold, audit_uri: str, asked: Any, keys: list[str]
) -> None:
    """Also what no run has archived, and what is older than the table."""
    bucket.put(ANALYSIS, b"{}")
    bucket.put(LATER, b"a call that no run has archived")
    hold(**asked)
    assert held(bucket, audit_uri) == sorted(keys)
    assert verify_audit(audit_uri).discrepancies == ()


def test_what_a_run_archived_is_held(bucket: Bucket, archived: Any, hold: Hold, audit_uri: str) -> None:
    run_id = read_audit(audit_uri)["run_id"].iloc[0]
    bucket.put(key_of(9), b"of no run")
    assert hold(run_id=run_id).counts == {"held": 3}
    assert held(bucket, audit_uri) == sorted(archived)


def test_a_damaged_day_costs_a_hold_by_run_that_day_alone(
    bucket: Bucket, hold: Hold, audit_uri: str, a_call: MakeCall
) -> None:
    for key in (KEY, LATER):
        bucket.put(key, a_call())
    where: dict[str, Any] = {"bucket": bucket.name, "audit_uri": audit_uri, "prefixes": [PREFIX]}
    run_id = archive_recordings(**where, start_date=DAY, end_date=DAY + timedelta(days=3)).run_id
    (file,) = Path(audit_uri, f"recording_date={DAY + timedelta(days=3)}").iterdir()
    file.write_bytes(b"no Parquet")
    with pytest.raises(JobFailed, match=f"calls of {DAY + timedelta(days=3)} are left out: .*{file.name}") as failed:
        hold(run_id=run_id)
    assert failed.value.summary.counts == {"held": 1}
    assert Path(audit_uri, "_runs", f"{failed.value.summary.run_id}.end.json").is_file()
    mistyped: dict[str, Any] = {"keys": [KEY], "case": "B", "lift": True}
    with pytest.raises(JobFailed, match="whether the case has ever held anything is not known: "):
        hold(**mistyped)


def test_a_damaged_day_costs_a_hold_and_an_erasure_that_day_alone(bucket: Bucket, hold: Hold, audit_uri: str) -> None:
    for key in (KEY, LATER):
        bucket.put(key, b"")
    hold(keys=[LATER], case="B")
    (file,) = Path(audit_uri, f"recording_date={DAY + timedelta(days=3)}").iterdir()
    file.write_bytes(b"no Parquet")
    for asked in ({"keys": [KEY, LATER]}, {"start_date": DAY}):
        with pytest.raises(JobFailed, match=f"AuditDamaged: .*{file.name}") as failed:
            hold(**asked)
        assert failed.value.summary.counts == {"held": 1}
    hold(keys=[KEY], lift=True)
    bucket.client.delete_object_tagging(Bucket=bucket.name, Key=LATER)  # only the damaged file says that it is held
    where: dict[str, Any] = {"bucket": bucket.name, "audit_uri": audit_uri, "prefixes": [PREFIX], "dry_run": False}
    for erased in ({"erased": 1}, {}):
        with pytest.raises(JobFailed, match=file.name) as failed:
            erase_recordings(**where, keys=[KEY, LATER], case="GDPR-1", missing_ok=True)
        assert failed.value.summary.counts == erased
    assert len(bucket.versions(LATER)) == 1


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({}, "nothing is selected"),
        ({"dry_run": True}, "nothing is selected"),
        ({"contact_ids": []}, "empty list"),
        ({"keys": [KEY], "start_date": DAY}, "leave the dates out"),
        ({"run_id": "r", "keys": [KEY]}, "run_id cannot be combined with contacts, keys or dates"),
        ({"keys": [KEY], "case": "two words"}, "without spaces"),
    ],
)
def test_what_could_be_misread_is_refused(hold: Hold, asked: Any, said: str) -> None:
    with pytest.raises(InvalidRequest, match=said):
        hold(**asked)


def test_what_is_not_found_or_cannot_be_held_makes_the_run_red(bucket: Bucket, hold: Hold) -> None:
    bucket.put(KEY, b"", Tagging="&".join(f"t{n}=x" for n in range(10)))
    with pytest.raises(JobFailed, match="the bucket has no version of it"):
        hold(keys=[KEY, key_of(2)])
    with pytest.raises(JobFailed, match="no-room-for-hold"):
        hold(keys=[KEY])
    assert hold(keys=[KEY], missing_ok=True).reasons == {"no-room-for-hold": 1}


def test_a_dry_run_holds_nothing(bucket: Bucket, archived: Any, hold: Hold, audit_uri: str) -> None:
    assert hold(keys=[KEY], dry_run=True).counts == {"held": 1}
    assert held(bucket, audit_uri) == []
    assert bucket.tags(KEY) == {"converted": "True"}


@pytest.mark.usefixtures("locks")
def test_release_and_expiry_leave_what_is_held(bucket: Bucket, archived: Any, hold: Hold, audit_uri: str) -> None:
    hold(keys=[KEY])
    before = bucket.versions(KEY)
    where: dict[str, Any] = {"bucket": bucket.name, "audit_uri": audit_uri, "dry_run": False}
    assert release_originals(**where, everything=True, grace_days=0).reasons == {"held": 1}
    rules = [RetentionRule(keep_days=0)]
    assert expire_recordings(**where, prefixes=[PREFIX], rules=rules, stop_above_percent=100).reasons["held"] == 1
    assert bucket.versions(KEY) == before
    hold(keys=[KEY], lift=True)
    assert release_originals(**where, everything=True, grace_days=0, prefixes=[PREFIX]).counts == {"released": 1}


def test_a_recording_in_a_folder_below_its_day_is_held_by_its_date(
    bucket: Bucket, hold: Hold, audit_uri: str, a_call: MakeCall
) -> None:
    """As a run archives it by its date. The row lies under the day, so that archiving finds it without the tag, too."""
    key = KEY.replace("2026/01/12/", "2026/01/12/sub/")
    bucket.put(key, a_call())
    assert hold(start_date=DAY, end_date=DAY).counts == {"held": 1}
    assert read_audit(audit_uri)["recording_date"].tolist() == [DAY]
    bucket.client.delete_object_tagging(Bucket=bucket.name, Key=key)
    where: dict[str, Any] = {"bucket": bucket.name, "audit_uri": audit_uri, "prefixes": [PREFIX]}
    assert archive_recordings(**where, start_date=DAY, end_date=DAY).counts == {"skipped": 1}


@pytest.mark.usefixtures("locks")
def test_archive_leaves_what_is_held(bucket: Bucket, hold: Hold, audit_uri: str, a_call: MakeCall) -> None:
    bucket.put(KEY, a_call())
    hold(keys=[KEY])
    where: dict[str, Any] = {"bucket": bucket.name, "audit_uri": audit_uri, "prefixes": [PREFIX]}
    archive_recordings(**where, start_date=DAY, end_date=DAY)
    assert len(bucket.versions(KEY)) == 1
    rows = read_audit(audit_uri)
    assert rows[rows["status"].eq("skipped")]["reason"].str.startswith("held: ").all()


def test_archive_leaves_what_only_a_damaged_file_says_is_held(
    bucket: Bucket, hold: Hold, audit_uri: str, a_call: MakeCall
) -> None:
    """The intent says it, too. A case that has been lifted since holds no longer."""
    for number in (1, 2):
        bucket.put(key_of(number), a_call())
    hold(keys=[KEY, key_of(2)])
    (file,) = Path(audit_uri, f"recording_date={DAY}").iterdir()
    hold(keys=[key_of(2)], lift=True)
    bucket.client.delete_object_tagging(Bucket=bucket.name, Key=KEY)
    file.write_bytes(b"no Parquet")
    where: dict[str, Any] = {"bucket": bucket.name, "audit_uri": audit_uri, "prefixes": [PREFIX]}
    with pytest.raises(RunFailed, match=f"file .*{file.name} of the audit table cannot be read") as failed:
        archive_recordings(**where, start_date=DAY, end_date=DAY)
    assert failed.value.summary.counts == {"skipped": 1, "archived": 1}
    assert len(bucket.versions(KEY)) == 1


@pytest.mark.usefixtures("locks")
def test_a_mistyped_case_is_not_lifted_in_silence(bucket: Bucket, archived: Any, hold: Hold) -> None:
    """A case that has ended is: somebody lifts it once more."""
    hold(keys=[KEY], case="2026-CV-0147")
    mistyped: dict[str, Any] = {"keys": [KEY], "case": "2026-CV-0174", "lift": True}
    with pytest.raises(JobFailed, match=r"case is '2026-CV-0174': the audit table has no hold .*it has 2026-CV-0147"):
        hold(**mistyped)
    assert hold(**mistyped, missing_ok=True).reasons == {"not-held": 1}
    right = {**mistyped, "case": "2026-CV-0147"}
    assert [hold(**right).counts for _ in range(2)] == [{"lifted": 1}, {"skipped": 1}]


@pytest.mark.parametrize("locks", [True], indirect=True, ids=["Object Lock"])
def test_a_lift_that_failed_does_not_free_what_its_case_holds(
    bucket: Bucket, locks: None, archived: Any, hold: Hold, audit_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the lift of another case would end S3's hold, and the table would name the case for ever."""
    for case in ("A", "B"):
        hold(keys=[KEY], case=case)
    with monkeypatch.context() as patch:
        patch.setattr("recordings.jobs.hold.write_and_close", Mock(side_effect=StoreUnavailable("no answer")))
        with pytest.raises(JobFailed, match="no answer"):
            hold(keys=[KEY], case="B", lift=True)
    assert hold(keys=[KEY], case="A", lift=True).counts == {"lifted": 1}
    assert hold(keys=[KEY], case="B", lift=True).counts == {"lifted": 1}
    rows = read_audit(audit_uri).query("status == 'lifted'")
    assert sorted(rows["reason"])[0].startswith("case: A; still held for B")


def test_what_is_deleted_already_is_no_failure_of_a_hold_by_date(bucket: Bucket, archived: Any, hold: Hold) -> None:
    """Below its delete marker, there is nothing to hold; a key that is asked for by name is another matter."""
    gone = key_of(5)
    bucket.client.delete_object(Bucket=bucket.name, Key=gone)
    assert hold(start_date=DAY, end_date=DAY).counts == {"held": 3}
    with pytest.raises(JobFailed, match=f"key {gone}: the bucket has no version of it"):
        hold(keys=[gone])


def test_a_mistyped_prefix_ends_a_hold_red(bucket: Bucket, archived: Any, hold: Hold, audit_uri: str) -> None:
    """Though the analysis, which lies elsewhere, is found and held."""
    bucket.put(ANALYSIS, b"{}")
    wrong = PREFIX.replace("acme", "acne")
    for dates in ({}, {"start_date": DAY, "end_date": DAY}):
        with pytest.raises(JobFailed, match=f"No YYYY/MM/DD/ lies below prefix '{wrong}'; .*: acme/"):
            hold(contact_ids=[CONTACT], prefixes=[wrong], **dates)
    assert set(held(bucket, audit_uri)) == {ANALYSIS}
    assert hold(contact_ids=[CONTACT], prefixes=["connect/"]).counts == {"held": 2}, "a folder above is no mistake"


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"new_table": False}, "say new_table=True"),
        ({"new_table": False, "dry_run": True}, "say new_table=True"),
        ({"lift": True}, "name the place that the runs were given$"),
    ],
)
def test_a_place_without_a_table_is_refused(
    bucket: Bucket, archived: Any, hold: Hold, audit_uri: str, asked: Any, said: str
) -> None:
    """No other run would learn of the hold; and there is no hold to lift, whatever new_table says."""
    mistyped, before = f"{audit_uri}x", bucket.snapshot()
    with pytest.raises(InvalidRequest, match=said):
        hold(audit_uri=mistyped, keys=[KEY], **asked)
    assert (bucket.snapshot(), Path(mistyped).exists()) == (before, False)
