"""An original is deleted, after everything that speaks for its replacement has been proved once more."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from recordings.accounting import accounted
from recordings.decision import EXEMPT_TAG
from recordings.errors import Changed, Skipped, Unproven
from recordings.manifest import ManifestRow, Status
from recordings.operation import Operation, begun, state_after
from recordings.provenance import provenance_of
from recordings.s3.objects import StoredObject
from recordings.s3.store import ReleasingStore
from recordings.tag import CONVERTED_TAG


def release_original(store: ReleasingStore, row: ManifestRow, operation: Operation) -> ManifestRow:
    """Delete the original of a recording, or say why it stays. ``row`` is the recording's current row."""
    return accounted(begun(row, operation), lambda: _release(store, row, begun(row, operation), operation))


def _release(store: ReleasingStore, proof: ManifestRow, row: ManifestRow, operation: Operation) -> ManifestRow:
    version = _original_version(proof)
    current = store.head(row.key)
    _check_grace(proof, current, operation)
    _check_replacement(proof, current)
    tags = store.tags(row.key, current.version_id)
    _check_tags(tags)
    released = replace(
        row, status=Status.RELEASED, verified=True, tagged=True, original_kept=False, finished_at=datetime.now(UTC)
    )
    try:
        original = store.head(row.key, version)
    except Changed:
        reason = "found-gone: the original no longer exists"
        return replace(released, reason=reason, state_at=state_after(row, current.answered_at))
    _check_is_free(proof, original)
    if operation.dry_run:
        return released
    return replace(released, state_at=state_after(row, store.delete_version(row.key, version)))


def _original_version(proof: ManifestRow) -> str:
    if not (proof.verified and proof.tagged and proof.original_kept and proof.version_before and proof.state_at):
        raise Skipped("unproven", "the audit table does not say verified, tagged, and original kept")
    if proof.version_before == (proof.version_after or "null"):
        raise Skipped("unproven", "original and replacement have the same version id")
    return proof.version_before


def _check_grace(proof: ManifestRow, current: StoredObject, operation: Operation) -> None:
    """By S3's clock at both ends, to the second: its Date header knows no less."""
    archived_at = (proof.state_at or current.answered_at).replace(microsecond=0)
    if current.answered_at < archived_at + timedelta(days=operation.grace_days):
        raise Skipped("in-grace", f"archived less than {operation.grace_days} days ago")


def _check_replacement(proof: ManifestRow, current: StoredObject) -> None:
    provenance = provenance_of(current.metadata)
    shown = (current.version_id, current.etag, current.size_bytes, current.sha256)
    claimed = (proof.version_after, proof.etag_after, proof.bytes_after, proof.sha256_after)
    if shown != claimed:
        raise Unproven("replacement-differs", f"S3 shows (version, ETag, bytes, SHA-256) {shown}, the table {claimed}")
    if provenance is None or provenance.original_version != proof.version_before:
        raise Unproven("provenance-differs", "the replacement does not name this original as its own")


def _check_tags(tags: dict[str, str]) -> None:
    if EXEMPT_TAG in tags.items():
        raise Skipped("exempt", "tagged archive=exempt")
    if CONVERTED_TAG not in tags.items():
        raise Unproven("tag-missing", "the replacement is not tagged converted=True")


def _check_is_free(proof: ManifestRow, original: StoredObject) -> None:
    if (original.etag, original.size_bytes) != (proof.etag_before, proof.bytes_before):
        raise Unproven("original-differs", "the version to delete is not the one that the table names")
    if original.held:
        raise Skipped("held", "the original is under legal hold")
    if original.locked_until and original.locked_until > original.answered_at:
        raise Skipped("locked", f"the original is locked until {original.locked_until:%Y-%m-%d}")
