"""What a batch sets out to do, written before it does anything: nothing that is done can be without a row.

``_runs/<run_id>-<batch>.intent.json`` has the rows as they will be, but for what only the deed itself tells;
``.done.json``, written after the rows, lists the batch's files with their digests. An intent without it is open.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from datetime import UTC, date, datetime, timedelta
from io import BytesIO
from itertools import count
from typing import Any

import pandas as pd

from recordings.errors import Changed
from recordings.evidence import RUNS
from recordings.files import AuditFiles
from recordings.manifest import (
    PARTITION,
    BatchRows,
    ManifestFile,
    ManifestRow,
    Status,
    file_of,
    parquet_bytes,
)
from recordings.operation import DONE, Operation

_INTENT, _DONE, _END = ".intent.json", ".done.json", ".end.json"
_TAKEN = (FileExistsError, Changed)  # another file of that name is there, locally and in S3

Deed = tuple[str, str, str | None]  # status, key, and the version deleted or brought back


@dataclass(frozen=True, slots=True, kw_only=True)
class Intent:
    """What one batch of one run set out to do."""

    run_id: str
    kind: str
    bucket: str
    batch: int
    written_at: datetime
    days: tuple[date, ...]  # of all recordings of the batch: there its files lie
    rows: tuple[ManifestRow, ...]

    @property
    def name(self) -> str:
        """Of the intent, and of the batch's files in the table."""
        return f"{self.run_id}-{self.batch:04d}"


def set_out(files: AuditFiles, operation: Operation, batch: BatchRows, rows: Sequence[ManifestRow]) -> Intent:
    """Say what the batch is about to do to these recordings. Nothing may be done to them before this has returned."""
    intent = Intent(
        run_id=operation.run_id,
        kind=operation.kind,
        bucket=operation.bucket,
        batch=batch.batch.number,
        written_at=datetime.now(UTC),
        days=tuple(sorted({row.recording_date for row in batch.rows})),
        rows=tuple(rows),
    )
    files.create(f"{RUNS}/{intent.name}{_INTENT}", _json(asdict(intent)))
    return intent


def conclude(files: AuditFiles, intent: Intent, rows: Sequence[ManifestRow]) -> list[ManifestFile]:
    """Write the batch's rows; close the intent if all that it names is done, else a later run looks at it first."""
    written = write_untold(files, intent, rows)
    done = {row.key for row in rows if row.status in DONE}
    if all(row.key in done for row in intent.rows):
        close(files, intent, written)
    return written


def close(files: AuditFiles, intent: Intent, manifest: Iterable[ManifestFile]) -> None:
    """Say that nothing more will be done, and list what was written."""
    record = {"run_id": intent.run_id, "batch": intent.batch, "files": [asdict(file) for file in manifest]}
    with suppress(*_TAKEN):  # closed by another run meanwhile, whose own record lists what it wrote
        files.create(f"{RUNS}/{intent.name}{_DONE}", _json(record))


def write_untold(files: AuditFiles, intent: Intent, rows: Iterable[ManifestRow]) -> list[ManifestFile]:
    """Write these rows, a file per date; where another run has told of some meanwhile, the others in a further file."""
    by_day: dict[date, list[ManifestRow]] = defaultdict(list)
    for row in rows:
        by_day[row.recording_date].append(row)
    days = (_write_day(files, intent, day, of_day) for day, of_day in sorted(by_day.items()))
    return [file for of_day in days for file in of_day]


def _write_day(files: AuditFiles, intent: Intent, day: date, rows: Sequence[ManifestRow]) -> list[ManifestFile]:
    """The day's files of this batch: the one written, after those that other runs wrote for it meanwhile."""
    found: list[ManifestFile] = []
    for name in _names(intent, day):
        data = parquet_bytes(rows)
        try:
            files.create(name, data)
            return [*found, file_of(name, data)]
        except _TAKEN:
            found.append(file_of(name, files.read(name)))
            rows = untold(files, day, rows)
        if not rows:
            break
    return found


