"""The comparison of table and bucket over many days: which days, what went wrong, and what is safe to repair."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date

from recordings.formatting import plural
from recordings.jobs.drifts import DayDrifts, Drifts
from recordings.jobs.engine.intents import open_intents, runs_by_deed
from recordings.jobs.engine.job import Job
from recordings.jobs.engine.work import Work
from recordings.jobs.reconcile import Runs
from recordings.recording import Day, days_between
from recordings.s3.store import Store
from recordings.table.files import AuditFiles
from recordings.table.rows import AuditRow, BatchRows
from recordings.waves import in_waves

FindDrifts = Callable[[Sequence[Day], Runs], Sequence[DayDrifts | BaseException]]  # of each day, or why nobody knows


class Comparison(Work):
    """The comparison of table and bucket, a few days at a time; yields batches of what is safe to repair.

    ``find_drifts`` compares the days; the caller gives it, so that it decides where the days are compared.
    """

    def __init__(
        self, job: Job, store: Store, files: AuditFiles, leave: Mapping[str, date], *, find_drifts: FindDrifts
    ) -> None:
        super().__init__(job, store, files, leave)
        self.drifts = Drifts(job, files)
        self._find_drifts = find_drifts

    def __iter__(self) -> Iterator[list[BatchRows]]:
        runs = runs_by_deed(self._files, open_intents(self._files, self._job.bucket))
        for days in in_waves(_days(self._job)):
            yield from self._batched(self._mended(days, self._find_drifts(days, runs)))
        self.drifts.write()
        self.manifest += self.drifts.files
        self.problems += self.drifts.problems
        if self.drifts.mendable and not self._job.repair:
            self.notes.append(f"run it again with repair=True to repair {plural(self.drifts.mendable, 'recording')}")

    @property
    def differences(self) -> Mapping[str, int]:
        """The drifts, counted by code."""
        return self.drifts.counts

    @property
    def lost(self) -> Mapping[str, int]:
        """The drifts that are losses."""
        return self.drifts.lost

    def _mended(self, days: Sequence[Day], found: Sequence[DayDrifts | BaseException]) -> list[AuditRow]:
        for day, each in zip(days, found, strict=True):
            if isinstance(each, DayDrifts):
                self.drifts.add(each.drifts)
            else:
                self.problems.append(f"{day} could not be compared: {type(each).__name__}: {each}")
        drifts = (drift for each in found if isinstance(each, DayDrifts) for drift in each.drifts)
        return [drift.row for drift in drifts if drift.row is not None] if self._job.repair else []


def _days(job: Job) -> list[Day]:
    """Each (prefix, day) of the job."""
    dates = days_between(job.start_date or date.max, job.end_date or date.min)
    return [Day(prefix=prefix, date=day) for day in dates for prefix in job.prefixes]
