"""The work of a job: its recordings, a few batches at a time, and the results so far."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date

from recordings.jobs.engine.cases import are_readable
from recordings.jobs.engine.job import Job, batches_of
from recordings.jobs.engine.result import JobResult, JobSums
from recordings.keys import date_of
from recordings.s3.store import Store
from recordings.table.files import AuditFiles
from recordings.table.rows import AuditRow, BatchRows, ManifestFile
from recordings.waves import in_waves


class Work:
    """The recordings that a job works on, and the results so far.

    The caller that iterates must hand the outcomes of the batches to ``add`` before it asks for the next ones. After
    the last batch, the caller writes the end record, and calls ``conclude``.

    Args:
        job: Its parameters.
        store: The bucket.
        files: The audit table.
        leave: Keys to leave alone, each with the day of its call: a dead run may have changed these objects, and nobody
            could look yet. A later job takes them up.
    """

    def __init__(self, job: Job, store: Store, files: AuditFiles, leave: Mapping[str, date] | None = None) -> None:
        self.sums = JobSums(job)
        self.problems: list[str] = []  # what was not found, or could not be looked at: the job fails
        self.notes: list[str] = []  # what people should know, though nothing is wrong
        self.manifest: list[ManifestFile] = []  # files written beside those of the batches
        self._job, self._store, self._files, self._leave = job, store, files, leave or {}
        self._batches = 0

    def __iter__(self) -> Iterator[list[BatchRows]]:
        """Lists of batches to work on at once; each kind of work finds its recordings in its own way."""
        raise NotImplementedError

    def add(self, batches: Sequence[BatchRows], outcomes: Sequence[JobResult | BaseException]) -> None:
        """Count in the outcomes of these batches."""
        self.sums.add(batches, outcomes)

    @property
    def differences(self) -> Mapping[str, int]:
        """How many differences between table and bucket the job has found, by code."""
        return {}

    @property
    def lost(self) -> Mapping[str, int]:
        """How many recordings the job has found to be lost, by code."""
        return {code: self.sums.reasons[code] for code in self._job.traits.losses if code in self.sums.reasons}

    def conclude(self) -> None:
        """Write down what later jobs have to know. To be called after the end record."""

    def asked_in_vain(self, sentences: Sequence[str]) -> None:
        """Add these as problems, or as notes if the job says ``missing_ok``."""
        (self.notes if self._job.missing_ok else self.problems).extend(sentences)

    def _batched_apart(self, rows: Iterable[AuditRow]) -> Iterator[list[BatchRows]]:
        """The rows in batches. If rows of these days cannot be read, each batch has one day, so that other days go on.

        Recordings whose key tells no day have batches of their own, since their rows may lie under any day.
        """
        by_day = defaultdict[date | None, list[AuditRow]](list)
        for row in rows:
            by_day[date_of(row.key)].append(row)
        undated, groups = by_day.pop(None, []), list(by_day.values())
        if are_readable(self._files, self._job.bucket, filter(None, by_day)):
            groups = [[row for of_day in groups for row in of_day]]
        yield from self._batched(*groups, undated)

    def _batched(self, *groups: Sequence[AuditRow]) -> Iterator[list[BatchRows]]:
        """The rows in batches, each of one group, without the keys to leave alone."""
        batches: list[BatchRows] = []
        for rows in groups:
            here = [row for row in rows if row.key not in self._leave]
            batches += batches_of(here, first=self._batches + len(batches) + 1)
        self._batches += len(batches)
        yield from in_waves(batches)
