"""Delete an original, after its replacement has been proved once more."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from recordings.decision import EXEMPT_TAG
from recordings.errors import Changed, InvalidRequest, Skipped, Unproven
from recordings.formatting import plural
from recordings.jobs.intents import conclude, confirmed, set_out
from recordings.jobs.job import FOUND_GONE, Job, begun, state_after
from recordings.jobs.result import JobResult
from recordings.outcomes import accounted
from recordings.pool import Pool
from recordings.provenance import UNVERSIONED, provenance_of
from recordings.retrying import patience
from recordings.s3.objects import StoredObject
from recordings.s3.store import ReleasingStore, Store
from recordings.table.files import AuditFiles
from recordings.table.rows import TAG_LIMIT, AuditRow, BatchRows, Status
from recordings.tag import CONVERTED_TAG, MAX_TAGS

_SEAL = object()


class Proof:
    """Proof that one original may be deleted: no deletion without it. Only ``prove`` can make one."""

    __slots__ = ("row",)

    def __init__(self, row: AuditRow, *, seal: object) -> None:
        if seal is not _SEAL:
            raise TypeError("a proof is what the check of a recording returns: call prove")
        self.row = row  # the row as it will be after the deletion


def check_may_delete(store: ReleasingStore) -> None:
    """Raises InvalidRequest where S3 would refuse every deletion of versions in this bucket."""
    if patience()(store.needs_mfa):
        raise InvalidRequest(
            f"bucket {store.bucket} has MFA Delete enabled: no role can delete its versions. Have the account's "
            "root user switch it off with its device (aws s3api put-bucket-versioning --mfa), or keep the originals"
        )


def release_batch(store: ReleasingStore, files: AuditFiles, batch: BatchRows, job: Job, pool: Pool) -> JobResult:
    """Prove each replacement, record the intent to delete, delete the originals, write the rows."""
    proved = pool.map(lambda row: prove(store, row, job), batch.rows)
    proofs = [each for each in proved if isinstance(each, Proof)]
    rows = [each for each in proved if isinstance(each, AuditRow)]
    if job.dry_run:
        return JobResult(job, [*rows, *(proof.row for proof in proofs)], [])
    intent = set_out(files, job, batch, [proof.row for proof in proofs])
    rows += pool.map(lambda proof: delete_original(store, proof), proofs)
    rows = confirmed(intent, rows, lambda row: found_released(store, row), pool)
    return JobResult(job, rows, conclude(files, intent, rows))


def prove(store: Store, row: AuditRow, job: Job) -> Proof | AuditRow:
    """Proof that the original may be deleted, or the row that says why it stays. ``row`` is the current row."""
    checked = accounted(begun(row, job), lambda: _checked(store, row, job))
    may_go = checked.status is Status.RELEASED and checked.reason is None
    return Proof(checked, seal=_SEAL) if may_go else checked


def delete_original(store: ReleasingStore, proof: Proof) -> AuditRow:
    """Delete exactly the version that was proved superfluous. The row is ``failed`` where the outcome is unknown."""
    row = proof.row
    unknown = replace(row, status=Status.FAILED, original_kept=None)
    return accounted(unknown, lambda: _deleted(store, row))


def _deleted(store: ReleasingStore, row: AuditRow) -> AuditRow:
    """Check the replacement once more, then delete: the whole batch was proved before its first deletion."""
    current = store.head(row.key)
    if (current.version_id, current.etag) != (row.version_after, row.etag_after):
        raise Changed("changed", "somebody overwrote the replacement after it had been checked")
    deleted_at = store.delete_version(row.key, _original_version(row))
    return replace(row, state_at=max(deleted_at, row.state_at or deleted_at), finished_at=datetime.now(UTC))


def found_released(store: Store, row: AuditRow) -> AuditRow:
    """The row of a release that died before it wrote the row; the original was last seen at ``state_at``."""
    try:
        store.head(row.key, _original_version(row))
    except Changed:
        reason = f"settled: deleted by run {row.run_id}, which ended before it wrote its row"
        return replace(row, reason=reason, finished_at=datetime.now(UTC))
    raise Skipped("not-deleted", "the original is still there")


def _checked(store: Store, proof: AuditRow, job: Job) -> AuditRow:
    """The released row, if all checks pass. S3 itself refuses to delete versions with a hidden hold or lock."""
    _check_row(proof)
    current = store.head(proof.key)
    _check_grace(proof, current, job)
    _check_replacement(store, proof, current)
    tags = store.tags(proof.key, current.version_id)
    _check_tags(tags)
    row = replace(
        begun(proof, job),
        status=Status.RELEASED,
        verified=True,
        read_back=proof.read_back,  # the reading concerned this very replacement
        tagged=CONVERTED_TAG in tags.items(),
        original_kept=False,
        finished_at=datetime.now(UTC),
    )
    try:
        original = store.head(proof.key, _original_version(proof))
    except Changed:
        reason = f"{FOUND_GONE}: the original no longer exists; this run did not delete it"
        return replace(row, reason=reason, state_at=state_after(proof, current.answered_at))
    _check_is_free(proof, original)
    return replace(row, state_at=state_after(proof, original.answered_at))


def _check_row(proof: AuditRow) -> None:
    committed = proof.tagged or (proof.reason or "").startswith(TAG_LIMIT)
    if not (proof.verified and committed and proof.original_kept and proof.version_before and proof.state_at):
        raise Skipped("unproven", "the audit table does not show it as verified and tagged, with its original kept")
    if proof.version_before == (proof.version_after or UNVERSIONED):
        raise Skipped("unproven", "original and replacement have the same version id")


def _original_version(row: AuditRow) -> str:
    """The original's version id, never None and never empty: DELETE without an id would hide the replacement."""
    if not row.version_before:
        raise Unproven("unproven", "the row names no original")
    return row.version_before


