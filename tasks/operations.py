"""Restore, release and reconcile as Prefect carries them out: one task run per batch or day, which writes its rows."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from datetime import date, timedelta
from typing import Any

from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.logging import get_run_logger
from prefect.runtime import flow_run

from recordings.history import record_end, record_start
from recordings.manifest import BatchRows, ManifestRow, write_rows
from recordings.operation import (
    Operation,
    OperationFailed,
    OperationResult,
    OperationSummary,
    archived_rows,
    batches_of,
    plan_operation,
    report_of,
    summarize,
)
from recordings.pool import shared_pool
from recordings.reconcile import Drift, reconcile_day
from recordings.recording import Day, days_between
from recordings.release import release_original
from recordings.reporting import failure_rows
from recordings.restore import restore_recording
from recordings.settings import settings
from recordings.tag import tag_batch
from recordings.verify import verify_batch
from tasks.stages import stage
from tasks.workplace import workplace


def begin_operation(kind: str, **parameters: Any) -> Operation:
    """The operation that these flow parameters ask for. Raises InvalidRequest before anything is touched."""
    operation = plan_operation(kind, **parameters)
    if not operation.dry_run:
        record_start(workplace(operation).files, operation)
    return operation


def begin_reconciliation(*, start_date: date | None, end_date: date | None, **parameters: Any) -> Operation:
    """The reconciliation asked for; by default of the week that a scheduled archiving run has just looked at."""
    end = end_date or flow_run.scheduled_start_time.date() - timedelta(days=7)
    start = start_date or end - timedelta(days=6)
    return begin_operation("reconcile", start_date=start, end_date=end, dry_run=not parameters["repair"], **parameters)


def select(operation: Operation) -> list[BatchRows]:
    """The archived recordings that the operation is about, in batches."""
    return batches_of(archived_rows(operation, workplace(operation).store))


@stage(task_run_name="restore {batch}")
def restore_batch(batch: BatchRows, operation: Operation) -> OperationResult:
    """Bring the batch's originals back."""
    store = workplace(operation).store
    return _carried_out(batch, operation, lambda row: restore_recording(store, row, operation))


@stage(task_run_name="release {batch}")
def release_batch(batch: BatchRows, operation: Operation) -> OperationResult:
    """Prove the batch's replacements once more and delete their originals."""
    store = workplace(operation).releasing_store
    return _carried_out(batch, operation, lambda row: release_original(store, row, operation))


def _carried_out(batch: BatchRows, operation: Operation, work: Callable[[ManifestRow], ManifestRow]) -> OperationResult:
    return _recorded(shared_pool().map(work, batch.rows), operation, batch.batch.number)


def _recorded(rows: Sequence[ManifestRow], operation: Operation, number: int) -> OperationResult:
    if operation.dry_run:
        return OperationResult(rows, [])
    files = workplace(operation).files
    return OperationResult(rows, write_rows(files, rows, run_id=operation.run_id, wave=number))


@stage(task_run_name="reconcile {day}")
def find_drift(day: Day, operation: Operation) -> list[Drift]:
    """How table and bucket differ on this day."""
    store, years = workplace(operation).store, settings().retention_years
    return reconcile_day(store, day, operation, shared_pool(), retention_years=years)


@stage(task_run_name="repair {batch}")
def repair_batch(batch: BatchRows, operation: Operation) -> OperationResult:
    """Verify, tag and write the rows that are missing."""
    store = workplace(operation).store
    rows = tag_batch(store, verify_batch(store, batch.rows, shared_pool()), shared_pool())
    return _recorded(rows, operation, batch.batch.number)


def end_operation(
    operation: Operation,
    batches: Sequence[BatchRows],
    outcomes: Sequence[OperationResult | BaseException],
    drifts: Sequence[Drift] = (),
) -> OperationSummary:
    """Write the record, publish the report, return the summary. Raises OperationFailed unless all went well."""
    results = [outcome for outcome in outcomes if isinstance(outcome, OperationResult)]
    drifted = Counter(drift.code for drift in drifts)
    summary = summarize(operation, sum(len(batch.rows) for batch in batches), results, drifted)
    if not operation.dry_run:
        manifest = [file for result in results for file in result.files]
        record_end(workplace(operation).files, operation, totals=asdict(summary), manifest=manifest)
    create_markdown_artifact(report_of(operation, summary), key=f"{operation.kind}-report", description=str(summary))
    left = failure_rows([row for result in results for row in result.failures])
    if left:
        create_table_artifact(left, key=f"{operation.kind}-left", description="What was left as it is, and why")
    get_run_logger().info("%s", summary)
    if not summary.succeeded:
        raise OperationFailed(summary)
    return summary


def days_to_reconcile(operation: Operation) -> list[Day]:
    """Each (prefix, day) of the operation."""
    dates = days_between(operation.start_date or date.max, operation.end_date or date.min)
    return [Day(prefix=prefix, date=day) for day in dates for prefix in operation.prefixes]


def repairs(operation: Operation, drifts: Iterable[Drift]) -> list[BatchRows]:
    """What is safe to mend of these drifts, in batches; nothing unless a repair was asked for."""
    rows = [drift.row for drift in drifts if drift.row is not None]
    return batches_of(rows) if operation.repair else []


def publish_drift(drifts: Sequence[Drift]) -> None:
    """Every drift as a table."""
    rows = [{"drift": drift.code, "key": drift.key, "what": drift.sentence} for drift in drifts]
    create_table_artifact(
        rows, key="reconcile-drift", description=f"{len(rows):,} ways in which table and bucket differ"
    )
