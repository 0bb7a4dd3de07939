"""Which recordings an export is about, in the words of the audit table, and what reading them costs."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace

import pandas as pd

from recordings.errors import InvalidRequest
from recordings.handover.export import AudioVersion, Export
from recordings.handover.item import Item
from recordings.holds import in_order
from recordings.keys import OF_CONTACT_LENS, date_of, layout_of
from recordings.table.files import AuditFiles
from recordings.table.reading import Only, audit_dates, read_days, rows_of, states_or_attempts
from recordings.table.rows import DESTROYED, SMALL, STATES, AuditRow, Status

MAX_RECORDINGS = 20_000  # more belong into several bags
_ALL_COLUMNS = tuple(each.name for each in fields(AuditRow))


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """What is handed over, all rows about it, what was not found, and the contacts without files of Contact Lens."""

    items: tuple[Item, ...]
    rows: pd.DataFrame  # every row of these recordings: states, attempts and checks
    problems: tuple[str, ...]
    without_analysis: tuple[str, ...] | None = None  # contacts; None: the bucket was not listed


def choose(export: Export, files: AuditFiles, held: Sequence[str] = ()) -> Chosen:
    """The recordings asked for; ``held`` are the keys that the case holds, where the case selects.

    Raises InvalidRequest for too many, AuditDamaged for a file that cannot be read.
    """
    keys = tuple(held) or export.keys
    rows = _rows(export, files, keys)
    count = rows["key"].nunique()
    if count > MAX_RECORDINGS:
        way_out = "give the case's keys to several runs" if export.is_by_case else "narrow the dates"
        raise InvalidRequest(f"{count:,} recordings are selected, but a bag takes {MAX_RECORDINGS:,}: {way_out}")
    now = list(rows_of(_last(rows))) if len(rows) else []
    found = [_item(row, export.version) for row in now]
    return Chosen(
        items=tuple(each for each in found if isinstance(each, Item)),
        rows=rows,
        problems=(*_in_vain(export, rows, keys), *(each for each in found if isinstance(each, str))),
    )


def _rows(export: Export, files: AuditFiles, keys: Sequence[str] | None) -> pd.DataFrame:
    days = [day for day in audit_dates(files) if (export.start_date or day) <= day <= (export.end_date or day)]
    if keys and None not in (of_keys := {date_of(key) for key in keys}):
        days = [day for day in days if day in of_keys]
    only = Only(bucket=export.bucket, prefixes=export.prefixes, contact_ids=export.contact_ids)
    if keys:
        only = replace(only, first_key=min(keys), last_key=max(keys))
    if export.of_run:
        of_run = read_days(files, days, ["key", "recording_date"], replace(only, run_id=export.of_run))
        days = sorted(set(of_run["recording_date"]))
    rows = read_days(files, days, _ALL_COLUMNS, only)
    if keys:
        rows = rows[rows["key"].isin(keys)]
    return rows[rows["key"].isin(of_run["key"])] if export.of_run else rows


def _last(rows: pd.DataFrame) -> pd.DataFrame:
    """One row per recording, in key order: its state, or, without a state, the row that says which version is meant."""
    return states_or_attempts(rows, _telling(rows)).sort_values("key")


def _telling(rows: pd.DataFrame) -> pd.DataFrame:
    """Per recording its last row `held` or `lifted`; without one, the attempts that name a version, or else all."""
    held = in_order(rows[rows["status"].isin((Status.HELD, Status.LIFTED))]).drop_duplicates("key", keep="last")
    others = rows[~rows["key"].isin(held["key"])]
    named = others[others[["etag_before", "etag_after", "version_before", "version_after"]].notna().any(axis="columns")]
    return pd.concat([held, named, others[~others["key"].isin(named["key"])]])


def _item(row: AuditRow, version: AudioVersion) -> Item | str:
    """What is handed over of a recording, or why nothing is."""
    if row.status in SMALL and version is AudioVersion.REPLACEMENT:
        return Item(row=row, what="replacement", side=row.after)
    if row.status is Status.RELEASED:
        return f"{row.key}: run {row.run_id} released its original; version=replacement hands over what is left"
    if row.status in DESTROYED:
        return f"{row.key}: run {row.run_id} {row.status} it, so no version is left"
    if row.status not in STATES:
        return _not_archived(row)
    if row.status is Status.RESTORED:
        return Item(row=row, what="original", side=row.after)
    if row.status in SMALL and not row.version_before:
        return f"{row.key}: somebody else had converted it, so its original is not known"
    return Item(row=row, what="original", side=row.before)


def _not_archived(row: AuditRow) -> Item | str:
    """As ``_item``, of an object that no run has archived: the version that a run found or held."""
    side = next((each for each in (row.before, row.after) if each.etag or each.version), None)
    if side is None:
        return f"{row.key}: no row says which version of it is meant; hold it, then hand it over by its key"
    layout = layout_of(row.key)
    what = layout.holds if layout and layout.holds in OF_CONTACT_LENS else "original"
    return Item(row=row, what=what, side=side)


def _in_vain(export: Export, rows: pd.DataFrame, keys: Sequence[str] | None) -> Iterator[str]:
    contacts, known = set(rows["contact_id"].dropna()), set(rows["key"])
    yield from (_unknown("contact", each) for each in _missing(export.contact_ids, contacts))
    yield from (_unknown("key", each) for each in _missing(keys, known))
    if rows.empty and not (export.contact_ids or keys):
        yield f"the audit table has nothing for {export.selection}"


def _missing(asked: Sequence[str] | None, known: set[str]) -> list[str]:
    return [each for each in asked or () if each not in known]


def _unknown(what: str, name: str) -> str:
    return f"{what} {name}: the audit table has no row for it in this selection"
