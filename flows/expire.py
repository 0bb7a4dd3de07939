"""Delete recordings whose retention has ended. Runs under a role of its own."""

from prefect import flow
from prefect.runtime import flow_run

from flows.parameters import Day, Percent
from recordings.jobs.engine.job import plan_job
from recordings.jobs.engine.summary import JobSummary
from recordings.jobs.expire import Expiry
from recordings.retention_rules import RetentionRule
from recordings.table.records import Kind
from tasks.batches import expire_batch
from tasks.jobs import WATCHED, carry_out
from tasks.names import job_namer
from tasks.runner import bounded


@flow(
    name="expire-recordings",
    flow_run_name=job_namer(Kind.EXPIRE),
    task_runner=bounded(),
    persist_result=False,
    **WATCHED,
)
def expire_recordings(
    *,
    start_date: Day = None,
    end_date: Day = None,
    rules: list[RetentionRule] | None = None,
    stop_above_percent: Percent = 5,
    dry_run: bool = True,
    prefixes: list[str],
    bucket: str,
    audit_uri: str,
) -> JobSummary:
    """Delete each recording whose retention has ended, with all its versions, and certify the destruction in a row.

    Retention counts in whole UTC days after the day of the call. A recording stays if any version of it is under a
    legal hold, locked or tagged archive=exempt, if a case holds it, or if it differs from the audit table.
    Analyses and transcripts stay, too.

    Args:
        start_date: First UTC day of calls. Empty: no earliest day.
        end_date: Last UTC day of calls. Empty: no latest day.
        rules: How long recordings are kept; the first rule that covers a recording decides, and the last rule covers
            all. Empty: as ARCHIVE_RETENTION_RULES says; if that is not set, the run refuses to start.
        stop_above_percent: If more than this percentage of a day's recordings whose retention has ended differ from
            the audit table, delete nothing of that day or of later days.
        dry_run: Only say what would be deleted, and delete nothing. Switch it off to delete.
        prefixes: Where the recordings lie, like connect/my-instance/CallRecordings/.
        bucket: The bucket that Amazon Connect writes to.
        audit_uri: The audit table. A recording without a row there is never deleted.

    Returns:
        The summary: what was deleted, and what was kept, by reason.

    Raises:
        JobFailed: A recording could not be deleted, a day could not be looked at, or too many recordings differ from
            the table. Carries the summary.
        InvalidRequest: There are no rules, or a parameter makes no sense. Nothing was touched.
    """
    job = plan_job(
        Kind.EXPIRE,
        flow_run_id=str(flow_run.id),
        start_date=start_date,
        end_date=end_date,
        rules=rules,
        stop_above_percent=stop_above_percent,
        dry_run=dry_run,
        prefixes=prefixes,
        bucket=bucket,
        audit_uri=audit_uri,
    )
    return carry_out(job, Expiry, expire_batch)
