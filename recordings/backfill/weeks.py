"""The weeks of a backfill, by which records tell what of it is done, and what is left if it dies."""

from collections.abc import Container, Iterable
from datetime import date, timedelta

from recordings.backfill.portions import Portion
from recordings.recording import Window, days_between
from recordings.run import Run
from recordings.table.files import AuditFiles
from recordings.table.records import StartRecord, record_covered

_WEEK_DAYS = 7


class Weeks:
    """The weeks of a backfill, each recorded as covered once nothing of it is left: if it dies, the others are."""

    def __init__(self, files: AuditFiles, run: Run, left: Iterable[Portion]) -> None:
        self._files, self._run = files, run
        self._left: dict[str, set[Portion]] = {
            self._name(day): set() for day in days_between(run.start_date, run.end_date)
        }
        for portion in left:
            self._left[self._name(portion.date)].add(portion)

    def record_finished_before(self) -> None:
        """Record the weeks of which nothing was left from the beginning."""
        self._cover([name for name, portions in self._left.items() if not portions])

    def record_finished(self, portion: Portion) -> None:
        """Record, if this portion that a run has finished was the last of its week, that the week is covered."""
        name = self._name(portion.date)
        self._left[name].discard(portion)
        if not self._left[name]:
            self._cover([name])

    def _name(self, day: date) -> str:
        return name_of_week(self._run.run_id, day, self._run.start_date)

    def _cover(self, names: Iterable[str]) -> None:
        record_covered(self._files, names, self._run)


def first_week_left(dead: StartRecord, covered: Container[str]) -> tuple[str, list[Window]] | None:
    """The name of the first week that no record covers, and its windows; None if all are covered."""
    start, end = dead.dates
    for day in range(0, (end - start).days + 1, _WEEK_DAYS):
        first = start + timedelta(days=day)
        name = name_of_week(dead.run_id, first, start)
        if name not in covered:
            last = first + min(timedelta(days=_WEEK_DAYS - 1), end - first)
            return name, [Window(prefix=each, start_date=first, end_date=last) for each in dead.prefixes]
    return None


def name_of_week(run_id: str, day: date, start: date) -> str:
    """The name of the record that says that this day's week is covered, in a backfill that begins on ``start``."""
    return f"{run_id}-week-{(day - start).days // _WEEK_DAYS + 1}"
