"""Restore, release and reconcile as Prefect carries them out: one task run per batch or day, which writes its rows."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from datetime import date, timedelta
from functools import lru_cache
from typing import Any, ParamSpec, TypeVar

from prefect.events import emit_event
from prefect.logging import get_run_logger
from prefect.runtime import flow_run
from prefect.states import Failed
from prefect.tasks import Task

from recordings import release, restore, settlement
from recordings.errors import StoreRefused
from recordings.evidence import check_table
from recordings.glossary import plural
from recordings.history import record_end, record_start
from recordings.intents import open_intents, runs_by_deed
from recordings.manifest import BatchRows, Status, write_rows
from recordings.operation import Operation, plan_operation
from recordings.operation_report import differences_report, report_of, run_name
from recordings.outcome import OperationFailed, OperationResult, OperationSummary, summarize
from recordings.patience import patience
from recordings.places import nothing_below
from recordings.pool import shared_pool
from recordings.reconcile import FAILURES, LOSSES, Drift, reconcile_day, write_differences
from recordings.recording import Day, days_between
from recordings.reporting import failures_report, first_three
from recordings.run import window
from recordings.selection import Selection, selected
from recordings.settings import settings
from recordings.settlement import Settlement, close_settled
from recordings.tag import tag_batch
from recordings.verify import verify_batch
from tasks.artifacts import publish
from tasks.circumstances import circumstances
from tasks.names import scheduled_on
from tasks.stages import stage
from tasks.workplace import workplace

_WEEK_DAYS = 7

P = ParamSpec("P")
R = TypeVar("R")


def once(task_run_name: str) -> Callable[[Callable[P, R]], Task[P, R]]:
    """A stage that is never tried again as a whole: what its one attempt had done, a later run settles."""
    return lambda work: stage(task_run_name)(work).with_options(retries=0)


def named(kind: str) -> Callable[[], str]:
    """A name for Prefect to ask for: ``dry run: restore 3 contacts``."""

    def name() -> str:
        given = dict(flow_run.parameters)
        if kind == "reconcile":
            with suppress(ValueError, OverflowError):  # dates that make no sense: the run itself will say so
                given |= _week()
        return run_name(kind, given)

    return name


def begin_operation(kind: str, **parameters: Any) -> Operation:
    """The operation that these flow parameters ask for. Raises InvalidRequest before anything is touched."""
    operation = plan_operation(kind, flow_run_id=str(flow_run.id), **parameters)
    if kind == "release":
        release.check_may_delete(workplace(operation).releasing_store)
    if kind == "release" or (kind == "reconcile" and not operation.repair):  # a repair may write a lost table anew
        check_table(workplace(operation).files, operation.audit_uri)
    if operation.is_recorded:
        record_start(workplace(operation).files, operation, circumstances=circumstances())
    return operation


def begin_reconciliation(**parameters: Any) -> Operation:
    """The reconciliation asked for; by default of the week that a scheduled archiving run has just looked at."""
    return begin_operation("reconcile", dry_run=not parameters["repair"], **{**parameters, **_week()})


def _week() -> dict[str, date]:
    """The dates that this flow run's parameters name, or leave to the time that it is scheduled for."""
    given = flow_run.parameters
    start, end = window(
        scheduled_on(), given["start_date"], given["end_date"], min_age_days=_WEEK_DAYS, lookback_days=_WEEK_DAYS
    )
    return {"start_date": start, "end_date": end}


def shown(result: R, trouble: str) -> R:
    """The result of a task run that is red in the UI where there was trouble. It counts all the same."""
    return Failed(message=trouble, data=result) if trouble else result  # type: ignore[return-value]


def _batch_shown(result: OperationResult) -> OperationResult:
    count = result.counts["failed"]
    failed = [row for row in result.failures if row.status is Status.FAILED]
    return shown(result, f"{plural(count, 'recording')} failed: {first_three(failed, count)}" if count else "")


@stage(task_run_name="write rows of runs that died")
def settle(operation: Operation) -> Settlement:
    """Write the rows of earlier runs that ended before they wrote them; in a dry run, none."""
    if operation.dry_run:
        return Settlement()
    place, patience = workplace(operation), timedelta(hours=settings().abandoned_after_h)
    return settlement.settle(place.store, place.files, shared_pool(), abandoned_after=patience)


def select(operation: Operation, settled: Settlement) -> Selection:
    """The archived recordings that the operation is about, in batches, without those that are not settled yet."""
    place = workplace(operation)
    return selected(operation, place.store, place.files, shared_pool(), unsettled=settled.unsettled)


@once(task_run_name="restore {batch}")
def restore_batch(batch: BatchRows, operation: Operation) -> OperationResult:
    """Bring the batch's originals back."""
    place = workplace(operation)
    return _batch_shown(restore.restore_batch(place.store, place.files, batch, operation, shared_pool()))


@once(task_run_name="release {batch}")
def release_batch(batch: BatchRows, operation: Operation) -> OperationResult:
    """Prove the batch's replacements once more and delete their originals."""
    place = workplace(operation)
    return _batch_shown(release.release_batch(place.releasing_store, place.files, batch, operation, shared_pool()))


