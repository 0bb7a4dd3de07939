"""The proof: asks S3, not our memory, for the current state of the bucket."""

import hashlib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace

from recordings.conversion.audio import inspect
from recordings.errors import Changed, Unproven
from recordings.outcomes import accounted
from recordings.pool import Pool
from recordings.s3.objects import UNVERSIONED, StoredObject, Version
from recordings.s3.store import Store
from recordings.table.rows import AuditRow, Status
from recordings.versions import versions_by_key


def verify_batch(store: Store, rows: Sequence[AuditRow], pool: Pool, readback_percent: float = 0) -> list[AuditRow]:
    """The rows: those with a replacement are marked as verified, or ended with what S3 showed instead."""
    versions = versions_by_key(store, sorted(row.key for row in rows if row.holds_replacement))

    def verified(row: AuditRow) -> AuditRow:
        if not row.holds_replacement:
            return row
        return accounted(row, lambda: _verify_listed(store, row, versions.get(row.key, []), readback_percent))

    return pool.map(verified, rows)


def _look_up(store: Store, row: AuditRow) -> list[Version]:
    """The current version and the original, by one HEAD each. Raises Changed where the recording is gone."""
    versions = [_as_version(store.head(row.key), is_current=True)]
    if row.version_before and row.version_before != versions[0].version_id:
        with suppress(Changed):  # the original is gone: _verify decides what that means
            versions.append(_as_version(store.head(row.key, row.version_before), is_current=False))
    return versions


def _as_version(stored: StoredObject, *, is_current: bool) -> Version:
    return Version(
        key=stored.key,
        version_id=stored.version_id or UNVERSIONED,
        etag=stored.etag,
        size_bytes=stored.size_bytes,
        storage_class=stored.storage_class,
        is_current=is_current,
        last_modified=stored.last_modified,
    )


def _verify_listed(store: Store, row: AuditRow, listed: Sequence[Version], readback_percent: float) -> AuditRow:
    """Verify by the listing; where that is not enough, by requests for this recording alone."""
    try:
        return _verify(store, row, listed, readback_percent)
    except Unproven:
        return _verify(store, row, _look_up(store, row), readback_percent)


def _verify(store: Store, row: AuditRow, versions: Sequence[Version], readback_percent: float) -> AuditRow:
    by_id = {version.version_id: version for version in versions}
    ours = _our_version(row, by_id)
    original_kept = _is_original_kept(row, by_id)
    read_back = _is_sampled(row, readback_percent)
    if read_back:
        _read_back(store, row)
    return replace(row, verified=True, original_kept=original_kept, read_back=read_back, state_at=ours.last_modified)


def _our_version(row: AuditRow, by_id: Mapping[str, Version]) -> Version:
    ours = by_id.get(row.version_after or UNVERSIONED)
    if ours is None:
        raise Unproven("replacement-missing", f"S3 does not list version {row.version_after}, which we wrote")
    if not ours.is_current:
        raise Changed("superseded", "somebody wrote or deleted it after us; our version lies beneath theirs")
    shown = (ours.etag, ours.size_bytes, ours.storage_class)
    claimed = (row.etag_after, row.bytes_after, row.storage_class_after)
    if shown != claimed:
        raise Unproven("replacement-differs", f"S3 shows (ETag, bytes, class) {shown}, we wrote {claimed}")
    return ours


def _is_original_kept(row: AuditRow, by_id: Mapping[str, Version]) -> bool | None:
    """Whether the original exists; None where none is known. Raises Unproven if one just replaced is missing."""
    if row.version_before is None:
        return None
    if row.version_before == (row.version_after or UNVERSIONED):
        return False  # without versioning, the replacement took the original's place
    original = by_id.get(row.version_before)
    if original is not None and (original.etag, original.size_bytes) == (row.etag_before, row.bytes_before):
        return True
    if row.status is Status.ARCHIVED:
        raise Unproven("original-missing", f"S3 no longer lists the original, version {row.version_before}")
    return False  # it was released after an earlier run had archived it


def _is_sampled(row: AuditRow, readback_percent: float) -> bool:
    """Whether the row is in the sample to read back: always the same answer for the same recording and run."""
    lot = int.from_bytes(hashlib.sha256(f"{row.run_id}/{row.key}".encode()).digest()[:4], "big")
    return lot < readback_percent / 100 * 2**32


def _read_back(store: Store, row: AuditRow) -> None:
    with store.read(row.key, version_id=row.version_after) as (stored, body):
        found = inspect(body, stored.size_bytes)
    shown = (found.sha256, found.format.codec, found.format.sample_rate_hz, found.format.channels)
    claimed = (row.sha256_after, row.codec_after, row.sample_rate_after_hz, row.channels_after)
    if shown != claimed:
        raise Unproven("reads-back-differently", f"S3 holds {shown}, we wrote {claimed}")
