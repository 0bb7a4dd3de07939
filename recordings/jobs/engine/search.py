"""A job's search for its recordings: which days come next, what is a problem, and what the next job looks at again."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date

from recordings.jobs.engine.by_provenance import ByProvenance
from recordings.jobs.engine.job import Job
from recordings.jobs.engine.left import Days, days_to_look_at, record_left
from recordings.jobs.engine.selection import Found, Part, knows_bucket, packed
from recordings.jobs.engine.vain import of_unknown_bucket, sentences
from recordings.jobs.engine.work import Work
from recordings.pool import Pool
from recordings.recording import span
from recordings.s3.store import Store
from recordings.table.files import AuditFiles
from recordings.table.rows import AuditRow, BatchRows
from recordings.waves import in_chunks, in_waves

_DAYS_AT_ONCE = 16  # looked through one after the other

Groups = Sequence[Sequence[date]]
LookThrough = Callable[[Groups], Sequence[Found | BaseException]]  # what each group of days has, or why nobody knows
TakeUp = Callable[[Part], list[AuditRow] | BaseException]  # a part's rows


class Search(Work):
    """The recordings asked for that the audit table knows; for a restore without a table, those in the bucket.

    The two functions read the audit table; the caller gives them, so that it decides where they run.
    """

    def __init__(
        self,
        job: Job,
        store: Store,
        files: AuditFiles,
        leave: Mapping[str, date],
        *,
        pool: Pool,
        look_through: LookThrough,
        take_up: TakeUp,
    ) -> None:
        super().__init__(job, store, files, leave)
        self._days = Days(dates=(), later={})
        self._pool, self._look_through, self._take_up = pool, look_through, take_up
        self._again = dict.fromkeys(leave.values(), job.started_at.date())

    def __iter__(self) -> Iterator[list[BatchRows]]:
        if knows_bucket(self._job, self._files):
            yield from self._in_table()
        elif self._job.traits.brings_back:
            yield from self._by_provenance()
        else:
            self.problems, self.notes = of_unknown_bucket(self._job)

    def conclude(self) -> None:
        """Write down, for each day of calls that this release has looked at, when the next one must look again."""
        days = self._again.keys() | self.sums.again.keys()
        again = {day: min(each[day] for each in (self._again, self.sums.again) if day in each) for day in days}
        record_left(self._files, self._job, self._days, again)

    def _in_table(self) -> Iterator[list[BatchRows]]:
        self._days, found = days_to_look_at(self._job, self._files), Found()
        for part in packed(self._parts(found)):
            rows = self._take_up(part)
            if isinstance(rows, BaseException):
                self._not_read(part.days, rows)
            else:
                yield from self._batched(rows)
        problems, notes = sentences(self._job, self._files, found, by_records=self._days.by_records)
        self.problems += problems
        self.notes += [*notes, *self._days.notes]
        self.sums.add_waiting(found.waiting)

    def _parts(self, found: Found) -> Iterator[Part]:
        """The parts of the table with something to do, found a few days ahead of the work on them."""
        for groups in in_waves(list(in_chunks(self._days.dates, _DAYS_AT_ONCE))):
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
            yield from self._batched(rows)
        self.problems, self.notes = found.sentences()
