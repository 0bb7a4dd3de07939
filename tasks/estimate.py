"""A forecast as Prefect carries it out: a survey of each day, headers of a sample, an artifact. Writes nothing."""

from collections.abc import Sequence

from prefect.artifacts import create_markdown_artifact
from prefect.logging import get_run_logger

from recordings.estimate import Forecast, Survey
from recordings.finding import Finding
from recordings.formatting import plural, usd
from recordings.plan import list_day, survey_of
from recordings.preflight.checks import check_prefixes, kept_for
from recordings.pricing import prices
from recordings.recording import Day, span
from recordings.reports.forecast import forecast_page
from recordings.run import Run
from recordings.settings import settings
from tasks.run import forecast_survey
from tasks.runner import Chunk
from tasks.stage import stage
from tasks.workplace import workplace


def look_at_prefixes(run: Run) -> list[Finding]:
    """Findings on the run's prefixes, and how long the bucket keeps what lies below them."""
    store = workplace(run).store
    return [*check_prefixes(store, run.prefixes), kept_for(store, run.prefixes)]


@stage(task_run_name="survey {chunk}")
def survey_days(chunk: Chunk[Day], run: Run) -> Survey:
    """The totals of the days' recordings that are left to archive, and a sample of them."""
    place = workplace(run)
    return survey_of(list_day(place.store, place.files, day, run) for day in chunk.days)


def publish_forecast(
    run: Run, surveys: Sequence[Survey], findings: Sequence[Finding] = (), *, runs: int = 1
) -> Forecast:
    """The forecast over all days, if they are archived in this number of ``runs``; also published as an artifact."""
    total = Survey([], prices())
    for survey in surveys:
        total.add(survey)
    ahead = forecast_survey(run, total, runs)
    page = forecast_page(run, ahead, findings, settings().retention_years)
    days = span(run.start_date, run.end_date)
    create_markdown_artifact(page, key="savings-forecast", description=f"{run.bucket}, {days}")
    if prices().is_old(run.scheduled_at.date()):
        get_run_logger().warning("the price list is more than a year old: its prices are of %s", prices().as_of)
    saved = usd(ahead.saved_month.expected)
    get_run_logger().info("%s left to archive would save %s per month", plural(ahead.recordings, "recording"), saved)
    return ahead
