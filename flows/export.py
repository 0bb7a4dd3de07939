"""Hand recordings over as evidence: a BagIt bag of audio, rows, figures and checksums."""

from prefect import flow
from prefect.runtime import flow_run

from flows.parameters import Day, VersionName, Words
from recordings.handover.export import ExportSummary, plan_export
from recordings.table.records import Kind
from tasks.export import end_export, export_bag
from tasks.names import job_namer
from tasks.runner import bounded
from tasks.workplace import at_work


@flow(name="export-recordings", flow_run_name=job_namer(Kind.EXPORT), task_runner=bounded(), persist_result=False)
def export_recordings(
    *,
    contact_ids: list[str] | None = None,
    keys: list[str] | None = None,
    start_date: Day = None,
    end_date: Day = None,
    prefixes: list[str] | None = None,
    run_id: Words = "",
    case: Words = "",
    version: VersionName = "replacement",
    as_pcm: bool = False,
    dry_run: bool = True,
    destination_uri: str,
    bucket: str,
    audit_uri: str,
) -> ExportSummary:
    """Write recordings, and all that the audit table says about them, into a new BagIt bag. Nothing else is changed.

    Each recording in the bag has exactly the bytes that the audit table names; the run leaves all others out and names
    them. With contacts, keys or only a case, the bag also has Contact Lens's analyses of the contacts, with
    transcripts. With contacts, the bag also has recordings of these contacts that no run has archived.

    Args:
        contact_ids: Contact ids of the calls, one in each field. Empty: all contacts.
        keys: Keys of the recordings, one in each field. Empty: all keys.
        start_date: First UTC day of calls. Empty: no earliest day.
        end_date: Last UTC day of calls. Empty: no latest day.
        prefixes: Only below these, like connect/my-instance/CallRecordings/. Empty: all prefixes.
        run_id: Only recordings for which the run with this id wrote rows. Empty: all runs.
        case: The name of the case, which labels the bag. If contacts, keys, dates and run_id are empty, the bag has
            everything that the case holds now; if one of them is filled in, the case selects nothing. Empty: no case.
        version: The replacement, which is what people hear in Connect, or the original, if it is still there.
        as_pcm: Expand A-law, FLAC and Opus to 16-bit PCM, which every program plays. The index has the checksum of
            what was stored.
        dry_run: Only say what would be handed over and what reading that costs. Switch it off to write the bag.
        destination_uri: A new folder for the bag: s3://bucket/prefix, or a folder on the machine of the run. In the
            audit bucket, the deployed role may write bags only below folders named _exports/.
        bucket: The bucket that Amazon Connect writes to.
        audit_uri: The audit table. The run's records there say what was handed over, and who started the export.

    Returns:
        The summary: how many recordings are in the bag, and what S3 charges for reading them.

    Raises:
        ExportFailed: Something that was asked for is not in the bag: it is unknown, gone, or has other bytes than the
            audit table says. The bag has all others. Carries the summary.
        InvalidRequest: Nothing is selected, the destination is not new, or a parameter is wrong. Nothing was read.
    """
    export = plan_export(
        flow_run_id=str(flow_run.id),
        contact_ids=contact_ids,
        keys=keys,
        start_date=start_date,
        end_date=end_date,
        prefixes=prefixes,
        of_run=run_id,
        case=case,
        version=version,
        as_pcm=as_pcm,
        dry_run=dry_run,
        destination_uri=destination_uri,
        bucket=bucket,
        audit_uri=audit_uri,
    )
    with at_work(export):
        return end_export(export_bag(export))