@lru_cache(maxsize=4)
def runs_without_rows(operation: Operation) -> Mapping[tuple[str, str], str]:
    """Who had set out to do what, and has not said that it is done."""
    files = workplace(operation).files
    return runs_by_deed(files, open_intents(files, operation.bucket))


@stage(task_run_name="reconcile {day}")
def find_drift(day: Day, operation: Operation) -> list[Drift]:
    """How table and bucket differ on this day."""
    store, years = workplace(operation).store, settings().retention_years
    runs = runs_without_rows(operation)
    drifts = reconcile_day(store, day, operation, shared_pool(), retention_years=years, runs=runs)
    bad = [f"{drift.key}: {drift.code}" for drift in drifts if drift.is_loss or drift.code in FAILURES]
    trouble = f"{plural(len(bad), 'recording')} lost, or not compared: {', '.join(bad[:3])}" if bad else ""
    return shown(drifts, trouble)


@stage(task_run_name="repair {batch}")
def repair_batch(batch: BatchRows, operation: Operation) -> OperationResult:
    """Verify, tag and write the rows that are missing."""
    place = workplace(operation)
    rows = tag_batch(place.store, verify_batch(place.store, batch.rows, shared_pool()), shared_pool())
    written = write_rows(place.files, rows, run_id=operation.run_id, wave=batch.batch.number)
    return _batch_shown(OperationResult(operation, rows, written))


def end_operation(
    operation: Operation,
    settled: Settlement,
    asked_for: Selection,
    outcomes: Sequence[OperationResult | BaseException],
) -> OperationSummary:
    """Write the record, publish the report, return the summary. Raises OperationFailed unless all went well."""
    results = [outcome for outcome in outcomes if isinstance(outcome, OperationResult)]
    manifest = [*settled.files, *asked_for.files, *(file for result in results for file in result.files)]
    summary = summarize(
        operation,
        asked_for.batches,
        outcomes,
        drifts=asked_for.drifts,
        settled=settled.rows,
        manifest=manifest,
        notes=asked_for.notes,
        problems=[*asked_for.problems, *settled.problems],
    )
    if operation.is_recorded:
        files = workplace(operation).files
        record_end(files, operation, totals=asdict(summary), manifest=manifest)
        close_settled(files, settled)
    _publish(operation, summary, results)
    _announce_losses(summary)
    if not summary.succeeded:
        get_run_logger().error("%s", summary)
        raise OperationFailed(summary)
    get_run_logger().info("%s", summary)
    return summary


def _publish(operation: Operation, summary: OperationSummary, results: Sequence[OperationResult]) -> None:
    report = report_of(operation, summary, results)
    publish(report, key=f"{operation.kind}-report", description=str(summary))
    left = [row for result in results for row in result.failures]
    if left:
        page = failures_report(left, summary.reasons, title="What was left as it is")
        publish(page, key=f"{operation.kind}-left", description="What was left as it is, and why")


def _announce_losses(summary: OperationSummary) -> None:
    """An event for automations, if a reconciliation found that something is lost."""
    lost = {code: count for code, count in summary.drifts.items() if code in LOSSES}
    if lost:
        resource = {"prefect.resource.id": f"recording-archive.run.{summary.run_id}"}
        emit_event("recording-archive.lost", resource=resource, payload={"summary": str(summary), "lost": lost})


def days_to_reconcile(operation: Operation) -> list[Day]:
    """Each (prefix, day) of the operation."""
    dates = days_between(operation.start_date or date.max, operation.end_date or date.min)
    return [Day(prefix=prefix, date=day) for day in dates for prefix in operation.prefixes]


def compare(operation: Operation, days: Sequence[Day], found: Sequence[list[Drift] | BaseException]) -> Selection:
    """What the days' comparisons came to: every difference on record, what is safe to mend in batches, what failed."""
    drifts = [drift for of_day in found if isinstance(of_day, list) for drift in of_day]
    failed = [
        f"{day} could not be compared: {type(error).__name__}: {error}"
        for day, error in zip(days, found, strict=True)
        if isinstance(error, BaseException)
    ]
    files = write_differences(workplace(operation).files, operation, drifts)
    bad = [f"{each.key}: {each.code}, {each.sentence}" for each in drifts if each.is_loss or each.code in FAILURES]
    rows = [drift.row for drift in drifts if drift.row is not None]
    notes = [f"run it again with repair=True to mend {plural(len(rows), 'recording')}"]
    if drifts:
        page, said = differences_report(drifts), plural(len(drifts), "difference")
        publish(page, key="reconcile-differences", description=f"{said} between table and bucket")
    return Selection(
        rows if operation.repair else [],
        [*_nothing_below(operation), *failed, *bad],
        notes if rows and not operation.repair else [],
        drifts=Counter(drift.code for drift in drifts),
        files=files,
    )


def _nothing_below(operation: Operation) -> list[str]:
    """The prefixes below which no day can lie: mistyped, or all is lost."""
    try:
        findings = patience()(lambda: nothing_below(workplace(operation).store, operation.prefixes))
    except StoreRefused as error:
        return [str(error)]
    return [finding.sentence for finding in findings]
