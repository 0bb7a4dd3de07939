"""Compare the audit table with the bucket."""

from prefect import flow
from prefect.runtime import flow_run

from flows.parameters import Day
from recordings.jobs.engine.job import days_to_compare, plan_job
from recordings.jobs.engine.summary import JobSummary
from recordings.table.records import Kind
from tasks.jobs import WATCHED, carry_out
from tasks.names import job_namer
from tasks.reconcile import compare, publish_differences, repair_batch
from tasks.runner import bounded
from tasks.schedule import scheduled_on


@flow(
    name="reconcile-audit",
    flow_run_name=job_namer(Kind.RECONCILE),
    task_runner=bounded(),
    persist_result=False,
    **WATCHED,
)
def reconcile_audit(
    *,
    start_date: Day = None,
    end_date: Day = None,
    repair: bool = False,
    prefixes: list[str],
    bucket: str,
    audit_uri: str,
) -> JobSummary:
    """Report and record each difference between audit table and bucket; with repair, fix what is safe to fix.

    The dates say which calls are compared. Without dates: those of the week of the last scheduled archiving run.

    Args:
        start_date: First UTC day of calls. Empty: six days before end_date.
        end_date: Last UTC day of calls. Empty: a week before the day for which the run is scheduled.
        repair: Write the rows that are missing, also those of runs that died, and set the tags that are missing, for
            the calls of these dates. Nothing else is ever changed.
        prefixes: Where the recordings lie, like connect/my-instance/CallRecordings/.
        bucket: The bucket that Amazon Connect writes to.
        audit_uri: The audit table. The differences are written to its _differences folder, a file for each run.

    Returns:
        The summary, with the differences counted by code.

    Raises:
        JobFailed: Something is lost (vanished, changed-since, original-gone, resurrected), a day could not be
            compared, or a repair did not succeed. Carries the summary.
        InvalidRequest: The parameters do not permit the comparison. Nothing was touched.
    """
    start, end = days_to_compare(scheduled_on(), start_date, end_date)
    job = plan_job(
        Kind.RECONCILE,
        flow_run_id=str(flow_run.id),
        start_date=start,
        end_date=end,
        repair=repair,
        dry_run=not repair,
        prefixes=prefixes,
        bucket=bucket,
        audit_uri=audit_uri,
    )
    return carry_out(job, compare, repair_batch, report=publish_differences)
