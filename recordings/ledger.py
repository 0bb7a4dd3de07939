"""The ledger of a run: one row of the audit table for each recording of a wave, whichever stage failed.

A wave is a group of batches that pass through the stages together: resample, verify, tag.
"""

import time
from collections.abc import Sequence
from datetime import date

from recordings.observed import listed_row
from recordings.outcomes import ended, unfinished
from recordings.recording import Batch
from recordings.run import Run
from recordings.summary import Tally, tally
from recordings.table.files import AuditFiles
from recordings.table.parquet import write_rows
from recordings.table.rows import AuditRow, BatchRows, ManifestFile, Status, failed_first

_FAILURES_SHOWN = 100
_ROWS_OF_A_FILE, _OLDEST_S = 10_000, 300

StageOutcome = BatchRows | BaseException | None  # None: the stage never began, because an earlier stage failed


class Ledger:
    """The rows of a run, gathered until there are enough for a file, then written. A plain class, as Batch is.

    Each file costs every later reader a request or two, so rows wait, but for some minutes at most. Rows that a crash
    loses are written by the next run, from the provenance of the replacements.
    """

    __slots__ = ("_files", "_oldest_s", "_told", "_waiting", "failures", "files", "run", "tally")

    def __init__(self, files: AuditFiles, run: Run) -> None:
        self._files, self.run = files, run
        self._told = set[int]()  # numbers of the waves already counted: a retried task may hand in a wave twice
        self._waiting: list[AuditRow] = []
        self._oldest_s = 0.0
        self.files: list[ManifestFile] = []
        self.tally = Tally()  # of the rows written
        self.failures: list[AuditRow] = []  # a sample of the rows written, for people to read

    def enter_wave(
        self, number: int, wave: Sequence[Batch], stages: Sequence[Sequence[StageOutcome]], *, last: bool
    ) -> None:
        """Enter the wave's rows; write the gathered rows if they are due or if this is the ``last`` wave.

        ``stages`` holds each stage's outcomes for the wave's batches, in the order of the stages.
        """
        outcomes_by_batch = zip(*stages, strict=True)
        rows = [
            row
            for batch, outcomes in zip(wave, outcomes_by_batch, strict=True)
            for row in completed_rows(batch, outcomes, self.run)
        ]
        self._enter(number, rows)
        if last or self._is_due:
            self._write(number)

    def _enter(self, number: int, rows: Sequence[AuditRow]) -> None:
        """Enter the rows of one wave; a wave that was entered before is not entered again."""
        if number in self._told:
            return
        self._oldest_s = self._oldest_s if self._waiting else time.monotonic()
        self._waiting += rows
        self._told.add(number)

    @property
    def _is_due(self) -> bool:
        """Whether enough rows wait, or have waited long enough, to be written."""
        is_old = time.monotonic() - self._oldest_s >= _OLDEST_S
        return is_old or len(self._waiting) >= _ROWS_OF_A_FILE

    def _write(self, number: int) -> None:
        """Write all waiting rows, one file per day. If a day fails, the days already written do not wait any more."""
        by_day: dict[date, list[AuditRow]] = {}
        for row in self._waiting:
            by_day.setdefault(row.recording_date, []).append(row)
        for day, rows in sorted(by_day.items()):
            self.files += write_rows(self._files, rows, run_id=self.run.run_id, number=number)
            self.tally += tally(rows)
            failed = [row for row in rows if row.status in (Status.FAILED, Status.REJECTED, Status.CHANGED)]
            self.failures = failed_first([*self.failures, *failed])[:_FAILURES_SHOWN]  # failed rows first
            self._waiting = [row for row in self._waiting if row.recording_date != day]


def completed_rows(batch: Batch, outcomes: Sequence[StageOutcome], run: Run) -> list[AuditRow]:
    """The rows of the last stage that worked. If a later stage failed, replacements without a proof count as failed."""
    *_, last = outcomes
    if isinstance(last, BatchRows):
        return list(last.rows)
    error = next((f"{type(each).__name__}: {each}" for each in outcomes if isinstance(each, BaseException)), "unknown")
    reached = next((each.rows for each in reversed(outcomes) if isinstance(each, BatchRows)), None)
    if reached is None:
        return [ended(listed_row(each, run), Status.FAILED, f"stage-failed: {error}") for each in batch.recordings]
    return [unfinished(row, error) for row in reached]
