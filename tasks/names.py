"""Names of flow runs: the action and the days, so that people can read a list of runs."""

from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Any

from prefect.runtime import flow_run

from recordings.recording import open_span, span
from recordings.run import window


def named(verb: str) -> Callable[[], str]:
    """A function that Prefect calls for a name: ``archive 2026-01-17``, ``dry run: backfill 2026-01 ... 2026-03``."""
    return lambda: name_of(verb, flow_run.parameters, scheduled_on())


def name_of(verb: str, parameters: dict[str, Any], scheduled_on: date) -> str:
    """The name of a run with these parameters; without days where the dates are invalid, which the run reports."""
    try:
        first, last = window(
            scheduled_on,
            parameters.get("start_date"),
            parameters.get("end_date"),
            min_age_days=parameters.get("min_age_days", 7),
            lookback_days=parameters.get("lookback_days", 7),
        )
        days = span(first, last)
    except (ValueError, OverflowError):
        days = ""
    dry = "dry run: " if parameters.get("dry_run") else ""
    return f"{dry}{' '.join(filter(None, (verb, days, parameters.get('shard'))))}"


def named_report() -> str:
    """The name of a savings report: ``savings report 2026-01``, ``savings report, all days``."""
    days = open_span(flow_run.parameters["start_date"], flow_run.parameters["end_date"])
    return f"savings report {days}" if days else "savings report, all days"


def scheduled_on() -> date:
    """The UTC day for which this flow run was scheduled."""
    return datetime.fromtimestamp(flow_run.scheduled_start_time.timestamp(), UTC).date()
