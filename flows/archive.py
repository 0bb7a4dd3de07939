"""Archive the call recordings of a date window: resample, replace, verify, tag, account for each."""

from collections.abc import Sequence
from datetime import date
from typing import Annotated, Any

from prefect import allow_failure, flow, unmapped
from prefect.task_runners import ThreadPoolTaskRunner
from pydantic import Field

from recordings.audio import PROFILES
from recordings.plan import Plan, days_of
from recordings.run import STORAGE_CLASSES
from recordings.settings import settings
from recordings.summary import RunSummary
from tasks.run import Progress, begin_run, end_run, open_record, preflight
from tasks.stages import audit_wave, list_recordings, resample_recordings, tag_recordings, verify_recordings


def _one_of(names: Sequence[str], description: str) -> Any:
    return Field(description=description, json_schema_extra={"enum": list(names)})


@flow(
    name="archive-recordings",
    flow_run_name="archive {bucket}",
    task_runner=ThreadPoolTaskRunner(max_workers=settings().batches_in_flight),  # type: ignore[arg-type]  # invariant
    persist_result=False,
)
def archive_recordings(
    bucket: Annotated[str, Field(description="Bucket that Amazon Connect writes to")],
    prefixes: Annotated[list[str], Field(description="Where its recordings lie: connect/<alias>/CallRecordings/")],
    audit_uri: Annotated[str, Field(description="The audit table: s3://bucket/prefix or a local folder")],
    start_date: Annotated[
        date | None, Field(description="First UTC day; by default lookback_days before the last")
    ] = None,
    end_date: Annotated[
        date | None, Field(description="Last UTC day; by default min_age_days before the schedule")
    ] = None,
    min_age_days: Annotated[int, Field(ge=0, description="Younger recordings are left alone")] = 7,
    lookback_days: Annotated[int, Field(ge=1, description="Days in the window if no start_date is given")] = 7,
    profile: Annotated[str, _one_of([*PROFILES], "What recordings become")] = "alaw-mono",
    storage_class: Annotated[str, _one_of(STORAGE_CLASSES, "Where they are kept")] = "GLACIER_IR",
    dry_run: Annotated[bool, Field(description="Only say what would be done; nothing is written")] = False,
    overwrite_converted: Annotated[
        bool, Field(description="Convert again what is converted, from its original")
    ] = False,
    include_held: Annotated[bool, Field(description="Also archive recordings under legal hold, hold and all")] = False,
    accept: Annotated[list[str], Field(description="Risks found by preflight that you accept, by code")] = [],  # noqa: B006 (never changed)
    batch_size: Annotated[int, Field(ge=1, le=1000, description="Recordings per batch")] = 200,
    readback_percent: Annotated[float, Field(ge=0, le=100, description="Share of results read back and decoded")] = 1.0,
) -> RunSummary:
    """Each recording of the window ends provably converted or untouched, with a row in the audit table.

    Returns the run's summary if every recording is accounted for and none failed; raises ``RunFailed`` carrying it
    otherwise. Raises ``InvalidRequest`` before anything is touched if parameters or bucket do not permit the run.
    """
    run = begin_run(**locals())
    findings = preflight(run)
    dead = open_record(run)
    listings = list_recordings.map(days_of(run, dead), unmapped(run)).result()
    plan = Plan(listings, run)
    progress = Progress(plan)
    outcomes = []
    for number, wave in enumerate(plan.waves, start=1):
        resampled = resample_recordings.map(wave, unmapped(run))
        verified = verify_recordings.map(resampled, unmapped(run))
        tagged = tag_recordings.map(verified, unmapped(run))
        stages = (allow_failure(resampled), allow_failure(verified), allow_failure(tagged))
        outcomes.append(audit_wave.submit(number, wave, run, *stages).result(raise_on_failure=False))
        progress.wave_ended(number)
    return end_run(run, dead, plan, findings, outcomes)
