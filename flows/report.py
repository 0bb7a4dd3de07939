"""Report what archiving has saved, from the audit table alone."""

from prefect import flow

from flows.parameters import Day
from recordings.savings.figures import Figures
from tasks.names import name_of_savings
from tasks.report import publish_report, sum_up


@flow(name="report-savings", flow_run_name=name_of_savings, persist_result=False)
def report_savings(audit_uri: str, start_date: Day = None, end_date: Day = None) -> Figures:
    """Publish a page with charts, CSV files and an Excel workbook beside the table, and the key figures as an artifact.

    Args:
        audit_uri: The audit table: s3://bucket/prefix or a local folder.
        start_date: First UTC day of calls. Empty: the first in the table.
        end_date: Last UTC day of calls. Empty: the last in the table.

    Returns:
        The key figures.

    Raises:
        InvalidRequest: The parameters make no sense, no audit table lies there, or it has no calls of these dates.
            Nothing was written.
        AuditDamaged: A file of the table cannot be read; the error names it. Nothing was written.
    """
    savings = sum_up(audit_uri, start_date, end_date)
    return publish_report(audit_uri, savings)
