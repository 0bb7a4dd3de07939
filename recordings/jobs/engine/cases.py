"""Which cases hold a recording: as the rows of its day say, and as runs have set out to make it.

Whoever holds, lifts or deletes first writes its own intent and then asks here. So of two runs that meet at a recording,
at least one sees the other.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta

import pandas as pd

from recordings.errors import AuditDamaged, Changed, InvalidRequest
from recordings.formatting import plural
from recordings.holds import (
    Named,
    Place,
    case_of,
    cases_by_key,
    held_before,
    held_for,
    in_order,
    last_places,
    named_by,
    place_of,
)
from recordings.jobs.engine.intents import is_definite, open_intents, owed
from recordings.jobs.engine.kinds import TRAITS
from recordings.keys import date_of
from recordings.table.files import AuditFiles
from recordings.table.reading import Only, audit_dates, read_days
from recordings.table.records import END, RUNS, IntentRecord, Kind, run_ids
from recordings.table.rows import AuditRow, Status

_MAX_NAMED = 5  # cases in a message
_COLUMNS = ("bucket", "key", "status", "reason", "run_id", "state_at", "started_at")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cases:
    """The cases of some recordings, by key."""

    told: Mapping[str, frozenset[str]]  # rows say that these cases hold it
    begun: Mapping[str, frozenset[str]]  # runs have set out to hold it for these cases, and did not tell how that ended
    lifting: Mapping[str, frozenset[str]]  # runs that may be at work have set out to lift the holds of these cases
    held_at: Mapping[Named, Place]  # where the case's last hold stands, as rows say
    holding: Mapping[Named, str]  # the run that may be at work and has set out to hold it for the case
    lifted_at: Mapping[Named, Place]  # where the case's last lifting stands, told or begun
    held_before: frozenset[str]  # others than we had held it in S3 before the first of our cases did
    deleting: Mapping[str, str]  # the run that has set out to delete it, or versions of it, and did not tell either

    def of(self, key: str) -> frozenset[str]:
        """The cases that hold the recording, or are about to."""
        return self.told.get(key, frozenset()) | self.begun.get(key, frozenset())

    def others(self, key: str, case: str) -> frozenset[str]:
        """The other cases for which a recording stays held when this case's hold is lifted."""
        staying = self.told.get(key, frozenset()) - self.lifting.get(key, frozenset())
        return (staying | self.begun.get(key, frozenset())) - {case}

    def check_not_held_again(self, row: AuditRow) -> None:
        """Raises Changed where another run holds the recording for the case that this row is to lift, or has since."""
        held, case = self.held_at.get(named_by(row)), case_of(row.reason)
        if run_id := self.holding.get(named_by(row)):
            raise Changed("held-again", f"run {run_id} has set out to hold it for case {case}, so it stays held")
        if held and held > place_of(row):
            raise Changed("held-again", f"another run has held it for case {case} meanwhile, so it stays held")

    def next_place(self, named: Named, at: datetime) -> datetime:
        """``at``, in S3's whole seconds, but always later than each hold and lifting of the case that is known."""
        known = [places[named][0] for places in (self.held_at, self.lifted_at) if named in places]
        return max([at, *(each + timedelta(microseconds=1) for each in known)])

    def check(self, key: str) -> None:
        """Raises Skipped where a case holds the recording."""
        if held_by := self.of(key):
            raise held_for(held_by)


def cases_now(files: AuditFiles, bucket: str, rows: Iterable[AuditRow], *, run_id: str) -> Cases:
    """What is known at this moment of these recordings, but for what run ``run_id`` has itself set out to do.

    Raises AuditDamaged, naming the file, where the rows of a day cannot be read.
    """
    asked = {row.key: row for row in rows}
    # Intents come first: a run writes its rows before it closes its intent, so that one of the two is seen.
    # For the same reason, the end records come before the rows.
    intents = [each for each in open_intents(files, bucket) if each.run_id != run_id]
    holds = any(each.kind in (Kind.HOLD, Kind.LIFT) for each in intents)
    ended = run_ids(files.names(RUNS), END) if holds else set[str]()
    days = _days(files, asked.values())
    only = Only(bucket=bucket, first_key=min(asked, default=""), last_key=max(asked, default=""))
    frame = read_days(files, days, _COLUMNS, only) if asked else pd.DataFrame(columns=_COLUMNS)
    frame = frame[frame["key"].isin(asked)]
    told = {
        (run_id, key)
        for run_id, key, status, reason in frame[["run_id", "key", "status", "reason"]].itertuples(index=False)
        if is_definite(status, reason)
    }
    open_rows = [
        (intent, row)
        for intent in intents
        for row in intent.rows
        if row.key in asked and (intent.run_id, row.key) not in told
    ]
    held, lifted = (last_places(frame, status) for status in (Status.HELD, Status.LIFTED))
    at_work = [each for each in open_rows if each[0].run_id not in ended and not _is_held_since(each[1], held)]
    return Cases(
        told=cases_by_key(frame),
        begun=_cases(open_rows, Kind.HOLD),
        lifting=_cases(at_work, Kind.LIFT),
        held_at=held,
        holding={named_by(row): intent.run_id for intent, row in at_work if intent.kind is Kind.HOLD},
        lifted_at=_later(lifted, (row for intent, row in open_rows if intent.kind is Kind.LIFT)),
        held_before=held_before(frame),
        deleting={row.key: intent.run_id for intent, row in open_rows if TRAITS[intent.kind].deletes_versions},
    )


