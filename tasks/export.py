"""An export of evidence as Prefect carries it out: one task run, which writes the bag."""

from prefect.logging import get_run_logger
from prefect.runtime import flow_run

from recordings.formatting import plural
from recordings.handover.export import Export, ExportFailed, ExportSummary
from recordings.handover.hand import hand_over
from recordings.jobs.cases import keys_held_for
from recordings.pool import shared_pool
from recordings.table.evidence import check_table
from tasks.artifacts import publish
from tasks.circumstances import circumstances
from tasks.jobs import once
from tasks.workplace import workplace


def named_export() -> str:
    """The name of an export: ``dry run: export 2 contacts of calls, case 4711``."""
    given = flow_run.parameters
    asked = ((given["contact_ids"], "contact"), (given["keys"], "key"))
    what = ", ".join(plural(len(entries), noun) for entries, noun in asked if entries) or "recordings"
    case = f", case {given['case'].strip()}" if (given["case"] or "").strip() else ""
    return f"{'dry run: ' if given['dry_run'] else ''}export {what} of {given['bucket']}{case}"


@once(task_run_name="hand over")
def export_bag(export: Export) -> ExportSummary:
    """Write the bag, or, in a dry run, say what reading the recordings would cost."""
    place, bucket = workplace(export), export.destination.bucket
    destination = None if bucket is None else place.destination_store(bucket)
    check_table(place.files, export.audit_uri)
    held = keys_held_for(export.case, place.files, export.bucket, export.prefixes) if export.is_by_case else ()
    told = None if export.dry_run else circumstances()
    return hand_over(export, place.store, place.files, shared_pool(), destination, held, told)


def end_export(summary: ExportSummary) -> ExportSummary:
    """Publish the summary and return it. Raises ExportFailed if something that was asked for is not in the bag."""
    page = "\n".join(["# Evidence handed over", "", str(summary), "", *(f"- {each}" for each in summary.problems)])
    publish(page, key="export-report", description=str(summary))
    if summary.problems:
        raise ExportFailed(summary)
    get_run_logger().info("%s", summary)
    return summary
