"""An export of evidence as Prefect carries it out: one task run, which writes the bag."""

from prefect.logging import get_run_logger

from recordings.handover.export import Export, ExportFailed, ExportSummary
from recordings.handover.hand_over import hand_over
from recordings.jobs.engine.cases import keys_held_for
from recordings.pool import shared_pool
from recordings.reports.export import export_report
from recordings.table.evidence import check_table
from tasks.artifacts import publish
from tasks.circumstances import circumstances
from tasks.jobs import once
from tasks.workplace import workplace


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
    publish(export_report(summary), key="export-report", description=str(summary))
    if summary.problems:
        raise ExportFailed(summary)
    get_run_logger().info("%s", summary)
    return summary
