"""Audit tables for tests: a row, rows of any values that the schema lets through, and a table with every status."""

from collections.abc import Mapping
from dataclasses import fields, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from types import UnionType
from typing import Any, get_args, get_type_hints

from hypothesis import strategies as st

from recordings.table.files import LocalFiles
from recordings.table.parquet import write_rows
from recordings.table.rows import EVENTS, AuditRow, Status

DAY = date(2026, 1, 12)
ARCHIVED_AT = datetime(2026, 1, 20, 3, tzinfo=UTC)
_BYTES = st.integers(0, 10**6) | st.integers(0, 2**56)  # S3's largest object has 2**46; and a sum of them fits 64 bits
_CLASSES = st.sampled_from(["STANDARD", "GLACIER_IR", "REDUCED_REDUNDANCY", "DEEP_ARCHIVE", ""])
_BY_NAME: Mapping[str, st.SearchStrategy[Any]] = {
    "run_id": st.sampled_from(["r1", "r2"]),
    "bucket": st.sampled_from(["recordings", "elsewhere"]),
    "key": st.sampled_from(["a.wav", "b.wav", "=1+1.wav", "\x01|`<b>.wav"]) | st.text(max_size=5),
    "recording_date": st.integers(0, 2).map(lambda days: DAY + timedelta(days=days))
    | st.dates(date(1990, 1, 1), date(2060, 12, 31)),
    "storage_class_before": _CLASSES,
    "storage_class_after": _CLASSES,
    "bytes_before": _BYTES,
    "bytes_after": _BYTES,
    "version_after": st.sampled_from(["v1", "v2"]),
}
_MOMENTS = st.datetimes(datetime(2017, 1, 1), datetime(2060, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 (UTC)
_BY_KIND: Mapping[type, st.SearchStrategy[Any]] = {
    str: st.text(max_size=8),
    Status: st.sampled_from(Status),
    int: st.integers(0, 2**40),
    float: st.floats(0, 1e9) | st.sampled_from([float("nan"), float("inf")]),
    bool: st.booleans(),
    datetime: st.integers(0, 90).map(lambda days: ARCHIVED_AT + timedelta(days=days)) | _MOMENTS,
}


def any_rows(**limits: Any) -> st.SearchStrategy[list[AuditRow]]:
    """Rows of any values, each column null now and then wherever the schema lets it."""
    hints = get_type_hints(AuditRow, include_extras=True)
    columns = {field.name: _values(field.name, get_args(hints[field.name])[0]) for field in fields(AuditRow)}
    return st.lists(st.builds(AuditRow, **columns), **limits)


def _values(name: str, declared: Any) -> st.SearchStrategy[Any]:
    kinds = get_args(declared) if isinstance(declared, UnionType) else (declared,)
    kind = next(kind for kind in kinds if kind is not type(None))
    values = _BY_NAME[name] if name in _BY_NAME else _BY_KIND[kind]
    return st.none() | values if len(kinds) > 1 else values


def write_table(root: Path, rows: list[AuditRow]) -> LocalFiles:
    """A table of these rows, a file each; the folder is there also without any."""
    files = LocalFiles(root)
    files.create("_runs/r1.start.json", b"{}")
    for wave, row in enumerate(rows):
        write_rows(files, [row], run_id=row.run_id, number=wave)
    return files


ARCHIVED = AuditRow(
    run_id="20260120T030000Z-00000001",
    recording_date=DAY,
    bucket="recordings",
    key="calls/2026/01/12/0.wav",
    status=Status.ARCHIVED,
    profile="alaw-mono",
    bytes_before=4_000_044,
    bytes_after=1_000_058,
    version_before="v0",
    version_after="v1",
    storage_class_before="STANDARD",
    storage_class_after="GLACIER_IR",
    duration_after_s=125,
    snr_db=37.5,
    verified=True,
    original_kept=True,
    tagged=True,
    state_at=ARCHIVED_AT,
    started_at=ARCHIVED_AT,
    finished_at=ARCHIVED_AT + timedelta(seconds=2),
    software_version="1",
)
NOW = datetime(2026, 2, 1, 3, 4, 5, 678901, UTC)
ROW = AuditRow(
    run_id="r1",
    recording_date=DAY,
    bucket="recordings",
    key="a.wav",
    status=Status.ARCHIVED,
    profile="alaw-mono",
    bytes_before=2**53 + 1,  # an integer that a float would round
    etag_before='"before"',
    etag_after='"after"',
    verified=True,
    tagged=True,
    state_at=NOW,
    started_at=NOW,
    software_version="1",
)


def every_status() -> list[AuditRow]:
    """Two days with a recording of every status: of one run, and of jobs after it. Events are told beside others."""
    run = [
        replace(ARCHIVED, read_back=True),
        *(replace(ARCHIVED, key=f"calls/2026/01/12/{n}.wav", bytes_before=4_000_044 + n) for n in (1, 2)),
        replace(ARCHIVED, key="calls/2026/01/13/3.wav", recording_date=DAY + timedelta(days=1)),
        replace(ARCHIVED, key="calls/2026/01/12/4.wav", status=Status.ALREADY_ARCHIVED, bytes_before=2_000_000),
        *(
            replace(ARCHIVED, key=f"calls/2026/01/12/{status}.wav", status=status, reason=f"code-{status}: a sentence")
            for status in (Status.SKIPPED, Status.CHANGED, Status.REJECTED, Status.FAILED)
        ),
    ]
    attempt: dict[str, Any] = {
        "state_at": None,
        "verified": False,
        "tagged": False,
        "original_kept": None,
        "bytes_after": None,
    }
    run = [row if row.reason is None else replace(row, **attempt, duration_after_s=None) for row in run]
    later = ARCHIVED_AT + timedelta(days=40)
    after: dict[str, Any] = {
        "run_id": "20260301T030000Z-00000002",
        "state_at": later,
        "started_at": later,
        "read_back": False,
    }
    released = replace(run[0], status=Status.RELEASED, original_kept=False, **after)
    restored = replace(
        run[1],
        status=Status.RESTORED,
        bytes_before=run[1].bytes_after,
        bytes_after=run[1].bytes_before,
        storage_class_before="GLACIER_IR",
        storage_class_after="STANDARD",
        version_after="v2",
        tagged=False,
        **after,
    )
    archived = [replace(ARCHIVED, key=f"calls/2026/01/12/{n}.wav") for n in (9, 10)]
    gone: dict[str, Any] = {**after, "original_kept": False, "verified": False, "tagged": False, "read_back": False}
    expired = replace(archived[0], status=Status.EXPIRED, reason="retention: kept 30 days after the call", **gone)
    erased = replace(archived[1], status=Status.ERASED, reason="case: 1", bytes_before=None, bytes_after=None, **gone)
    never_looked_at = replace(ARCHIVED, key="calls/2026/01/12/11.wav")
    events = [
        replace(row, status=status, **{**gone, "started_at": later + timedelta(days=1)})
        for row in (run[0], run[5], never_looked_at, archived[1])
        for status in EVENTS
    ]
    return [*run, released, restored, *archived, expired, erased, *events]
