"""The mapped stages: one task run per day (list) or per batch and stage, never per recording."""

from collections.abc import Callable, Sequence
from typing import Any, ParamSpec, TypeVar

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.tasks import Task

from recordings import audit
from recordings.errors import StoreUnavailable
from recordings.manifest import BatchRows
from recordings.plan import Listing, list_day
from recordings.pool import shared_pool
from recordings.recording import Batch, Day
from recordings.resample import resample_batch
from recordings.run import Run
from recordings.tag import tag_batch
from recordings.verify import verify_batch
from tasks.workplace import workplace

P = ParamSpec("P")
R = TypeVar("R")


def is_transient(_: Task[..., Any], __: Any, state: State[Any]) -> bool:
    """Only what may pass is worth another attempt; inside a batch, each recording has had its own."""
    return isinstance(state.result(raise_on_failure=False), StoreUnavailable)


def stage(task_run_name: str) -> Callable[[Callable[P, R]], Task[P, R]]:
    """A task whose results stay in memory: a cache key or a file of them would cost more than the work."""
    return task(
        task_run_name=task_run_name,
        cache_policy=NO_CACHE,
        persist_result=False,
        retries=2,
        retry_delay_seconds=[5, 30],
        retry_jitter_factor=0.5,
        retry_condition_fn=is_transient,
    )


@stage(task_run_name="list {day}")
def list_recordings(day: Day, run: Run) -> Listing:
    """The day's recordings that the audit table has not settled."""
    return list_day(workplace(run).store, day, run)


@stage(task_run_name="resample {batch}")
def resample_recordings(batch: Batch, run: Run) -> BatchRows:
    """Convert, judge and replace each recording of the batch."""
    return BatchRows(batch, resample_batch(workplace(run).store, batch, run, shared_pool()))


@stage(task_run_name="verify {resampled}")
def verify_recordings(resampled: BatchRows, run: Run) -> BatchRows:
    """Have S3 prove what the rows claim."""
    return BatchRows(
        resampled.batch, verify_batch(workplace(run).store, resampled.rows, shared_pool(), run.readback_percent)
    )


@stage(task_run_name="tag {verified}")
def tag_recordings(verified: BatchRows, run: Run) -> BatchRows:
    """Tag each verified replacement: the commit."""
    return BatchRows(verified.batch, tag_batch(workplace(run).store, verified.rows, shared_pool()))


@stage(task_run_name="audit wave {number}")
def audit_wave(
    number: int,
    wave: Sequence[Batch],
    run: Run,
    resampled: Sequence[audit.StageOutcome],
    verified: Sequence[audit.StageOutcome],
    tagged: Sequence[audit.StageOutcome],
) -> audit.WaveResult:
    """Write the rows of the wave's recordings, whichever stage failed."""
    return audit.audit_wave(workplace(run).files, run, number, wave, (resampled, verified, tagged))
