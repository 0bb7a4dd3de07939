"""Which archived recordings an operation is about, and what was asked for in vain."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from datetime import UTC, date, datetime
from typing import Any

import pandas as pd

from recordings.accounting import accounted, ended
from recordings.errors import AuditDamaged
from recordings.evidence import RUNS
from recordings.files import AuditFiles
from recordings.glossary import label, plural
from recordings.manifest import BatchRows, ManifestFile, ManifestRow, Status, audit_dates, current, read_audit
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

    __slots__ = ("batches", "drifts", "files", "notes", "problems")

    def __init__(
        self,
        rows: Sequence[ManifestRow],
        problems: Iterable[str] = (),
        notes: Iterable[str] = (),
        drifts: Mapping[str, int] | None = None,
        files: Sequence[ManifestFile] = (),
    ) -> None:
        self.batches: list[BatchRows] = batches_of(rows)
        self.problems = tuple(problems)
        self.notes = tuple(notes)
        self.drifts = drifts or {}  # of a reconciliation, by code
        self.files = tuple(files)  # that it has written


def selected(
    operation: Operation, store: Store, files: AuditFiles, pool: Pool, *, unsettled: Collection[str] = ()
) -> Selection:
    """Each recording that is asked for and archived now, in the words of the audit table, but for ``unsettled`` keys.

    What was asked for in vain is a problem, or a note if the operation says ``missing_ok``.

    A restore may ask the objects for their provenance, but only where the table has nothing archived of the bucket;
    what an earlier restore of that kind wrote does not count.
    """
    frame, unread = _rows_of_dates(operation, store, files)
    of_bucket = _below(frame[frame["bucket"] == operation.bucket], operation.prefixes)
    states = current(of_bucket)
    if _has_archived(of_bucket) or _knows_bucket(operation, store, files):
        rows, vain, notes = _selected_from_table(of_bucket, states, operation, files)
    elif operation.kind == "restore":
        rows, vain, notes = _selected_without_table(states, operation, store, pool)
    else:
        rows, vain, notes = [], *_told(operation, [_knows_nothing(operation)])
    rows = [row for row in rows if row.key not in unsettled]
    if operation.missing_ok:
        return Selection(rows, unread, [*vain, *notes])
    return Selection(rows, [*unread, *vain], notes)


def _rows_of_dates(operation: Operation, store: Store, files: AuditFiles) -> tuple[pd.DataFrame, list[str]]:
    """The rows of the dates asked for, and a sentence about each day that is passed over: a file of it is damaged."""
    start, end = operation.start_date or date.min, operation.end_date or date.max
    try:
        return read_audit(operation.audit_uri, start, end, session=store.session), []
    except AuditDamaged:
        pass
    frames, unread = [read_audit(operation.audit_uri, date.min, date.min, session=store.session)], []
    for day in (each for each in audit_dates(files) if start <= each <= end):
        try:
            frames.append(read_audit(operation.audit_uri, day, day, session=store.session))
        except AuditDamaged as error:
            unread.append(f"calls of {day} are left out: {error}")
    return pd.concat(frames, ignore_index=True), unread


Found = tuple[list[ManifestRow], list[str], list[str]]  # rows, what was asked for in vain, notes


def _selected_from_table(
    of_bucket: pd.DataFrame, states: pd.DataFrame, operation: Operation, files: AuditFiles
) -> Found:
    """Of the recordings that were archived as it was asked, those that are so now; and what became of the others."""
    asked = _asked_for(of_bucket[of_bucket["status"].isin(_HOLDS_REPLACEMENT)], operation)
    now = states[states["key"].isin(asked["key"])]
    archived = _asked_for(now[now["status"].isin(_HOLDS_REPLACEMENT)], operation)
    nothing = [f"the audit table has nothing archived{_where(operation)}"] if asked.empty else []
    vain, notes = _told(operation, [] if operation.contact_ids or operation.of_run else nothing)
    vain += [*_contacts_not_found(of_bucket, asked, operation), *_run_in_vain(of_bucket, asked, operation, files)]
    if operation.kind == "restore":
        vain += _released(now[now["status"].eq(Status.RELEASED)], operation)
    rows = list(rows_of(archived))
    converted = [row for row in rows if row.version_before]
    if len(converted) < len(rows):
        notes.append(
            f"never converted, so nothing to {operation.kind}: {plural(len(rows) - len(converted), 'recording')}"
        )
    return converted, vain, [*notes, *_done_before(now, archived, operation)]


def _done_before(now: pd.DataFrame, archived: pd.DataFrame, operation: Operation) -> Iterator[str]:
    """What became of recordings that are not archived any more as it was asked: by which run, and when."""
    others = now[~now["key"].isin(archived["key"])]
    for status, of_status in others.groupby("status"):
        if status == Status.RELEASED and operation.kind == "restore":
            continue  # asked for in vain
        done = label(str(status)) if status in (Status.RELEASED, Status.RESTORED) else "archived again"
        yield f"{done} before: {_by_run(of_status)}"


def _told(operation: Operation, nothing: list[str]) -> tuple[list[str], list[str]]:
    """As asked in vain, or as a note: a release of all that is due has nothing to do on most days."""
    return (nothing, []) if operation.narrows or operation.kind == "restore" else ([], nothing)


def _knows_nothing(operation: Operation) -> str:
    return f"the audit table {operation.audit_uri} has nothing archived of bucket {operation.bucket}"


def _selected_without_table(states: pd.DataFrame, operation: Operation, store: Store, pool: Pool) -> Found:
    """By the objects' provenance; ``states`` are what earlier restores of this kind have written."""
    rows = _rows_of_bucket(operation, store, pool)
    restored = _asked_for(states[states["status"].eq(Status.RESTORED)], operation)
    restored = restored[~restored["key"].isin([row.key for row in rows])]
    found = {row.contact_id for row in rows} | set(restored["contact_id"])
    vain = [
        f"contact {each}: no replacement in the bucket" for each in operation.contact_ids or () if each not in found
    ]
    if operation.of_run and not rows:
        vain.append(f"run {operation.of_run}: the bucket has no recording that this run archived")
    elif not (rows or vain) and restored.empty:
        vain.append(f"no object{_where(operation)} says that it was archived")
    notes = [_knows_nothing(operation)]
    if not restored.empty:
        notes.append(f"restored before: {_by_run(restored)}")
    return rows, vain, notes


