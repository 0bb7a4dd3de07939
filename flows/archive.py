"""Archive the call recordings of a date window: resample, replace, verify, tag, and write an audit row for each."""

from prefect import allow_failure, flow, unmapped

from flows.parameters import AgeDays, BatchSize, Day, LookbackDays, Percent, ProfileName, StorageClass, Words
from recordings.plan import Plan, days_of
from recordings.profiles import DEFAULT
from recordings.request import BATCH_SIZE, LOOKBACK_DAYS, MIN_AGE_DAYS, READBACK_PERCENT
from recordings.run import STORAGE_CLASS, plan_run
from recordings.summary import RunSummary
from tasks.names import run_namer
from tasks.run import WATCHED, Progress, begin_run, end_run, open_ledger, preflight, runs_that_died, this_flow_run
from tasks.runner import bounded, chunks_of
from tasks.stages import day_by_day, enter_wave, list_recordings, resample_recordings, tag_recordings, verify_recordings
from tasks.workplace import at_work


@flow(
    name="archive-recordings",
    flow_run_name=run_namer("archive"),
    task_runner=bounded(),
    persist_result=False,
    **WATCHED,
)
def archive_recordings(
    bucket: str,
    prefixes: list[str],
    audit_uri: str,
    start_date: Day = None,
    end_date: Day = None,
    dry_run: bool = False,
    accept: list[str] = [],  # noqa: B006 (never changed)
    include_held: bool = False,
    profile: ProfileName = DEFAULT.name,
    storage_class: StorageClass = STORAGE_CLASS,
    overwrite_converted: bool = False,
    min_age_days: AgeDays = MIN_AGE_DAYS,
    lookback_days: LookbackDays = LOOKBACK_DAYS,
    readback_percent: Percent = READBACK_PERCENT,
    batch_size: BatchSize = BATCH_SIZE,
    archive_unprofitable: bool = False,
    shard: Words = "",
) -> RunSummary:
    """Each recording of the window ends up provably converted or untouched, with a row in the audit table.

    Args:
        bucket: The bucket that Amazon Connect writes to.
        prefixes: Where the recordings lie, like connect/my-instance/CallRecordings/. Their ivr/ folders are included.
        audit_uri: The audit table: s3://bucket/prefix, or a local folder.
        start_date: First UTC day of calls. Empty: as many days as lookback_days says, up to end_date.
        end_date: Last UTC day of calls. Empty: min_age_days before the day for which the run is scheduled.
        dry_run: Only say what would be done, and what it would save and cost. Nothing is written.
        accept: Codes of the risks found by preflight that you accept, such as retention-restarts. Empty: none.
        include_held: Also archive recordings under legal hold; their replacements are held, too.
        profile: The format to convert to. flac-stereo and opus-dual put FLAC and Opus, not WAV, under keys
            that end in .wav.
        storage_class: The S3 storage class of the converted recordings.
        overwrite_converted: Convert again recordings that are already converted, always from their originals.
        min_age_days: Calls less than this many days old are left alone.
        lookback_days: How many days to look at where start_date is empty.
        readback_percent: Percentage of the converted recordings that are read back, decoded and compared.
        batch_size: How many recordings one task run works on.
        archive_unprofitable: Also archive recordings that cost more archived than moved by a plain lifecycle rule.
            Where ARCHIVE_SKIP_UNPROFITABLE is false, runs archive these recordings in any case.
        shard: Only recordings whose contact id begins with this; a backfill splits a large day this way. Empty: all.

    Returns:
        The run's summary, if every recording is accounted for and none failed.

    Raises:
        RunFailed: Something failed. Carries the summary; rows and record are written all the same.
        InvalidRequest: The parameters or the bucket do not permit the run. Nothing was touched.
        StoreRefused: No such bucket, or no permission. Nothing was touched.
    """
    run = plan_run(
        **this_flow_run(),
        bucket=bucket,
        prefixes=prefixes,
        audit_uri=audit_uri,
        start_date=start_date,
        end_date=end_date,
        dry_run=dry_run,
        accept=accept,
        include_held=include_held,
        profile=profile,
        storage_class=storage_class,
        overwrite_converted=overwrite_converted,
        min_age_days=min_age_days,
        lookback_days=lookback_days,
        readback_percent=readback_percent,
        batch_size=batch_size,
        archive_unprofitable=archive_unprofitable,
        shard=shard,
    )
    with at_work(run):
        findings = preflight(run)
        dead = runs_that_died(run)
        begin_run(run)
        chunks = chunks_of(days_of(run, dead))
        listings = list_recordings.map(chunks, unmapped(run)).result(raise_on_failure=False)
        plan = Plan(*day_by_day(chunks, listings), run)
        progress = Progress(plan)
        ledger = open_ledger(run)
        for number, wave in enumerate(plan.waves, start=1):
            resampled = resample_recordings.map(wave, unmapped(run))
            verified = verify_recordings.map(allow_failure(resampled), unmapped(run))
            tagged = tag_recordings.map(allow_failure(verified), unmapped(run))
            stages = (allow_failure(resampled), allow_failure(verified), allow_failure(tagged))
            last = number == len(plan.waves)
            enter_wave.submit(number, wave, ledger, last, *stages).result(raise_on_failure=False)
            progress.wave_ended(number)
        return end_run(run, dead, plan, findings, ledger)
