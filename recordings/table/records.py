"""What runs say of themselves under ``_runs/``. Only this module writes and reads it, but for what ``intents`` does.

A record is a value as soon as it is read. What no version of this software has written is read as None: flows pass it
over, and ``verify_audit`` names it. What an earlier version did not write yet has a default.
"""

import json
from collections.abc import Container, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from pathlib import PurePosixPath
from typing import Annotated, Any, ClassVar, Literal, Protocol, TypeVar

from pydantic import AfterValidator, AwareDatetime, Field, TypeAdapter

from recordings.errors import AuditDamaged, Changed
from recordings.pricing import Cost
from recordings.recording import Window
from recordings.table.files import AuditFiles, digest_of, read_each
from recordings.table.rows import ManifestFile, Status

RUNS = "_runs"
START, END, COVERED, LEFT = ".start.json", ".end.json", ".covered.json", ".left.json"
ERASURE, ERASED = ".erasure.json", ".erased.json"  # a request to erase, and that it is finished
INTENT, CLOSED = ".intent.json", ".done.json"  # of a batch of a job: what it set out to do, and that it is done

T = TypeVar("T")


class Kind(StrEnum):
    """What a run does."""

    ARCHIVE = "archive"
    BACKFILL = "backfill"  # has a start record, and none of its end: it leaves archiving to the runs of its days
    RESTORE = "restore"
    RELEASE = "release"
    RECONCILE = "reconcile"
    EXPIRE = "expire"
    ERASE = "erase"
    HOLD = "hold"
    LIFT = "lift"
    FIXITY = "fixity"  # a check of the replacements' bytes at rest
    EXPORT = "export"  # its end record names what was handed over


@dataclass(frozen=True, slots=True, kw_only=True)
class Circumstances:
    """Who ran it, and with what. None: it could not be learned, or an earlier version did not ask."""

    flow_run_id: str | None = None
    flow_run_name: str | None = None
    flow_run_url: str | None = None
    parent_flow_run_id: str | None = None  # of the backfill that the run belongs to
    deployment_id: str | None = None
    deployment_name: str | None = None
    started_by: str | None = None  # as ``USER ada``, ``SCHEDULE``
    commit: str | None = None
    image: str | None = None
    versions: Mapping[str, str | None] = field(default_factory=dict)  # of this software, Python and libraries


@dataclass(frozen=True, slots=True, kw_only=True)
class StartRecord:
    """What a run was asked for. Dates are of the calls, UTC, inclusive; None, of a job only, does not narrow."""

    run_id: str
    kind: Kind = Kind.ARCHIVE  # only jobs write theirs
    bucket: str
    prefixes: tuple[str, ...]
    start_date: date | None
    end_date: date | None
    started_at: AwareDatetime
    scheduled_at: AwareDatetime | None = None  # None of a job, as the three that follow
    min_age_days: int | None = None
    profile_name: str | None = None
    storage_class: str | None = None
    shard: str | None = None  # empty: all; None of a job, and by a version that had no shards
    include_held: bool = False
    archive_unprofitable: bool = True  # once, there was no choice
    grace_days: int | None = None  # for which originals are kept; None: an earlier version did not say
    backfill: Mapping[str, int] = field(default_factory=dict)  # how it is cut; empty of what is no backfill
    circumstances: Circumstances = field(default_factory=Circumstances)
    retention: str | None = None  # how long the bucket keeps recordings, in a sentence

    @property
    def dates(self) -> tuple[date, date]:
        """The first and the last day of calls."""
        return self.start_date or date.min, self.end_date or date.max

    @property
    def windows(self) -> list[Window]:
        """These dates, under each prefix."""
        start, end = self.dates
        return [Window(prefix=each, start_date=start, end_date=end, shard=self.shard or "") for each in self.prefixes]

    @property
    def youngest_day(self) -> date:
        """The last day of calls that were old enough; of a job, any is."""
        if self.scheduled_at is None or self.min_age_days is None:
            return date.max
        return self.scheduled_at.date() - timedelta(days=self.min_age_days)


