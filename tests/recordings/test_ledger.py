"""A row for every recording of a wave, whichever stage failed."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from recordings import ledger as module
from recordings.errors import StoreUnavailable
from recordings.ledger import Ledger
from recordings.observed import listed_row
from recordings.recording import Batch, Recording
from recordings.run import Run
from recordings.table.files import AuditFiles
from recordings.table.reading import read_audit
from recordings.table.rows import BatchRows, Status
from tests.bucket import DAY, key_of
from tests.fixtures import PlanRun

BOOM = RuntimeError("boom")


@pytest.fixture
def batch() -> Batch:
    def recording(number: int) -> Recording:
        return Recording(
            bucket="bucket-b",
            key=key_of(number),
            recording_date=DAY,
            etag='"e"',
            size_bytes=9,
            storage_class="STANDARD",
        )

    return Batch(DAY, 1, [recording(number) for number in range(3)])


def _rows(batch: Batch, run: Run, *statuses: Status) -> BatchRows:
    rows = [
        replace(listed_row(recording, run), status=status)
        for recording, status in zip(batch.recordings, statuses, strict=True)
    ]
    return BatchRows(batch, rows)


@pytest.mark.parametrize("failing", [0, 1, 2])
def test_a_failed_stage_leaves_a_row_for_each(
    files: AuditFiles, plan: PlanRun, tmp_path: Path, batch: Batch, failing: int
) -> None:
    run = plan("bucket-b")
    good = _rows(batch, run, Status.ARCHIVED, Status.ARCHIVED, Status.REJECTED)
    stages: list[list[Any]] = [[good], [good], [good]]
    stages[failing] = [BOOM]
    for after in range(failing + 1, 3):
        stages[after] = [None]
    result = Ledger(files, run)
    result.enter_wave(1, [batch], stages, last=True)
    frame = read_audit(str(tmp_path / "audit"))
    assert frame["key"].tolist() == [recording.key for recording in batch.recordings]
    expected = ["failed", "failed", "failed" if failing == 0 else "rejected"]
    assert frame["status"].tolist() == expected
    assert frame["reason"][0] == "stage-failed: RuntimeError: boom"
    assert result.tally.counts == {"failed": expected.count("failed"), **({"rejected": 1} if failing else {})}
    assert len(result.failures) == 3


def test_of_many_that_did_not_become_small_those_that_failed_are_shown(
    files: AuditFiles, plan: PlanRun, batch: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_FAILURES_SHOWN", 2)
    run = plan("bucket-b")
    rows = [_rows(batch, run, Status.REJECTED, Status.REJECTED, Status.FAILED)]
    result = Ledger(files, run)
    result.enter_wave(1, [batch], [rows, rows, rows], last=True)
    assert [row.status for row in result.failures] == [Status.FAILED, Status.REJECTED]


def test_other_batches_of_the_wave_are_untouched(files: AuditFiles, plan: PlanRun, batch: Batch) -> None:
    run = plan("bucket-b")
    good = _rows(batch, run, Status.ARCHIVED, Status.ARCHIVED, Status.ARCHIVED)
    result = Ledger(files, run)
    result.enter_wave(1, [batch, batch], [[good, good], [BOOM, good], [None, good]], last=True)
    assert result.tally.counts == {"failed": 3, "archived": 3}


def _told(ledger: Ledger, run: Run, batch: Batch, waves: int, *, last: bool = True) -> None:
    """So many waves of one batch each."""
    rows = _rows(batch, run, Status.ARCHIVED, Status.ARCHIVED, Status.FAILED)
    for number in range(1, waves + 1):
        is_last = last and number == waves
        ledger.enter_wave(number, [batch], [[rows], [rows], [rows]], last=is_last)


def test_rows_of_many_waves_make_few_files(
    files: AuditFiles, plan: PlanRun, batch: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By their number: three rows a wave, seven of them make a file."""
    monkeypatch.setattr(module, "_ROWS_OF_A_FILE", 7)
    run = plan("bucket-b")
    ledger = Ledger(files, run)
    _told(ledger, run, batch, 20)
    assert [file.rows for file in ledger.files] == [9] * 6 + [6]
    assert ledger.tally.counts == {"archived": 40, "failed": 20}


def test_rows_wait_no_longer_than_some_minutes(
    files: AuditFiles, plan: PlanRun, batch: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = plan("bucket-b")
    ledger = Ledger(files, run)
    _told(ledger, run, batch, 3, last=False)
    assert (ledger.files, ledger.tally.counts) == ([], {}), "what is not written is not counted"
    monkeypatch.setattr(module, "_OLDEST_S", 0)
    _told(ledger, run, batch, 1, last=False)
    assert [file.rows for file in ledger.files] == [9], "a wave that is told again counts once"


def test_rows_that_could_not_be_written_are_written_with_the_next(
    files: AuditFiles, plan: PlanRun, batch: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = plan("bucket-b")
    ledger = Ledger(files, run)
    with monkeypatch.context() as patch:
        patch.setattr(files, "create", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            _told(ledger, run, batch, 1)
    assert (ledger.files, ledger.tally.counts) == ([], {})
    _told(ledger, run, batch, 2)
    assert [file.rows for file in ledger.files] == [6]


def test_a_wave_that_is_told_again_is_not_written_again(
    files: AuditFiles, plan: PlanRun, batch: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second day's file is refused once: the task is tried again, when the first day's is written already."""
    run = plan("bucket-b")
    rows = _rows(batch, run, Status.ARCHIVED, Status.ARCHIVED, Status.FAILED)
    later = replace(rows.rows[2], recording_date=DAY + timedelta(days=1))
    both = BatchRows(batch, [*rows.rows[:2], later])
    ledger, create, refused = Ledger(files, run), files.create, [f"recording_date={later.recording_date}"]

    def refusing(name: str, data: bytes) -> None:
        if name.partition("/")[0] in refused:
            refused.clear()
            raise StoreUnavailable("not now")
        create(name, data)

    monkeypatch.setattr(files, "create", refusing)
    ledger.enter_wave(1, [batch], [[both]] * 3, last=False)
    with pytest.raises(StoreUnavailable):
        ledger.enter_wave(2, [batch], [[both]] * 3, last=True)
    ledger.enter_wave(2, [batch], [[both]] * 3, last=True)
    assert [file.rows for file in ledger.files] == [4, 2]
    assert ledger.tally.counts == {"archived": 4, "failed": 2}
