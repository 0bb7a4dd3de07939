"""The results of a job: those of its batches, and the summary that its flow returns or fails with."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import pandas as pd

from recordings.formatting import label, plural
from recordings.glossary import code_of
from recordings.jobs.engine.aftermath import FOUND_GONE, PARTLY
from recordings.jobs.engine.job import Job
from recordings.jobs.engine.kinds import DONE, TRAITS, original_is_after
from recordings.pricing import prices
from recordings.retention_rules import rule_of
from recordings.table.records import Kind
from recordings.table.rows import STATES, AuditRow, BatchRows, ManifestFile, Status, failed_first

_IN_GRACE = "in-grace"  # the reason of an original that was archived too recently to be released
_SUCCEEDED = (*STATES, *DONE)
_DONE_OTHERWISE = (FOUND_GONE, PARTLY)  # reasons of rows that are a state, but not the one asked for
_MAX_LISTED = 100  # recordings that the report names at most; the audit table has all
LOOK_AGAIN_DAYS = 28  # after which a release looks again at originals that were held, locked, exempt or unproven


class JobResult:
    """The result of one batch of a job. A plain class, as Batch is."""

    __slots__ = (
        *("again", "counts", "done", "due", "failures", "files", "reading", "reasons", "rules", "size_bytes"),
        "usd_month",
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
        waiting = [row for row in rows if code_of(row.reason) == _IN_GRACE]
        left = [row for row in rows if row.status not in _SUCCEEDED and code_of(row.reason) != _IN_GRACE]
        self.files = tuple(files)
        self.reading = reading or Reading()
        self.counts = Counter(row.status.value for row in rows)
        self.reasons = Counter(code_of(row.reason) for row in rows if row.reason)
        self.rules = Counter(rule for row in done if (rule := rule_of(row.reason)))
        self.size_bytes = freed.size_bytes if freed else sum(_original(row)[0] for row in by_us)
        self.usd_month = freed.usd_month if freed else sum(_month(row) for row in by_us)
        self.due = due_by_date(waiting)
        self.done = done[:_MAX_LISTED]
        self.failures = failed_first([row for row in rows if _is_left(row)])[:_MAX_LISTED]
        self.again = _look_again(left, job.started_at.date())
        for row in waiting:
            _sooner(self.again, row.recording_date, _due(row))


def _is_left(row: AuditRow) -> bool:
    """Whether people should look at the recording: not done and not only waiting, or released by somebody unknown."""
    code = code_of(row.reason)
    return code in _DONE_OTHERWISE or (row.status not in _SUCCEEDED and code != _IN_GRACE)


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
        self.size_bytes, self.usd_month, self.unrecorded = 0, 0.0, 0
        self.reading = Reading()
        self.due: dict[date, Due] = {}
        self.done: list[AuditRow] = []
        self.failures: list[AuditRow] = []
        self.files: list[ManifestFile] = []
        self.lost: list[str] = []  # batches without a result, each with the reason
        self.again: dict[date, date] = {}

    def add(self, batches: Sequence[BatchRows], outcomes: Sequence[JobResult | BaseException]) -> None:
        """Count these batches in; ``outcomes`` has the outcome of each."""
        for batch, outcome in zip(batches, outcomes, strict=True):
            if isinstance(outcome, JobResult):
                self._add(outcome, len(batch.rows))
            else:
                self.lost.append(f"{batch} failed: {type(outcome).__name__}: {outcome}")
                self.unrecorded += len(batch.rows)
                for row in batch.rows:
                    _sooner(self.again, row.recording_date, self._job.started_at.date())

    def _add(self, result: JobResult, recordings: int) -> None:
        self.counts += result.counts
        self.reasons += result.reasons
        self.rules += result.rules
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

    def add_due(self, due: Mapping[date, "Due"]) -> None:
        """Count in originals that fall due later."""
        for day, each in due.items():
            self.due[day] = self.due.get(day, Due()) + each

    def add_waiting(self, waiting: Mapping[date, "Due"]) -> None:
        """Count in originals that are in their grace period by the table alone, so that no batch holds them."""
        self.add_due(waiting)
        count = sum(each.recordings for each in waiting.values())
        if count:
            self.counts += Counter({Status.SKIPPED.value: count})
            self.reasons += Counter({_IN_GRACE: count})


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """Originals that fall due on the same day: how many, and what deleting them will free."""

    recordings: int = 0
    size_bytes: int = 0
    usd_month: float = 0

    def __add__(self, other: "Due") -> "Due":
        return Due(
            recordings=self.recordings + other.recordings,
            size_bytes=self.size_bytes + other.size_bytes,
            usd_month=self.usd_month + other.usd_month,
        )


def due_by_date(rows: Sequence[AuditRow]) -> dict[date, Due]:
    """The originals of these rows, all in their grace period, by the UTC date from which they may be released."""
    found: dict[date, Due] = {}
    for row in rows:
        day = _due(row)
        found[day] = found.get(day, Due()) + Due(recordings=1, size_bytes=_original(row)[0], usd_month=_month(row))
    return found


def _due(row: AuditRow) -> date:
    return date.fromisoformat((row.reason or "").rpartition(" ")[2])  # the reason ends with the date


def due_on(archived: pd.DataFrame, graces: pd.Series) -> dict[date, Due]:
    """The same for archived rows, each with its grace: a frame with state_at, bytes_before, storage_class_before."""
    days = (archived["state_at"] + graces).dt.date
    classes = archived["storage_class_before"].fillna("STANDARD")
    groups: Iterable[Any] = archived["bytes_before"].fillna(0).groupby([days, classes])
    found: dict[date, Due] = {}
    for (day, kept_in), sizes in groups:
        billed = int(sizes.clip(lower=prices().billed_bytes(0, kept_in)).sum())
        usd_month = prices().storage_month(billed, kept_in)
        due = Due(recordings=len(sizes), size_bytes=int(sizes.sum()), usd_month=usd_month)
        found[day] = found.get(day, Due()) + due
    return found


def _original(row: AuditRow) -> tuple[int, str]:
    """Size and storage class of the original; in a restored row, they are on the other side."""
    is_after = original_is_after(row.status)
    size_bytes = row.bytes_after if is_after else row.bytes_before
    storage_class = row.storage_class_after if is_after else row.storage_class_before
    return size_bytes or 0, storage_class or "STANDARD"


def _month(row: AuditRow) -> float:
    """Cost of keeping the original for a month, in US dollars at list prices."""
    size_bytes, storage_class = _original(row)
    return prices().object_month(size_bytes, storage_class)


@dataclass(frozen=True, slots=True, kw_only=True)
class JobSummary:
    """The result of a job's flow. In a dry run, the counts say what would be done."""

    run_id: str
    kind: Kind
    dry_run: bool
    counts: Mapping[str, int]  # by status
    reasons: Mapping[str, int]  # by the code of the reason
    original_bytes: int  # of the originals restored or released; of all versions expired or erased
    usd_month: float  # cost of keeping these for a month, in US dollars at list prices
    manifest_files: tuple[str, ...]
    drifts: Mapping[str, int]  # differences found by a reconciliation, by code
    unrecorded: int  # requested recordings that have no row
    settled: int = 0  # rows written on behalf of earlier runs that died before they wrote them
    notes: tuple[str, ...] = ()  # information for people, such as why there was nothing to do
    problems: tuple[str, ...] = ()  # what was not found, was lost, or could not be read or written
    reading: Reading = Reading()  # by a check
    next_step: str = ""  # how to do what a dry run only looked at

    @property
    def succeeded(self) -> bool:
        """Whether every recording asked for is accounted for, none failed, and all that was asked for was found."""
        return not (self.unrecorded or self.problems or self.counts.get(Status.FAILED.value, 0))

    def __str__(self) -> str:
        would = "would be " if self.dry_run else ""
        ends = [f"{count:,} {would}{label(status)}" for status, count in sorted(self.counts.items())]
        differences = [f"{count:,} {code}" for code, count in sorted(self.drifts.items())]
        settled = f"{plural(self.settled, 'row')} written for earlier runs that died" if self.settled else ""
        unknown = f"{plural(self.unrecorded, 'recording')} without a row" if self.unrecorded else ""
        found = f"table and bucket differ: {', '.join(differences)}" if differences else ""
        said = [*filter(None, (", ".join(ends), found, settled, unknown)), *_shortened(self.problems, 3, "problem")]
        notes = _shortened(self.notes, 10, "note")
        said = [*(said or [TRAITS[self.kind].nothing_to_do]), *notes, *filter(None, [self.next_step])]
        dry = "dry run: " if would and not TRAITS[self.kind].looks_only else ""
        return f"{dry}{self.kind} {self.run_id}: {'; '.join(said)}"