def _checked(start: StartRecord) -> StartRecord:
    """With its kind. Raises ValueError or OverflowError for what no version has written."""
    if start.backfill:
        start = replace(start, kind=Kind.BACKFILL)
    of_archiving = (start.scheduled_at, start.min_age_days, start.profile_name, start.storage_class)
    if start.kind in (Kind.ARCHIVE, Kind.BACKFILL) and None in (*of_archiving, start.start_date, start.end_date):
        raise ValueError("it lacks what each archiving run has")
    first, last = start.dates
    if first > last or not start.youngest_day:
        raise ValueError("its dates make no sense")
    return start


@dataclass(frozen=True, slots=True, kw_only=True)
class EndRecord:
    """What a run came to. None: of a job, or an earlier version did not say."""

    run: Annotated[StartRecord, AfterValidator(_checked)]  # as in its start record, but for its circumstances
    files: tuple[ManifestFile, ...]
    start_sha256: str | None = None  # of its start record
    erasure_sha256: str | None = None  # of the request that it took
    counts: Mapping[str, int] | None = None  # by status
    unrecorded: int | None = None  # recordings that no row speaks of
    unlisted: tuple[str, ...] = ()  # days that could not be listed
    minutes: float | None = None  # archived, as the bytes
    bytes_before: int | None = None
    bytes_after: int | None = None
    cpu_s: float | None = None
    wall_s: float | None = None
    cost: Cost | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DoneRecord:
    """What a batch has written, of a job that restores, deletes, holds or lifts."""

    files: tuple[ManifestFile, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftRecord:
    """What a release of all that is due left for later."""

    bucket: str
    grace_days: int
    grace_days_read_back: int
    look_again: Mapping[date, date]  # by day of calls: when a release has to look there


@dataclass(frozen=True, slots=True, kw_only=True)
class ErasureRecord:
    """A request to erase all that the bucket holds of contacts, or under keys; dates narrow where it is looked for."""

    run_id: str  # the run that was asked
    bucket: str
    prefixes: tuple[str, ...]
    contact_ids: tuple[str, ...]
    keys: tuple[str, ...]
    start_date: date | None
    end_date: date | None
    case: str
    requested_at: AwareDatetime

    @property
    def only_days(self) -> str:
        """The days whose folders, and those of the days beside them, are listed; empty: all folders are."""
        return f"{self.start_date} to {self.end_date}" if self.start_date and self.end_date else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Intended:
    """What a batch of a job set out to make of one recording: of its intent, what stands in for a damaged row."""

    run_id: str
    recording_date: date
    bucket: str
    key: str
    status: Status
    reason: str | None
    state_at: AwareDatetime | None
    started_at: AwareDatetime


@dataclass(frozen=True, slots=True, kw_only=True)
class _Intent:
    rows: tuple[Intended, ...]


_START_JSON = TypeAdapter[StartRecord](Annotated[StartRecord, AfterValidator(_checked)])
_END_JSON, _DONE_JSON, _LEFT_JSON = TypeAdapter(EndRecord), TypeAdapter(DoneRecord), TypeAdapter(LeftRecord)
_ERASURE_JSON, _INTENT_JSON = TypeAdapter(ErasureRecord), TypeAdapter(_Intent)
_NAMING_JSON = TypeAdapter(  # which run has finished the request, and of which days; or has done what another left
    Annotated[dict[Literal["finished_by", "only_days", "covered_by"], str], Field(min_length=1)]
)


def start_record(name: str, data: bytes) -> StartRecord | None:
    """What the run that the name tells said at its start; None for what is no sound record of it."""
    start = _parsed(_START_JSON, data)
    return start if start and start.run_id == _id_in(name, START) and _tells_time(start.run_id) else None


def end_record(name: str, data: bytes) -> EndRecord | None:
    """What the run that the name tells came to; None for what is no sound record of it."""
    end = _parsed(_END_JSON, data)
    return end if end and end.run.run_id == _id_in(name, END) else None


def is_sound(name: str, data: bytes) -> bool:
    """Whether a record that lists no files is as some version of this software writes it."""
    if name.endswith(START):
        return start_record(name, data) is not None
    if name.endswith(ERASURE):
        return _erasure(name, data) is not None
    if name.endswith(INTENT):
        return _parsed(_INTENT_JSON, data) is not None
    kind: TypeAdapter[Any] = _LEFT_JSON if name.endswith(LEFT) else _NAMING_JSON
    return _parsed(kind, data) is not None


def _parsed(kind: TypeAdapter[T], data: bytes) -> T | None:
    try:
        return kind.validate_json(data, strict=True)
    except (ValueError, OverflowError):
        return None


def _id_in(name: str, ending: str) -> str:
    return PurePosixPath(name).name.removesuffix(ending)


def run_id_of(started_at: datetime, flow_run_id: str) -> str:
    """A run's id: when it began, and the last eight digits of the flow run that it is in Prefect."""
    return f"{first_id(started_at)}-{flow_run_id.replace('-', '')[-8:]}"


def first_id(moment: datetime | date) -> str:
    """The first id that a run which began then can have."""
    return f"{moment:%Y%m%dT%H%M%SZ}"


def began_at(run_id: str) -> datetime:
    """When a run began, by its id. Raises ValueError where that is none of ours."""
    return datetime.strptime(run_id[:16] + "+0000", "%Y%m%dT%H%M%SZ%z").astimezone(UTC)


def _tells_time(run_id: str) -> bool:
    try:
        return bool(began_at(run_id))
    except ValueError:
        return False


def writer_of(name: str) -> str:
    """The id of the run that wrote a file of the table: ``<run_id>-<number>``, or ``<run_id>-<number>-2``."""
    return "-".join(PurePosixPath(name).stem.split("-")[:2])


def run_ids(names: Iterable[str], ending: str) -> set[str]:
    """Of files of ``_runs/``, the ids of the runs that have a record with this ending."""
    return {_id_in(name, ending) for name in names if name.endswith(ending)}


class Recorded(Protocol):
    """Parameters of a run or a job, as a dataclass."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def run_id(self) -> str:
        """The name of its records."""


def record_start(
    files: AuditFiles,
    run: Recorded,
    *,
    backfill: Mapping[str, int] | None = None,
    circumstances: Circumstances | None = None,
    retention: str | None = None,
) -> None:
    """Say what the run is about to do, before it does anything."""
    told = {"backfill": backfill, "circumstances": circumstances and asdict(circumstances), "retention": retention}
    more = {name: value for name, value in told.items() if value is not None}
    _create(files, run.run_id + START, {**asdict(run), **more})


def record_end(
    files: AuditFiles, run: Recorded, *, totals: Mapping[str, Any], manifest: Iterable[ManifestFile]
) -> None:
    """The run's manifest and what it came to; written last, it commits the run."""
    listed = [asdict(file) for file in manifest]
    digests = {"start_sha256": _digest(files, run.run_id + START)}
    if getattr(run, "kind", None) is Kind.ERASE:
        digests["erasure_sha256"] = _digest(files, run.run_id + ERASURE)
    record = {"run": asdict(run), **totals, **digests, "files": listed}
    _create(files, run.run_id + END, record)


def _digest(files: AuditFiles, name: str) -> str | None:
    """The record's digest, so that nobody can change unnoticed who asked for what. None if there is no such record."""
    try:
        return digest_of(files.read(f"{RUNS}/{name}"))
    except (FileNotFoundError, Changed):
        return None


def record_covered(files: AuditFiles, dead_run_ids: Iterable[str], run: Recorded) -> None:
    """Say that this run has done what those left undone. Another one may have said so before."""
    for dead in dead_run_ids:
        with suppress(FileExistsError, Changed):  # locally, and in S3
            _create(files, dead + COVERED, {"covered_by": run.run_id})


def record_done(files: AuditFiles, name: str, *, run_id: str, batch: int, manifest: Iterable[ManifestFile]) -> None:
    """Say what this batch of a run has written; ``name`` is that of its intent."""
    _create(files, name + CLOSED, {"run_id": run_id, "batch": batch, "files": [asdict(file) for file in manifest]})


def record_look_again(files: AuditFiles, run_id: str, left: LeftRecord) -> None:
    """Say where the next release has to look, and when."""
    again = {str(day): str(on) for day, on in sorted(left.look_again.items())}
    _create(files, run_id + LEFT, {**asdict(left), "look_again": again})


def record_erasure(files: AuditFiles, request: ErasureRecord) -> None:
    """Write the request down, before anything is deleted."""
    _create(files, request.run_id + ERASURE, asdict(request))


def record_erased(files: AuditFiles, request: ErasureRecord, run: Recorded) -> None:
    """Say that this run has finished the request. Another one may have said so before."""
    with suppress(FileExistsError, Changed):  # locally, and in S3
        days = {"only_days": request.only_days} if request.only_days else {}
        _create(files, request.run_id + ERASED, {"finished_by": run.run_id, **days})


def intended(files: AuditFiles, name: str) -> tuple[Intended, ...]:
    """What the batch that wrote this file of the table set out to do; nothing if the file is of no job's batch.

    Raises AuditDamaged where the intent cannot be read.
    """
    intent = f"{RUNS}/{'-'.join(PurePosixPath(name).stem.split('-')[:3])}{INTENT}"
    try:
        found = _parsed(_INTENT_JSON, files.read(intent))
    except (FileNotFoundError, Changed):
        return ()
    if found is None:
        raise AuditDamaged(intent, "it is not as some version of this software writes it")
    return found.rows


def erasures(files: AuditFiles, bucket: str) -> list[ErasureRecord]:
    """The requests over this bucket that can be read, finished or not."""
    read = (_erasure(name, data) for name, data in read_each(files, names_since(files, ERASURE)))
    return [each for each in read if each and each.bucket == bucket]


def open_erasures(files: AuditFiles, bucket: str) -> tuple[list[ErasureRecord], list[str]]:
    """The requests over this bucket that no run has finished, oldest first; and the names of those that are damaged."""
    names = list(files.names(RUNS))
    ids = run_ids(names, ERASURE) - run_ids(names, ERASED)
    read = {name: _erasure(name, data) for name, data in read_each(files, [f"{RUNS}/{each}{ERASURE}" for each in ids])}
    sound = sorted((each for each in read.values() if each), key=lambda each: each.run_id)
    return [each for each in sound if each.bucket == bucket], sorted(name for name, each in read.items() if not each)


def _erasure(name: str, data: bytes) -> ErasureRecord | None:
    """The request that the name tells; None for what is no sound record of it."""
    request = _parsed(_ERASURE_JSON, data)
    return request if request and request.run_id == _id_in(name, ERASURE) else None


def _create(files: AuditFiles, name: str, record: Mapping[str, Any]) -> None:
    files.create(f"{RUNS}/{name}", json.dumps(record, indent=1, default=str).encode())


def open_records(files: AuditFiles) -> list[StartRecord]:
    """What runs that have not ended, and that no other has covered, said at their start; oldest first."""
    names = list(files.names(RUNS))
    return _starts(files, run_ids(names, START) - run_ids(names, END) - run_ids(names, COVERED))


def start_records(files: AuditFiles, since: datetime, *, but: Container[str]) -> list[StartRecord]:
    """What the runs that began then or later said at their start, but for those with these ids; oldest first."""
    return _starts(files, (each for each in run_ids(names_since(files, START, since), START) if each not in but))


def _starts(files: AuditFiles, ids: Iterable[str]) -> list[StartRecord]:
    read = read_each(files, [f"{RUNS}/{each}{START}" for each in sorted(ids)])
    return [start for name, data in read if (start := start_record(name, data))]


def end_records(files: AuditFiles, since: datetime | date | None = None) -> Iterator[EndRecord]:
    """What the runs that ended came to, oldest first, read some at a time; with ``since``, of those that began then
    or later: the name of a record tells when its run began, and no other is read.
    """
    read = read_each(files, names_since(files, END, since))
    return (end for name, data in read if (end := end_record(name, data)))


def listings(
    files: AuditFiles, since: datetime | date | None = None
) -> Iterator[tuple[str, EndRecord | DoneRecord | None]]:
    """By name, the records that list files of the table, in the same way; None for what is no sound one."""
    for name, data in read_each(files, names_since(files, (END, CLOSED), since)):
        yield name, end_record(name, data) if name.endswith(END) else _parsed(_DONE_JSON, data)


def left_records(files: AuditFiles) -> Iterator[tuple[datetime, LeftRecord]]:
    """What releases of all that is due left, each with when it began; newest first, read one by one."""
    for name in sorted(names_since(files, LEFT), reverse=True):
        left = _parsed(_LEFT_JSON, files.read(name))
        if left and _tells_time(_id_in(name, LEFT)):
            yield began_at(_id_in(name, LEFT)), left


def names_since(files: AuditFiles, endings: str | tuple[str, ...], since: datetime | date | None = None) -> list[str]:
    """The names of the records with these endings, of runs that began then or later; oldest first."""
    first = f"{RUNS}/{first_id(since)}" if since else ""
    return sorted(name for name in files.names(RUNS) if name.endswith(endings) and name >= first)
