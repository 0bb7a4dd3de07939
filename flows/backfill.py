"""Archive a long date range: a run for each day, a few at a time, each day once."""

from typing import Annotated

from prefect import flow, unmapped
from pydantic import Field

from flows.archive import archive_recordings
from flows.parameters import AgeDays, BatchSize, Percent, ProfileName, RequiredDay, StorageClass, Words
from recordings.backfill.portions import days_left
from recordings.backfill.summary import BackfillSummary
from recordings.profiles import DEFAULT
from recordings.request import BATCH_SIZE, MIN_AGE_DAYS, READBACK_PERCENT
from recordings.run import STORAGE_CLASS, plan_run
from tasks.backfill import (
    archive_portions,
    begin_backfill,
    cut_into_portions,
    end_backfill,
    end_dry_run,
    say_what_is_worth_it,
)
from tasks.estimate import survey_days
from tasks.names import run_namer
from tasks.run import this_flow_run
from tasks.runner import bounded, chunks_of
from tasks.workplace import at_work


@flow(
    name="backfill-recordings",
    flow_run_name=run_namer("backfill"),
    task_runner=bounded(),
    persist_result=False,
)
def backfill_recordings(
    bucket: str,
    prefixes: list[str],
    audit_uri: str,
    start_date: RequiredDay,
    end_date: RequiredDay,
    dry_run: bool = False,
    max_parallel: Annotated[int, Field(ge=1, le=64)] = 4,
    accept: list[str] = [],  # noqa: B006 (never changed)
    include_held: bool = False,
    profile: ProfileName = DEFAULT.name,
    storage_class: StorageClass = STORAGE_CLASS,
    min_age_days: AgeDays = MIN_AGE_DAYS,
    readback_percent: Percent = READBACK_PERCENT,
    batch_size: BatchSize = BATCH_SIZE,
    archive_unprofitable: bool = False,
    shard_above: Annotated[int, Field(ge=1)] = 100_000,
    deployment: Words = "",
) -> BackfillSummary:
    """Each day is archived by a run of its own; days that a run has finished before are not run again.

    Args:
        bucket: The bucket that Amazon Connect writes to.
        prefixes: Where the recordings lie, like connect/my-instance/CallRecordings/. Their ivr/ folders are included.
        audit_uri: The audit table: s3://bucket/prefix, or a local folder.
        start_date: First UTC day of calls.
        end_date: Last UTC day of calls.
        dry_run: Only say which days are left, and what archiving them would save and cost. Nothing is written.
        max_parallel: How many days are archived at once.
        accept: Codes of the risks found by preflight that you accept, such as retention-restarts. Empty: none.
        include_held: Also archive recordings under legal hold; their replacements are held, too.
        profile: The format to convert to. flac-stereo and opus-dual put FLAC and Opus, not WAV, under keys
            that end in .wav.
        storage_class: The S3 storage class of the converted recordings.
        min_age_days: Calls less than this many days old are left alone.
        readback_percent: Percentage of the converted recordings that are read back, decoded and compared.
        batch_size: How many recordings one task run works on.
        archive_unprofitable: Also archive recordings that cost more archived than moved by a plain lifecycle rule.
            Where ARCHIVE_SKIP_UNPROFITABLE is false, runs archive these recordings in any case.
        shard_above: A day with more recordings than this is split into runs by the first letters of contact ids.
        deployment: The deployment to run for each day, like archive-recordings/archive-day. Empty: this run archives
            the days itself, one after the other.

    Returns:
        The summary over all days, if all are finished; in a dry run, what is left to do.

    Raises:
        BackfillFailed: Some days are not finished; the error names them. Run or retry the backfill to finish them.
        InvalidRequest: The parameters or the bucket do not permit the backfill. Nothing was touched.
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
        overwrite_converted=False,
        min_age_days=min_age_days,
        lookback_days=1,
        readback_percent=readback_percent,
        batch_size=batch_size,
        archive_unprofitable=archive_unprofitable,
    )
    with at_work(run):
        backfill = begin_backfill(
            archive_recordings.name, run, deployment=deployment, max_parallel=max_parallel, shard_above=shard_above
        )
        portions = cut_into_portions(backfill)
        if dry_run:
            days = days_left(backfill.run, portions)
            surveys = survey_days.map(chunks_of(days), unmapped(backfill.run)).result()
            return end_dry_run(backfill, portions, surveys)
        say_what_is_worth_it(backfill, portions)
        ended = archive_portions(backfill, portions, archive_recordings)
        return end_backfill(backfill, portions, ended)
