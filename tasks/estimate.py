"""A forecast as Prefect carries it out: a survey of each day, headers of a sample, an artifact. Nothing is written."""

from collections.abc import Sequence
from datetime import date
from typing import Any

from prefect.artifacts import create_markdown_artifact
from prefect.logging import get_run_logger

from recordings.estimate import Forecast, Survey
from recordings.plan import list_day, survey_of
from recordings.preflight import check_prefixes
from recordings.pricing import prices
from recordings.recording import Day
from recordings.reporting import forecast_report
from recordings.run import Run
from recordings.settings import settings
from tasks.run import begin_run, forecast_survey
from tasks.stages import stage
from tasks.workplace import workplace


def begin_estimate(**parameters: Any) -> Run:
    """The archiving run that these flow parameters would start, as a dry run. Raises InvalidRequest."""
    run = begin_run(
        **parameters,
        dry_run=True,
        overwrite_converted=False,
        include_held=False,
        accept=[],
        batch_size=200,
        readback_percent=0.0,
    )
    check_prefixes(workplace(run).store, run.prefixes)
    return run


@stage(task_run_name="survey {day}")
def survey_day(day: Day, run: Run) -> Survey:
    """The day's open recordings, added up, and a sample of them."""
    return survey_of([list_day(workplace(run).store, day, run)])


def publish_forecast(run: Run, surveys: Sequence[Survey]) -> Forecast:
    """The forecast over all days, and an artifact that says it."""
    total = Survey([], prices())
    for survey in surveys:
        total.add(survey)
    ahead = forecast_survey(run, total)
    title = f"# {run.bucket}, {run.start_date} to {run.end_date}: {run.profile_name} in {run.storage_class}"
    report = f"{title}\n\n{forecast_report(ahead, settings().retention_years)}"
    create_markdown_artifact(report, key="savings-forecast", description=f"{run.bucket}, {_span(run)}")
    get_run_logger().info(
        "%s recordings, saving %.2f dollars a month", f"{ahead.recordings:,}", ahead.saved_month.expected
    )
    return ahead


def _span(run: Run) -> str:
    first, last = date.isoformat(run.start_date), date.isoformat(run.end_date)
    return first if first == last else f"{first} to {last}"
