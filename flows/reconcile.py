"""Compare the audit table with the bucket."""

from datetime import date

from prefect import flow, unmapped

from recordings.operation import OperationSummary
from tasks.operations import (
    begin_reconciliation,
    compare,
    days_to_reconcile,
    end_operation,
    find_drift,
    repair_batch,
    settle,
)


@flow(name="reconcile-audit", flow_run_name="reconcile {bucket}", persist_result=False)
def reconcile_audit(
    bucket: str,
    prefixes: list[str],
    audit_uri: str,
    start_date: date | None = None,
    end_date: date | None = None,
    repair: bool = False,
) -> OperationSummary:
    """Every difference between table and bucket is reported; with repair, what is safe is mended.

    Args:
        bucket: The bucket that Amazon Connect writes to.
        prefixes: Where its recordings lie, as connect/my-instance/CallRecordings/.
        audit_uri: The audit table.
        start_date: First UTC day of calls. Left out: six days before the last.
        end_date: Last UTC day of calls. Left out: a week before the time the run is scheduled for.
        repair: Write the rows that are missing, those of runs that died too, and set the tags that are missing.
            Nothing else is ever mended.

    Returns:
        The summary, with the drifts counted by code.

    Raises:
        OperationFailed: A repair did not succeed, or a day could not be compared; carries the summary.
        InvalidRequest: The parameters do not permit it. Nothing was touched.
    """
    operation = begin_reconciliation(**locals())
    settled = settle(operation)
    days = days_to_reconcile(operation)
    found = find_drift.map(days, unmapped(operation)).result(raise_on_failure=False)
    comparison = compare(operation, days, found)
    outcomes = repair_batch.map(comparison.batches, unmapped(operation)).result(raise_on_failure=False)
    return end_operation(operation, settled, comparison, outcomes)
