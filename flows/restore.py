"""Make originals current again."""

from prefect import flow
from prefect.runtime import flow_run

from flows.parameters import Day, Words
from recordings.jobs.engine.job import plan_job
from recordings.jobs.engine.summary import JobSummary
from recordings.table.records import Kind
from tasks.batches import restore_batch
from tasks.jobs import WATCHED, carry_out, search
from tasks.names import job_namer
from tasks.runner import bounded


@flow(
    name="restore-recordings",
    flow_run_name=job_namer(Kind.RESTORE),
    task_runner=bounded(),
    persist_result=False,
    **WATCHED,
)
def restore_recordings(
    *,
    contact_ids: list[str] | None = None,
    keys: list[str] | None = None,
    start_date: Day = None,
    end_date: Day = None,
    prefixes: list[str] | None = None,
    run_id: Words = "",
    everything: bool = False,
    dry_run: bool = True,
    include_held: bool = False,
    missing_ok: bool = False,
    bucket: str,
    audit_uri: str,
) -> JobSummary:
    """Bring back the original of each selected recording, tagged archive=exempt so that no run archives it again.

    Select by contact, key, date, prefix or run; a recording must match all that you give. Without a
    selection, and with everything off, the run refuses to start.

    Args:
        contact_ids: Contact ids of the calls, one in each field. Empty: all contacts.
        keys: Keys of the recordings, one in each field. Empty: all keys.
        start_date: First UTC day of calls. Empty: no earliest day.
        end_date: Last UTC day of calls. Empty: no latest day.
        prefixes: Only below these, like connect/my-instance/CallRecordings/. Empty: all prefixes.
        run_id: Only what the archiving run with this id archived. Empty: all runs.
        everything: Restore all that is archived, if nothing above is filled in.
        dry_run: Only say what would be restored, and write nothing. Switch it off to restore.
        include_held: Also restore recordings under legal hold; the restored copies are held, too.
        missing_ok: Succeed even if some of what was selected does not exist or cannot come back.
        bucket: The bucket that Amazon Connect writes to.
        audit_uri: The audit table. If it shows nothing archived in the bucket, the metadata of the objects is
            read instead.

    Returns:
        The summary, naming by reason what could not be restored.

    Raises:
        JobFailed: A selected recording did not come back; the others did. Carries the summary, with the reason.
        InvalidRequest: Nothing is selected, or a parameter makes no sense. Nothing was touched.
    """
    job = plan_job(
        Kind.RESTORE,
        flow_run_id=str(flow_run.id),
        contact_ids=contact_ids,
        keys=keys,
        start_date=start_date,
        end_date=end_date,
        prefixes=prefixes,
        of_run=run_id,
        everything=everything,
        dry_run=dry_run,
        include_held=include_held,
        missing_ok=missing_ok,
        bucket=bucket,
        audit_uri=audit_uri,
    )
    return carry_out(job, search, restore_batch)
