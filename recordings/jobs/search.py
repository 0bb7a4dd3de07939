"""A job's search for its recordings: which days come next, what is a problem, and what the next job looks at again."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from datetime import date

from recordings.jobs.job import Job, batches_of
from recordings.jobs.left import Days, days_to_look_at
from recordings.jobs.result import JobResult, JobSums
from recordings.jobs.selection import (
    ByProvenance,
    Found,
    Part,
    knows_bucket,
    of_unknown_bucket,
    packed,
    sentences,
)
from recordings.jobs.settlement import Settlement
from recordings.pool import Pool
from recordings.recording import span
from recordings.s3.store import Store
from recordings.table.files import AuditFiles
from recordings.table.rows import AuditRow, BatchRows
from recordings.waves import in_chunks, in_waves

_DAYS_AT_ONCE = 16  # looked through one after the other

Groups = Sequence[Sequence[date]]
LookThrough = Callable[[Groups], Sequence[Found | BaseException]]  # what each group of days has, or why nobody knows
TakeUp = Callable[[Part, Collection[str]], list[AuditRow] | BaseException]  # a part's rows, but for some keys


class Search:
    """The recordings of a job, a few batches at a time, and the results so far.

    The caller that iterates must hand the outcomes of the batches to ``add`` before it asks for the next ones. The two
    functions read the audit table; the caller gives them, so that it decides where they run.
    """

    def __init__(
        self,
        job: Job,
        store: Store,
        files: AuditFiles,
        pool: Pool,
        settled: Settlement,
        *,
        look_through: LookThrough,
        take_up: TakeUp,
    ) -> None:
        self.sums = JobSums(job)
        self.problems: list[str] = []
        self.notes: list[str] = []
        self.days = Days(dates=(), later={})
        self._job, self._store, self._files, self._pool = job, store, files, pool
        self._look_through, self._take_up = look_through, take_up
        self._unsettled, self._batches = settled.unsettled, 0
        self._again = dict.fromkeys(settled.unsettled.values(), job.started_at.date())

    def __iter__(self) -> Iterator[list[BatchRows]]:
        if knows_bucket(self._job, self._files):
            yield from self._in_table()
        elif self._job.traits.brings_back:
            yield from self._by_provenance()
        else:
            self.problems, self.notes = of_unknown_bucket(self._job)

    def add(self, batches: Sequence[BatchRows], outcomes: Sequence[JobResult | BaseException]) -> None:
        """Count in the outcomes of these batches."""
        self.sums.add(batches, outcomes)

    @property
    def again(self) -> Mapping[date, date]:
        """When a release must look again, by day of calls already looked at."""
        days = self._again.keys() | self.sums.again.keys()
        return {day: min(each[day] for each in (self._again, self.sums.again) if day in each) for day in days}

    def _in_table(self) -> Iterator[list[BatchRows]]:
        self.days, found = days_to_look_at(self._job, self._files), Found()
        for part in packed(self._parts(found)):
            rows = self._take_up(part, list(self._unsettled))
            if isinstance(rows, BaseException):
                self._not_read(part.days, rows)
            else:
                yield from self._batched(rows)
        problems, notes = sentences(self._job, self._files, found, by_records=self.days.by_records)
        self.problems += problems
        self.notes += [*notes, *self.days.notes]
        self.sums.add_waiting(found.waiting)

    def _parts(self, found: Found) -> Iterator[Part]:
        """The parts of the table with something to do, found a few days ahead of the work on them."""
        for groups in in_waves(list(in_chunks(self.days.dates, _DAYS_AT_ONCE))):
            for days, each in zip(groups, self._look_through(groups), strict=True):
                if isinstance(each, Found):
                    found.add(each)
                    self._again |= {day: min(on, self._again.get(day, on)) for day, on in each.again.items()}
                else:
                    self._not_read(days, each)
            parts, found.parts = found.parts, []
            yield from parts

    def _not_read(self, days: Sequence[date], error: BaseException) -> None:
        """Report these days as a problem of this run, and leave them to the next one; the other days go on."""
        said = f"{type(error).__name__}: {error}"
        self.problems.append(f"calls of {span(days[0], days[-1])} are left out: {said}")
        self._again |= dict.fromkeys(days, self._job.started_at.date())

    def _by_provenance(self) -> Iterator[list[BatchRows]]:
        found = ByProvenance(self._job, self._store, self._files, self._pool)
        for rows in found:
            yield from self._batched([row for row in rows if row.key not in self._unsettled])
        self.problems, self.notes = found.sentences()

    def _batched(self, rows: Sequence[AuditRow]) -> Iterator[list[BatchRows]]:
        batches = batches_of(rows, first=self._batches + 1)
        self._batches += len(batches)
        yield from in_waves(batches)
