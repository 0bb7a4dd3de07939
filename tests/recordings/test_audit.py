"""A row for every recording of a wave, whichever stage failed."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from recordings import audit
from recordings.audit import audit_wave
from recordings.files import AuditFiles
from recordings.manifest import BatchRows, Status, read_audit
from recordings.recording import Batch, Recording
from recordings.resample import listed_row
from recordings.run import Run
from tests.bucket import DAY, key_of

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
    from dataclasses import replace

    rows = [
        replace(listed_row(recording, run), status=status)
        for recording, status in zip(batch.recordings, statuses, strict=True)
    ]
    return BatchRows(batch, rows)


@pytest.mark.parametrize("failing", [0, 1, 2])
def test_a_failed_stage_leaves_a_row_for_each(
    files: AuditFiles, plan: Callable[..., Run], tmp_path: Path, batch: Batch, failing: int
) -> None:
    run = plan("bucket-b")
    good = _rows(batch, run, Status.ARCHIVED, Status.ARCHIVED, Status.REJECTED)
    stages: list[list[Any]] = [[good], [good], [good]]
    stages[failing] = [BOOM]
    for after in range(failing + 1, 3):
        stages[after] = [None]
    result = audit_wave(files, run, 1, [batch], stages)
    frame = read_audit(str(tmp_path / "audit"))
    assert frame["key"].tolist() == [recording.key for recording in batch.recordings]
    expected = ["failed", "failed", "failed" if failing == 0 else "rejected"]
    assert frame["status"].tolist() == expected
    assert frame["reason"][0] == "stage-failed: RuntimeError: boom"
    assert result.tally.counts == {"failed": expected.count("failed"), **({"rejected": 1} if failing else {})}
    assert len(result.failures) == 3


def test_of_many_that_did_not_become_small_those_that_failed_are_shown(
    files: AuditFiles, plan: Callable[..., Run], batch: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit, "_FAILURES_SHOWN", 2)
    run = plan("bucket-b")
    rows = [_rows(batch, run, Status.REJECTED, Status.REJECTED, Status.FAILED)]
    result = audit_wave(files, run, 1, [batch], [rows, rows, rows])
    assert [row.status for row in result.failures] == [Status.FAILED, Status.REJECTED]


def test_other_batches_of_the_wave_are_untouched(files: AuditFiles, plan: Callable[..., Run], batch: Batch) -> None:
    run = plan("bucket-b")
    good = _rows(batch, run, Status.ARCHIVED, Status.ARCHIVED, Status.ARCHIVED)
    result = audit_wave(files, run, 1, [batch, batch], [[good, good], [BOOM, good], [None, good]])
    assert result.tally.counts == {"failed": 3, "archived": 3}
