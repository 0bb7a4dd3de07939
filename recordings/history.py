"""Records of runs under ``_runs/``: one at the start, one at the end. A start without an end is a run that died."""

import json
from collections.abc import Container, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from datetime import date, datetime, timedelta
from typing import Any, ClassVar, Protocol

from recordings.errors import Changed
from recordings.recording import Window
from recordings.run import Run
from recordings.table.evidence import began_at, digest_of, first_id, of_sound, start_record
from recordings.table.files import AuditFiles
from recordings.table.rows import ManifestFile

DeadRuns = Mapping[str, Sequence[Window]]  # by run id: the windows it left undone

_FOLDER = "_runs"
_START, _END, _COVERED = ".start.json", ".end.json", ".covered.json"


class Recorded(Protocol):
    """Parameters of a run or a job, as a dataclass."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def run_id(self) -> str:
        """The name of its records."""


def record_start(files: AuditFiles, run: Recorded, **more: Any) -> None:
    """Say what the run is about to do, before it does anything. ``more`` goes beside its parameters."""
    files.create(f"{_FOLDER}/{run.run_id}{_START}", _json({**asdict(run), **more}))


def record_end(
    files: AuditFiles, run: Recorded, *, totals: Mapping[str, Any], manifest: Iterable[ManifestFile]
) -> None:
    """The run's manifest and what it came to; written last, it commits the run."""
    listed = [asdict(file) for file in manifest]
    record = {"run": asdict(run), **totals, "start_sha256": _start_digest(files, run.run_id), "files": listed}
    files.create(f"{_FOLDER}/{run.run_id}{_END}", _json(record))


def _start_digest(files: AuditFiles, run_id: str) -> str | None:
    """Who asked for what cannot be changed unseen then. None where no start was recorded."""
    try:
        return digest_of(files.read(f"{_FOLDER}/{run_id}{_START}"))
    except (FileNotFoundError, Changed):
        return None


def record_covered(files: AuditFiles, dead_run_ids: Iterable[str], run: Run) -> None:
    """Say that this run has done what those left undone. Another one may have said so before."""
    for dead in dead_run_ids:
        with suppress(FileExistsError, Changed):  # locally, and in S3
            files.create(f"{_FOLDER}/{dead}{_COVERED}", _json({"covered_by": run.run_id}))


def dead_runs(files: AuditFiles, run: Run, *, abandoned_after: timedelta) -> DeadRuns:
    """Windows of runs like this one that started long ago and never ended, by run id; none if dates were given."""
    if not run.catches_up:
        return {}
    records = [record for each, record in open_records(files).items() if is_old(each, run, abandoned_after)]
    left = of_sound(lambda record: (record["run_id"], _windows(record), is_like(record, run)), records)
    backfills = {record["run_id"] for record in records if "backfill" in record}
    return {each: windows for each, windows, like in left if like and each not in backfills}


def open_records(files: AuditFiles) -> dict[str, Mapping[str, Any]]:
    """What runs that have not ended, and that no other has covered, said at their start; by run id, oldest first."""
    names = {name.removeprefix(f"{_FOLDER}/") for name in files.names(_FOLDER)}
    left = (name.removesuffix(_START) for name in sorted(names) if name.endswith(_START))
    return _starts(files, (each for each in left if not {each + _END, each + _COVERED} & names))


def records_without_end(files: AuditFiles, since: datetime, ended: Container[str]) -> dict[str, Mapping[str, Any]]:
    """What the runs that began since then, but for those that ``ended``, said at their start; by run id."""
    names = (name.removeprefix(f"{_FOLDER}/") for name in files.names(_FOLDER))
    ids = (name.removesuffix(_START) for name in names if name.endswith(_START) and name >= first_id(since))
    return _starts(files, (each for each in ids if each not in ended))


def _starts(files: AuditFiles, run_ids: Iterable[str]) -> dict[str, Mapping[str, Any]]:
    """The start records of these runs. What is none of ours is passed over; ``verify_audit`` names it."""
    records = ((each, start_record(each + _START, files.read(f"{_FOLDER}/{each}{_START}"))) for each in run_ids)
    return {each: record for each, record in records if record}


def covered_ids(files: AuditFiles) -> set[str]:
    """What other runs have covered."""
    names = (name.removeprefix(f"{_FOLDER}/") for name in files.names(_FOLDER))
    return {name.removesuffix(_COVERED) for name in names if name.endswith(_COVERED)}


def is_old(run_id: str, run: Run, age: timedelta) -> bool:
    """Whether a run began longer than ``age`` before this one."""
    return run.started_at - began_at(run_id) > age


def is_like(record: Mapping[str, Any], run: Run) -> bool:
    """The same conversion of recordings that this run may touch, too."""
    ours = (run.bucket, run.profile_name, run.storage_class)
    theirs = (record["bucket"], record.get("profile_name"), record.get("storage_class"))  # a job has neither
    return ours == theirs and set(record["prefixes"]) <= set(run.prefixes)


def _windows(record: Mapping[str, Any]) -> list[Window]:
    start, end = date.fromisoformat(record["start_date"]), date.fromisoformat(record["end_date"])
    shard = record.get("shard", "")
    return [Window(prefix=prefix, start_date=start, end_date=end, shard=shard) for prefix in record["prefixes"]]


def _json(record: Mapping[str, Any]) -> bytes:
    return json.dumps(record, indent=1, default=str).encode()