def are_readable(files: AuditFiles, bucket: str, days: Iterable[date]) -> bool:
    """Whether ``cases_now`` can read the rows of these days."""
    try:
        for day in days:
            read_days(files, [day], _COLUMNS, Only(bucket=bucket))
    except AuditDamaged:
        return False
    return True


def keys_held_for(case: str, files: AuditFiles, bucket: str, prefixes: tuple[str, ...] = ("",)) -> tuple[str, ...]:
    """The keys below the prefixes that the case holds now, or that a run has set out to hold for it, in order.

    Reads the table's rows of all days. Raises AuditDamaged, and InvalidRequest where the case holds nothing.
    """
    intents = [each for each in open_intents(files, bucket) if each.kind is Kind.HOLD]
    events = _events(files, bucket)
    begun = {row.key for intent in intents for row in owed(files, intent) if case_of(row.reason) == case}
    held = begun | {key for key, cases in cases_by_key(events).items() if case in cases}
    if not held:
        raise InvalidRequest(f"{_holds_nothing(case, events)}, so nothing was read: give contact_ids, keys or dates")
    below = tuple(sorted(key for key in held if key.startswith(prefixes)))
    if not below:
        raise InvalidRequest(
            f"case {case} holds nothing below {', '.join(prefixes)}: leave prefixes out, or correct them"
        )
    return below


def unknown_case(case: str, files: AuditFiles, bucket: str) -> list[str]:
    """A sentence where the table has no hold of the case at all: its name may be mistyped. Raises AuditDamaged."""
    events = _events(files, bucket)
    return [] if case in set(events["reason"].map(case_of, na_action="ignore")) else [_holds_nothing(case, events)]


def _events(files: AuditFiles, bucket: str) -> pd.DataFrame:
    """All rows of holds and of their ends."""
    only = Only(bucket=bucket, statuses=(Status.HELD, Status.LIFTED))
    return read_days(files, audit_dates(files), _COLUMNS, only)


def _holds_nothing(case: str, events: pd.DataFrame) -> str:
    cases = events["reason"].map(case_of, na_action="ignore")
    if events[cases.eq(case)].empty:
        known = sorted(set(cases.dropna()))
        others = f"; it has {', '.join(known[:_MAX_NAMED])}{' and others' if len(known) > _MAX_NAMED else ''}"
        return f"case is {case!r}: the audit table has no hold of a case of this name{others if known else ''}"
    last = in_order(events[cases.eq(case)]).iloc[-1]
    once = plural(events[cases.eq(case)]["key"].nunique(), "object")
    return f"case {case} no longer holds anything: of {once} that it held, the last was freed by run {last['run_id']}"


def _days(files: AuditFiles, rows: Iterable[AuditRow]) -> list[date]:
    """The days under which the rows may lie: those that the keys tell, and those on which runs listed the objects.

    An object whose key tells no day has its rows on the days on which runs began.
    """
    asked = list(rows)
    days = {date_of(row.key) for row in asked}
    if None in days:
        return audit_dates(files)
    return sorted({row.recording_date for row in asked} | {day for day in days if day})


def _is_held_since(row: AuditRow, held: Mapping[Named, Place]) -> bool:
    """Whether the case has held the recording since a run set out to hold it or to lift the hold, as the row says."""
    last = held.get(named_by(row))
    return last is not None and last > place_of(row)


def _later(places: Mapping[Named, Place], rows: Iterable[AuditRow]) -> dict[Named, Place]:
    """For each key and case, the later of its place and the place of its row."""
    found = dict(places)
    for row in rows:
        found[named_by(row)] = max(place_of(row), found.get(named_by(row), place_of(row)))
    return found


def _cases(rows: Iterable[tuple[IntentRecord, AuditRow]], kind: Kind) -> dict[str, frozenset[str]]:
    found: dict[str, frozenset[str]] = {}
    for intent, row in rows:
        if intent.kind is kind and (case := case_of(row.reason)):
            found[row.key] = found.get(row.key, frozenset()) | {case}
    return found
