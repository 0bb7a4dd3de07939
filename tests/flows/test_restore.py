"""Archive, then restore: the object is the same again, bit for bit."""

from collections.abc import Callable
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import pandas as pd
import pytest

from demo.calls import demo_calls
from flows.archive import archive_recordings
from flows.hold import hold_recordings
from flows.release import release_originals
from flows.restore import restore_recordings
from recordings.errors import InvalidRequest, StoreRefused
from recordings.jobs.engine.summary import JobFailed
from recordings.keys import contact_of
from recordings.table.evidence import verify_audit
from recordings.table.reading import read_audit
from tests.bucket import DAY, ON_BOTH, ON_BOTH_IN_FULL, ON_MINISTACK, PREFIX, Bucket, key_of
from tests.faults import ErrorProxy, S3Error, faulty_proxy
from tests.fixtures import ArchiveDay, MakeCall, Restore, Setting

pytestmark = [pytest.mark.usefixtures("prefect"), ON_BOTH_IN_FULL]
ODD_NAMES = ("a b+c", "d%20e", "ä:é", "p&q=r")


@pytest.fixture
def archive_day(bucket: Bucket, audit_uri: str) -> ArchiveDay:
    return partial(
        archive_recordings, bucket=bucket.name, prefixes=[PREFIX], audit_uri=audit_uri, start_date=DAY, end_date=DAY
    )


@pytest.fixture
def restore(bucket: Bucket, audit_uri: str) -> Restore:
    """Of everything, unless something else is said."""
    return partial(restore_recordings, bucket=bucket.name, audit_uri=audit_uri, everything=True, dry_run=False)


def multipart(bucket: Bucket, key: str, body: bytes, **properties: Any) -> None:
    """In two parts, as large uploads are: the ETag is no MD5 then. Tagged afterwards: the test's S3 drops tags here."""
    tags = [dict(zip(("Key", "Value"), properties.pop("Tagging").split("="), strict=True))]
    names = {"Bucket": bucket.name, "Key": key}
    upload = bucket.client.create_multipart_upload(**names, **properties)["UploadId"]
    half = 5 * 1024 * 1024
    parts = [
        bucket.client.upload_part(**names, UploadId=upload, PartNumber=n + 1, Body=part)["ETag"]
        for n, part in enumerate((body[:half], body[half:]))
    ]
    listed = [{"ETag": etag, "PartNumber": n + 1} for n, etag in enumerate(parts)]
    bucket.client.complete_multipart_upload(**names, UploadId=upload, MultipartUpload={"Parts": listed})
    bucket.client.put_object_tagging(**names, Tagging={"TagSet": tags})


@ON_BOTH
def test_the_round_trip_gives_back_what_was_there(
    bucket: Bucket, archive_day: ArchiveDay, restore: Restore, a_call: MakeCall
) -> None:
    folder = key_of(1).rpartition("/")[0]
    bodies = {f"{folder}/{name}.wav": a_call(n) for n, name in enumerate(ODD_NAMES)}
    bodies[key_of(9)] = a_call(9, 400)
    mine = {"Metadata": {"agent": "ida"}, "ContentType": "audio/x-wav", "Tagging": "queue=sales"}
    for key, body in bodies.items():
        (multipart if len(body) > 5_500_000 else Bucket.put)(bucket, key, body, **mine)
    before = {key: bucket.get(key) for key in bodies}
    assert archive_day().counts == {"archived": len(bodies)}

    summary = restore()

    assert summary.counts == {"restored": len(bodies)}
    assert summary.original_bytes == sum(map(len, bodies.values()))
    for key, body in bodies.items():
        after = bucket.get(key)
        assert bucket.body(key) == body
        assert after["Metadata"] == before[key]["Metadata"]
        assert after["ContentType"] == before[key]["ContentType"]
        assert after.get("StorageClass", "STANDARD") == before[key].get("StorageClass", "STANDARD")
        assert bucket.tags(key) == {"queue": "sales", "archive": "exempt"}


