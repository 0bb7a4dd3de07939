"""Forecast what archiving a date window would save and cost. Reads only; writes nothing."""

from prefect import flow, unmapped

from flows.parameters import AgeDays, Day, LookbackDays, ProfileName, StorageClass
from recordings.estimate import Forecast
from recordings.plan import days_of
from recordings.profiles import DEFAULT
from recordings.request import BATCH_SIZE, LOOKBACK_DAYS, MIN_AGE_DAYS, READBACK_PERCENT
from recordings.run import STORAGE_CLASS, plan_run
from tasks.estimate import look_at_prefixes, publish_forecast, survey_days
from tasks.names import run_namer
from tasks.run import this_flow_run
from tasks.runner import bounded, chunks_of
from tasks.workplace import at_work


@flow(
    name="estimate-savings",
    flow_run_name=run_namer("estimate"),
    task_runner=bounded(),
    persist_result=False,
)
def estimate_savings(
    bucket: str,
    prefixes: list[str],
    audit_uri: str,
    start_date: Day = None,
    end_date: Day = None,
    profile: ProfileName = DEFAULT.name,
    storage_class: StorageClass = STORAGE_CLASS,
    min_age_days: AgeDays = MIN_AGE_DAYS,
    lookback_days: LookbackDays = LOOKBACK_DAYS,
    archive_unprofitable: bool = False,
) -> Forecast:
    """List the window, read the headers of a random sample, and forecast sizes, cost and saving with their uncertainty.

    The forecast assumes the defaults of archive_recordings for readback_percent and batch_size. For other values, start
    archive_recordings as a dry run.

    Args:
        bucket: The bucket that Amazon Connect writes to.
        prefixes: Where the recordings lie, like connect/my-instance/CallRecordings/. Their ivr/ folders are included.
        audit_uri: The audit table, which need not exist yet: recordings that earlier runs accounted for are left out.
        start_date: First UTC day of calls. Empty: as many days as lookback_days says, up to end_date.
        end_date: Last UTC day of calls. Empty: min_age_days before the day for which the run is scheduled.
        profile: The format that recordings would be converted to.
        storage_class: The S3 storage class of the converted recordings.
        min_age_days: Calls less than this many days old would be left alone.
        lookback_days: How many days to look at where start_date is empty.
        archive_unprofitable: Also archive recordings that cost more archived than moved by a plain lifecycle rule.
            Where ARCHIVE_SKIP_UNPROFITABLE is false, runs archive these recordings in any case.

    Returns:
        The forecast.

    Raises:
        InvalidRequest: The parameters make no sense.
    """
    run = plan_run(
        **this_flow_run(),
        bucket=bucket,
        prefixes=prefixes,
        audit_uri=audit_uri,
        start_date=start_date,
        end_date=end_date,
        dry_run=True,
        accept=[],
        include_held=False,
        profile=profile,
        storage_class=storage_class,
        overwrite_converted=False,
        min_age_days=min_age_days,
        lookback_days=lookback_days,
        readback_percent=READBACK_PERCENT,
        batch_size=BATCH_SIZE,
        archive_unprofitable=archive_unprofitable,
    )
    with at_work(run):
        findings = look_at_prefixes(run)
        surveys = survey_days.map(chunks_of(days_of(run, {})), unmapped(run)).result()
        return publish_forecast(run, surveys, findings)
