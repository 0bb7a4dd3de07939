"""Which archived recordings an operation is about, and what was asked for in vain."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import fields
from datetime import UTC, date, datetime
from typing import Any

import pandas as pd

from recordings.accounting import accounted, ended
from recordings.evidence import RUNS
from recordings.files import AuditFiles
from recordings.manifest import BatchRows, ManifestRow, Status, audit_dates, current, read_audit
from recordings.operation import Operation, batches_of
from recordings.patience import patience
from recordings.pool import Pool
from recordings.recording import contact_id_in, date_in
from recordings.resample import found_row
from recordings.s3.store import Store

_MOST_RUNS = 5  # named in a note
_HOLDS_REPLACEMENT = (Status.ARCHIVED, Status.ALREADY_ARCHIVED)


class Selection:
    """The recordings in batches, and what people should know who asked for them. A plain class, as Batch is."""

    __slots__ = ("batches", "drifts", "notes", "problems")

    def __init__(
        self,
        rows: Sequence[ManifestRow],
        problems: Sequence[str] = (),
        notes: Sequence[str] = (),
        drifts: Mapping[str, int] | None = None,
    ) -> None:
        self.batches: list[BatchRows] = batches_of(rows)
        self.problems = tuple(problems)
        self.notes = tuple(notes)
        self.drifts = drifts or {}  # of a reconciliation, by code


def selected(
    operation: Operation, store: Store, files: AuditFiles, pool: Pool, *, unsettled: Collection[str] = ()
) -> Selection:
    """Each recording that is asked for and archived now, in the words of the audit table, but for ``unsettled`` keys.

    A restore may ask the objects for their provenance, but only where the table has nothing archived of the bucket;
    what an earlier restore of that kind wrote does not count.
    """
    frame = read_audit(operation.audit_uri, operation.start_date, operation.end_date, session=store.session)
    of_bucket = _below(frame[frame["bucket"] == operation.bucket], operation.prefixes)
    if not _has_archived(of_bucket) and not _knows_bucket(operation, store, files):
        return _selected_without_table(operation, store, pool, unsettled)
    states = current(of_bucket)
    is_archived = states["status"].isin(_HOLDS_REPLACEMENT) & ~states["key"].isin(list(unsettled))
    rows = list(rows_of(_asked_for(states[is_archived], operation)))
    problems = [*_contacts_not_found(states, operation), *_released(of_bucket, states, operation)]
    notes = [*_note(of_bucket, operation), *_note_of_released(states, operation)]
    return Selection(rows, [*problems, *_run_not_known(of_bucket, files, operation)], notes)


def _selected_without_table(operation: Operation, store: Store, pool: Pool, unsettled: Collection[str]) -> Selection:
    note = f"the audit table {operation.audit_uri} has nothing archived of bucket {operation.bucket}"
    if operation.kind != "restore":
        return Selection([], notes=[note])
    rows = [row for row in _rows_of_bucket(operation, store, pool) if row.key not in unsettled]
    found = {row.contact_id for row in rows}
    problems = [
        f"contact {each}: no replacement in the bucket" for each in operation.contact_ids or () if each not in found
    ]
    if operation.of_run and not rows:
        problems.append(f"run {operation.of_run}: the bucket has no recording that this run archived")
    return Selection(rows, problems, [note])


def _knows_bucket(operation: Operation, store: Store, files: AuditFiles) -> bool:
    """Whether the table has anything archived of the bucket; asked day by day: the first one found is enough."""
    uri, dates = operation.audit_uri, reversed(audit_dates(files))
    days = (read_audit(uri, day, day, columns=["bucket", "status"], session=store.session) for day in dates)
    return any(_has_archived(frame[frame["bucket"].eq(operation.bucket)]) for frame in days)


def _has_archived(frame: pd.DataFrame) -> bool:
    return bool(frame["status"].isin(_HOLDS_REPLACEMENT).any())


def _below(frame: pd.DataFrame, prefixes: tuple[str, ...]) -> pd.DataFrame:
    return frame if prefixes == ("",) or frame.empty else frame[frame["key"].str.startswith(prefixes)]


def _asked_for(frame: pd.DataFrame, operation: Operation) -> pd.DataFrame:
    if operation.contact_ids is not None:
        frame = frame[frame["contact_id"].isin(operation.contact_ids)]
    return frame if operation.of_run is None else frame[frame["run_id"].eq(operation.of_run)]


def _contacts_not_found(states: pd.DataFrame, operation: Operation) -> Iterator[str]:
    known = set(states["contact_id"].dropna())
    for contact in operation.contact_ids or ():
        if contact not in known:
            yield f"contact {contact}: the audit table has no archived recording of it{_where(operation)}"


def _released(of_bucket: pd.DataFrame, states: pd.DataFrame, operation: Operation) -> Iterator[str]:
    """What was asked for by name and cannot come back."""
    if operation.contact_ids is None and operation.of_run is None:
        return
    archived = _asked_for(of_bucket[of_bucket["status"].isin(_HOLDS_REPLACEMENT)], operation)
    gone = states[states["status"].eq(Status.RELEASED) & states["key"].isin(archived["key"])]
    for row in rows_of(gone):
        when = f" on {row.state_at:%Y-%m-%d at %H:%M} UTC" if row.state_at else ""
        name = f"contact {row.contact_id}" if row.contact_id else row.key
        yield f"{name}: its original was released by run {row.run_id}{when}"


def _run_not_known(of_bucket: pd.DataFrame, files: AuditFiles, operation: Operation) -> Iterator[str]:
    if operation.of_run is None or of_bucket["run_id"].eq(operation.of_run).any():
        return
    if f"{RUNS}/{operation.of_run}.start.json" not in set(files.names(RUNS)):
        yield f"run {operation.of_run}: the audit table knows no such run"


def _note(of_bucket: pd.DataFrame, operation: Operation) -> list[str]:
    return [f"the audit table has no row{_where(operation)}"] if of_bucket.empty else []


def _note_of_released(states: pd.DataFrame, operation: Operation) -> list[str]:
    """Why a restore of all brings back less than all, or nothing."""
    released = states[states["status"].eq(Status.RELEASED)]
    if operation.kind != "restore" or operation.contact_ids or operation.of_run or released.empty:
        return []
    runs = released["run_id"].value_counts()
    said = ", ".join(f"{count:,} by run {run_id}" for run_id, count in list(runs.items())[:_MOST_RUNS])
    more = f", and others by {len(runs) - _MOST_RUNS:,} runs more" if len(runs) > _MOST_RUNS else ""
    return [f"released originals cannot come back{_where(operation)}: {said}{more}"]


def _where(operation: Operation) -> str:
    dates = operation.start_date or operation.end_date
    window = f" from {operation.start_date or 'the first day'} to {operation.end_date or 'the last'}" if dates else ""
    return window if operation.prefixes == ("",) else f"{window} below {', '.join(operation.prefixes)}"


def rows_of(frame: pd.DataFrame) -> Iterator[ManifestRow]:
    """The rows of a frame as values, nulls as None."""
    names = [field.name for field in fields(ManifestRow)]
    for record in frame[names].astype(object).itertuples(index=False, name=None):
        values = {name: _plain(value) for name, value in zip(names, record, strict=True)}
        yield ManifestRow(**{**values, "status": Status(values["status"])})


def _plain(value: Any) -> Any:
    if value is None or value is pd.NA or value is pd.NaT or value != value:  # NaN is not itself
        return None
    return value.to_pydatetime() if isinstance(value, pd.Timestamp) else value


def _rows_of_bucket(operation: Operation, store: Store, pool: Pool) -> list[ManifestRow]:
    """The replacements asked for, in the words of their own provenance; what cannot be looked at is passed over."""
    keys = [key for prefix in operation.prefixes for key in patience()(_keys_below, store, prefix)]
    rows = pool.map(lambda key: _row_by_provenance(key, operation, store), filter(_may_be(operation), keys))
    return [row for row in rows if row is not None and _is_of_run(row, operation)]


def _keys_below(store: Store, prefix: str) -> list[str]:
    return [item["Key"] for item in store.list_objects(prefix)]


def _is_of_run(row: ManifestRow, operation: Operation) -> bool:
    return operation.of_run in (None, row.run_id) or not row.holds_replacement


def _may_be(operation: Operation) -> Callable[[str], bool]:
    """Whether a key can be of a recording asked for: no other object is looked at."""
    start, end = operation.start_date or date.min, operation.end_date or date.max

    def check(key: str) -> bool:
        day = date_in(key)
        is_contact = operation.contact_ids is None or contact_id_in(key) in operation.contact_ids
        return day is not None and start <= day <= end and is_contact

    return check


def _row_by_provenance(key: str, operation: Operation, store: Store) -> ManifestRow | None:
    """A replacement's row; the row that says why it could not be looked at; None for what is no replacement."""
    unknown = _unknown_row(key, operation)
    row = accounted(unknown, lambda: found_row(store, key) or unknown)
    if row.status is Status.FAILED and (row.reason or "").startswith("refused"):
        return ended(row, Status.SKIPPED, f"unreadable: {row.reason}")
    is_nothing = (row.reason is None and not row.holds_replacement) or row.status is Status.CHANGED
    return None if is_nothing else row


def _unknown_row(key: str, operation: Operation) -> ManifestRow:
    return ManifestRow(
        run_id=operation.run_id,
        recording_date=date_in(key) or date.min,
        bucket=operation.bucket,
        key=key,
        contact_id=contact_id_in(key),
        status=Status.SKIPPED,
        profile="unknown",
        started_at=datetime.now(UTC),
        software_version=operation.software_version,
    )
