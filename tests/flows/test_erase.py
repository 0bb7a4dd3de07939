"""Everything of a contact goes, nothing of another's, and what is held or locked waits without being forgotten."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import pytest

from flows.archive import archive_recordings
from flows.erase import erase_recordings
from flows.hold import hold_recordings
from flows.reconcile import reconcile_audit
from recordings.errors import InvalidRequest
from recordings.jobs import erase
from recordings.jobs.engine.summary import JobFailed, JobSummary
from recordings.s3.deleting import DeletingStore, Removable
from recordings.summary import RunFailed
from recordings.table.evidence import verify_audit
from recordings.table.reading import read_audit
from tests.bucket import DAY, ON_BOTH, ON_BOTH_IN_FULL, ON_MINISTACK, PREFIX, Bucket, key_of
from tests.fixtures import Erase, MakeCall, Setting

pytestmark = [pytest.mark.usefixtures("prefect"), ON_BOTH_IN_FULL]
CONTACT = "0aa0cc11-2b3d-4c5e-8f90-123456789abc"
OTHER = CONTACT + "d"  # its id begins alike
CASE = "2026-GDPR-0031"
AGENT = f"{PREFIX}2026/01/12/{{}}_20260112T10:30_UTC.wav"
KEYS = (
    AGENT,
    PREFIX + "ivr/2026/01/12/{}_20260112T10:29_UTC.wav",
    "Analysis/Voice/Redacted/2026/01/13/{}_call_recording_redacted_2026-01-13T00:00:01Z.wav",
    "Analysis/Voice/Redacted/2026/01/12/{}_analysis_redacted_2026-01-12T10:31:00Z.json",
    "Analysis/Voice/2026/01/12/{}_analysis_2026-01-12T10:31:00Z.json",
    "Analysis/Voice/ivr/2026/01/12/{}_analysis_2026-01-12T10:31:00Z.json",
    "connect/acme/Analysis/Voice/2026/01/12/{}_analysis_2026-01-12T10:31:00Z.json",
)
OF_CONTACT = [key.format(CONTACT) for key in KEYS]
OF_OTHER = [key.format(OTHER) for key in KEYS]
KEY, COPY = OF_CONTACT[0], key_of(1)


Finish = Callable[[], JobSummary]


class SetHold(Protocol):
    """Set a hold on a version of KEY, or take it away."""

    def __call__(self, bucket: Bucket, version: str, *, on: bool) -> None: ...


@pytest.fixture
def filled(bucket: Bucket) -> Bucket:
    """Two versions of everything of two contacts."""
    for key in (*OF_CONTACT, *OF_OTHER):
        bucket.put(key, b"first")
        bucket.put(key, b"second")
    return bucket


@pytest.fixture
def erase_(bucket: Bucket, audit_uri: str) -> Erase:
    place = partial(erase_recordings, bucket=bucket.name, audit_uri=audit_uri, prefixes=[PREFIX], new_table=True)
    return partial(place, contact_ids=[CONTACT], case=CASE, dry_run=False)


@pytest.fixture
def finish(erase_: Erase) -> Finish:
    """The scheduled run."""
    return lambda: erase_(contact_ids=None, case="")


@pytest.fixture
def old(monkeypatch: pytest.MonkeyPatch) -> None:
    """A request may be finished at once."""
    monkeypatch.setattr(erase, "OPEN_DAYS", 0)


def lock(bucket: Bucket) -> None:
    configuration = {"ObjectLockEnabled": "Enabled"}
    bucket.client.put_object_lock_configuration(Bucket=bucket.name, ObjectLockConfiguration=configuration)


def ledger(audit_uri: str, ending: str) -> list[Path]:
    return sorted(Path(audit_uri, "_runs").glob(f"*{ending}"))


def snapshot_of(bucket: Bucket, contact: str) -> list[Any]:
    return [line for line in bucket.snapshot() if f"/{contact}_" in line[0]]


@ON_BOTH
@pytest.mark.parametrize("dates", [{}, {"start_date": DAY, "end_date": DAY}])
def test_everything_of_the_contact_goes_and_nothing_of_another(
    filled: Bucket, erase_: Erase, audit_uri: str, dates: dict[str, Any]
) -> None:
    others = snapshot_of(filled, OTHER)
    summary = erase_(**dates)
    assert summary.counts == {"erased": len(KEYS)}
    assert filled.snapshot() == others
    rows = read_audit(audit_uri)
    assert sorted(rows["key"]) == sorted(OF_CONTACT)
    assert rows["reason"].tolist() == [f"case: {CASE}"] * len(KEYS)
    assert verify_audit(audit_uri).discrepancies == ()


def test_an_imported_recording_whose_name_ends_as_connects_goes_too(
    bucket: Bucket, erase_: Erase, setting: Setting
) -> None:
    name = "REC_(?P<contact_id>[0-9a-f-]+)_(?P<time>[0-9T:]+)_UTC[.]wav"
    pattern = {"name": "other", "folder": "imported/", "file_name": name, "time_format": "%Y%m%dT%H:%M"}
    setting(KEY_PATTERNS=json.dumps([pattern]))
    bucket.put(f"imported/2026/01/12/REC_{CONTACT}_20260112T10:30_UTC.wav", b"imported")
    bucket.put(KEY, b"of Connect")
    assert erase_().counts == {"erased": 2}
    assert bucket.snapshot() == []


@pytest.mark.s3_servers("seaweed")  # ministack does not show the tags of what lies below a delete marker
def test_what_a_delete_marker_hides_goes_with_the_marker(filled: Bucket, erase_: Erase) -> None:
    others = snapshot_of(filled, OTHER)
    for key in OF_CONTACT[1:3]:
        filled.client.delete_object(Bucket=filled.name, Key=key)
        filled.put(key, b"third")
    for key in OF_CONTACT[2:5]:
        filled.client.delete_object(Bucket=filled.name, Key=key)
    for version in filled.versions(OF_CONTACT[4]):
        filled.client.delete_object(Bucket=filled.name, Key=OF_CONTACT[4], VersionId=version["VersionId"])
    assert erase_().counts == {"erased": len(KEYS)}
    assert filled.snapshot() == others


def test_a_row_holds_no_more_than_which_key_when_and_why(filled: Bucket, erase_: Erase, audit_uri: str) -> None:
    erase_()
    row = read_audit(audit_uri).iloc[0].dropna()
    said = {name for name, value in row.items() if value is not False and value != 0}
    which = {"recording_date", "bucket", "key", "contact_id", "version_before"}
    when_and_why = {"status", "reason", "state_at", "started_at", "finished_at", "run_id"}
    assert said <= which | when_and_why | {"profile", "attempts", "software_version"}
    assert row["profile"] == "none"


def test_a_dry_run_writes_nothing_at_all(filled: Bucket, erase_: Erase, audit_uri: str) -> None:
    before = filled.snapshot()
    summary = erase_(dry_run=True)
    assert summary.counts == {"erased": len(KEYS)}
    assert "nothing was written" in str(summary)
    assert filled.snapshot() == before
    assert not Path(audit_uri).exists()


def test_the_request_is_in_the_ledger_before_the_first_deletion(
    filled: Bucket, erase_: Erase, audit_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from recordings.s3.deleting import DeletingStore

    seen = list[tuple[int, int]]()
    delete = DeletingStore.delete_version

    def watched(*args: Any) -> Any:
        seen.append((len(ledger(audit_uri, ".erasure.json")), len(ledger(audit_uri, ".intent.json"))))
        return delete(*args)

    monkeypatch.setattr(DeletingStore, "delete_version", watched)
    erase_()
    assert seen
    assert all(request and intent for request, intent in seen)
    [request] = ledger(audit_uri, ".erasure.json")
    assert json.loads(request.read_text())["contact_ids"] == [CONTACT]


def test_by_key_alone(filled: Bucket, erase_: Erase) -> None:
    """A name that tells neither contact nor day, and a key that begins like another."""
    filled.put("exports/odd", b"1")
    filled.put("exports/odd-2", b"2")
    before = filled.snapshot()
    assert erase_(contact_ids=None, keys=["exports/odd"]).counts == {"erased": 1}
    assert {line[0] for line in set(before) - set(filled.snapshot())} == {"exports/odd"}


def test_what_is_not_found_is_named(filled: Bucket, erase_: Erase) -> None:
    asked: dict[str, Any] = {"contact_ids": [CONTACT, "nobody"], "keys": ["exports/nothing"]}
    with pytest.raises(JobFailed) as failed:
        erase_(**asked)
    assert failed.value.summary.counts == {"erased": len(KEYS)}
    assert [line.split(":")[0] for line in failed.value.summary.problems] == ["key exports/nothing", "contact nobody"]
    again = erase_(**asked, missing_ok=True)
    assert any("contact nobody" in note for note in again.notes)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"contact_ids": []}, "contact_ids is an empty list"),
        ({"contact_ids": [" "]}, "contact_ids has an empty entry"),
        ({"keys": []}, "keys is an empty list"),
        ({"case": ""}, "case is empty"),
        ({"contact_ids": None}, "contact_ids and keys are empty"),
        ({"contact_ids": None, "case": "", "start_date": DAY}, "leave the dates out"),
        ({"contact_ids": None, "keys": [KEY], "start_date": DAY, "end_date": DAY}, "leave the dates out"),
    ],
)
def test_what_could_be_misread_is_refused(
    filled: Bucket, erase_: Erase, audit_uri: str, asked: dict[str, Any], said: str
) -> None:
    """Dates beside keys must not come to mean every call of these days."""
    before = filled.snapshot()
    with pytest.raises(InvalidRequest, match=said):
        erase_(**asked)
    assert filled.snapshot() == before
    assert not ledger(audit_uri, ".erasure.json")


@pytest.mark.parametrize("folder", ["/audit", ""])
def test_the_audit_table_is_spared(filled: Bucket, erase_: Erase, folder: str) -> None:
    """At the root of a bucket, too, where other objects may lie beside it."""
    table = f"s3://{filled.name}{folder}"
    for name in ("recording_date=2026-01-12/x.parquet", "_runs/20260101T000000Z-00000001.end.json"):
        with pytest.raises(InvalidRequest, match="lies in the audit table"):
            erase_(keys=[f"{folder}/{name}".lstrip("/")], audit_uri=table)
    assert erase_(audit_uri=table, keys=[OF_OTHER[0]]).counts == {"erased": len(KEYS) + 1}


def test_a_mistyped_prefix_ends_an_erasure_red(filled: Bucket, erase_: Erase, audit_uri: str) -> None:
    """What lies elsewhere is found and erased: without the recordings, that is no erasure."""
    wrong = PREFIX.replace("acme", "acne")
    for dry_run in (True, False):
        with pytest.raises(JobFailed, match=f"No YYYY/MM/DD/ lies below prefix '{wrong}'; .*: acme/") as failed:
            erase_(prefixes=[wrong], dry_run=dry_run)
        assert failed.value.summary.counts == {"erased": 4}
    assert filled.versions(KEY)


def test_what_is_there_again_is_named_wherever_it_lies(
    filled: Bucket, erase_: Erase, audit_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An analysis, too, which no archiving run and no other comparison looks at."""
    monkeypatch.setattr(erase, "OPEN_DAYS", 0)
    filled.put("exports/odd", b"1")
    erase_(keys=["exports/odd"])
    where: dict[str, Any] = {"bucket": filled.name, "audit_uri": audit_uri, "prefixes": [PREFIX, "connect/other/"]}
    filled.put(OF_OTHER[0].replace(PREFIX, "connect/other/"), b"of another instance")
    today = datetime.now(UTC).date()
    of_calls = OF_CONTACT[0], OF_CONTACT[2], OF_CONTACT[4]
    for first, last, back in ((DAY, DAY + timedelta(days=1), of_calls), (today, today, ["exports/odd"])):
        days: dict[str, Any] = {**where, "start_date": first, "end_date": last}
        assert "resurrected" not in reconcile_audit(**days).drifts
        for key in back:
            filled.put(key, b"back")
        with pytest.raises(JobFailed) as failed:
            reconcile_audit(**days)
        said = failed.value.summary.problems
        assert failed.value.summary.drifts["resurrected"] == len(said) == len(back)
        assert all(any(line.startswith(f"{key}: resurrected") for line in said) for key in back)


