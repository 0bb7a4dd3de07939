"""The stages of archiving: one task run per group of days (list) or per batch and stage, never per recording."""

from collections.abc import Sequence

from prefect.client.schemas.objects import State
from prefect.states import Failed

from recordings.formatting import plural
from recordings.ledger import Ledger, StageOutcome
from recordings.plan import Listing, list_day
from recordings.pool import shared_pool
from recordings.recording import Batch, Day
from recordings.reports.failures import first_three
from recordings.resample import resample_batch
from recordings.run import Run
from recordings.table.rows import BatchRows, Status
from recordings.tag import tag_batch
from recordings.verify import verify_batch
from tasks.runner import Chunk
from tasks.stage import shown, stage
from tasks.workplace import workplace

Listed = Listing | BaseException  # or why the day could not be listed


@stage(task_run_name="list {days}")
def list_recordings(days: Chunk[Day], run: Run) -> list[Listed]:
    """The recordings of each day that no earlier run has accounted for. Raises only if no day could be listed."""
    listings = [_listed(day, run) for day in days.days]
    errors = [each for each in listings if isinstance(each, BaseException)]
    if len(errors) == len(listings):
        raise errors[0]  # the whole task may be tried again
    return shown(listings, f"could not list {plural(len(errors), 'day')}: {errors[0]}" if errors else "")


def _listed(day: Day, run: Run) -> Listed:
    place = workplace(run)
    try:
        return list_day(place.store, place.files, day, run)
    except Exception as error:  # a day that cannot be listed costs that day alone
        return error


def day_by_day(
    chunks: Sequence[Chunk[Day]], outcomes: Sequence[list[Listed] | BaseException]
) -> tuple[list[Day], list[Listed]]:
    """Each day of these chunks, and what listing it came to."""
    listings: list[Listed] = []
    for chunk, outcome in zip(chunks, outcomes, strict=True):
        listings += [outcome] * len(chunk.days) if isinstance(outcome, BaseException) else outcome
    return [day for chunk in chunks for day in chunk.days], listings


class NotBegun(Exception):
    """The stage before this one failed with the whole batch."""


BatchTold = BatchRows | State[BatchRows]  # a failed state, which carries the rows, if a recording failed in this stage


def told(rows: BatchRows, before: BatchRows | None = None) -> BatchTold:
    """The rows, in a task run that is red if a recording failed in this stage; later stages go on with the rows."""
    failed_before = {row.key for row in before.rows if row.status is Status.FAILED} if before else set()
    failed = [row for row in rows.rows if row.status is Status.FAILED and row.key not in failed_before]
    if not failed:
        return rows
    return Failed(
        message=f"{len(failed):,} of {plural(len(rows.rows), 'recording')} failed: {first_three(failed)}", data=rows
    )


def rows_from(before: BatchRows | BaseException) -> BatchRows:
    """The rows that the previous stage returned. Raises NotBegun if it failed as a whole."""
    if isinstance(before, BatchRows):
        return before
    raise NotBegun("the stage before this one failed with the whole batch")


@stage(task_run_name="resample {batch}")
def resample_recordings(batch: Batch, run: Run) -> BatchTold:
    """Convert, judge and replace each recording of the batch."""
    return told(BatchRows(batch, resample_batch(workplace(run).store, batch, run, shared_pool())))


@stage(task_run_name="verify {resampled}")
def verify_recordings(resampled: BatchRows | BaseException, run: Run) -> BatchTold:
    """Let S3 prove what the rows claim."""
    before = rows_from(resampled)
    rows = verify_batch(workplace(run).store, before.rows, shared_pool(), run.readback_percent)
    return told(BatchRows(before.batch, rows), before)


@stage(task_run_name="tag {verified}")
def tag_recordings(verified: BatchRows | BaseException, run: Run) -> BatchTold:
    """Tag each verified replacement: the commit."""
    before = rows_from(verified)
    return told(BatchRows(before.batch, tag_batch(workplace(run).store, before.rows, shared_pool())), before)


@stage(task_run_name="account for wave {number}")
def enter_wave(
    number: int,
    wave: Sequence[Batch],
    ledger: Ledger,
    last: bool,
    resampled: Sequence[StageOutcome],
    verified: Sequence[StageOutcome],
    tagged: Sequence[StageOutcome],
) -> None:
    """Enter the rows of a wave (a few batches) in the ledger; write the gathered rows if they are due."""
    ledger.enter_wave(number, wave, (resampled, verified, tagged), last=last)
