"""Rows by what is known: a key only, what a listing shows, or what a replacement's own provenance says."""

from dataclasses import replace
from datetime import UTC, date, datetime

from recordings.build import SOFTWARE_VERSION
from recordings.errors import Rejected
from recordings.keys import contact_of, date_of
from recordings.provenance import Provenance, provenance_of
from recordings.recording import Recording
from recordings.run import Run
from recordings.s3.objects import StoredObject
from recordings.s3.store import Store
from recordings.table.rows import AuditRow, Side, Status


def bare_row(
    key: str,
    day: date,
    *,
    bucket: str,
    run_id: str,
    status: Status = Status.FAILED,
    reason: str | None = None,
    profile: str = "none",
    software_version: str = SOFTWARE_VERSION,
) -> AuditRow:
    """The row of an object of which only the key is known, and the UTC day under which its rows lie."""
    return AuditRow(
        run_id=run_id,
        recording_date=day,
        bucket=bucket,
        key=key,
        contact_id=contact_of(key),
        status=status,
        reason=reason,
        profile=profile,
        started_at=datetime.now(UTC),
        software_version=software_version,
    )


def listed_row(recording: Recording, run: Run) -> AuditRow:
    """The row of a recording with what the listing alone shows."""
    row = bare_row(
        recording.key,
        recording.recording_date,
        bucket=recording.bucket,
        run_id=run.run_id,
        profile=run.profile_name,
        software_version=run.software_version,
    )
    return replace(
        row,
        bytes_before=recording.size_bytes,
        etag_before=recording.etag,
        storage_class_before=recording.storage_class,
    )


def found_row(store: Store, key: str) -> AuditRow | None:
    """The row of a replacement by its own provenance; None where the object is not one of ours."""
    current = store.head(key)
    provenance = provenance_of(current.metadata)
    day = date_of(key)
    if provenance is None or day is None:
        return None
    row = bare_row(key, day, bucket=store.bucket, run_id=provenance.run_id, profile=provenance.profile)
    return confirmed_row(store, row, current, provenance)


def confirmed_row(store: Store, row: AuditRow, current: StoredObject, provenance: Provenance) -> AuditRow:
    """The row of an earlier replacement, filled in from the replacement's own provenance.

    Raises Rejected if the object's SHA-256 is not the one that its provenance names.
    """
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