def test_what_is_restored_is_not_archived_again(
    bucket: Bucket, archive_day: ArchiveDay, restore: Restore, a_call: MakeCall
) -> None:
    bucket.put(key_of(1), a_call())
    archive_day()
    restore()
    before = bucket.snapshot()
    assert archive_day().counts == {"skipped": 1}
    assert restore().counts == {}
    assert bucket.snapshot() == before


def test_only_what_is_asked_for_is_restored(
    bucket: Bucket, archive_day: ArchiveDay, restore: Restore, a_call: MakeCall, audit_uri: str
) -> None:
    for number in range(4):
        bucket.put(key_of(number), a_call(number, 1.0))
    run_id = archive_day().run_id
    contact = pd.read_parquet(audit_uri)["contact_id"][0]
    with pytest.raises(JobFailed, match="run another: the audit table has no run with this id"):
        restore(run_id="another")
    with pytest.raises(JobFailed, match="the audit table has nothing archived from 2026-01-13 to the last"):
        restore(start_date=date(2026, 1, 13))
    assert restore(start_date=date(2026, 1, 13), missing_ok=True).counts == {}
    assert restore(contact_ids=[contact]).counts == {"restored": 1}
    assert restore(run_id=run_id).counts == {"restored": 3}


def test_keys_select_and_those_not_found_are_named(
    bucket: Bucket, originals: dict[str, str], restore: Restore, tmp_path: Path
) -> None:
    with pytest.raises(JobFailed, match=f"key {key_of(7)}: the audit table has no archived recording") as failed:
        restore(contact_ids=None, keys=[key_of(2), key_of(7)])
    assert failed.value.summary.counts == {"restored": 1}
    assert bucket.get(key_of(2))["Metadata"] == {}
    lost = str(tmp_path / "lost")
    with pytest.raises(JobFailed, match=f"key {key_of(7)}: no replacement in the bucket") as failed:
        restore(audit_uri=lost, contact_ids=None, keys=[key_of(1), key_of(7)])
    assert failed.value.summary.counts == {"restored": 1}


def test_provenance_alone_is_enough(
    bucket: Bucket, archive_day: ArchiveDay, restore: Restore, a_call: MakeCall, tmp_path: Path
) -> None:
    bodies = {key_of(number): a_call(number, 1.0) for number in range(3)}
    for key, body in bodies.items():
        bucket.put(key, body)
    archive_day()
    assert restore(audit_uri=str(tmp_path / "lost")).counts == {"restored": 3}
    assert all(bucket.body(key) == body for key, body in bodies.items())


def test_a_restore_that_died_before_its_row_is_made_good(
    bucket: Bucket,
    archive_day: ArchiveDay,
    restore: Restore,
    a_call: MakeCall,
    monkeypatch: pytest.MonkeyPatch,
    audit_uri: str,
) -> None:
    import recordings.jobs.restore

    bucket.put(key_of(1), a_call())
    archive_day()
    with monkeypatch.context() as patch:
        patch.setattr(recordings.jobs.restore, "write_and_close", lambda *_: 1 / 0)
        with pytest.raises(JobFailed, match=r"1 recording without a row; 2026-01-12 batch 1 failed: Zero") as failed:
            restore()
    before = bucket.snapshot()
    summary = restore()
    assert (summary.counts, summary.settled) == ({}, 1)
    assert "1 row written for earlier runs that died" in str(summary)
    assert bucket.snapshot() == before
    rows = pd.read_parquet(audit_uri).query("status == 'restored'")
    assert rows["run_id"].tolist() == [failed.value.summary.run_id]
    assert verify_audit(audit_uri).discrepancies == ()


@ON_MINISTACK
def test_days_without_rows_ask_no_object(
    bucket: Bucket, archive_day: ArchiveDay, restore: Restore, a_call: MakeCall
) -> None:
    """No rows in these dates is not: no audit table."""
    bucket.put(key_of(1), a_call())
    archive_day()
    asked = len(bucket.requests())
    with pytest.raises(JobFailed, match="the audit table has nothing archived from 2026-02-01 to the last"):
        restore(start_date=date(2026, 2, 1))
    assert bucket.requests_by_kind(asked) == {}


