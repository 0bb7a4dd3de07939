"""Make an original current again, unchanged, and mark it so that no run archives it a second time.

A recording under a hold stays as it is, unless the operator says otherwise. Then the copy is held like the
replacement.
"""

from collections.abc import Mapping
from dataclasses import replace

from recordings.errors import Changed, Rejected, Skipped, Unproven
from recordings.holds import cases_in, check_no_case_holds, with_cases
from recordings.jobs.engine.cases import Cases, cases_now
from recordings.jobs.engine.intents import confirmed, set_out, write_and_close
from recordings.jobs.engine.job import Job, begun
from recordings.jobs.engine.result import JobResult
from recordings.jobs.engine.traces import brought_back, found_there, swapped
from recordings.marks import CONVERTED_TAG, EXEMPT_TAG, HOLD_TAG, MAX_TAGS
from recordings.observed import as_stored
from recordings.outcomes import accounted
from recordings.pool import Pool
from recordings.provenance import Provenance, exempted, provenance_of
from recordings.s3.objects import UNVERSIONED, StoredObject
from recordings.s3.store import Store
from recordings.table.files import AuditFiles
from recordings.table.rows import AuditRow, BatchRows, Side, Status


def restore_batch(store: Store, files: AuditFiles, batch: BatchRows, job: Job, pool: Pool) -> JobResult:
    """Record the intent to restore, bring the originals back, write the rows."""
    wanted = [begun(row, job) for row in batch.rows if row.holds_replacement]
    if job.dry_run:
        cases = cases_now(files, job.bucket, wanted, run_id=job.run_id)
        rows = pool.map(lambda row: restore_recording(store, row, job, cases), batch.rows)
        return JobResult(job, rows, [])
    intent = set_out(files, job, batch, wanted)
    cases = cases_now(files, job.bucket, wanted, run_id=job.run_id)
    rows = pool.map(lambda row: restore_recording(store, row, job, cases), batch.rows)
    rows = confirmed(store, intent, rows, pool)
    return JobResult(job, rows, write_and_close(files, intent, rows))


def restore_recording(store: Store, row: AuditRow, job: Job, cases: Cases) -> AuditRow:
    """Bring the original back, or say why not. ``row`` is the current row, or the reason why there is none."""
    if not row.holds_replacement:
        return row
    return accounted(begun(row, job), lambda: _restore(store, begun(row, job), job, cases))


def _restore(store: Store, row: AuditRow, job: Job, cases: Cases) -> AuditRow:
    current = store.head(row.key)
    provenance = provenance_of(current.metadata)
    if provenance is None:
        return found_there(store, row, current)
    if provenance.original.version == (current.version_id or UNVERSIONED):
        raise Rejected("original-gone", "the replacement overwrote it: the bucket kept no versions at that time")
    try:
        original = store.head(row.key, str(provenance.original.version))
    except Changed as error:
        raise Rejected("original-gone", f"version {provenance.original.version} no longer exists") from error
    original = replace(original, version_id=provenance.original.version)  # S3 may omit the version id `null`
    store.check_locks_are_shown(row.key, original.version_id)  # hold and lock are copied with the original
    tags = store.tags(row.key, original.version_id)
    tags_above = store.tags(row.key, current.version_id or UNVERSIONED)
    if not job.include_held:
        _check_not_held(original, tags)
        _check_not_held(current, tags_above)
        cases.check(row.key)
    original = _held_as(current, original)
    tags, metadata = _marked(with_cases(tags, cases_in(tags) | cases_in(tags_above)), original)
    row = replace(swapped(row, _shown(row, current)), sha256_after=provenance.original.sha256)
    if job.dry_run:
        return replace(row, status=Status.RESTORED, bytes_after=original.size_bytes)
    try:
        written = store.bring_back(original, over=current, tags=tags, metadata=metadata)
    except Changed:  # by somebody else, or by us: a copy whose answer was lost is asked for again and meets its result
        copy = store.head(row.key)
        if not _is_copy(store, copy, current, provenance):
            raise
        return brought_back(row, copy)
    restored = store.head(row.key)
    shown = (restored.version_id, store.sha256_of(restored))
    if shown != (written.version_id, provenance.original.sha256):
        raise Unproven("restored-differs", f"S3 shows (version, SHA-256) {shown}, not those of the original's copy")
    return brought_back(row, restored)


def _is_copy(store: Store, copy: StoredObject, over: StoredObject, provenance: Provenance) -> bool:
    """Whether the original's bytes lie there, newer than the replacement that they were to be copied over."""
    is_newer = copy.version_id != over.version_id and copy.last_modified >= over.last_modified
    is_whole = is_newer and copy.size_bytes == provenance.original.size_bytes and not provenance_of(copy.metadata)
    return is_whole and store.sha256_of(copy) == provenance.original.sha256


def _check_not_held(version: StoredObject, tags: Mapping[str, str]) -> None:
    if version.held:
        raise Skipped("held", "under a hold; include_held=True restores it together with the hold")
    check_no_case_holds(tags)


def _held_as(current: StoredObject, original: StoredObject) -> StoredObject:
    """The original, to be copied under S3's holds of the current version, too."""
    holds = [("ObjectLockLegalHold", current.legal_hold), ("ObjectLockEventHold", current.event_hold)]
    begins = tuple(name for name, is_on in holds if is_on)
    more = {name: value for name, value in current.carried.items() if name.startswith(begins)}
    return replace(original, carried={**original.carried, **more})


def _marked(tags: dict[str, str], original: StoredObject) -> tuple[dict[str, str], Mapping[str, str] | None]:
    """Tags that keep the copy from being archived again; where there is no room for one more, metadata that does so."""
    kept = {name: value for name, value in tags.items() if name != CONVERTED_TAG[0]}
    if len(kept) > MAX_TAGS:
        sentence = f"the original has {MAX_TAGS} tags, so there is no room for {HOLD_TAG}: remove one"
        raise Skipped("no-room-for-hold", sentence)
    exempt = {**kept, EXEMPT_TAG[0]: EXEMPT_TAG[1]}
    return (exempt, None) if len(exempt) <= MAX_TAGS else (kept, exempted(original.metadata))


def _shown(row: AuditRow, replacement: StoredObject) -> Side:
    """The replacement as S3 shows it now."""
    return replace(as_stored(row.after, replacement), sha256=replacement.sha256 or row.sha256_after)
