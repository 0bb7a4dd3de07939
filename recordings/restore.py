"""An original becomes current again, as it was, and is marked so that nobody archives it a second time."""

from dataclasses import replace
from datetime import UTC, datetime

from recordings.accounting import accounted
from recordings.decision import EXEMPT_TAG
from recordings.errors import Changed, Rejected, Skipped, Unproven
from recordings.manifest import ManifestRow, Status
from recordings.operation import Operation, begun, state_after
from recordings.provenance import provenance_of
from recordings.s3.objects import StoredObject
from recordings.s3.store import Store
from recordings.tag import CONVERTED_TAG, MOST_TAGS


def restore_recording(store: Store, row: ManifestRow, operation: Operation) -> ManifestRow:
    """Bring the original back, or say why not. ``row`` is the recording's current row."""
    return accounted(begun(row, operation), lambda: _restore(store, begun(row, operation), operation))


def _restore(store: Store, row: ManifestRow, operation: Operation) -> ManifestRow:
    current = store.head(row.key)
    provenance = provenance_of(current.metadata)
    if provenance is None:
        return _found_restored(store, row, current)
    try:
        original = store.head(row.key, provenance.original_version)
    except Changed as error:
        raise Rejected("original-gone", f"version {provenance.original_version} no longer exists") from error
    tags = _tags_of_restored(store.tags(row.key, original.version_id))
    if operation.dry_run:
        return replace(row, status=Status.RESTORED, bytes_before=current.size_bytes, bytes_after=original.size_bytes)
    written = store.bring_back(original, over=current, tags=tags)
    restored = store.head(row.key)
    shown = (restored.version_id, store.sha256_of(restored))
    if shown != (written.version_id, provenance.original_sha256):
        raise Unproven("restored-differs", f"S3 shows (version, SHA-256) {shown}, not those of the original's copy")
    return _restored(replace(row, sha256_before=provenance.original_sha256), current, restored)


def _found_restored(store: Store, row: ManifestRow, current: StoredObject) -> ManifestRow:
    """No replacement lies there; it may be an original that was brought back, without a row to say so."""
    if current.size_bytes != row.bytes_before or store.sha256_of(current) != row.sha256_before:
        raise Skipped("not-archived", "what lies there now is not our replacement")
    return _restored(row, current, current)


def _tags_of_restored(tags: dict[str, str]) -> dict[str, str]:
    kept = {name: value for name, value in tags.items() if name != CONVERTED_TAG[0]}
    exempt = {**kept, EXEMPT_TAG[0]: EXEMPT_TAG[1]}
    if len(exempt) > MOST_TAGS:
        raise Rejected("tag-limit", f"{len(kept)} tags leave no room for archive=exempt: it would be archived again")
    return exempt


def _restored(row: ManifestRow, replacement: StoredObject, restored: StoredObject) -> ManifestRow:
    """``before`` is the replacement; ``after`` the original, current again."""
    return replace(
        row,
        status=Status.RESTORED,
        bytes_before=replacement.size_bytes,
        bytes_after=restored.size_bytes,
        sha256_before=replacement.sha256,
        sha256_after=row.sha256_before,
        etag_before=replacement.etag,
        etag_after=restored.etag,
        version_before=replacement.version_id,
        version_after=restored.version_id,
        storage_class_before=replacement.storage_class,
        storage_class_after=restored.storage_class,
        codec_before=row.codec_after,
        codec_after=row.codec_before,
        sample_rate_before_hz=row.sample_rate_after_hz,
        sample_rate_after_hz=row.sample_rate_before_hz,
        channels_before=row.channels_after,
        channels_after=row.channels_before,
        snr_db=None,
        error_rms=None,
        error_peak=None,
        gain_left=None,
        gain_right=None,
        verified=True,
        tagged=False,
        state_at=state_after(row, restored.last_modified),
        finished_at=datetime.now(UTC),
        attempts=restored.attempts,
    )
