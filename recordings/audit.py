"""The end of a wave: a row for each of its recordings, whichever stage failed, written to the audit table."""

from collections.abc import Sequence

from recordings.accounting import ended, unfinished
from recordings.files import AuditFiles
from recordings.manifest import BatchRows, ManifestFile, ManifestRow, Status, write_rows
from recordings.recording import Batch
from recordings.resample import listed_row
from recordings.run import Run
from recordings.summary import Tally, tally

_FAILURES_SHOWN = 100

StageOutcome = BatchRows | BaseException | None  # None: never begun, because an earlier stage failed


class WaveResult:
    """What a wave came to. A plain class, as Batch is."""

    __slots__ = ("failures", "files", "tally")

    def __init__(self, files: Sequence[ManifestFile], tally: Tally, failures: Sequence[ManifestRow]) -> None:
        self.files = tuple(files)
        self.tally = tally
        self.failures = tuple(failures)  # a sample, for people to read


def audit_wave(
    files: AuditFiles, run: Run, number: int, wave: Sequence[Batch], stages: Sequence[Sequence[StageOutcome]]
) -> WaveResult:
    """Write the wave's rows. ``stages`` holds, in their order, each stage's outcomes for the wave's batches."""
    outcomes_by_batch = zip(*stages, strict=True)
    rows = [
        row
        for batch, outcomes in zip(wave, outcomes_by_batch, strict=True)
        for row in completed_rows(batch, outcomes, run)
    ]
    written = write_rows(files, rows, run_id=run.run_id, wave=number)
    failures = [row for row in rows if row.status in (Status.FAILED, Status.REJECTED, Status.CHANGED)]
    failures.sort(key=lambda row: row.status is not Status.FAILED)  # in a sample, what failed must not be missing
    return WaveResult(written, tally(rows), failures[:_FAILURES_SHOWN])


def completed_rows(batch: Batch, outcomes: Sequence[StageOutcome], run: Run) -> list[ManifestRow]:
    """The rows of the last stage that worked; if that is not the last one, what nobody proved counts as failed."""
    *_, last = outcomes
    if isinstance(last, BatchRows):
        return list(last.rows)
    error = next((f"{type(each).__name__}: {each}" for each in outcomes if isinstance(each, BaseException)), "unknown")
    reached = next((each.rows for each in reversed(outcomes) if isinstance(each, BatchRows)), None)
    if reached is None:
        return [ended(listed_row(each, run), Status.FAILED, f"stage-failed: {error}") for each in batch.recordings]
    return [unfinished(row, error) for row in reached]
