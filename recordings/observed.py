"""Rows by what lies in the bucket: a recording as it is listed, a replacement as its own provenance describes it."""

from dataclasses import replace
from datetime import UTC, datetime

from recordings.build import SOFTWARE_VERSION
from recordings.errors import Rejected
from recordings.keys import contact_of, date_of
from recordings.provenance import provenance_of
from recordings.recording import Recording
from recordings.run import Run
from recordings.s3.objects import StoredObject
from recordings.s3.store import Store
from recordings.table.rows import AuditRow, Side, Status


def listed_row(recording: Recording, run: Run) -> AuditRow:
    """The row of a recording with what the listing alone shows."""
    return AuditRow(
        run_id=run.run_id,
        recording_date=recording.recording_date,
        bucket=recording.bucket,
        key=recording.key,
        contact_id=recording.contact_id,
        status=Status.FAILED,
        profile=run.profile_name,
        bytes_before=recording.size_bytes,
        etag_before=recording.etag,
        storage_class_before=recording.storage_class,
        started_at=datetime.now(UTC),
        software_version=run.software_version,
    )


def found_row(store: Store, key: str) -> AuditRow | None:
    """The row of a replacement by its own provenance; None where the object is not one of ours."""
    current = store.head(key)
    provenance = provenance_of(current.metadata)
    day = date_of(key)
    if provenance is None or day is None:
        return None
    row = AuditRow(
        run_id=provenance.run_id,
        recording_date=day,
        bucket=store.bucket,
        key=key,
        contact_id=contact_of(key),
        status=Status.FAILED,
        profile=provenance.profile,
        started_at=datetime.now(UTC),
        software_version=SOFTWARE_VERSION,
    )
    return confirmed_row(store, row, current)


def confirmed_row(store: Store, row: AuditRow, current: StoredObject) -> AuditRow:
    """The row of an earlier replacement, filled in from the replacement's own provenance, which it must have.

    Raises Rejected if the object's SHA-256 is not the one that its provenance names.
    """
    provenance = provenance_of(current.metadata)
    assert provenance is not None  # noqa: S101 (the callers have looked)
    if store.sha256_of(current) != provenance.result.sha256:
        raise Rejected("not-as-written", "its provenance is ours, but its SHA-256 is not of what we wrote")
    by_us = provenance.run_id == row.run_id
    return row.between(
        provenance.original,
        as_stored(provenance.result, current),
        status=Status.ARCHIVED if by_us else Status.ALREADY_ARCHIVED,
        reason=None if by_us else f"found-archived: by run {provenance.run_id}",
        profile=provenance.profile,
        attempts=current.attempts + (1 if by_us else 0),
    )


def as_stored(audio: Side, stored: StoredObject) -> Side:
    """The audio as ``audio`` describes it, in an object as S3 shows it."""
    return replace(
        audio,
        size_bytes=stored.size_bytes,
        etag=stored.etag,
        version=stored.version_id,
        storage_class=stored.storage_class,
    )
