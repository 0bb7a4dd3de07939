"""Restore, release, check and reconcile as Prefect runs them: one task run per batch or day, which writes its rows."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from datetime import date, timedelta
from typing import ParamSpec, TypeVar

from prefect import unmapped
from prefect.events import emit_event
from prefect.logging import get_run_logger
from prefect.runtime import flow_run
from prefect.tasks import Task

from recordings.errors import StoreRefused
from recordings.glossary import plural
from recordings.jobs import fixity, release, restore, selection, settlement
from recordings.jobs.intents import open_intents, runs_by_deed
from recordings.jobs.job import Job, batches_of, days_to_compare
from recordings.jobs.left import Days, days_to_look_at, record_left
from recordings.jobs.reconcile import FAILURES, LOSSES, Drift, Drifts, Runs, reconcile_day
from recordings.jobs.report import differences_report, report_of, run_name
from recordings.jobs.result import JobFailed, JobResult, JobSummary, JobSums, summarize
from recordings.jobs.selection import (
    ByProvenance,
    Found,
    Part,
    knows_bucket,
    of_unknown_bucket,
    packed,
    rows_of_part,
    sentences,
)
from recordings.jobs.settlement import Settlement, close_settled
from recordings.pool import shared_pool
from recordings.preflight.places import nothing_below
from recordings.recording import Day, days_between
from recordings.reporting import failures_report, first_three
from recordings.retrying import patience
from recordings.settings import settings
from recordings.table.evidence import check_table
from recordings.table.files import AuditFiles
from recordings.table.parquet import write_rows
from recordings.table.records import Kind, record_end, record_start
from recordings.table.rows import AuditRow, BatchRows, ManifestFile, Status
from recordings.tag import tag_batch
from recordings.verify import verify_batch
from tasks.artifacts import publish
from tasks.circumstances import circumstances
from tasks.names import scheduled_on
from tasks.runner import Chunk, in_chunks, in_waves
from tasks.stages import shown, stage
from tasks.workplace import workplace

_DAYS_OF_A_TASK = 16  # one task looks through these, one after the other

P = ParamSpec("P")
R = TypeVar("R")


def once(task_run_name: str) -> Callable[[Callable[P, R]], Task[P, R]]:
    """A stage that is never retried as a whole: a later run settles what its one attempt had done.

    To settle means to write the rows that a dead run could not write.
    """
    return lambda work: stage(task_run_name)(work).with_options(retries=0)


def named(kind: Kind) -> Callable[[], str]:
    """A function that Prefect calls for a run's name: ``dry run: restore 3 contacts``."""

    def name() -> str:
        given = dict(flow_run.parameters)
        if kind is Kind.RECONCILE:
            with suppress(ValueError, OverflowError):  # for invalid dates, the run itself reports the error
                given["start_date"], given["end_date"] = days_to_compare(
                    scheduled_on(), given["start_date"], given["end_date"]
                )
        return run_name(kind, given)

    return name


def begin_job(job: Job) -> None:
    """Record the start of the job. Raises InvalidRequest, before anything is touched, if the job cannot succeed."""
    if job.traits.deletes_versions:
        release.check_may_delete(workplace(job).releasing_store)
    if job.traits.relies_on_table and not job.repair:  # a repair may rewrite a lost table
        check_table(workplace(job).files, job.audit_uri)
    if job.is_recorded:
        record_start(workplace(job).files, job, circumstances=circumstances())


def _batch_shown(result: JobResult) -> JobResult:
    count = result.counts["failed"]
    failed = [row for row in result.failures if row.status is Status.FAILED]
    return shown(result, f"{plural(count, 'recording')} failed: {first_three(failed, count)}" if count else "")


@stage(task_run_name="write rows of runs that died")
def settle(job: Job) -> Settlement:
    """Write the rows that earlier runs could not write before they died; in a dry run, none."""
    if job.dry_run:
        return Settlement()
    place, patience = workplace(job), timedelta(hours=settings().abandoned_after_h)
    return settlement.settle(place.store, place.files, shared_pool(), abandoned_after=patience)


