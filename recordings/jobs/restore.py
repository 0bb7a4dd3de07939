"""Make an original current again, unchanged, and mark it so that no run archives it a second time."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime

from recordings.decision import EXEMPT_TAG
from recordings.errors import Changed, Rejected, Skipped, Unproven
from recordings.jobs.intents import conclude, confirmed, set_out
from recordings.jobs.job import Job, begun, state_after
from recordings.jobs.result import JobResult
from recordings.outcomes import accounted
from recordings.pool import Pool
from recordings.provenance import UNVERSIONED, Provenance, exempted, provenance_of
from recordings.s3.objects import StoredObject
from recordings.s3.store import Store
from recordings.table.files import AuditFiles
from recordings.table.rows import AuditRow, BatchRows, Side, Status
from recordings.tag import CONVERTED_TAG, MAX_TAGS


def restore_batch(store: Store, files: AuditFiles, batch: BatchRows, job: Job, pool: Pool) -> JobResult:
    """Record the intent to restore, bring the originals back, write the rows."""
    if job.dry_run:
        rows = pool.map(lambda row: restore_recording(store, row, job), batch.rows)
        return JobResult(job, rows, [])
    wanted = [begun(row, job) for row in batch.rows if row.holds_replacement]
    intent = set_out(files, job, batch, wanted)
    rows = pool.map(lambda row: restore_recording(store, row, job), batch.rows)
    rows = confirmed(intent, rows, lambda row: found_restored(store, row), pool)
    return JobResult(job, rows, conclude(files, intent, rows))


def restore_recording(store: Store, row: AuditRow, job: Job) -> AuditRow:
    """Bring the original back, or say why not. ``row`` is the current row, or the reason why there is none."""
    if not row.holds_replacement:
        return row
    return accounted(begun(row, job), lambda: _restore(store, begun(row, job), job))


def found_restored(store: Store, row: AuditRow) -> AuditRow:
    """The row of a restore that died before it wrote the row: the current object is the original, not a replacement."""
    current = store.head(row.key)
    if provenance_of(current.metadata) is not None:
        raise Skipped("not-restored", "the replacement is still there")
    reason = f"settled: brought back by run {row.run_id}, which ended before it wrote its row"
    return replace(_found_there(store, row, current), reason=reason)


def _restore(store: Store, row: AuditRow, job: Job) -> AuditRow:
    current = store.head(row.key)
    provenance = provenance_of(current.metadata)
    if provenance is None:
        return _found_there(store, row, current)
    if provenance.original.version == (current.version_id or UNVERSIONED):
        raise Rejected("original-gone", "the replacement overwrote it: the bucket kept no versions at that time")
    try:
        original = store.head(row.key, str(provenance.original.version))
    except Changed as error:
        raise Rejected("original-gone", f"version {provenance.original.version} no longer exists") from error
    original = replace(original, version_id=provenance.original.version)  # S3 may omit the version id `null`
    store.check_locks_are_shown(row.key, original.version_id)  # hold and lock are copied with the original
    tags, metadata = _marked(store.tags(row.key, original.version_id), original)
    row = replace(_swapped(row, _shown(row, current)), sha256_after=provenance.original.sha256)
    if job.dry_run:
        return replace(row, status=Status.RESTORED, bytes_after=original.size_bytes)
    try:
        written = store.bring_back(original, over=current, tags=tags, metadata=metadata)
    except Changed:  # by somebody else, or by us: a copy whose answer was lost is asked for again and meets its result
        copy = store.head(row.key)
        if not _is_copy(store, copy, current, provenance):
            raise
        return _after(row, copy)
    restored = store.head(row.key)
    shown = (restored.version_id, store.sha256_of(restored))
    if shown != (written.version_id, provenance.original.sha256):
        raise Unproven("restored-differs", f"S3 shows (version, SHA-256) {shown}, not those of the original's copy")
    return _after(row, restored)


def _is_copy(store: Store, copy: StoredObject, over: StoredObject, provenance: Provenance) -> bool:
    """Whether the original's bytes lie there, newer than the replacement that they were to be copied over."""
    is_newer = copy.version_id != over.version_id and copy.last_modified >= over.last_modified
    is_whole = is_newer and copy.size_bytes == provenance.original.size_bytes and not provenance_of(copy.metadata)
    return is_whole and store.sha256_of(copy) == provenance.original.sha256


def _found_there(store: Store, row: AuditRow, current: StoredObject) -> AuditRow:
    """The row where no replacement is current: it may be an original brought back, of which there is no row yet."""
    if current.size_bytes != row.bytes_before or store.sha256_of(current) != row.sha256_before:
        raise Skipped("not-archived", "what lies there now is not our replacement")
    return _after(_swapped(row, row.after), current)


def _marked(tags: dict[str, str], original: StoredObject) -> tuple[dict[str, str], Mapping[str, str] | None]:
    """Tags that keep the copy from being archived again; where there is no room for one more, metadata that does so."""
    kept = {name: value for name, value in tags.items() if name != CONVERTED_TAG[0]}
    exempt = {**kept, EXEMPT_TAG[0]: EXEMPT_TAG[1]}
    return (exempt, None) if len(exempt) <= MAX_TAGS else (kept, exempted(original.metadata))


def _shown(row: AuditRow, replacement: StoredObject) -> Side:
    """The replacement as S3 shows it now."""
    return replace(
        row.after,
        size_bytes=replacement.size_bytes,
        sha256=replacement.sha256 or row.sha256_after,
        etag=replacement.etag,
        version=replacement.version_id,
        storage_class=replacement.storage_class,
    )


def _swapped(row: AuditRow, replacement: Side) -> AuditRow:
    """An archived row with its sides exchanged: from the replacement back to the original."""
    after = row.after
    original = replace(row.before, etag=after.etag, version=after.version, storage_class=after.storage_class)
    measured = dict.fromkeys(("snr_db", "error_rms", "error_peak", "gain_left", "gain_right"))
    return row.between(replacement, original, **measured)


def _after(row: AuditRow, restored: StoredObject) -> AuditRow:
    """The row with the current original as its ``after`` side."""
    return replace(
        row,
        status=Status.RESTORED,
        bytes_after=restored.size_bytes,
        etag_after=restored.etag,
        version_after=restored.version_id,
        storage_class_after=restored.storage_class,
        verified=True,
        tagged=False,
        state_at=state_after(row, restored.last_modified),
        finished_at=datetime.now(UTC),
        attempts=restored.attempts,
    )
