"""Compare the audit table with the bucket."""

from datetime import date

from prefect import flow, unmapped

from recordings.operation import OperationSummary
from tasks.operations import (
    begin_reconciliation,
    days_to_reconcile,
    end_operation,
    find_drift,
    publish_drift,
    repair_batch,
    repairs,
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
        repair: Write the rows that are missing and set the tags that are missing. Nothing else is ever mended.

    Returns:
        The summary, with the drifts counted by code.

    Raises:
        OperationFailed: A repair did not succeed; carries the summary.
        InvalidRequest: The parameters do not permit it. Nothing was touched.
    """
    operation = begin_reconciliation(**locals())
    days = days_to_reconcile(operation)
    drifts = [drift for of_day in find_drift.map(days, unmapped(operation)).result() for drift in of_day]
    publish_drift(drifts)
    batches = repairs(operation, drifts)
    outcomes = repair_batch.map(batches, unmapped(operation)).result(raise_on_failure=False)
    return end_operation(operation, batches, outcomes, drifts)