@stage(task_run_name="look through {days}")
def look_through(days: Chunk[date], job: Job) -> Found:
    """The rows asked for on some days of the audit table."""
    return selection.look_through(job, workplace(job).files, days.days)


@stage(task_run_name="read {part}")
def take_up(part: Part, job: Job, unsettled: Collection[str]) -> list[AuditRow]:
    """The rows of the next recordings to work on."""
    files = workplace(job).files
    rows = rows_of_part(job, files, part, unsettled=unsettled)
    return fixity.with_turns(rows, files, job, part) if job.traits.samples else rows


class Search:
    """The recordings of a job, a few batches at a time, and the results so far.

    The caller that iterates must hand the outcomes of the batches to ``add`` before it asks for the next ones.
    """

    def __init__(self, job: Job, settled: Settlement) -> None:
        self.sums = JobSums(job)
        self.problems: list[str] = []
        self.notes: list[str] = []
        self.days = Days(dates=(), later={})
        self._job, self._settled, self._batches = job, settled, 0
        self._again = dict.fromkeys(settled.unsettled.values(), job.started_at.date())

    def __iter__(self) -> Iterator[list[BatchRows]]:
        job, place = self._job, workplace(self._job)
        if knows_bucket(job, place.files):
            yield from self._in_table(job, place.files)
        elif job.traits.brings_back:
            found = ByProvenance(job, place.store, place.files, shared_pool())
            for rows in found:
                yield from self._batched([row for row in rows if row.key not in self._settled.unsettled])
            self.problems, self.notes = found.sentences()
        else:
            self.problems, self.notes = of_unknown_bucket(job)

    def add(self, batches: Sequence[BatchRows], outcomes: Sequence[JobResult | BaseException]) -> None:
        """Count in the outcomes of these batches."""
        self.sums.add(batches, outcomes)

    @property
    def again(self) -> Mapping[date, date]:
        """When a release must look again, by day of calls already looked at."""
        days = self._again.keys() | self.sums.again.keys()
        return {day: min(each[day] for each in (self._again, self.sums.again) if day in each) for day in days}

    def _in_table(self, job: Job, files: AuditFiles) -> Iterator[list[BatchRows]]:
        self.days, found = days_to_look_at(job, files), Found()
        for part in packed(self._parts(found)):
            rows = take_up.submit(part, job, list(self._settled.unsettled)).result(raise_on_failure=False)
            if isinstance(rows, BaseException):
                self._not_read(part, part.days, rows)
            else:
                yield from self._batched(rows)
        problems, notes = sentences(job, files, found, by_records=self.days.by_records)
        self.problems += problems
        self.notes += [*notes, *self.days.notes]
        self.sums.add_waiting(found.waiting)

    def _parts(self, found: Found) -> Iterator[Part]:
        """The parts of the table with something to do, found a few days ahead of the work on them."""
        for chunks in in_waves([Chunk(days) for days in in_chunks(self.days.dates, _DAYS_OF_A_TASK)]):
            looked = look_through.map(chunks, unmapped(self._job)).result(raise_on_failure=False)
            for chunk, each in zip(chunks, looked, strict=True):
                if isinstance(each, Found):
                    found.add(each)
                    self._again |= {day: min(on, self._again.get(day, on)) for day, on in each.again.items()}
                else:
                    self._not_read(chunk, chunk.days, each)
            parts, found.parts = found.parts, []
            yield from parts

    def _not_read(self, what: Chunk[date] | Part, days: Sequence[date], error: BaseException) -> None:
        """Report these days as a problem of this run, and leave them to the next one; the other days go on."""
        self.problems.append(f"calls of {what} are left out: {type(error).__name__}: {error}")
        self._again |= dict.fromkeys(days, self._job.started_at.date())

    def _batched(self, rows: Sequence[AuditRow]) -> Iterator[list[BatchRows]]:
        batches = batches_of(rows, first=self._batches + 1)
        self._batches += len(batches)
        yield from in_waves(batches)


