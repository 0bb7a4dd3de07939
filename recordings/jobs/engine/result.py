"""The results of a job: those of its batches, and their sums."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from recordings.glossary import code_of
from recordings.jobs.engine.due import IN_GRACE, Due, due_by_date, due_date_of, month_of, original_of
from recordings.jobs.engine.job import Job
from recordings.jobs.engine.kinds import DONE
from recordings.jobs.engine.traces import FOUND_GONE, MARKER_LEFT, PARTLY
from recordings.retention_rules import rule_of
from recordings.table.rows import STATES, AuditRow, BatchRows, ManifestFile, Status, failed_first

SUCCEEDED = (*STATES, *DONE)
DONE_OTHERWISE = (FOUND_GONE, PARTLY, MARKER_LEFT)  # reasons of rows that are a state, and not all that was asked for
LOOK_AGAIN_DAYS = 28  # after which a release looks again at originals that were held, locked, exempt or unproven
_MAX_LISTED = 100  # recordings that the report names at most; the audit table has all


class JobResult:
    """The result of one batch of a job. A plain class, as Batch is."""

    __slots__ = (
        *("again", "counts", "decided", "done", "due", "failures", "files", "reading", "reasons", "rules"),
        *("size_bytes", "usd_month"),
    )

    def __init__(
        self,
        job: Job,
        rows: Sequence[AuditRow],
        files: Sequence[ManifestFile],
        reading: "Reading | None" = None,
        freed: "Freed | None" = None,
    ) -> None:
        done = [row for row in rows if row.status in DONE]
        by_us = [row for row in done if row.status in STATES and code_of(row.reason) != FOUND_GONE]
        waiting = [row for row in rows if code_of(row.reason) == IN_GRACE]
        left = [row for row in rows if row.status not in SUCCEEDED and code_of(row.reason) != IN_GRACE]
        self.files = tuple(files)
        self.reading = reading or Reading()
        self.counts = Counter(row.status.value for row in rows)
        self.reasons = Counter(code_of(row.reason) for row in rows if row.reason)
        self.rules = Counter(rule for row in done if (rule := rule_of(row.reason)))
        self.decided = {rule for row in rows if (rule := rule_of(row.reason))}
        self.size_bytes = freed.size_bytes if freed else sum(original_of(row)[0] for row in by_us)
        self.usd_month = freed.usd_month if freed else sum(month_of(row) for row in by_us)
        self.due = due_by_date(waiting)
        self.done = done[:_MAX_LISTED]
        self.failures = failed_first([row for row in rows if _is_left(row)])[:_MAX_LISTED]
        self.again = _look_again(left, job.started_at.date())
        for row in waiting:
            _sooner(self.again, row.recording_date, due_date_of(row))


def _is_left(row: AuditRow) -> bool:
    """Whether people should look at the recording: not done and not only waiting, or released by somebody unknown."""
    code = code_of(row.reason)
    return code in DONE_OTHERWISE or (row.status not in SUCCEEDED and code != IN_GRACE)


def _look_again(left: Iterable[AuditRow], today: date) -> dict[date, date]:
    """When a release must look again, by day of calls: at failed rows today, at other rows in four weeks."""
    again: dict[date, date] = {}
    for row in left:
        days = 0 if row.status is Status.FAILED else LOOK_AGAIN_DAYS
        _sooner(again, row.recording_date, today + timedelta(days=days))
    return again


def _sooner(again: dict[date, date], day: date, on: date) -> None:
    again[day] = min(on, again.get(day, on))


class JobSums:
    """The sums of a job so far. Their size is bounded: they count all recordings, and name the first ones."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self.counts, self.reasons, self.rules = Counter[str](), Counter[str](), Counter[str]()
        self.decided = set[str]()  # the retention rules that decided about a recording
        self.size_bytes, self.usd_month, self.unrecorded = 0, 0.0, 0
        self.reading = Reading()
        self.due: dict[date, Due] = {}
        self.done: list[AuditRow] = []
        self.failures: list[AuditRow] = []
        self.files: list[ManifestFile] = []
        self.without_result: list[str] = []  # batches, each with the reason
        self.again: dict[date, date] = {}

    def add(self, batches: Sequence[BatchRows], outcomes: Sequence[JobResult | BaseException]) -> None:
        """Count these batches in; ``outcomes`` has the outcome of each."""
        for batch, outcome in zip(batches, outcomes, strict=True):
            if isinstance(outcome, JobResult):
                self._add(outcome, len(batch.rows))
            else:
                self.without_result.append(f"{batch} failed: {type(outcome).__name__}: {outcome}")
                self.unrecorded += len(batch.rows)
                for row in batch.rows:
                    _sooner(self.again, row.recording_date, self._job.started_at.date())

    def _add(self, result: JobResult, recordings: int) -> None:
        self.counts += result.counts
        self.reasons += result.reasons
        self.rules += result.rules
        self.decided |= result.decided
        self.reading += result.reading
        self.size_bytes += result.size_bytes
        self.usd_month += result.usd_month
        self.unrecorded += recordings - sum(result.counts.values())
        self.add_due(result.due)
        self.done = [*self.done, *result.done][:_MAX_LISTED]
        self.failures = failed_first([*self.failures, *result.failures])[:_MAX_LISTED]
        self.files += result.files
        for day, on in result.again.items():
            _sooner(self.again, day, on)

    def add_due(self, due: Mapping[date, Due]) -> None:
        """Count in originals that fall due later."""
        for day, each in due.items():
            self.due[day] = self.due.get(day, Due()) + each

    def add_waiting(self, waiting: Mapping[date, Due]) -> None:
        """Count in originals that are in their grace period by the table alone, so that no batch holds them."""
        self.add_due(waiting)
        count = sum(each.recordings for each in waiting.values())
        if count:
            self.counts += Counter({Status.SKIPPED.value: count})
            self.reasons += Counter({IN_GRACE: count})


@dataclass(frozen=True, slots=True, kw_only=True)
class Freed:
    """What the deletion of whole recordings frees: all their versions, and what S3 charges for these per month."""

    size_bytes: int
    usd_month: float  # at list prices


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What a job asked for and read of the recordings, and what S3 charges for it at list prices."""

    recordings: int = 0  # read in full
    size_bytes: int = 0  # of these
    usd: float = 0  # all requests for recordings, and retrieval

    def __add__(self, other: "Reading") -> "Reading":
        return Reading(
            recordings=self.recordings + other.recordings,
            size_bytes=self.size_bytes + other.size_bytes,
            usd=self.usd + other.usd,
        )
