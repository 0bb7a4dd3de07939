"""Names of flow runs, as Prefect asks for them; ``recordings.reports.names`` has the words."""

from collections.abc import Callable

from prefect.runtime import flow_run

from recordings.reports.names import job_name, run_name, savings_name
from recordings.table.records import Kind
from tasks.schedule import scheduled_on


def run_namer(verb: str) -> Callable[[], str]:
    """A function that Prefect calls for the name of an archiving run, a backfill or an estimate."""
    return lambda: run_name(verb, flow_run.parameters, scheduled_on())


def job_namer(kind: Kind) -> Callable[[], str]:
    """A function that Prefect calls for the name of a job that follows archiving, or of an export."""
    return lambda: job_name(kind, flow_run.parameters, scheduled_on())


def name_of_savings() -> str:
    """The name of a savings report."""
    return savings_name(flow_run.parameters)


def name_of_estate() -> str:
    """The name of a report on several instances."""
    return f"{savings_name(flow_run.parameters)}, all instances"