def _hold_version(bucket: Bucket, version: str, *, on: bool) -> None:
    held = {"Status": "ON" if on else "OFF"}
    bucket.client.put_object_legal_hold(Bucket=bucket.name, Key=KEY, VersionId=version, LegalHold=held)


def _tag_version(bucket: Bucket, version: str, *, on: bool) -> None:
    tags = [{"Key": "legal-hold", "Value": ""}] if on else []
    bucket.client.put_object_tagging(Bucket=bucket.name, Key=KEY, VersionId=version, Tagging={"TagSet": tags})


@pytest.mark.usefixtures("old")
@pytest.mark.parametrize("which", [0, 1], ids=["the newest version", "an old version"])
@pytest.mark.parametrize("hold", [_hold_version, _tag_version])
def test_what_is_held_waits_and_is_finished_after_the_lift(
    filled: Bucket, erase_: Erase, finish: Finish, audit_uri: str, hold: SetHold, which: int
) -> None:
    if hold is _hold_version:
        lock(filled)
    version = filled.versions(KEY)[which]["VersionId"]
    hold(filled, version, on=True)
    before = filled.versions(KEY)
    summary = erase_()
    assert summary.counts == {"erased": len(KEYS) - 1, "skipped": 1}
    assert summary.reasons["held"] == 1
    assert "1 object left" in str(summary)
    assert finish().counts == {"skipped": 1}
    assert filled.versions(KEY) == before
    assert not ledger(audit_uri, ".erased.json")
    hold(filled, version, on=False)
    assert finish().counts == {"erased": 1}
    assert snapshot_of(filled, CONTACT) == []
    assert len(ledger(audit_uri, ".erased.json")) == 1
    assert finish().counts == {}
    assert verify_audit(audit_uri).discrepancies == ()