def test_contacts_that_were_asked_for_in_vain_are_named(
    bucket: Bucket, archive_day: ArchiveDay, restore: Restore, a_call: MakeCall, audit_uri: str
) -> None:
    """The others are restored all the same."""
    for number in range(3):
        bucket.put(key_of(number), a_call(number, 1.0))
    run_id = archive_day().run_id
    contacts = [str(contact_of(key_of(number))) for number in range(3)]
    assert restore(contact_ids=[contacts[0]]).counts == {"restored": 1}
    released = _release_one(bucket, audit_uri, 1)
    with pytest.raises(JobFailed) as failed:
        restore(contact_ids=[*contacts, "nobody"])
    summary = failed.value.summary
    assert summary.counts == {"restored": 1}
    assert len(summary.problems) == 2, "what is restored already is no problem"
    assert summary.problems[0] == "contact nobody: the audit table has no archived recording for it"
    assert summary.problems[1].startswith(f"contact {contacts[1]}: its original was released by run {released} on 20")
    with pytest.raises(JobFailed, match=f"contact {contacts[1]}: its original was released by run {released}"):
        restore(run_id=run_id)


def _release_one(bucket: Bucket, audit_uri: str, number: int) -> str:
    for other in {0, 1, 2} - {number}:
        bucket.client.delete_object_tagging(Bucket=bucket.name, Key=key_of(other))
    with pytest.raises(JobFailed) as failed:  # the others are not tagged, or not archived any more
        release_originals(bucket=bucket.name, audit_uri=audit_uri, everything=True, grace_days=0, dry_run=False)
    assert failed.value.summary.counts["released"] == 1
    return failed.value.summary.run_id


@ON_MINISTACK
def test_without_a_table_only_what_is_asked_for_is_looked_at(
    bucket: Bucket, archive_day: ArchiveDay, restore: Restore, a_call: MakeCall, tmp_path: Path
) -> None:
    for number in range(3):
        bucket.put(key_of(number), a_call(number, 1.0))
    bucket.put("no/recording.txt", b"theirs")
    archive_day()
    asked = len(bucket.requests())
    contact = str(contact_of(key_of(1)))
    assert restore(audit_uri=str(tmp_path / "lost"), contact_ids=[contact]).counts == {"restored": 1}
    looked_at = {path.partition("?")[0] for method, path in bucket.requests()[asked:] if method == "HEAD"}
    assert [path.rpartition("/")[2][:36] for path in looked_at] == [contact]


@ON_BOTH
def test_full_tags_are_marked_in_the_metadata(
    bucket: Bucket, archive_day: ArchiveDay, restore: Restore, a_call: MakeCall
) -> None:
    """Ten foreign tags leave no room for archive=exempt; all that the object had comes along."""
    theirs = {f"theirs-{n}": "x y" for n in range(10)}
    had = {
        "Metadata": {"agent": "ida"},
        "ContentType": "audio/x-wav",
        "CacheControl": "no-store",
        "ContentDisposition": "attachment",
        "ContentLanguage": "de",
    }
    body = a_call()
    bucket.put(key_of(1), body, Tagging=urlencode(theirs, quote_via=quote), **had)
    archive_day()
    assert restore().counts == {"restored": 1}
    after = bucket.get(key_of(1))
    assert bucket.body(key_of(1)) == body
    assert {name: after[name] for name in had} == {**had, "Metadata": {"agent": "ida", "archive-exempt": "true"}}
    assert bucket.tags(key_of(1)) == theirs


@ON_BOTH
def test_a_recording_older_than_versioning_comes_back(
    unversioned_bucket: Bucket, a_call: MakeCall, audit_uri: str
) -> None:
    """Its version is called ``null``."""
    bucket, body = unversioned_bucket, a_call()
    bucket.put(key_of(1), body, Tagging="queue=sales")
    bucket.client.put_bucket_versioning(Bucket=bucket.name, VersioningConfiguration={"Status": "Enabled"})
    archive_recordings(bucket=bucket.name, prefixes=[PREFIX], audit_uri=audit_uri, start_date=DAY, end_date=DAY)
    assert restore_recordings(bucket=bucket.name, audit_uri=audit_uri, everything=True, dry_run=False).counts == {
        "restored": 1
    }
    assert bucket.body(key_of(1)) == body
    assert bucket.tags(key_of(1)) == {"queue": "sales", "archive": "exempt"}