def _knows_bucket(operation: Operation, store: Store, files: AuditFiles) -> bool:
    """Whether the table has anything archived of the bucket, or may have: the first day found is enough."""
    for day in reversed(audit_dates(files)):
        try:
            frame = read_audit(operation.audit_uri, day, day, columns=["bucket", "status"], session=store.session)
        except AuditDamaged:
            return True
        if _has_archived(frame[frame["bucket"].eq(operation.bucket)]):
            return True
    return False


def _has_archived(frame: pd.DataFrame) -> bool:
    return bool(frame["status"].isin(_HOLDS_REPLACEMENT).any())


def _below(frame: pd.DataFrame, prefixes: tuple[str, ...]) -> pd.DataFrame:
    return frame if prefixes == ("",) or frame.empty else frame[frame["key"].str.startswith(prefixes)]


def _asked_for(frame: pd.DataFrame, operation: Operation) -> pd.DataFrame:
    if operation.contact_ids is not None:
        frame = frame[frame["contact_id"].isin(operation.contact_ids)]
    return frame if operation.of_run is None else frame[frame["run_id"].eq(operation.of_run)]


def _contacts_not_found(of_bucket: pd.DataFrame, asked: pd.DataFrame, operation: Operation) -> Iterator[str]:
    """The contacts of which nothing was archived, and what the last run said of each."""
    archived = set(asked["contact_id"].dropna())
    for contact in operation.contact_ids or ():
        if contact not in archived:
            by = f" by run {operation.of_run}" if operation.of_run else ""
            said = f"the audit table has no archived recording of it{by}{_where(operation)}"
            yield "; ".join([f"contact {contact}: {said}", *_last_attempt(of_bucket, contact)])


def _last_attempt(of_bucket: pd.DataFrame, contact: str) -> list[str]:
    attempts = of_bucket[of_bucket["contact_id"].eq(contact)].sort_values("started_at", kind="stable")
    return [
        f"run {row.run_id} left it {label(row.status)}{_when(row.started_at)}{f': {row.reason}' if row.reason else ''}"
        for row in rows_of(attempts.tail(1))
    ]


def _run_in_vain(
    of_bucket: pd.DataFrame, asked: pd.DataFrame, operation: Operation, files: AuditFiles
) -> Iterator[str]:
    if operation.of_run is None or not asked.empty or operation.contact_ids:
        return
    is_known = f"{RUNS}/{operation.of_run}.start.json" in set(files.names(RUNS))
    if is_known or of_bucket["run_id"].eq(operation.of_run).any():
        yield f"run {operation.of_run} archived nothing{_where(operation)}"
    else:
        yield f"run {operation.of_run}: the audit table knows no such run"


def _released(released: pd.DataFrame, operation: Operation) -> Iterator[str]:
    """What cannot come back: each by its name where that was asked for, else how many, by which run and when."""
    if released.empty:
        return
    if operation.contact_ids is None and operation.of_run is None:
        yield f"released originals cannot come back{_where(operation)}: {_by_run(released)}"
        return
    for row in rows_of(released):
        name = f"contact {row.contact_id}" if row.contact_id else row.key
        yield f"{name}: its original was released by run {row.run_id}{_when(row.state_at)}"


def _by_run(states: pd.DataFrame) -> str:
    """``2 by run A on 2026-02-01, 1 by run B on 2026-02-02``."""
    runs = states.groupby("run_id")["state_at"].agg(["size", "max"]).sort_values("max", ascending=False)
    said = [f"{size:,} by run {run_id}{_when(at)}" for run_id, size, at in runs.head(_MOST_RUNS).itertuples(name=None)]
    others = len(runs) - _MOST_RUNS
    return ", ".join([*said, *([f"others by {plural(others, 'earlier run')}"] if others > 0 else [])])


def _when(moment: Any) -> str:
    return "" if moment is None or pd.isna(moment) else f" on {moment:%Y-%m-%d at %H:%M} UTC"


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