def _shortened(said: Sequence[str], most: int, what: str) -> Iterator[str]:
    """The first ``most`` texts, and how many more there are."""
    yield from said[:most]
    if len(said) > most:
        yield f"and {plural(len(said) - most, f'more {what}')}"


class JobFailed(Exception):
    """The job ended, but something in it failed. Its rows and its record are written."""

    def __init__(self, summary: JobSummary) -> None:
        super().__init__(f"{summary}. The artifact {summary.kind}-report has all of it, and says what to do")
        self.summary = summary


def summarize(
    job: Job,
    sums: JobSums,
    *,
    drifts: Mapping[str, int],
    settled: int,
    manifest: Sequence[ManifestFile],
    notes: Sequence[str],
    problems: Sequence[str],
) -> JobSummary:
    """The summary of the whole job."""
    return JobSummary(
        run_id=job.run_id,
        kind=job.kind,
        dry_run=job.dry_run,
        counts=dict(sums.counts),
        reasons=dict(sums.reasons),
        original_bytes=sums.size_bytes,
        usd_month=sums.usd_month,
        manifest_files=tuple(file.name for file in manifest),
        drifts=dict(drifts),
        unrecorded=sums.unrecorded,
        settled=settled,
        notes=tuple(notes),
        problems=(*sums.lost, *problems, *_not_done(job, sums)),
        reading=sums.reading,
        next_step=_next_step(job, sums.counts),
    )


