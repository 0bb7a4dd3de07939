"""Put originals back as current."""

from datetime import date

from prefect import flow, unmapped

from recordings.operation import OperationSummary
from tasks.operations import begin_operation, end_operation, restore_batch, select, settle


@flow(name="restore-recordings", flow_run_name="restore {bucket}", persist_result=False)
def restore_recordings(
    bucket: str,
    audit_uri: str,
    start_date: date | None = None,
    end_date: date | None = None,
    contact_ids: list[str] | None = None,
    run_id: str | None = None,
    dry_run: bool = False,
    prefixes: list[str] | None = None,
) -> OperationSummary:
    """Each archived recording that is asked for becomes what it was, tagged archive=exempt so that it stays so.

    Args:
        bucket: The bucket that Amazon Connect writes to.
        audit_uri: The audit table. Only where it has nothing archived of the bucket, the objects' provenance is asked.
        start_date: First UTC day of calls.
        end_date: Last UTC day of calls.
        contact_ids: Only these contacts. One that does not come back ends the run red, with its reason.
        run_id: Only what this run archived. A run that nobody knows ends this one red.
        dry_run: Only say what would be done. Nothing is written.
        prefixes: Only below these; without an audit table, they are what is searched.

    Returns:
        The summary, naming by reason what could not be restored: original-gone is one.

    Raises:
        OperationFailed: Not everything went well; carries the summary.
        InvalidRequest: The parameters do not permit it. Nothing was touched.
    """
    operation = begin_operation("restore", **locals())
    settled = settle(operation)
    selection = select(operation, settled)
    outcomes = restore_batch.map(selection.batches, unmapped(operation)).result(raise_on_failure=False)
    return end_operation(operation, settled, selection, outcomes)
