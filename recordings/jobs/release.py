"""Delete an original, after its replacement has been proved once more."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from recordings.errors import Changed, Skipped, Unproven
from recordings.holds import check_no_case_holds
from recordings.jobs.engine.deletion import Checked, Proof, check_none_exempt, delete_batch, prove
from recordings.jobs.engine.due import in_grace
from recordings.jobs.engine.job import Job, begun
from recordings.jobs.engine.result import JobResult
from recordings.jobs.engine.traces import FOUND_GONE, original_version, state_after
from recordings.marks import CONVERTED_TAG, check_not_exempt, is_committed
from recordings.pool import Pool
from recordings.provenance import provenance_of
from recordings.s3.deleting import DeletingStore, Removable
from recordings.s3.objects import UNVERSIONED, StoredObject
from recordings.s3.store import Store
from recordings.table.files import AuditFiles
from recordings.table.rows import TAG_LIMIT, AuditRow, BatchRows, Status


def release_batch(store: DeletingStore, files: AuditFiles, batch: BatchRows, job: Job, pool: Pool) -> JobResult:
    """Prove each replacement, record the intent to delete, delete the originals, write the rows."""
    return delete_batch(store, files, batch, job, pool, proved=lambda row: prove_released(store, row, job))


def prove_released(store: DeletingStore, row: AuditRow, job: Job) -> Proof | AuditRow:
    """Proof that the original may be deleted, or the row that says why it stays. ``row`` is the current row."""
    return prove(begun(row, job), lambda: _checked(store, row, job))


def _checked(store: DeletingStore, known: AuditRow, job: Job) -> Checked:
    """The released row and its original, if all checks pass."""
    _check_row(known)
    current = store.head(known.key)
    _check_grace(known, current, job)
    _check_replacement(store, known, current)
    _check_not_held(store, current)
    tags = store.tags(known.key, current.version_id)
    _check_marks(tags, current.metadata)
    row = replace(
        begun(known, job),
        status=Status.RELEASED,
        verified=True,
        read_back=known.read_back,  # the reading concerned this very replacement
        tagged=CONVERTED_TAG in tags.items(),
        original_kept=False,
        finished_at=datetime.now(UTC),
    )
    newest = (known.version_after, str(known.etag_after))
    try:
        original = store.removable(known.key, original_version(known))
    except Changed:
        reason = f"{FOUND_GONE}: the original no longer exists; this run did not delete it"
        gone = replace(row, reason=reason, state_at=state_after(known, current.answered_at))
        return Checked(row=gone, removables=(), newest=newest)
    _check_is_the_original(known, original)
    check_no_case_holds(original.tags)
    check_none_exempt([original])
    released = replace(row, state_at=state_after(known, current.answered_at))
    return Checked(row=released, removables=(original,), newest=newest)


def _check_row(known: AuditRow) -> None:
    committed = known.tagged or (known.reason or "").startswith(TAG_LIMIT)
    if not (known.verified and committed and known.original_kept and known.version_before and known.state_at):
        raise Skipped("unproven", "the audit table does not show it as verified and tagged, with its original kept")
    if known.version_before == (known.version_after or UNVERSIONED):
        raise Skipped("unproven", "original and replacement have the same version id")


def _check_grace(known: AuditRow, current: StoredObject, job: Job) -> None:
    """Check the grace period by S3's clock at both ends, to the second, as precise as S3's Date header."""
    archived_at = (known.state_at or current.answered_at).replace(microsecond=0)
    grace_days = job.grace_days_of(known)
    due = archived_at + timedelta(days=grace_days)
    if current.answered_at < due:
        raise in_grace(grace_days, due)


def _check_replacement(store: Store, known: AuditRow, current: StoredObject) -> None:
    """Check the replacement; its SHA-256 comes last, because the body is read where S3 does not show the hash."""
    provenance = provenance_of(current.metadata)
    shown = (current.version_id, current.etag, current.size_bytes)
    claimed = (known.version_after, known.etag_after, known.bytes_after)
    if shown != claimed:
        raise Unproven("replacement-differs", f"S3 shows (version, ETag, bytes) {shown}, the table {claimed}")
    if provenance is None or provenance.original.version != known.version_before:
        raise Unproven("provenance-differs", "the replacement does not name this original as its source")
    sha256 = store.sha256_of(current)
    if sha256 != known.sha256_after:
        raise Unproven("replacement-differs", f"its SHA-256 is {sha256}, the table says {known.sha256_after}")


def _check_not_held(store: Store, current: StoredObject) -> None:
    """Check that S3 does not hold the replacement: whoever sets a hold by hand sets it on what is current."""
    if store.locks is not False:
        store.check_locks_are_shown(current.key, current.version_id)
    if current.held:
        raise Skipped("held", "its replacement is under a legal hold")


def _check_marks(tags: Mapping[str, str], metadata: Mapping[str, str]) -> None:
    check_not_exempt(tags, metadata)
    check_no_case_holds(tags)
    if not is_committed(tags):
        raise Unproven("tag-missing", "the replacement is not tagged converted=True")


def _check_is_the_original(known: AuditRow, original: Removable) -> None:
    stored = original.stored
    if stored is None or (stored.etag, stored.size_bytes) != (known.etag_before, known.bytes_before):
        raise Unproven("original-differs", "the ETag or size of the original is not what the table says")
