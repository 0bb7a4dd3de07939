"""Say what archiving a date window would save and cost. Reads; writes nothing."""

from datetime import date
from typing import Annotated

from prefect import flow, unmapped
from pydantic import Field

from recordings.audio import PROFILES
from recordings.estimate import Forecast
from recordings.plan import days_of
from recordings.run import STORAGE_CLASSES
from tasks.estimate import begin_estimate, publish_forecast, survey_day


@flow(name="estimate-savings", flow_run_name="estimate {bucket}", persist_result=False)
def estimate_savings(
    bucket: str,
    prefixes: list[str],
    audit_uri: str,
    start_date: date | None = None,
    end_date: date | None = None,
    min_age_days: Annotated[int, Field(ge=0)] = 7,
    lookback_days: Annotated[int, Field(ge=1)] = 7,
    profile: Annotated[str, Field(json_schema_extra={"enum": [*PROFILES]})] = "alaw-mono",
    storage_class: Annotated[str, Field(json_schema_extra={"enum": [*STORAGE_CLASSES]})] = "GLACIER_IR",
) -> Forecast:
    """List the window, read the headers of a random sample, and forecast sizes, cost and saving with their uncertainty.

    Args:
        bucket: The bucket that Amazon Connect writes to.
        prefixes: Where its recordings lie: connect/my-instance/CallRecordings/
        audit_uri: The audit table, which need not exist yet: what it has settled is left out.
        start_date: First UTC day; by default lookback_days before the last.
        end_date: Last UTC day; by default min_age_days before the schedule.
        min_age_days: Younger recordings would be left alone.
        lookback_days: Days in the window if no start_date is given.
        profile: What recordings would become.
        storage_class: Where they would be kept.

    Returns:
        The forecast.

    Raises:
        InvalidRequest: The parameters make no sense.
    """
    run = begin_estimate(**locals())
    surveys = survey_day.map(days_of(run, {}), unmapped(run)).result()
    return publish_forecast(run, surveys)
