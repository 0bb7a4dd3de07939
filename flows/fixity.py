"""Check that the small recordings still have the bytes that they had when they were archived."""

from prefect import flow
from prefect.runtime import flow_run

from flows.parameters import Day, Percent
from recordings.jobs.engine.job import plan_job
from recordings.jobs.engine.summary import JobSummary
from recordings.table.records import Kind
from tasks.batches import check_batch
from tasks.jobs import WATCHED, carry_out, search
from tasks.names import job_namer
from tasks.runner import bounded


@flow(
    name="check-fixity",
    flow_run_name=job_namer(Kind.FIXITY),
    task_runner=bounded(),
    persist_result=False,
    **WATCHED,
)
def check_fixity(
    *,
    start_date: Day = None,
    end_date: Day = None,
    prefixes: list[str] | None = None,
    sample_percent: Percent = 20,
    dry_run: bool = True,
    missing_ok: bool = False,
    bucket: str,
    audit_uri: str,
) -> JobSummary:
    """Prove that the small recordings still have the bytes that they had when they were archived.

    Changes no recording; writes rows `checked`.

    The run asks S3 for the checksum that S3 keeps with each replacement. The run also reads and hashes a sample.

    Args:
        start_date: First UTC day of calls. Empty: no earliest day.
        end_date: Last UTC day of calls. Empty: no latest day.
        prefixes: Only below these, like connect/my-instance/CallRecordings/. Empty: all prefixes.
        sample_percent: Read this share of the recordings in full, another share at each check: with 20, five checks
            read every recording once. The share is rounded down to a half, a third, a quarter and so on: 60 reads a
            half. With 0, nothing is read. Reading from GLACIER_IR costs $0.03 per GB: docs/costs.md has the figures.
        dry_run: Only say how many recordings would be checked and what S3 would charge. Switch it off to check.
        missing_ok: Succeed even if nothing in the selection was ever archived.
        bucket: The bucket that Amazon Connect writes to.
        audit_uri: The audit table. The table says which bytes each recording must have.

    Returns:
        The summary: how many recordings are intact, how many were read, and what S3 charges for the check.

    Raises:
        JobFailed: A recording is gone, was overwritten, or has other bytes than when it was archived (the reason
            says where, what was expected and what was found), or could not be checked. Carries the summary.
        InvalidRequest: A parameter makes no sense. Nothing was asked or read.
    """
    job = plan_job(
        Kind.FIXITY,
        flow_run_id=str(flow_run.id),
        start_date=start_date,
        end_date=end_date,
        prefixes=prefixes,
        sample_percent=sample_percent,
        dry_run=dry_run,
        missing_ok=missing_ok,
        bucket=bucket,
        audit_uri=audit_uri,
    )
    return carry_out(job, search, check_batch)
