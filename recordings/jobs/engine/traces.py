"""What the bucket shows of a deed whose run died before it wrote the row: one function per kind of job.

Each takes the row as the run set out to write it, and returns the row as the run would have written it. Each raises
Skipped if the deed was not done.
"""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from recordings.errors import Changed, RecordingError, Skipped, Unproven
from recordings.glossary import code_of
from recordings.holds import case_of, cases_in
from recordings.observed import as_stored, confirmed_row
from recordings.provenance import provenance_of
from recordings.s3.objects import UNVERSIONED, StoredObject, Version
from recordings.s3.store import Store
from recordings.table.rows import DESTROYED, MEASURED, AuditRow, Side, Status
from recordings.versions import versions_of

FOUND_GONE = "found-gone"  # the reason of a released row if somebody else had deleted the original
PARTLY = "partly-deleted"  # the reason of a released row whose run was to delete the whole recording
THE_REST = "; the rest: "  # before what kept a run that did a part from doing the rest
MARKER_LEFT = "marker-left"  # the reason of a row whose run deleted all versions, and not the delete marker above


def state_after(row: AuditRow, at: datetime) -> datetime:
    """Timestamp of the next state: ``at``, in S3's whole seconds, but always later than ``row.state_at``."""
    return max(at, row.state_at + timedelta(microseconds=1)) if row.state_at else at


def state_of_end(row: AuditRow, at: datetime) -> datetime:
    """Timestamp of a deletion done at ``at``. That of a whole recording comes after that of its partial deletion."""
    at = max(at, row.state_at or at)
    return state_after(row, at) if row.status in DESTROYED else at


def trace_of_release(store: Store, row: AuditRow) -> AuditRow:
    """The row of a release that died before it wrote the row; the original was last seen at ``state_at``."""
    try:
        store.head(row.key, original_version(row))
    except Changed:
        reason = f"settled: deleted by run {row.run_id}, which ended before it wrote its row"
        return replace(row, reason=reason, finished_at=datetime.now(UTC))
    raise Skipped("not-deleted", "the original is still there")


def trace_of_destruction(store: Store, row: AuditRow) -> AuditRow:
    """The row of an expiry or an erasure that died before it wrote the row.

    The newest version is deleted last; if an older one is left, somebody else has deleted the newest. If only the
    original is gone, the row says so, as a released one; if delete markers are left, the reason says so.
    """
    newest = row.version_after or row.version_before or UNVERSIONED  # a delete marker, too, which no HEAD shows
    left = versions_of(store, row.key)
    if newest not in {version.version_id for version in left}:
        if any(_was_there(version, row) for version in left):
            raise Skipped("not-deleted", "an older version of it is still there")
        reason = f"{row.reason}; settled: deleted by run {row.run_id}, which ended before it wrote its row"
        if any(version.is_marker for version in left):
            reason = f"{MARKER_LEFT}: run {row.run_id} deleted all versions, and not the delete marker; {row.reason}"
        state_at = state_of_end(row, row.state_at) if row.state_at else None
        return replace(row, reason=reason, original_kept=False, state_at=state_at, finished_at=datetime.now(UTC))
    if row.version_after and row.version_before and row.original_kept:
        return _found_partly(store, row)
    raise Skipped("not-deleted", "it is still there")


def has_marker_left(row: AuditRow) -> bool:
    """Whether all versions of the recording were deleted, and a delete marker is left to delete."""
    return row.status in DESTROYED and code_of(row.reason) == MARKER_LEFT


def reason_of_destruction(row: AuditRow) -> str:
    """Why the versions of a row with a delete marker left were deleted, and what else its run said of them."""
    return str(row.reason).partition("; ")[2].partition(THE_REST)[0]


def _was_there(version: Version, row: AuditRow) -> bool:
    """Whether it is an object that the run was to delete, and not one that somebody has brought since."""
    is_older = row.state_at is not None and version.last_modified < row.state_at
    return not version.is_marker and (is_older or version.version_id == row.version_before)