def _check_grace(proof: AuditRow, current: StoredObject, job: Job) -> None:
    """Check the grace period by S3's clock at both ends, to the second, as precise as S3's Date header."""
    archived_at = (proof.state_at or current.answered_at).replace(microsecond=0)
    grace_days = job.grace_days_of(proof)
    due = archived_at + timedelta(days=grace_days)
    if current.answered_at < due:
        raise Skipped("in-grace", f"archived less than {plural(grace_days, 'day')} ago; due on {due:%Y-%m-%d}")


def _check_replacement(store: Store, proof: AuditRow, current: StoredObject) -> None:
    """Check the replacement; its SHA-256 comes last, because the body is read where S3 does not show the hash."""
    provenance = provenance_of(current.metadata)
    shown = (current.version_id, current.etag, current.size_bytes)
    claimed = (proof.version_after, proof.etag_after, proof.bytes_after)
    if shown != claimed:
        raise Unproven("replacement-differs", f"S3 shows (version, ETag, bytes) {shown}, the table {claimed}")
    if provenance is None or provenance.original.version != proof.version_before:
        raise Unproven("provenance-differs", "the replacement does not name this original as its source")
    sha256 = store.sha256_of(current)
    if sha256 != proof.sha256_after:
        raise Unproven("replacement-differs", f"its SHA-256 is {sha256}, the table says {proof.sha256_after}")


def _check_tags(tags: dict[str, str]) -> None:
    if EXEMPT_TAG in tags.items():
        raise Skipped("exempt", "tagged archive=exempt")
    if not is_committed(tags):
        raise Unproven("tag-missing", "the replacement is not tagged converted=True")


def is_committed(tags: dict[str, str]) -> bool:
    """Whether the tags say converted=True; where they leave no room for it, the provenance counts instead."""
    return CONVERTED_TAG in tags.items() or (len(tags) >= MAX_TAGS and CONVERTED_TAG[0] not in tags)


def _check_is_free(proof: AuditRow, original: StoredObject) -> None:
    if (original.etag, original.size_bytes) != (proof.etag_before, proof.bytes_before):
        raise Unproven("original-differs", "the ETag or size of the original is not what the table says")
    if original.held:
        raise Skipped("held", "the original is under legal hold")
    if original.locked_until and original.locked_until > original.answered_at:
        raise Skipped("locked", f"the original is locked until {original.locked_until:%Y-%m-%d}")
