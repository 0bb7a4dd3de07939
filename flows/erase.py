"""Erase everything in a bucket that belongs to a contact. Runs under a role of its own."""

from prefect import flow
from prefect.runtime import flow_run

from flows.parameters import Day, Words
from recordings.jobs.engine.job import plan_job
from recordings.jobs.engine.summary import JobSummary
from recordings.jobs.erase import Erasure
from recordings.table.records import Kind
from tasks.batches import erase_batch
from tasks.jobs import WATCHED, carry_out
from tasks.names import job_namer
from tasks.runner import bounded


@flow(
    name="erase-recordings",
    flow_run_name=job_namer(Kind.ERASE),
    task_runner=bounded(),
    persist_result=False,
    **WATCHED,
)
def erase_recordings(
    *,
    contact_ids: list[str] | None = None,
    keys: list[str] | None = None,
    case: Words = "",
    start_date: Day = None,
    end_date: Day = None,
    dry_run: bool = True,
    missing_ok: bool = False,
    new_table: bool = False,
    prefixes: list[str],
    bucket: str,
    audit_uri: str,
) -> JobSummary:
    """Delete everything in the bucket that belongs to a contact: recordings, redacted copies, transcripts and analyses.

    All versions are deleted for good. Objects under a legal hold or a lock wait for a later run that you start
    without contacts and keys: such a run takes up the requests that are not finished. A request stays open for a
    week at least, so that a transcript that is written late is deleted, too.

    Args:
        contact_ids: Contact ids of the calls, one in each field. Empty: none; if keys is empty, too, the run only
            takes up earlier requests.
        keys: Keys of further objects to erase, whatever their names say. Empty: none.
        case: A name for this request, such as 2026-GDPR-0031. Each row names it.
        start_date: First UTC day of the calls, if you know it. If you give both days, the run lists only the folders
            of these days and of the days beside them, and objects in other folders stay. Empty: the run lists
            everything below the prefixes.
        end_date: Last UTC day of the calls. Empty: you do not know it.
        dry_run: Only say what would be erased, and delete nothing. Switch it off to erase.
        missing_ok: Succeed even if the bucket has nothing for a contact or under a key.
        new_table: Begin the audit table at audit_uri if no run has written there yet. If this is off, the run refuses
            such an audit_uri, since it may be mistyped: the table says which cases hold an object.
        prefixes: Where the recordings lie, like connect/my-instance/CallRecordings/. Analysis/ beside them is listed,
            too.
        bucket: The bucket that Amazon Connect writes to.
        audit_uri: The audit table. The table keeps the keys of erased objects, so that no run brings them back.

    Returns:
        The summary: what was erased, and what has to wait, by reason.

    Raises:
        JobFailed: Something could not be erased, or nothing was found for a contact or key. Carries the summary.
        InvalidRequest: A parameter makes no sense. Nothing was touched.
    """
    job = plan_job(
        Kind.ERASE,
        flow_run_id=str(flow_run.id),
        contact_ids=contact_ids,
        keys=keys,
        case=case,
        start_date=start_date,
        end_date=end_date,
        dry_run=dry_run,
        missing_ok=missing_ok,
        new_table=new_table,
        prefixes=prefixes,
        bucket=bucket,
        audit_uri=audit_uri,
    )
    return carry_out(job, Erasure, erase_batch)
