"""The comparison of table and bucket over many days: which days, what went wrong, and what is safe to repair."""

from collections.abc import Callable, Iterator, Sequence
from datetime import date

from recordings.glossary import plural
from recordings.jobs.intents import open_intents, runs_by_deed
from recordings.jobs.job import Job, batches_of
from recordings.jobs.reconcile import DayDrifts, Drifts, Runs
from recordings.jobs.result import JobResult, JobSums
from recordings.recording import Day, days_between
from recordings.table.files import AuditFiles
from recordings.table.rows import BatchRows
from recordings.waves import in_waves

FindDrifts = Callable[[Sequence[Day], Runs], Sequence[DayDrifts | BaseException]]  # of each day, or why nobody knows


class Comparison:
    """The comparison of table and bucket, a few days at a time; yields batches of what is safe to repair.

    The caller that iterates must hand the outcomes of the batches to ``add``. ``find_drifts`` compares the days; the
    caller gives it, so that it decides where the days are compared.
    """

    def __init__(self, job: Job, files: AuditFiles, find_drifts: FindDrifts) -> None:
        self.sums = JobSums(job)
        self.drifts = Drifts(job, files)
        self._job, self._files, self._find_drifts = job, files, find_drifts
        self._failed: list[str] = []  # days that could not be compared, each with the reason
        self._batches = 0

    def __iter__(self) -> Iterator[list[BatchRows]]:
        runs = runs_by_deed(self._files, open_intents(self._files, self._job.bucket))
        for days in in_waves(days_to_reconcile(self._job)):
            yield from in_waves(self._mended(days, self._find_drifts(days, runs)))
        self.drifts.write()

    def add(self, batches: Sequence[BatchRows], outcomes: Sequence[JobResult | BaseException]) -> None:
        """Count in the outcomes of these batches."""
        self.sums.add(batches, outcomes)

    @property
    def problems(self) -> list[str]:
        """The days that could not be compared, and what is lost. To be asked for after the batches."""
        return [*self._failed, *self.drifts.problems]

    @property
    def notes(self) -> list[str]:
        """How to mend what a comparison without repair has found."""
        if self._job.repair or not self.drifts.mendable:
            return []
        return [f"run it again with repair=True to mend {plural(self.drifts.mendable, 'recording')}"]

    def _mended(self, days: Sequence[Day], found: Sequence[DayDrifts | BaseException]) -> list[BatchRows]:
        for day, each in zip(days, found, strict=True):
            if isinstance(each, DayDrifts):
                self.drifts.add(each.drifts)
            else:
                self._failed.append(f"{day} could not be compared: {type(each).__name__}: {each}")
        drifts = (drift for each in found if isinstance(each, DayDrifts) for drift in each.drifts)
        rows = [drift.row for drift in drifts if drift.row is not None] if self._job.repair else []
        batches = batches_of(rows, first=self._batches + 1)
        self._batches += len(batches)
        return batches


def days_to_reconcile(job: Job) -> list[Day]:
    """Each (prefix, day) of the job."""
    dates = days_between(job.start_date or date.max, job.end_date or date.min)
    return [Day(prefix=prefix, date=day) for day in dates for prefix in job.prefixes]
