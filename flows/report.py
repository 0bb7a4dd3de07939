"""Report what archiving has saved, from the audit table alone: in one instance, or in all of them."""

from prefect import flow

from flows.parameters import Day, Tables
from recordings.savings.estate import InstanceFigures
from recordings.savings.figures import Figures
from tasks.names import name_of_estate, name_of_savings
from tasks.report import WATCHED, figures_of, publish_estate, publish_report, sum_up


@flow(name="report-savings", flow_run_name=name_of_savings, persist_result=False, **WATCHED)
def report_savings(audit_uri: str, start_date: Day = None, end_date: Day = None) -> Figures:
    """Publish a page with charts, CSV files and an Excel workbook beside the table, and the key figures as an artifact.

    Args:
        audit_uri: The audit table: s3://bucket/prefix, or a local folder.
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


# Not watched, since metrics are of one instance, and this flow has several. An automation tells if it fails.
@flow(name="report-estate", flow_run_name=name_of_estate, persist_result=False)
def report_estate(tables: Tables, start_date: Day = None, end_date: Day = None) -> list[InstanceFigures]:
    """Publish a page with a line for each instance and the sum, beside the first table and as an artifact.

    Args:
        tables: The audit tables, one for each instance.
        start_date: First UTC day of calls. Empty: the first in each table.
        end_date: Last UTC day of calls. Empty: the last in each table.

    Returns:
        The key figures of each instance.

    Raises:
        InvalidRequest: The parameters make no sense. Nothing was written.
        EstateIncomplete: The page lacks instances whose tables cannot be read; the error names them and says why.
    """
    instances = [figures_of(**table.model_dump(), start=start_date, end=end_date) for table in tables]
    beside = next((table for table, each in zip(tables, instances, strict=True) if each.figures), tables[0])
    return publish_estate(beside.audit_uri, beside.role_arn, instances)