def _found_partly(store: Store, row: AuditRow) -> AuditRow:
    """The row of the replacement that is left. An erasure's own names no more than versions: S3 shows the rest."""
    try:
        store.head(row.key, row.version_before)
    except Changed:
        reason = f"{PARTLY}: run {row.run_id} deleted the original, and did not come to the replacement"
        if row.status is Status.ERASED:
            row, flaw = _shown(store, row)
            reason += flaw
        return replace(row, status=Status.RELEASED, reason=reason, original_kept=False, finished_at=datetime.now(UTC))
    raise Skipped("not-deleted", "it is still there")


def _shown(store: Store, row: AuditRow) -> tuple[AuditRow, str]:
    """The row with what S3 shows of the replacement; what is wrong with it, if its provenance proves nothing."""
    current = store.head(row.key, row.version_after)
    try:
        return confirmed_row(store, row, current), ""
    except RecordingError as error:
        after = as_stored(row.after, current)
        return row.between(row.before, after), f"; what is left could not be confirmed: {error}"


def trace_of_hold(store: Store, row: AuditRow) -> AuditRow:
    """The row of a hold that died before it wrote the row. A case that holds some versions holds the recording."""
    shown = _holds_shown(store, row)
    if not any(shown):
        raise Skipped("not-done", "it is not held")
    partly = "" if all(shown) else ", and not all versions are held: hold it again"
    return _settled(row, partly)


def trace_of_lifting(store: Store, row: AuditRow) -> AuditRow:
    """The row of a lifted hold whose run died before it wrote the row."""
    if any(_holds_shown(store, row)):
        raise Skipped("not-done", "it is still held")
    return _settled(row)


def _settled(row: AuditRow, more: str = "") -> AuditRow:
    reason = f"{row.reason}; settled: done by run {row.run_id}, which ended before it wrote its row{more}"
    return replace(row, reason=reason, finished_at=datetime.now(UTC))


def _holds_shown(store: Store, row: AuditRow) -> list[bool]:
    """Of each version, whether S3 shows it as held for the case of the row."""
    versions = [version for version in versions_of(store, row.key) if not version.is_marker]
    return [shows_hold(store, row.key, each.version_id, str(case_of(row.reason))) for each in versions]


def shows_hold(store: Store, key: str, version_id: str, case: str) -> bool:
    """Whether a version is held: by S3 where the bucket has Object Lock, else by the tag that names the case."""
    if store.locks_enabled:
        return store.head(key, version_id).legal_hold
    return case in cases_in(store.tags(key, version_id))


def original_version(row: AuditRow) -> str:
    """The original's version id, never None and never empty: DELETE without an id would hide the replacement."""
    if not row.version_before:
        raise Unproven("unproven", "the row names no original")
    return row.version_before


def trace_of_restore(store: Store, row: AuditRow) -> AuditRow:
    """The row of a restore that died before it wrote the row: the current object is the original, not a replacement."""
    current = store.head(row.key)
    if provenance_of(current.metadata) is not None:
        raise Skipped("not-restored", "the replacement is still there")
    reason = f"settled: brought back by run {row.run_id}, which ended before it wrote its row"
    return replace(found_there(store, row, current), reason=reason)


def found_there(store: Store, row: AuditRow, current: StoredObject) -> AuditRow:
    """The row where no replacement is current: it may be an original brought back, of which there is no row yet."""
    if current.size_bytes != row.bytes_before or store.sha256_of(current) != row.sha256_before:
        raise Skipped("not-archived", "what lies there now is not our replacement")
    return brought_back(swapped(row, row.after), current)


def swapped(row: AuditRow, replacement: Side) -> AuditRow:
    """An archived row with its sides exchanged: from the replacement back to the original."""
    after = row.after
    original = replace(row.before, etag=after.etag, version=after.version, storage_class=after.storage_class)
    return row.between(replacement, original, **dict.fromkeys(MEASURED))


def brought_back(row: AuditRow, restored: StoredObject) -> AuditRow:
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
