"""The savings report as Prefect carries it out: sums of the audit table, files beside it, an artifact."""

from datetime import date

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.logging import get_run_logger
from prefect.runtime import flow_run

from recordings.pricing import prices
from recordings.request import check_dates
from recordings.savings.figures import Figures, figures
from recordings.savings.files import report_files
from recordings.savings.page import heading, savings_report
from recordings.savings.sums import Savings, check_days, savings
from recordings.settings import settings
from recordings.table.evidence import check_table
from recordings.table.files import AuditFiles, audit_location, open_table
from tasks.artifacts import publish
from tasks.schedule import scheduled_on
from tasks.workplace import session


@task(task_run_name="sum up {audit_uri}", cache_policy=NO_CACHE, persist_result=False)
def sum_up(audit_uri: str, start: date | None, end: date | None) -> Savings:
    """Sum up the table's rows of these dates. Raises InvalidRequest where there is no table, or no such row."""
    check_dates(start, end)
    files = _files(audit_uri)
    check_table(files, audit_uri)
    check_days(files, start, end)
    return savings(files, prices(), start, end)


@task(task_run_name="publish report", cache_policy=NO_CACHE, persist_result=False)
def publish_report(audit_uri: str, result: Savings) -> Figures:
    """Write the page, CSV files and a workbook beside the audit table, and the artifact that links to them."""
    as_of, retention_years = scheduled_on(), settings().retention_years
    key_figures = figures(result, prices(), as_of, retention_years)
    written = report_files(
        result,
        key_figures,
        prices(),
        audit_uri=audit_uri,
        as_of=as_of,
        years=retention_years,
        run=str(flow_run.id),
    )
    table = _files(audit_uri)
    for file in written:
        table.create(file.name, file.content)
    links = {file.title: f"{audit_location(audit_uri)}/{file.name}" for file in written}
    publish(savings_report(key_figures, links), key="savings-report", description=heading(key_figures))
    get_run_logger().info("report: %s", links["page"])
    return key_figures


def _files(audit_uri: str) -> AuditFiles:
    return open_table(audit_uri, session())