@once(task_run_name="restore {batch}")
def restore_batch(batch: BatchRows, job: Job) -> JobResult:
    """Bring the batch's originals back."""
    place = workplace(job)
    return _batch_shown(restore.restore_batch(place.store, place.files, batch, job, shared_pool()))


@once(task_run_name="release {batch}")
def release_batch(batch: BatchRows, job: Job) -> JobResult:
    """Prove the batch's replacements once more, and delete their originals."""
    place = workplace(job)
    return _batch_shown(release.release_batch(place.releasing_store, place.files, batch, job, shared_pool()))


@once(task_run_name="check {batch}")
def check_batch(batch: BatchRows, job: Job) -> JobResult:
    """Compare the batch's replacements with what was judged."""
    place = workplace(job)
    return _batch_shown(fixity.check_batch(place.store, place.files, batch, job, shared_pool()))


def runs_without_rows(job: Job) -> Runs:
    """By kind and key, the run that recorded an intent and has not recorded its end."""
    files = workplace(job).files
    return runs_by_deed(files, open_intents(files, job.bucket))


class DayDrifts:
    """The drifts of one day below one prefix: the differences between table and bucket. A plain class, as Batch is."""

    __slots__ = ("day", "drifts")

    def __init__(self, day: Day, drifts: Sequence[Drift]) -> None:
        self.day = day
        self.drifts = tuple(drifts)


@stage(task_run_name="reconcile {day}")
def find_drift(day: Day, job: Job, runs: Runs) -> DayDrifts:
    """The drifts of this day."""
    store, years = workplace(job).store, settings().retention_years
    drifts = reconcile_day(store, day, job, shared_pool(), retention_years=years, runs=runs)
    bad = [f"{drift.key}: {drift.code}" for drift in drifts if drift.is_loss or drift.code in FAILURES]
    trouble = f"{plural(len(bad), 'recording')} lost, or not compared: {', '.join(bad[:3])}" if bad else ""
    return shown(DayDrifts(day, drifts), trouble)


@stage(task_run_name="repair {batch}")
def repair_batch(batch: BatchRows, job: Job) -> JobResult:
    """Verify, tag, and write the missing rows."""
    place = workplace(job)
    rows = tag_batch(place.store, verify_batch(place.store, batch.rows, shared_pool()), shared_pool())
    written = write_rows(place.files, rows, run_id=job.run_id, wave=batch.batch.number)
    return _batch_shown(JobResult(job, rows, written))


def end_job(job: Job, settled: Settlement, search: Search) -> JobSummary:
    """Write the record, publish the report, return the summary. Raises JobFailed unless all went well."""
    summary = _end(job, settled, search.sums, notes=search.notes, problems=search.problems)
    if job.is_recorded:
        record_left(workplace(job).files, job, search.days, search.again)
    if job.kind is Kind.CHECK:
        _announce_losses(summary, {code: summary.reasons[code] for code in fixity.LOSSES if code in summary.reasons})
    return _returned(summary)


def _end(
    job: Job,
    settled: Settlement,
    sums: JobSums,
    *,
    notes: Sequence[str],
    problems: Sequence[str],
    drifts: Mapping[str, int] | None = None,
    files: Sequence[ManifestFile] = (),
) -> JobSummary:
    manifest = [*settled.files, *files, *sums.files]
    summary = summarize(
        job,
        sums,
        drifts=drifts or {},
        settled=settled.rows,
        manifest=manifest,
        notes=notes,
        problems=[*problems, *settled.problems],
    )
    if job.is_recorded:
        place = workplace(job)
        record_end(place.files, job, totals=asdict(summary), manifest=manifest)
        close_settled(place.files, settled)
    _publish(job, summary, sums)
    return summary


def _returned(summary: JobSummary) -> JobSummary:
    if not summary.succeeded:
        get_run_logger().error("%s", summary)
        raise JobFailed(summary)
    get_run_logger().info("%s", summary)
    return summary


