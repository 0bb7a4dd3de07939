"""Archive a long date range: a run for each day, a few at a time, each day once."""

from datetime import date
from typing import Annotated

from prefect import flow
from pydantic import Field

from flows.archive import archive_recordings, one_of
from recordings.audio import PROFILES
from recordings.backfill import BackfillSummary
from recordings.run import STORAGE_CLASSES
from tasks.backfill import begin_backfill, carry_out, cut_into_portions, end_backfill


@flow(name="backfill-recordings", flow_run_name="backfill {bucket} {start_date} to {end_date}", persist_result=False)
def backfill_recordings(
    bucket: str,
    prefixes: list[str],
    audit_uri: str,
    start_date: date,
    end_date: date,
    max_parallel: Annotated[int, Field(ge=1, le=64)] = 4,
    shard_above: Annotated[int, Field(ge=1)] = 100_000,
    deployment: str = "",
    min_age_days: Annotated[int, Field(ge=0)] = 7,
    profile: Annotated[str, one_of([*PROFILES])] = "alaw-mono",
    storage_class: Annotated[str, one_of(STORAGE_CLASSES)] = "GLACIER_IR",
    include_held: bool = False,
    accept: list[str] = [],  # noqa: B006 (never changed)
    batch_size: Annotated[int, Field(ge=1, le=1000)] = 200,
    readback_percent: Annotated[float, Field(ge=0, le=100)] = 1.0,
) -> BackfillSummary:
    """Each day is archived by a run of its own; days that a run has finished before are not run again.

    Args:
        bucket: The bucket that Amazon Connect writes to.
        prefixes: Where its recordings lie, as connect/my-instance/CallRecordings/. Their ivr/ folders are included.
        audit_uri: The audit table: s3://bucket/prefix, or a local folder.
        start_date: First UTC day of calls.
        end_date: Last UTC day of calls.
        max_parallel: Runs at once.
        shard_above: A day with more recordings is cut by the first letters of their contact ids.
        deployment: What archives a day, as archive-recordings/archive-day. Left out: this process, day after day.
        min_age_days: Younger recordings are left alone.
        profile: What recordings become. flac-stereo puts FLAC, not WAV, under keys that end in .wav.
        storage_class: Where they are kept.
        include_held: Also archive recordings under legal hold; the hold goes with them.
        accept: Codes of the risks found by preflight that you accept, as unversioned.
        batch_size: Recordings in a batch, the unit of a task run.
        readback_percent: Share of the results that is read back, decoded, and compared.

    Returns:
        The summary over all days, if all are finished.

    Raises:
        BackfillFailed: Some are not; names them. Run it again, or retry it, for these.
        InvalidRequest: The parameters or the bucket do not permit it. Nothing was touched.
    """
    backfill = begin_backfill(**locals())
    portions = cut_into_portions(backfill)
    states = carry_out(backfill, portions, archive_recordings)
    return end_backfill(backfill, portions, states)
