"""Deletion, the same for a release, an expiry and an erasure: prove, record the intent, delete, write the rows.

``delete_proved`` is the only function that deletes, and it takes only a ``Proof``, which only ``prove`` makes.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from recordings.errors import Changed, InvalidRequest
from recordings.holds import check_no_case_holds
from recordings.jobs.engine.cases import Cases, cases_now
from recordings.jobs.engine.intents import confirmed, set_out, write_and_close
from recordings.jobs.engine.job import Job
from recordings.jobs.engine.result import Freed, JobResult
from recordings.jobs.engine.traces import state_of_end
from recordings.marks import check_not_exempt
from recordings.outcomes import accounted
from recordings.pool import Pool
from recordings.pricing import prices
from recordings.retrying import patience
from recordings.s3.deleting import DeletingStore, Removable
from recordings.s3.objects import UNVERSIONED, Version
from recordings.table.files import AuditFiles
from recordings.table.rows import DESTROYED, AuditRow, BatchRows, Status
from recordings.versions import newest_of

_SEAL = object()


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """What the check of one recording has found."""

    row: AuditRow  # as it will be after the deletion
    removables: tuple[Removable, ...]  # in the order in which they are deleted; empty: there is nothing to delete
    newest: tuple[
        str | None, str
    ]  # version id (None: unversioned) and ETag that must be the newest; a marker's is empty


class Proof:
    """Proof that versions of one recording may be deleted: no deletion without it. Only ``prove`` makes one."""

    __slots__ = ("newest", "removables", "row")

    def __init__(self, checked: Checked, row: AuditRow, *, seal: object) -> None:
        if seal is not _SEAL:
            raise TypeError("a proof is what the check of a recording returns: call prove")
        self.row = row
        self.removables = checked.removables
        self.newest = checked.newest[0] or UNVERSIONED, checked.newest[1]


def check_may_delete(store: DeletingStore) -> None:
    """Raises InvalidRequest where S3 would refuse every deletion of versions in this bucket."""
    if patience()(store.needs_mfa):
        raise InvalidRequest(
            f"bucket {store.bucket} has MFA Delete enabled: no role can delete its versions. Have the account's "
            "root user switch it off with its device (aws s3api put-bucket-versioning --mfa), or keep the versions"
        )


def prove(row: AuditRow, check: Callable[[], Checked]) -> Proof | AuditRow:
    """Proof that versions may be deleted, or the row that says why they stay. ``row`` is what a failure makes of it."""
    found: list[Checked] = []

    def checked() -> AuditRow:
        found[:] = [check()]
        return found[0].row

    proved = accounted(row, checked)
    may_go = bool(found and found[0].removables) and proved.status is found[0].row.status
    return Proof(found[0], proved, seal=_SEAL) if may_go else proved


def delete_batch(
    store: DeletingStore,
    files: AuditFiles,
    batch: BatchRows,
    job: Job,
    pool: Pool,
    *,
    proved: Callable[[AuditRow], Proof | AuditRow],
) -> JobResult:
    """Prove each recording, record the intent to delete, delete what was proved, write the rows."""
    checked = pool.map(proved, batch.rows)
    proofs = [each for each in checked if isinstance(each, Proof)]
    rows = [each for each in checked if isinstance(each, AuditRow)]
    if job.dry_run:
        cases = cases_now(files, job.bucket, [proof.row for proof in proofs], run_id=job.run_id)
        rows += [_unless_held(proof, cases) for proof in proofs]
        return JobResult(job, rows, [], freed=_freed_by(proofs, rows))
    intent = set_out(files, job, batch, [proof.row for proof in proofs])
    cases = cases_now(files, job.bucket, intent.rows, run_id=job.run_id)
    held = [proof for proof in proofs if cases.of(proof.row.key)]
    rows += [_unless_held(proof, cases) for proof in held]
    rows += pool.map(lambda proof: delete_proved(store, proof), [proof for proof in proofs if proof not in held])
    rows = confirmed(store, intent, rows, pool)
    return JobResult(job, rows, write_and_close(files, intent, rows), freed=_freed_by(proofs, rows))


def _freed_by(proofs: Sequence[Proof], rows: Sequence[AuditRow]) -> Freed:
    """What the deletion of all versions of these proofs frees, of recordings whose rows are as the proofs foresaw."""
    ended = {row.key: row.status for row in rows}
    gone = [proof for proof in proofs if ended.get(proof.row.key) is proof.row.status]
    stored = [each.stored for proof in gone for each in proof.removables if each.stored]
    return Freed(
        size_bytes=sum(each.size_bytes for each in stored),
        usd_month=sum(prices().object_month(each.size_bytes, each.storage_class) for each in stored),
    )


def _unless_held(proof: Proof, cases: Cases) -> AuditRow:
    """The row as it will be, or the row that says which cases hold the recording."""

    def unless_held() -> AuditRow:
        cases.check(proof.row.key)
        return proof.row

    kept = accounted(proof.row, unless_held)
    return kept if kept.status is proof.row.status else replace(kept, original_kept=None)


def delete_proved(store: DeletingStore, proof: Proof) -> AuditRow:
    """Delete exactly the versions of the proof. The row is ``failed`` where the outcome is unknown."""
    unknown = replace(proof.row, status=Status.FAILED, original_kept=None)
    return accounted(unknown, lambda: _deleted(store, proof))


def _deleted(store: DeletingStore, proof: Proof) -> AuditRow:
    """Check the newest version once more, its holds, too, then delete: all was proved before the first deletion."""
    if newest_of(store, proof.row.key, is_marker=not proof.newest[1]) != proof.newest:
        raise Changed("changed", "somebody overwrote it after it had been checked")
    if proof.row.status in DESTROYED and not store.locks:  # where there are locks, S3 itself refuses
        for stored in [each.stored for each in proof.removables if each.stored][-1:]:
            check_no_case_holds(store.tags(stored.key, stored.version_id))
    deleted_at = [store.delete_version(each) for each in proof.removables]
    state_at = state_of_end(proof.row, max(deleted_at))
    return replace(proof.row, original_kept=False, state_at=state_at, finished_at=datetime.now(UTC))


def removable(store: DeletingStore, version: Version) -> Removable:
    """Proof that nothing holds this version, by a role that sees holds and locks: else an older one would go first.

    Raises Skipped also where a tag of this version says that a case holds it.
    """
    if version.is_marker:
        return store.removable_marker(version)
    if store.locks is not False:
        store.check_locks_are_shown(version.key, version.version_id)
    free = store.removable(version.key, version.version_id)
    check_no_case_holds(free.tags)
    return free


def check_none_exempt(removables: Iterable[Removable]) -> None:
    """Raises Skipped where a mark on any of these versions says that no run may delete it."""
    for each in removables:
        if each.stored:
            check_not_exempt(each.tags, each.stored.metadata)
