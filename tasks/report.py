"""The savings report as Prefect carries it out: sums of the audit table, files beside it, an artifact."""

from datetime import date
from pathlib import Path

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.logging import get_run_logger
from prefect.runtime import flow_run

from recordings.errors import AuditDamaged, InvalidRequest, StoreRefused, StoreUnavailable
from recordings.pricing import load_prices, prices
from recordings.request import check_dates
from recordings.savings.estate import (
    EstateIncomplete,
    InstanceFigures,
    estate_file,
    estate_heading,
    estate_report,
    problems,
)
from recordings.savings.figures import Figures, figures
from recordings.savings.files import report_files
from recordings.savings.page import heading, savings_report
from recordings.savings.sums import Savings, check_days, savings
from recordings.settings import settings
from recordings.table.evidence import check_table
from recordings.table.files import AuditFiles, audit_location, open_table
from tasks.artifacts import publish
from tasks.schedule import scheduled_on
from tasks.watching import Outcome, announce, watched
from tasks.workplace import session, session_in


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
    if key_figures.originals_overdue:
        payload = {"overdue": key_figures.originals_overdue, "usd_per_month": round(key_figures.usd_originals, 2)}
        announce("originals-overdue", f"originals.{audit_location(audit_uri)}", audit_uri, payload)
    return key_figures


@task(task_run_name="sum up {name}", cache_policy=NO_CACHE, persist_result=False)
def figures_of(
    name: str, audit_uri: str, role_arn: str, price_list: str, start: date | None, end: date | None
) -> InstanceFigures:
    """The key figures of one instance, or why there are none. Raises InvalidRequest for dates that make no sense."""
    check_dates(start, end)
    try:
        charged = load_prices(Path(price_list)) if price_list else prices()
        files = _files(audit_uri, role_arn)
        check_table(files, audit_uri)
        check_days(files, start, end)
        found = figures(savings(files, charged, start, end), charged, scheduled_on(), settings().retention_years)
    except (InvalidRequest, AuditDamaged, StoreRefused, StoreUnavailable) as error:
        return InstanceFigures(name=name, problem=str(error))
    return InstanceFigures(name=name, figures=found)


@task(task_run_name="publish report", cache_policy=NO_CACHE, persist_result=False)
def publish_estate(audit_uri: str, role_arn: str, instances: list[InstanceFigures]) -> list[InstanceFigures]:
    """Write the page beside this table, and the artifact. Raises EstateIncomplete if an instance is missing."""
    missing = problems(instances)
    if len(missing) == len(instances):
        raise EstateIncomplete("; ".join(missing))
    page = estate_file(instances, scheduled_on(), str(flow_run.id))
    _files(audit_uri, role_arn).create(page.name, page.content)
    address = f"{audit_location(audit_uri)}/{page.name}"
    report = estate_report(instances, scheduled_on(), address)
    publish(report, key="estate-report", description=estate_heading(instances))
    get_run_logger().info("report: %s", address)
    if missing:
        raise EstateIncomplete("; ".join(missing))
    return instances


def outcome_of_report(key_figures: Figures) -> Outcome:
    """What watchers are told of a report: the originals that cost money until they are released."""
    figures = {
        "OriginalsWaiting": key_figures.originals_waiting,
        "OriginalsOverdue": key_figures.originals_overdue,
    }
    return Outcome(counts=True, figures=figures)


WATCHED = watched(outcome_of_report)


def _files(audit_uri: str, role_arn: str = "") -> AuditFiles:
    return open_table(audit_uri, session_in(role_arn) if role_arn else session())