def _names(intent: Intent, day: date) -> Iterator[str]:
    """Where the batch's rows of a day may lie: the batch's own file, and those of runs that had to add to it."""
    stem = f"{PARTITION}={day}/{intent.name}"
    return (f"{stem}.parquet" if number == 1 else f"{stem}-{number}.parquet" for number in count(1))


def untold(files: AuditFiles, day: date, rows: Iterable[ManifestRow]) -> list[ManifestRow]:
    """Those of a day's rows whose deed no row of the table tells yet."""
    told = {deed for name in files.names(f"{PARTITION}={day}") for deed in _deeds(files.read(name))}
    return [row for row in rows if (row.bucket, *deed_of(row)) not in told]


def _deeds(parquet: bytes) -> Iterator[tuple[str, str, str, str | None]]:
    """What the rows of one file say was done: bucket, status, key, and the version deleted or brought back."""
    frame = pd.read_parquet(BytesIO(parquet), columns=["bucket", "status", "key", "version_before", "version_after"])
    done = frame[frame["status"].isin(DONE)]
    for bucket, status, key, before, after in done.itertuples(index=False, name=None):
        yield bucket, *_deed(status, key, before, after)


def deed_of(row: ManifestRow) -> Deed:
    """What a row of a release or restore says was done."""
    return _deed(row.status, row.key, row.version_before, row.version_after)


def _deed(status: str, key: str, before: str | None, after: str | None) -> Deed:
    return str(status), key, before if status == Status.RELEASED else after


def open_intents(files: AuditFiles, bucket: str) -> list[Intent]:
    """The intents over this bucket that nobody has closed, oldest first."""
    names = set(files.names(RUNS))
    stems = [name.removesuffix(_INTENT) for name in names if name.endswith(_INTENT)]
    intents = [_read(files, stem) for stem in stems if stem + _DONE not in names]
    return sorted((each for each in intents if each.bucket == bucket), key=lambda intent: intent.written_at)


def is_over(files: AuditFiles, intent: Intent, *, abandoned_after: timedelta) -> bool:
    """Whether the run that set out can do nothing more: it has ended, or began the batch very long ago."""
    is_old = datetime.now(UTC) - intent.written_at > abandoned_after
    return is_old or f"{RUNS}/{intent.run_id}{_END}" in set(files.names(RUNS))


def files_of(files: AuditFiles, intent: Intent) -> list[ManifestFile]:
    """The batch's files as they lie in the table, whichever run wrote them."""
    found: list[ManifestFile] = []
    for day in intent.days:
        there = set(files.names(f"{PARTITION}={day}"))
        for name in _names(intent, day):
            if name not in there:
                break
            found.append(file_of(name, files.read(name)))
    return found


def runs_by_deed(intents: Iterable[Intent]) -> Mapping[tuple[str, str], str]:
    """By kind and key, the run that last set out to do it."""
    return {(intent.kind, row.key): intent.run_id for intent in intents for row in intent.rows}


def _read(files: AuditFiles, stem: str) -> Intent:
    record = json.loads(files.read(stem + _INTENT))
    return Intent(
        **{
            **record,
            "written_at": datetime.fromisoformat(record["written_at"]),
            "days": tuple(map(date.fromisoformat, record["days"])),
            "rows": tuple(map(_row, record["rows"])),
        }
    )


_PARSE = {
    "status": Status,
    "recording_date": date.fromisoformat,
    "state_at": datetime.fromisoformat,
    "started_at": datetime.fromisoformat,
    "finished_at": datetime.fromisoformat,
}


def _row(record: Mapping[str, Any]) -> ManifestRow:
    """A row as JSON has it; columns that a newer version of this software added are passed over."""
    known = {field.name: record[field.name] for field in fields(ManifestRow) if field.name in record}
    parsed = {name: parse(known[name]) for name, parse in _PARSE.items() if known.get(name) is not None}
    return ManifestRow(**{**known, **parsed})


def _json(record: Mapping[str, Any]) -> bytes:
    return json.dumps(record, indent=1, default=str).encode()