def _next_step(job: Job, counts: Mapping[str, int]) -> str:
    to_do = counts.get(job.traits.done or "", 0)
    if not job.dry_run or not to_do:
        return ""
    is_selected = job.narrows or job.everything or not job.traits.ways_to_select
    selecting = "" if is_selected else " and everything=True, or with a selection"
    what = f"{job.traits.verb or job.kind} {plural(to_do, job.traits.noun)}"
    return f"nothing was written: to {what}, run it again with dry_run=False{selecting}"


def _not_done(job: Job, sums: JobSums) -> Iterator[str]:
    """The recordings that failed; in a restore also each that does not come back, unless that was expected."""
    wants_all = job.traits.wants_all and not job.missing_ok
    would = f"{'would not be' if job.dry_run else 'was not'} {job.traits.participle}"
    left = [row for row in sums.failures if wants_all or row.status is Status.FAILED]
    gone = [row for row in sums.failures if code_of(row.reason) in _DONE_OTHERWISE]
    yield from (f"{row.key} {would}: {row.reason}" for row in [*left, *gone])
    failed = [status for status in sums.counts if status == Status.FAILED or (wants_all and status not in _SUCCEEDED)]
    otherwise = sum(sums.reasons[code] for code in _DONE_OTHERWISE)
    more = sum(sums.counts[status] for status in failed) + otherwise - len(left) - len(gone)
    if more > 0:
        there = "" if job.dry_run else f"; the audit table has them all, as rows of run {job.run_id}"
        yield f"{plural(more, f'more {job.traits.noun}')} {would}{there}"