def test_a_restore_without_a_table_goes_on_where_the_first_one_ended(
    bucket: Bucket,
    archive_day: ArchiveDay,
    restore: Restore,
    a_call: MakeCall,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The first one's own rows are no sign of a table that knows the bucket."""
    import recordings.jobs.restore

    bodies = {key_of(number): a_call(number, 1.0) for number in range(3)}
    for key, body in bodies.items():
        bucket.put(key, body)
    archive_day()
    work, lost = recordings.jobs.restore._restore, str(tmp_path / "lost")

    def refused(store: Any, row: Any, *asked: Any) -> Any:
        if row.key == key_of(2):
            raise StoreRefused("ExpiredToken")
        return work(store, row, *asked)

    with monkeypatch.context() as patch:
        patch.setattr(recordings.jobs.restore, "_restore", refused)
        with pytest.raises(JobFailed, match="1 failed, 2 restored"):
            restore(audit_uri=lost)
    assert restore(audit_uri=lost).counts == {"restored": 1}
    assert all(bucket.body(key) == body for key, body in bodies.items())
    assert restore(audit_uri=lost).counts == {}


@pytest.mark.parametrize("suspended", [True, False])
@pytest.mark.parametrize("dry_run", [True, False])
def test_what_was_overwritten_without_versions_is_gone(
    unversioned_bucket: Bucket, a_call: MakeCall, audit_uri: str, suspended: bool, dry_run: bool
) -> None:
    """The replacement is not taken for its own original."""
    bucket = unversioned_bucket
    for status in ("Enabled", "Suspended") if suspended else ():
        bucket.client.put_bucket_versioning(Bucket=bucket.name, VersioningConfiguration={"Status": status})
    bucket.put(key_of(1), a_call(), Tagging="queue=sales")
    parameters: dict[str, Any] = {"prefixes": [PREFIX], "audit_uri": audit_uri, "start_date": DAY, "end_date": DAY}
    archive_recordings(bucket=bucket.name, accept=["unversioned"], **parameters)
    before, tags = bucket.get(key_of(1))["LastModified"], bucket.tags(key_of(1))
    with pytest.raises(JobFailed) as failed:
        restore_recordings(bucket=bucket.name, audit_uri=audit_uri, everything=True, dry_run=dry_run)
    summary = failed.value.summary
    assert (summary.counts, summary.reasons) == ({"rejected": 1}, {"original-gone": 1})
    assert (bucket.get(key_of(1))["LastModified"], bucket.tags(key_of(1))) == (before, tags)


def test_what_was_never_converted_is_passed_over(
    bucket: Bucket, archive_day: ArchiveDay, restore: Restore, audit_uri: str
) -> None:
    body = next(call.body for call in demo_calls() if "convert-batch" in call.tags)
    bucket.put(key_of(1), body, StorageClass="GLACIER_IR")
    assert archive_day().counts == {"already_archived": 1}
    before = bucket.snapshot()
    assert str(restore()).endswith("nothing to restore; never converted, so nothing to restore: 1 recording")
    assert bucket.snapshot() == before
    assert read_audit(audit_uri)["status"].tolist() == ["already_archived"]


@ON_BOTH
def test_a_copy_whose_answer_is_lost_is_ours(
    bucket: Bucket, archive_day: ArchiveDay, restore: Restore, a_call: MakeCall, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S3 had acted; the request sent again meets its own result, and is refused by If-Match."""
    body = a_call()
    bucket.put(key_of(1), body)
    archive_day()
    error = S3Error(status=412, code="PreconditionFailed", message="")
    proxy = ErrorProxy(bucket.server.url, error, lambda asked: asked.operation == "CopyObject", times=1, lost=True)
    with faulty_proxy(proxy) as address, monkeypatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", address)
        assert restore(contact_ids=[str(contact_of(key_of(1)))]).counts == {"restored": 1}
    assert len(proxy.hit) == 1
    assert (bucket.body(key_of(1)), len(bucket.versions(key_of(1)))) == (body, 3)


@ON_BOTH
def test_what_does_not_come_back_is_named_and_ends_the_run_red(
    bucket: Bucket, archive_day: ArchiveDay, restore: Restore, a_call: MakeCall, audit_uri: str
) -> None:
    """Deleted, overwritten, frozen: the others are restored all the same, and nobody else's bytes are overwritten."""
    version = bucket.put(key_of(1), a_call(1))["VersionId"]
    for number in (2, 3, 4):
        bucket.put(key_of(number), a_call(number))
    archive_day()
    bucket.client.delete_object(Bucket=bucket.name, Key=key_of(1), VersionId=version)
    bucket.put(key_of(2), b"theirs")
    error = S3Error(status=403, code="InvalidObjectState", message="The operation is not valid for the object's class")
    proxy = ErrorProxy(
        bucket.server.url, error, lambda asked: (asked.operation, asked.key) == ("CopyObject", key_of(3))
    )
    with faulty_proxy(proxy) as address, pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", address)
        with pytest.raises(JobFailed) as failed:
            restore()
    assert failed.value.summary.counts == {"rejected": 1, "restored": 1, "skipped": 2}
    reasons = {key_of(1): "original-gone", key_of(2): "not-archived", key_of(3): "needs-thaw"}
    assert all(f"{key} was not restored: {code}: " in str(failed.value) for key, code in reasons.items())
    rows = read_audit(audit_uri).query("status in ('skipped', 'rejected')")
    assert dict(zip(rows["key"], rows["reason"].str.partition(":")[0], strict=True)) == reasons
    assert bucket.body(key_of(2)) == b"theirs"
    assert restore(contact_ids=[str(contact_of(key_of(3)))]).counts == {"restored": 1}, "once it is thawed"
    assert restore(missing_ok=True).reasons == {"original-gone": 1, "not-archived": 1}


def test_a_form_submitted_as_it_opens_restores_nothing(
    bucket: Bucket, archive_day: ArchiveDay, a_call: MakeCall, audit_uri: str
) -> None:
    """Forms send blanks for what was left out, and no list; the second one names a day, and is a dry run still."""
    bucket.put(key_of(1), a_call())
    archive_day()
    before = bucket.snapshot(), sorted(Path(audit_uri).rglob("*"))
    blank = {"end_date": "", "run_id": " "}
    form: dict[str, Any] = {"bucket": bucket.name, "audit_uri": audit_uri, **blank}
    with pytest.raises(
        InvalidRequest, match=r"nothing is selected.*give contact_ids, keys, start_date or end_date, prefixes"
    ):
        restore_recordings(**form)
    with pytest.raises(InvalidRequest, match="contact_ids is an empty list, which selects nothing"):
        restore_recordings(**form, contact_ids=[], start_date=str(DAY))
    summary: Any = restore_recordings(**form, start_date=str(DAY))
    assert summary.counts == {"restored": 1}
    assert str(summary).startswith("dry run: restore 20")
    assert str(summary).endswith("nothing was written: to restore 1 recording, run it again with dry_run=False")
    assert (bucket.snapshot(), sorted(Path(audit_uri).rglob("*"))) == before


def test_a_listing_waits_for_s3(
    bucket: Bucket,
    archive_day: ArchiveDay,
    restore: Restore,
    a_call: MakeCall,
    tmp_path: Path,
    setting: Setting,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Longer than botocore's own attempts do, which are two here."""
    bucket.put(key_of(1), a_call())
    archive_day()
    attempts = 2
    setting(MAX_ATTEMPTS=attempts)
    error = S3Error(status=503, code="SlowDown", message="")
    proxy = ErrorProxy(bucket.server.url, error, lambda asked: asked.operation == "ListObjectsV2", times=attempts)
    with faulty_proxy(proxy) as address, monkeypatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", address)
        assert restore(audit_uri=str(tmp_path / "lost")).counts == {"restored": 1}
    assert len(proxy.hit) == attempts


def _by_tag(bucket: Bucket, key: str) -> None:
    tags = [{"Key": "converted", "Value": "True"}, {"Key": "legal-hold", "Value": "2026-CV-9"}]
    bucket.client.put_object_tagging(Bucket=bucket.name, Key=key, Tagging={"TagSet": tags})


def _by_tag_of_the_original(bucket: Bucket, key: str) -> None:
    tags: Any = {"TagSet": [{"Key": "legal-hold", "Value": ""}]}
    original = bucket.versions(key)[-1]["VersionId"]
    bucket.client.put_object_tagging(Bucket=bucket.name, Key=key, VersionId=original, Tagging=tags)


def _by_s3(bucket: Bucket, key: str) -> None:
    lock: Any = {"ObjectLockEnabled": "Enabled"}
    bucket.client.put_object_lock_configuration(Bucket=bucket.name, ObjectLockConfiguration=lock)
    bucket.client.put_object_legal_hold(Bucket=bucket.name, Key=key, LegalHold={"Status": "ON"})


HELD: dict[Callable[[Bucket, str], None], str | None] = {
    _by_tag: "2026-CV-9",
    _by_tag_of_the_original: "unnamed",
    _by_s3: None,
}


@ON_BOTH
@pytest.mark.parametrize("hold", HELD)
def test_what_is_held_comes_back_only_if_asked_for_and_stays_held(
    bucket: Bucket,
    originals: dict[str, str],
    restore: Restore,
    hold: Callable[[Bucket, str], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What the copy asks of S3 counts: these servers copy no hold."""
    key = key_of(1)
    hold(bucket, key)
    before = bucket.snapshot()
    assert restore(keys=[key], everything=False, missing_ok=True, dry_run=True).reasons == {"held": 1}
    with pytest.raises(JobFailed, match="held") as failed:
        restore(keys=[key], everything=False)
    assert failed.value.summary.reasons == {"held": 1}
    assert bucket.snapshot() == before
    proxy = ErrorProxy(bucket.server.url, S3Error(status=400, code="", message=""), lambda _: False)
    with faulty_proxy(proxy) as address, monkeypatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", address)
        assert restore(include_held=True).counts == {"restored": 3}
    tags = {"archive": "exempt", "legal-hold": HELD[hold]} if HELD[hold] else {"archive": "exempt"}
    assert bucket.tags(key) == tags
    (copy,) = (asked for asked in proxy.seen if (asked.operation, asked.key) == ("CopyObject", key))
    assert copy.headers.get("x-amz-object-lock-legal-hold") == ("ON" if hold is _by_s3 else None)


def test_what_only_the_table_says_is_held_comes_back_only_if_asked_for(
    bucket: Bucket, originals: dict[str, str], restore: Restore, audit_uri: str
) -> None:
    key = key_of(1)
    where: Any = {"bucket": bucket.name, "prefixes": [PREFIX], "audit_uri": audit_uri, "dry_run": False}
    hold_recordings(**where, keys=[key], case="2026-CV-1")
    for version in bucket.versions(key):
        bucket.client.delete_object_tagging(Bucket=bucket.name, Key=key, VersionId=version["VersionId"])
    assert restore(missing_ok=True).counts == {"restored": 2, "skipped": 1}
    assert len(bucket.versions(key)) == 2
    assert restore(include_held=True).counts == {"restored": 1}
    assert release_originals(**where, everything=True, grace_days=0).counts == {}


def test_a_hold_that_the_copy_has_no_room_for_keeps_it_from_coming_back(
    bucket: Bucket, originals: dict[str, str], restore: Restore
) -> None:
    key, original = key_of(1), originals[key_of(1)]
    _by_tag(bucket, key)
    tags: Any = {"TagSet": [{"Key": f"theirs-{n}", "Value": "x"} for n in range(10)]}
    bucket.client.put_object_tagging(Bucket=bucket.name, Key=key, VersionId=original, Tagging=tags)
    summary = restore(include_held=True, missing_ok=True)
    assert (summary.counts, summary.reasons) == ({"restored": 2, "skipped": 1}, {"no-room-for-hold": 1})
    assert len(bucket.versions(key)) == 2
