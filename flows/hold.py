"""Put recordings under a legal hold for a case, or lift that hold. Runs under a role of its own."""

from prefect import flow
from prefect.runtime import flow_run

from flows.parameters import Day, Words
from recordings.jobs.engine.job import plan_job
from recordings.jobs.engine.summary import JobSummary
from recordings.jobs.hold import Holding
from recordings.table.records import Kind
from tasks.batches import hold_batch
from tasks.jobs import WATCHED, carry_out
from tasks.names import job_namer
from tasks.runner import bounded


@flow(
    name="hold-recordings",
    flow_run_name=job_namer(Kind.HOLD),
    task_runner=bounded(),
    persist_result=False,
    **WATCHED,
)
def hold_recordings(
    *,
    contact_ids: list[str] | None = None,
    keys: list[str] | None = None,
    start_date: Day = None,
    end_date: Day = None,
    run_id: Words = "",
    case: str,
    lift: bool = False,
    dry_run: bool = True,
    missing_ok: bool = False,
    new_table: bool = False,
    prefixes: list[str],
    bucket: str,
    audit_uri: str,
) -> JobSummary:
    """Hold all versions of the selected objects for a case, so that no flow deletes any of them.

    Archiving or a restore replaces a held recording only with include_held; the replaced version stays beneath the new
    one, and both are held. In a bucket with Object Lock, S3 itself enforces the hold; elsewhere the tag legal-hold
    names the cases. Several cases may hold one recording: the recording is free when the hold of the last case is
    lifted. Objects that are written later are not held: run the hold again.

    Args:
        contact_ids: Contact ids of the calls, one in each field: selects all that belongs to them. Empty: none.
        keys: Keys of objects to hold. Empty: none.
        start_date: First UTC day of calls; with contacts, the first day to look for them. Empty: no earliest day.
        end_date: Last UTC day of calls. Empty: no latest day.
        run_id: Hold the recordings that the run with this id archived; give no contacts, keys or dates with it.
            Empty: none.
        case: The name of the case, such as 2026-CV-0147. Each row names it.
        lift: Lift the hold of this case instead.
        dry_run: Only say what would be held or lifted, and write nothing. Switch it off to hold or lift.
        missing_ok: Succeed even if the bucket has nothing for a contact or under a key, or if something cannot be held.
        new_table: Begin the audit table at audit_uri if no run has written there yet. If this is off, the run refuses
            such an audit_uri, since it may be mistyped, and no other run would learn of the hold.
        prefixes: Where the recordings lie, like connect/my-instance/CallRecordings/. Analysis/ beside them is listed,
            too, for contacts.
        bucket: The bucket that Amazon Connect writes to.
        audit_uri: The audit table. The table says which cases hold a recording.

    Returns:
        The summary: what was held or lifted, and what was not, by reason.

    Raises:
        JobFailed: Something could not be held, or nothing was found for a contact or under a key. Carries the summary.
        InvalidRequest: Nothing is selected, or a parameter makes no sense. Nothing was touched.
    """
    job = plan_job(
        Kind.LIFT if lift else Kind.HOLD,
        flow_run_id=str(flow_run.id),
        contact_ids=contact_ids,
        keys=keys,
        start_date=start_date,
        end_date=end_date,
        of_run=run_id,
        case=case,
        dry_run=dry_run,
        missing_ok=missing_ok,
        new_table=new_table,
        prefixes=prefixes,
        bucket=bucket,
        audit_uri=audit_uri,
    )
    return carry_out(job, Holding, hold_batch)