@ON_BOTH
def test_what_is_locked_waits(filled: Bucket, erase_: Erase) -> None:
    lock(filled)
    until = {"Mode": "GOVERNANCE", "RetainUntilDate": datetime.now(UTC) + timedelta(days=1)}
    version = filled.versions(KEY)[1]["VersionId"]
    filled.client.put_object_retention(Bucket=filled.name, Key=KEY, VersionId=version, Retention=until)
    summary = erase_()
    assert summary.reasons["locked"] == 1
    assert len(filled.versions(KEY)) == 2


def test_a_hold_between_two_deletions_leaves_no_loss(
    bucket: Bucket, originals: dict[str, str], audit_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S3 refuses to delete the replacement; the row of the original says who deleted it."""
    lock(bucket)
    replacement, delete = bucket.versions(COPY)[0]["VersionId"], DeletingStore.delete_version

    def meanwhile(store: DeletingStore, removable: Removable) -> datetime:
        if removable.version_id == replacement:
            asked: dict[str, Any] = {"Bucket": bucket.name, "Key": COPY, "VersionId": replacement}
            bucket.client.put_object_legal_hold(**asked, LegalHold={"Status": "ON"})
        return delete(store, removable)

    where: Any = {"bucket": bucket.name, "audit_uri": audit_uri, "prefixes": [PREFIX]}
    monkeypatch.setattr(DeletingStore, "delete_version", meanwhile)
    with pytest.raises(JobFailed, match="partly-deleted") as failed:
        erase_recordings(**where, keys=[COPY], case=CASE, dry_run=False)
    assert failed.value.summary.counts == {"released": 1}
    assert [version["VersionId"] for version in bucket.versions(COPY)] == [replacement]
    assert reconcile_audit(**where, start_date=DAY, end_date=DAY).drifts == {}


@pytest.mark.parametrize("locks", [True, False])
def test_a_case_that_only_the_table_knows_holds(
    filled: Bucket, erase_: Erase, finish: Finish, audit_uri: str, locks: bool
) -> None:
    """Somebody took the hold away in S3 by hand: the case has not ended."""
    if locks:
        lock(filled)
    where: dict[str, Any] = {"bucket": filled.name, "audit_uri": audit_uri, "prefixes": [PREFIX], "dry_run": False}
    hold_recordings(**where, keys=[KEY], case="2026-CV-1", new_table=True)
    for version in filled.versions(KEY):
        take_away = _hold_version if locks else _tag_version
        take_away(filled, version["VersionId"], on=False)
    assert erase_(dry_run=True).reasons["held"] == 1
    assert erase_().reasons["held"] == 1
    assert len(filled.versions(KEY)) == 2
    hold_recordings(**where, keys=[KEY], case="2026-CV-1", lift=True)
    assert finish().counts == {"erased": 1}


def test_what_is_written_late_is_erased_by_the_scheduled_run(
    filled: Bucket, erase_: Erase, finish: Finish, audit_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "stays open until" in str(erase_())
    late = OF_CONTACT[4].replace("10:31:00", "10:45:00")
    filled.put(late, b"{}")
    assert finish().counts == {"erased": 1}
    assert not filled.versions(late)
    assert not ledger(audit_uri, ".erased.json")
    monkeypatch.setattr(erase, "OPEN_DAYS", 0)
    finish()
    filled.put(late, b"{}")
    assert finish().counts == {}, "the request is finished: a later object takes another one"
    assert filled.versions(late)


@pytest.mark.parametrize("dates", [{}, {"start_date": DAY, "end_date": DAY}])
def test_a_request_with_dates_does_not_speak_for_other_days(
    filled: Bucket,
    erase_: Erase,
    finish: Finish,
    audit_uri: str,
    monkeypatch: pytest.MonkeyPatch,
    dates: dict[str, Any],
) -> None:
    filled.put(later := f"{PREFIX}2026/01/15/{CONTACT}_20260115T10:30_UTC.wav", b"of another day")
    (note,) = erase_(**dates).notes
    days = " in the folders of these days and of the days beside them" if dates else ""
    assert f": nothing is left{days}; the request stays open until " in note
    assert bool(filled.versions(later)) is bool(dates)
    monkeypatch.setattr(erase, "OPEN_DAYS", 0)
    run_id = finish().run_id
    (erased,) = ledger(audit_uri, ".erased.json")
    of_days = {"only_days": f"{DAY} to {DAY}"} if dates else {}
    assert json.loads(erased.read_text()) == {"finished_by": run_id, **of_days}
    assert verify_audit(audit_uri).discrepancies == ()


@pytest.mark.usefixtures("old")
def test_several_requests_are_taken_up_together_each_under_its_case(
    filled: Bucket, erase_: Erase, finish: Finish, audit_uri: str
) -> None:
    for key in (KEY, OF_OTHER[0]):
        _tag_key(filled, key, [{"Key": "legal-hold", "Value": "X"}])
    erase_()
    erase_(contact_ids=[OTHER], case="2026-GDPR-0032")
    _tag_key(filled, OF_OTHER[0], [])
    assert finish().counts == {"erased": 1, "skipped": 1}
    rows = read_audit(audit_uri)
    assert rows[rows["key"].eq(OF_OTHER[0]) & rows["status"].eq("erased")]["reason"].tolist() == [
        "case: 2026-GDPR-0032"
    ]
    (of_other,) = (path for path in ledger(audit_uri, ".erasure.json") if "2026-GDPR-0032" in path.read_text())
    assert [path.name.split(".")[0] for path in ledger(audit_uri, ".erased.json")] == [of_other.name.split(".")[0]]


def _tag_key(bucket: Bucket, key: str, tags: list[Any]) -> None:
    for version in bucket.versions(key):
        bucket.client.put_object_tagging(
            Bucket=bucket.name, Key=key, VersionId=version["VersionId"], Tagging={"TagSet": tags}
        )


def test_a_damaged_request_is_named_and_the_others_are_done(
    filled: Bucket, erase_: Erase, finish: Finish, audit_uri: str
) -> None:
    erase_()
    filled.put(KEY, b"again")
    Path(audit_uri, "_runs", "20260101T000000Z-00000001.erasure.json").write_text('{"run_id": 1')
    with pytest.raises(JobFailed, match=r"20260101T000000Z-00000001\.erasure\.json cannot be read") as failed:
        finish()
    assert failed.value.summary.counts == {"erased": 1}


@ON_BOTH
def test_an_unversioned_bucket(unversioned_bucket: Bucket, audit_uri: str, erase_: Erase) -> None:
    for key in (*OF_CONTACT, *OF_OTHER):
        unversioned_bucket.put(key, b"only")
    assert erase_(bucket=unversioned_bucket.name).counts == {"erased": len(KEYS)}
    assert {line[0] for line in unversioned_bucket.snapshot()} == set(OF_OTHER)


@pytest.mark.parametrize("asked", [{}, {"dry_run": True}, {"contact_ids": None, "case": ""}])
def test_a_place_without_a_table_is_refused(
    filled: Bucket, erase_: Erase, audit_uri: str, asked: dict[str, Any]
) -> None:
    """Its table may be elsewhere, and know of holds; and it would never learn what was erased."""
    before = filled.snapshot()
    with pytest.raises(InvalidRequest, match=r"holds no audit table: .* say new_table=True"):
        erase_(new_table=False, **asked)
    assert filled.snapshot() == before
    assert not Path(audit_uri).exists()


@pytest.fixture
def erased(bucket: Bucket, erase_: Erase, originals: dict[str, str], audit_uri: str) -> Path:
    """One of the archived recordings is erased, and back: its replacement as it was. Returns the file of its row."""
    there = bucket.client.get_object(Bucket=bucket.name, Key=COPY)
    summary = erase_(contact_ids=None, keys=[COPY])
    bucket.put(COPY, there["Body"].read(), Metadata=there["Metadata"], Tagging="converted=True")
    (file,) = (Path(audit_uri, name) for name in summary.manifest_files)
    return file


def archive_again(bucket: Bucket, audit_uri: str, **more: Any) -> dict[str, int]:
    with pytest.raises(RunFailed) as failed:
        archive_recordings(
            bucket=bucket.name, prefixes=[PREFIX], audit_uri=audit_uri, start_date=DAY, end_date=DAY, **more
        )
    return dict(failed.value.summary.counts)


@ON_MINISTACK
def test_what_was_erased_is_not_archived_again_though_its_row_cannot_be_read(
    bucket: Bucket, erased: Path, audit_uri: str, a_call: MakeCall
) -> None:
    """The intent says so; and without it, nothing of the day is archived."""
    bucket.put(COPY, a_call(1, 1.0))
    bucket.put(key_of(3), a_call(3, 1.0))
    erased.write_bytes(erased.read_bytes()[:100])
    before = bucket.snapshot()
    intent = Path(audit_uri, "_runs", f"{erased.stem}.intent.json")
    sound = intent.read_text()
    intent.write_text(sound[:100])
    assert archive_again(bucket, audit_uri) == {}
    assert bucket.snapshot() == before
    intent.write_text(sound)
    assert archive_again(bucket, audit_uri) == {"archived": 1, "skipped": 1}
    assert len(bucket.versions(COPY)) == 2
    (reason,) = read_reasons(audit_uri, COPY, but=erased)
    assert f"set out to destroy it, and recording_date={DAY}/{erased.name} cannot be read" in reason


def read_reasons(audit_uri: str, key: str, but: Path) -> list[str]:
    but.unlink()
    rows = read_audit(audit_uri)
    return list(rows[rows["key"].eq(key) & rows["status"].eq("skipped")]["reason"])


@ON_MINISTACK
def test_a_repair_rebuilds_no_row_of_what_was_to_be_erased(bucket: Bucket, erased: Path, audit_uri: str) -> None:
    """Its row is lost, and a copy of the replacement is back, with its provenance."""
    place: dict[str, Any] = {"bucket": bucket.name, "prefixes": [PREFIX], "audit_uri": audit_uri}
    before = erased.read_bytes()
    erased.unlink()
    summary = reconcile_audit(**place, start_date=DAY, end_date=DAY, repair=True)
    assert (summary.counts, dict(summary.drifts)) == ({}, {"row-missing": 1})
    (file,) = Path(audit_uri, "_differences").iterdir()
    assert "nothing is repaired, since run" in file.read_text()
    erased.write_bytes(before)
    with pytest.raises(JobFailed, match="resurrected"):
        reconcile_audit(**place, start_date=DAY, end_date=DAY, repair=True)