def _publish(job: Job, summary: JobSummary, sums: JobSums) -> None:
    report = report_of(job, summary, sums)
    publish(report, key=f"{job.kind}-report", description=str(summary))
    if sums.failures:
        page = failures_report(sums.failures, summary.reasons, title="What was left as it is")
        publish(page, key=f"{job.kind}-left", description="What was left as it is, and why")


def _announce_losses(summary: JobSummary, lost: Mapping[str, int]) -> None:
    """Emit an event for automations, if anything is lost; ``lost`` counts it by code."""
    if lost:
        resource = {"prefect.resource.id": f"recording-archive.run.{summary.run_id}"}
        emit_event("recording-archive.lost", resource=resource, payload={"summary": str(summary), "lost": lost})


class Comparison:
    """The comparison of table and bucket, a few days at a time; yields batches of what is safe to repair.

    The caller that iterates must hand the outcomes of the batches to ``add``.
    """

    def __init__(self, job: Job) -> None:
        self.sums = JobSums(job)
        self.drifts = Drifts(job, workplace(job).files)
        self.failed: list[str] = []  # days that could not be compared, each with the reason
        self._job, self._batches = job, 0

    def __iter__(self) -> Iterator[list[BatchRows]]:
        runs = runs_without_rows(self._job)
        for days in in_waves(days_to_reconcile(self._job)):
            found = find_drift.map(days, unmapped(self._job), unmapped(runs)).result(raise_on_failure=False)
            yield from in_waves(self._mended(days, found))
        self.drifts.write()

    def add(self, batches: Sequence[BatchRows], outcomes: Sequence[JobResult | BaseException]) -> None:
        """Count in the outcomes of these batches."""
        self.sums.add(batches, outcomes)

    def _mended(self, days: Sequence[Day], found: Sequence[DayDrifts | BaseException]) -> list[BatchRows]:
        for day, each in zip(days, found, strict=True):
            if isinstance(each, DayDrifts):
                self.drifts.add(each.drifts)
            else:
                self.failed.append(f"{day} could not be compared: {type(each).__name__}: {each}")
        drifts = (drift for each in found if isinstance(each, DayDrifts) for drift in each.drifts)
        rows = [drift.row for drift in drifts if drift.row is not None] if self._job.repair else []
        batches = batches_of(rows, first=self._batches + 1)
        self._batches += len(batches)
        return batches


def days_to_reconcile(job: Job) -> list[Day]:
    """Each (prefix, day) of the job."""
    dates = days_between(job.start_date or date.max, job.end_date or date.min)
    return [Day(prefix=prefix, date=day) for day in dates for prefix in job.prefixes]


def end_comparison(job: Job, settled: Settlement, comparison: Comparison) -> JobSummary:
    """Write the record, publish the reports, return the summary. Raises JobFailed if something is lost."""
    drifts = comparison.drifts
    notes = [f"run it again with repair=True to mend {plural(drifts.mendable, 'recording')}"]
    if drifts.counts:
        said = plural(drifts.counts.total(), "difference")
        page = differences_report(drifts.examples, drifts.counts, [file.name for file in drifts.files])
        publish(page, key="reconcile-differences", description=f"{said} between table and bucket")
    summary = _end(
        job,
        settled,
        comparison.sums,
        notes=notes if drifts.mendable and not job.repair else [],
        problems=[*_nothing_below(job), *comparison.failed, *drifts.problems],
        drifts=drifts.counts,
        files=drifts.files,
    )
    _announce_losses(summary, {code: count for code, count in summary.drifts.items() if code in LOSSES})
    return _returned(summary)


def _nothing_below(job: Job) -> list[str]:
    """The prefixes below which no day can lie: mistyped, or all recordings are lost."""
    try:
        findings = patience()(lambda: nothing_below(workplace(job).store, job.prefixes))
    except StoreRefused as error:
        return [str(error)]
    return [finding.sentence for finding in findings]
