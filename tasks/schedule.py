"""When the current flow run was scheduled: the dates that were left out count from there."""

from datetime import UTC, date, datetime

from prefect.runtime import flow_run


def scheduled_at() -> datetime:
    """The time for which this flow run was scheduled, in UTC."""
    return datetime.fromtimestamp(flow_run.scheduled_start_time.timestamp(), UTC)


def scheduled_on() -> date:
    """The UTC day for which this flow run was scheduled."""
    return scheduled_at().date()
