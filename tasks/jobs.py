"""What the jobs that follow archiving have in common as Prefect runs them: their beginning and their end."""

from collections.abc import Callable, Mapping
from dataclasses import asdict
from datetime import date, timedelta
from typing import ParamSpec, TypeVar

from prefect import unmapped
from prefect.events import emit_event
from prefect.logging import get_run_logger
from prefect.tasks import Task

from recordings.formatting import plural
from recordings.jobs.engine import selection, settlement
from recordings.jobs.engine.deletion import check_may_delete
from recordings.jobs.engine.job import Job
from recordings.jobs.engine.result import JobFailed, JobResult, JobSummary, summarize
from recordings.jobs.engine.search import Search
from recordings.jobs.engine.selection import Found, Part, rows_of_part
from recordings.jobs.engine.settlement import Settlement, close_settled
from recordings.jobs.engine.work import Work
from recordings.pool import shared_pool
from recordings.reports.failures import failures_report, first_three
from recordings.reports.job import job_report
from recordings.s3.store import Store
from recordings.settings import settings
from recordings.table.evidence import check_table
from recordings.table.files import AuditFiles
from recordings.table.records import record_end, record_start
from recordings.table.rows import AuditRow, BatchRows, Status
from tasks.artifacts import publish
from tasks.circumstances import circumstances
from tasks.runner import Chunk
from tasks.stages import shown, stage
from tasks.workplace import at_work, workplace

P = ParamSpec("P")
R = TypeVar("R")
W = TypeVar("W", bound=Work)


def once(task_run_name: str) -> Callable[[Callable[P, R]], Task[P, R]]:
    """A stage that is never retried as a whole: a later run settles what its one attempt had done.

    To settle means to write the rows that a dead run could not write.
    """
    return lambda work: stage(task_run_name)(work).with_options(retries=0)


def begin_job(job: Job) -> None:
    """Record the start of the job. Raises InvalidRequest, before anything is touched, if the job cannot succeed."""
    if job.traits.deletes_versions:
        check_may_delete(workplace(job).deleting_store)
    if job.traits.relies_on_table and not job.repair:  # a repair may rewrite a lost table
        check_table(workplace(job).files, job.audit_uri)
    if job.is_recorded:
        record_start(workplace(job).files, job, circumstances=circumstances())


def batch_shown(result: JobResult) -> JobResult:
    """The result, in a task run that is red if a recording failed."""
    count = result.counts["failed"]
    failed = [row for row in result.failures if row.status is Status.FAILED]
    return shown(result, f"{plural(count, 'recording')} failed: {first_three(failed, count)}" if count else "")


@stage(task_run_name="write rows of runs that died")
def settle(job: Job) -> Settlement:
    """Write the rows that earlier runs could not write before they died; in a dry run, none."""
    if job.dry_run:
        return Settlement()
    place, abandoned_after = workplace(job), timedelta(hours=settings().abandoned_after_h)
    return settlement.settle(place.store, place.files, shared_pool(), abandoned_after=abandoned_after)


@stage(task_run_name="look through {days}")
def look_through(days: Chunk[date], job: Job) -> Found:
    """The rows asked for on some days of the audit table."""
    return selection.look_through(job, workplace(job).files, days.days)


@stage(task_run_name="read {part}")
def take_up(part: Part, job: Job) -> list[AuditRow]:
    """The rows of the next recordings to work on."""
    files = workplace(job).files
    return rows_of_part(job, files, part)


def search(job: Job, store: Store, files: AuditFiles, leave: Mapping[str, date]) -> Search:
    """The search for the job's recordings in the audit table, each step in a task run of its own."""
    return Search(
        job,
        store,
        files,
        leave,
        pool=shared_pool(),
        look_through=lambda groups: look_through.map([Chunk(days) for days in groups], unmapped(job)).result(
            raise_on_failure=False
        ),
        take_up=lambda part: take_up.submit(part, job).result(raise_on_failure=False),
    )


def carry_out(
    job: Job,
    work_of: Callable[[Job, Store, AuditFiles, Mapping[str, date]], W],
    work_on: Task[[BatchRows, Job], JobResult],
    *,
    report: Callable[[W], None] = lambda _: None,
) -> JobSummary:
    """Do the whole job: settle dead runs, find the recordings, work on them in mapped task runs, and end.

    ``report`` publishes what this job alone reports. Raises InvalidRequest if the job cannot succeed, and JobFailed,
    which carries the summary, unless everything went well.
    """
    with at_work(job):
        begin_job(job)
        settled, place = settle(job), workplace(job)
        work = work_of(job, place.store, place.files, settled.unsettled)
        for batches in work:
            work.add(batches, work_on.map(batches, unmapped(job)).result(raise_on_failure=False))
        report(work)
        return end_job(job, settled, work)


def end_job(job: Job, settled: Settlement, work: Work) -> JobSummary:
    """Write the end record, which commits the job, publish the report, return the summary. Raises JobFailed."""
    manifest = [*settled.files, *work.manifest, *work.sums.files]
    summary = summarize(
        job,
        work.sums,
        drifts=work.differences,
        settled=settled.rows,
        manifest=manifest,
        notes=work.notes,
        problems=[*work.problems, *settled.problems],
    )
    if job.is_recorded:
        place = workplace(job)
        record_end(place.files, job, totals=asdict(summary), manifest=manifest)
        close_settled(place.files, settled)
        work.conclude()
    _publish(job, summary, work)
    if work.lost:
        _announce_losses(summary, work.lost)
    if not summary.succeeded:
        get_run_logger().error("%s", summary)
        raise JobFailed(summary)
    get_run_logger().info("%s", summary)
    return summary


def _announce_losses(summary: JobSummary, lost: Mapping[str, int]) -> None:
    """Emit an event for automations; ``lost`` counts what is lost by code."""
    resource = {"prefect.resource.id": f"recording-archive.run.{summary.run_id}"}
    emit_event("recording-archive.lost", resource=resource, payload={"summary": str(summary), "lost": dict(lost)})


def _publish(job: Job, summary: JobSummary, work: Work) -> None:
    publish(job_report(job, summary, work.sums), key=f"{job.kind}-report", description=str(summary))
    if work.sums.failures:
        page = failures_report(work.sums.failures, summary.reasons, title="What was left as it is")
        publish(page, key=f"{job.kind}-left", description="What was left as it is, and why")
