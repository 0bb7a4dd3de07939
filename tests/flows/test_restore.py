"""Archive, then restore: what was there is there again, bit for bit."""

from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from flows.archive import archive_recordings
from flows.restore import restore_recordings
from recordings.operation import OperationFailed, OperationSummary
from recordings.summary import RunSummary
from tests.bucket import DAY, ON_BOTH, PREFIX, Bucket, key_of

pytestmark = [pytest.mark.usefixtures("prefect"), ON_BOTH]
ODD_NAMES = ("a b+c", "d%20e", "ä:é", "p&q=r")


@pytest.fixture
def archive(bucket: Bucket, audit_uri: str) -> Callable[[], RunSummary]:
    return lambda: archive_recordings(
        bucket=bucket.name, prefixes=[PREFIX], audit_uri=audit_uri, start_date=DAY, end_date=DAY
    )


@pytest.fixture
def restore(bucket: Bucket, audit_uri: str) -> Callable[..., OperationSummary]:
    return lambda **changes: restore_recordings(**{"bucket": bucket.name, "audit_uri": audit_uri, **changes})


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


def test_the_round_trip_gives_back_what_was_there(bucket: Bucket, archive: Any, restore: Any, a_call: Any) -> None:
    folder = key_of(1).rpartition("/")[0]
    bodies = {f"{folder}/{name}.wav": a_call(n) for n, name in enumerate(ODD_NAMES)}
    bodies[key_of(9)] = a_call(9, 400)
    mine = {"Metadata": {"agent": "ida"}, "ContentType": "audio/x-wav", "Tagging": "queue=sales"}
    for key, body in bodies.items():
        (multipart if len(body) > 5_500_000 else Bucket.put)(bucket, key, body, **mine)
    before = {key: bucket.get(key) for key in bodies}
    assert archive().counts == {"archived": len(bodies)}

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


def test_what_is_restored_is_not_archived_again(bucket: Bucket, archive: Any, restore: Any, a_call: Any) -> None:
    bucket.put(key_of(1), a_call())
    archive()
    restore()
    before = bucket.snapshot()
    assert archive().counts == {"skipped": 1}
    assert restore().counts == {}
    assert bucket.snapshot() == before


def test_only_what_is_asked_for_is_restored(
    bucket: Bucket, archive: Any, restore: Any, a_call: Any, audit_uri: str
) -> None:
    for number in range(4):
        bucket.put(key_of(number), a_call(number, 1.0))
    run_id = archive().run_id
    contact = pd.read_parquet(audit_uri)["contact_id"][0]
    assert restore(run_id="another").counts == {}
    assert restore(start_date=date(2026, 1, 13)).counts == {}
    assert restore(contact_ids=[contact]).counts == {"restored": 1}
    assert restore(run_id=run_id).counts == {"restored": 3}


def test_a_dry_run_writes_nothing(bucket: Bucket, archive: Any, restore: Any, a_call: Any, audit_uri: str) -> None:
    bucket.put(key_of(1), a_call())
    archive()
    before = bucket.snapshot(), sorted(Path(audit_uri).rglob("*"))
    assert restore(dry_run=True).counts == {"restored": 1}
    assert (bucket.snapshot(), sorted(Path(audit_uri).rglob("*"))) == before


def test_provenance_alone_is_enough(bucket: Bucket, archive: Any, restore: Any, a_call: Any, tmp_path: Path) -> None:
    bodies = {key_of(number): a_call(number, 1.0) for number in range(3)}
    for key, body in bodies.items():
        bucket.put(key, body)
    archive()
    assert restore(audit_uri=str(tmp_path / "lost")).counts == {"restored": 3}
    assert all(bucket.body(key) == body for key, body in bodies.items())


def test_originals_that_no_longer_exist_are_named(
    bucket: Bucket, archive: Any, restore: Any, a_call: Any, audit_uri: str
) -> None:
    version = bucket.put(key_of(1), a_call())["VersionId"]
    bucket.put(key_of(2), a_call())
    archive()
    bucket.client.delete_object(Bucket=bucket.name, Key=key_of(1), VersionId=version)
    summary = restore()
    assert (summary.counts, summary.reasons) == ({"restored": 1, "rejected": 1}, {"original-gone": 1})
    frame = pd.read_parquet(audit_uri)
    assert frame[frame["status"] == "rejected"]["key"].tolist() == [key_of(1)]


def test_somebody_elses_recording_is_not_overwritten(bucket: Bucket, archive: Any, restore: Any, a_call: Any) -> None:
    bucket.put(key_of(1), a_call())
    archive()
    bucket.put(key_of(1), b"theirs")
    assert restore().reasons == {"not-archived": 1}
    assert bucket.body(key_of(1)) == b"theirs"


def test_a_restore_that_died_before_its_row_is_made_good(
    bucket: Bucket, archive: Any, restore: Any, a_call: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import tasks.operations

    bucket.put(key_of(1), a_call())
    archive()
    write_rows = tasks.operations.write_rows
    monkeypatch.setattr(tasks.operations, "write_rows", lambda *_, **__: 1 / 0)
    with pytest.raises(OperationFailed, match="no row for 1"):
        restore()
    monkeypatch.setattr(tasks.operations, "write_rows", write_rows)
    before = bucket.snapshot()
    assert restore().counts == {"restored": 1}
    assert bucket.snapshot() == before
