"""The beginning and the end of a run: inspect the bucket, write the records, publish the report."""

import logging
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TypedDict

from prefect.logging import get_run_logger
from prefect.runtime import flow_run
from prefect.utilities.urls import url_for

from recordings.backfill.records import dead_backfills
from recordings.dead_runs import DeadRuns, dead_runs
from recordings.estimate import Forecast, Survey, forecast, look_at
from recordings.finding import NOTHING_BELOW, Finding, Severity
from recordings.formatting import plural
from recordings.ledger import Ledger
from recordings.plan import Plan
from recordings.pool import shared_pool
from recordings.preflight.canary import check_sight
from recordings.preflight.checks import check_bucket
from recordings.pricing import prices
from recordings.reports.failures import failures_report, first_three, red
from recordings.reports.run import run_report
from recordings.retention import retention_of
from recordings.run import Run
from recordings.settings import settings
from recordings.summary import RunFailed, RunSummary, as_totals, summarize
from recordings.table.records import open_records, record_covered, record_end, record_start
from recordings.table.rows import AuditRow, Status
from tasks.artifacts import Bar, publish
from tasks.circumstances import circumstances
from tasks.schedule import scheduled_at
from tasks.stage import stage
from tasks.watching import Outcome, announce, watched
from tasks.workplace import workplace

_LEVELS = {Severity.BLOCK: logging.WARNING, Severity.WARN: logging.WARNING, Severity.INFO: logging.INFO}


class ThisFlowRun(TypedDict):
    """What Prefect knows of the flow run, for ``plan_run``."""

    flow_run_id: str
    scheduled_at: datetime


def this_flow_run() -> ThisFlowRun:
    """What Prefect knows of the current flow run."""
    return {"flow_run_id": str(flow_run.id), "scheduled_at": scheduled_at()}


@stage(task_run_name="preflight {run.bucket}")
def preflight(run: Run) -> list[Finding]:
    """The findings on the bucket that an operator should know. Raises PreflightFailed if it is not safe to work on.

    Unless the run is a dry run, the run's store learns from a canary what the role may see (``store.sight``): the
    decision about each recording relies on it.
    """
    store = workplace(run).store
    findings = check_bucket(
        store, run.prefixes, oldest_days=run.oldest_days, may_write=not run.dry_run, accept=run.accept
    )
    for finding in findings:
        get_run_logger().log(_LEVELS[finding.severity], "%s", finding)
    if not run.dry_run:
        store.sight = check_sight(store, run)
    return findings


def runs_that_died(run: Run) -> DeadRuns:
    """The windows of runs that started and never ended; none if this run does not catch up."""
    files = workplace(run).files
    abandoned_after = timedelta(hours=settings().abandoned_after_h)
    opened = open_records(files) if run.catches_up else []
    return {
        **dead_runs(opened, run, abandoned_after=abandoned_after),
        **dead_backfills(files, opened, run, abandoned_after=abandoned_after),
    }


def begin_run(run: Run) -> None:
    """Record the start of the run; a dry run leaves no record."""
    if not run.dry_run:
        place = workplace(run)
        retention = retention_of(place.store).sentence(run.prefixes)
        record_start(place.files, run, circumstances=circumstances(), retention=retention)


def open_ledger(run: Run) -> Ledger:
    """The ledger, in which the run's rows gather before they are written."""
    return Ledger(workplace(run).files, run)


class Progress:
    """The progress of a run, in its log and as an artifact."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._done = 0
        self._bar = Bar(0 if plan.waves else 100, key="archive-progress", description=str(plan))

    def wave_ended(self, number: int) -> None:
        """Count this wave's recordings as done."""
        self._done += sum(len(batch.recordings) for batch in self._plan.waves[number - 1])
        self._bar.show(100 * self._done / self._plan.recordings)
        get_run_logger().info("%s of %s done", f"{self._done:,}", plural(self._plan.recordings, "recording"))


@stage(task_run_name="look at a sample")
def forecast_survey(run: Run, survey: Survey, runs: int = 1) -> Forecast:
    """Read the headers of the survey's sample and make the forecast."""
    looks = look_at(workplace(run).store, survey.sample, run, shared_pool())
    return forecast(survey, looks, run, prices(), runs=runs)


def end_run(run: Run, dead: DeadRuns, plan: Plan, findings: Sequence[Finding], ledger: Ledger) -> RunSummary:
    """Write the run's record, publish its report, return its summary. Raises RunFailed unless all went well."""
    sums, manifest, failures = ledger.tally, ledger.files, ledger.failures
    place = workplace(run)
    summary = summarize(
        run,
        plan,
        sums,
        manifest,
        requests=place.requests,
        cpu_s=place.cpu_s,
        wall_s=place.wall_s,
        empty_prefix=any(finding.code == NOTHING_BELOW for finding in findings),
    )
    if not run.dry_run:
        record_end(place.files, run, totals=as_totals(summary, sums), manifest=manifest)
        if not summary.unlisted:
            record_covered(place.files, dead, run)
    ahead = forecast_survey(run, plan.survey) if plan.survey else None
    report = run_report(
        run, summary, sums, findings, retention_years=settings().retention_years, forecast=ahead, failures=failures
    )
    publish(report, key="archive-report", description=str(summary))
    if failures:
        shown = failures_report(failures, sums.reasons)
        publish(shown, key="archive-failures", description="What was not archived, and why")
    _announce_rejects(summary, run.audit_uri)
    if not summary.succeeded:
        failure = RunFailed(summary, _first_of(failures, summary))
        get_run_logger().error("%s", failure)
        raise failure
    get_run_logger().info("%s", summary)
    if summary.empty_prefix:
        get_run_logger().warning("this run does not count as a success: nothing at all lies below a prefix")
    return summary


def outcome_of_run(summary: RunSummary) -> Outcome:
    """What watchers are told of a run: no figures of a dry run, which did nothing."""
    if summary.dry_run:
        return Outcome()
    figures = {
        "Listed": summary.listed,
        "Archived": summary.counts.get(Status.ARCHIVED, 0),
        "Rejected": summary.counts.get(Status.REJECTED, 0),
        "Failed": summary.counts.get(Status.FAILED, 0) + summary.unrecorded,
        "BytesBefore": summary.bytes_before,
        "BytesAfter": summary.bytes_after,
        "Minutes": summary.minutes_after,
        "Dollars": summary.cost_usd,
    }
    return Outcome(counts=summary.counts_for_schedule, figures=figures)


WATCHED = watched(outcome_of_run)


def _first_of(failures: Sequence[AuditRow], summary: RunSummary) -> str:
    """The first recordings that made the run fail, and where the others are listed."""
    if not failures:
        return ""
    rows = red(failures)
    first = first_three(rows, summary.counts.get(rows[0].status, 0))
    return f"{first}. The artifact archive-failures of {url_for('flow-run', obj_id=flow_run.id)} groups all by reason"


def _announce_rejects(summary: RunSummary, audit_uri: str) -> None:
    """Emit an event for automations, if more recordings are rejected than the settings permit."""
    if summary.rejects_more_than(settings().rejects_alarm_percent):
        announce("many-rejected", f"run.{summary.run_id}", audit_uri, {"summary": str(summary)})
