"""Delete originals whose replacements have been verified once more. Runs under a role of its own."""

from prefect import flow
from prefect.runtime import flow_run

from flows.parameters import Day, GraceDays
from recordings.jobs.engine.job import plan_job
from recordings.jobs.engine.summary import JobSummary
from recordings.table.records import Kind
from tasks.batches import release_batch
from tasks.jobs import WATCHED, carry_out, search
from tasks.names import job_namer
from tasks.runner import bounded


@flow(
    name="release-originals",
    flow_run_name=job_namer(Kind.RELEASE),
    task_runner=bounded(),
    persist_result=False,
    **WATCHED,
)
def release_originals(
    *,
    start_date: Day = None,
    end_date: Day = None,
    prefixes: list[str] | None = None,
    everything: bool = False,
    dry_run: bool = True,
    grace_days: GraceDays = None,
    grace_days_read_back: GraceDays = None,
    missing_ok: bool = False,
    bucket: str,
    audit_uri: str,
) -> JobSummary:
    """Delete the original of each archived recording, if its replacement passes every check once more.

    Args:
        start_date: First UTC day of calls. Empty: no earliest day.
        end_date: Last UTC day of calls. Empty: no latest day.
        prefixes: Only below these, like connect/my-instance/CallRecordings/. Empty: all prefixes.
        everything: Release all that is due, if nothing above is filled in. Days of calls on which an earlier run left
            nothing to release are passed over; held, locked and exempt originals are looked at again after four weeks.
            To look at a day at once, give its date. A dry run needs no selection.
        dry_run: Only say what would be released, and delete nothing. Switch it off to delete.
        grace_days: Keep the originals of recordings that were archived less than this many days ago. Empty: as
            ARCHIVE_GRACE_DAYS says, 7 unless it is set. Originals cost more for every day that they stay:
            docs/costs.md has the figures.
        grace_days_read_back: The same for recordings that were read back and decoded in full, as readback_percent of
            the archiving run says. Empty: the same number.
        missing_ok: Succeed even if nothing in the selection was ever archived.
        bucket: The bucket that Amazon Connect writes to.
        audit_uri: The audit table. An original without a row there is never released.

    Returns:
        The summary: what was freed, and what was kept, by reason.

    Raises:
        JobFailed: A replacement could not be verified, so its original stays; or the selection contains something
            that does not exist. Carries the summary.
        InvalidRequest: Nothing is selected, or a parameter makes no sense. Nothing was touched.
    """
    job = plan_job(
        Kind.RELEASE,
        flow_run_id=str(flow_run.id),
        start_date=start_date,
        end_date=end_date,
        prefixes=prefixes,
        everything=everything,
        dry_run=dry_run,
        grace_days=grace_days,
        grace_days_read_back=grace_days_read_back,
        missing_ok=missing_ok,
        bucket=bucket,
        audit_uri=audit_uri,
    )
    return carry_out(job, search, release_batch)
