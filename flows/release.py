"""Delete originals whose replacements have proved themselves. Runs under a role of its own."""

from datetime import date
from typing import Annotated

from prefect import flow, unmapped
from pydantic import Field

from recordings.operation import OperationSummary
from tasks.operations import begin_operation, end_operation, release_batch, select, settle


@flow(name="release-originals", flow_run_name="release {bucket}", persist_result=False)
def release_originals(
    bucket: str,
    audit_uri: str,
    grace_days: Annotated[int, Field(ge=0)] = 30,
    start_date: date | None = None,
    end_date: date | None = None,
    dry_run: bool = True,
) -> OperationSummary:
    """Each archived recording's original is deleted, if all that speaks for the replacement holds once more.

    Args:
        bucket: The bucket that Amazon Connect writes to.
        audit_uri: The audit table: without a row there, nothing is released.
        grace_days: Originals archived more recently stay.
        start_date: First UTC day of calls.
        end_date: Last UTC day of calls.
        dry_run: Only say what would be released. Switch it off to delete.

    Returns:
        The summary: what was freed, and by reason what was left.

    Raises:
        OperationFailed: A replacement did not prove itself; its original stays. Carries the summary.
        InvalidRequest: The parameters do not permit it. Nothing was touched.
    """
    operation = begin_operation("release", **locals())
    settled = settle(operation)
    selection = select(operation, settled)
    outcomes = release_batch.map(selection.batches, unmapped(operation)).result(raise_on_failure=False)
    return end_operation(operation, settled, selection, outcomes)
