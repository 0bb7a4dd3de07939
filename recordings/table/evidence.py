"""Is the audit table still what its runs wrote? Each file against the digests in the records of the runs."""

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime
from enum import StrEnum
from json import loads
from pathlib import PurePosixPath
from typing import Any, NamedTuple, TypeVar

from recordings.errors import InvalidRequest
from recordings.glossary import plural
from recordings.request import check_dates
from recordings.s3.session import Session
from recordings.table.files import PARTITION, AuditFiles, open_table

RUNS = "_runs"  # where recordings.history keeps the records
DIFFERENCES = "_differences"  # where recordings.jobs.reconcile keeps what it finds
_START, _END = ".start.json", ".end.json"
_LISTING = (_END, ".done.json")  # the records that list files
_FILES_AT_ONCE, _RECORDS_AT_ONCE = 16, 64

Record = Mapping[str, Any]
T = TypeVar("T")


class Flaw(StrEnum):
    """What may be wrong with a file of the table."""

    MISSING = "missing"  # its run's record lists it, and it is not there
    CHANGED = "changed"  # its bytes are not those that its run wrote
    ADDED = "added"  # no run's record lists it
    UNCOMMITTED = "uncommitted"  # so too, but its run began and has not ended: it works, it died, or its record is gone


@dataclass(frozen=True, slots=True, kw_only=True)
class Discrepancy:
    """A file that is not as the runs' records say; names are relative to the audit table."""

    flaw: Flaw
    name: str

    def __str__(self) -> str:
        return f"{self.flaw}: {self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """What was compared with the runs' records, and each file that is not as they say."""

    audit_uri: str
    files: int  # in the folders of the days
    rows: int  # in those of them that are as their run wrote them
    runs: int  # that ended, and whose records list the files
    first_date: date | None  # of the calls; None where no file is left
    last_date: date | None
    discrepancies: tuple[Discrepancy, ...]

    def __str__(self) -> str:
        dates = f", calls of {self.first_date} to {self.last_date}" if self.first_date else ""
        counts = ", ".join((plural(self.files, "file"), plural(self.rows, "row"), plural(self.runs, "run")))
        found = plural(len(self.discrepancies), "discrepancy", "discrepancies") if self.discrepancies else ""
        verdict = found or "all as the runs wrote them"
        return "\n".join([f"{self.audit_uri}: {counts}{dates}: {verdict}", *map(str, self.discrepancies)])


def verify_audit(
    audit_uri: str, session: Session | None = None, *, start: date | None = None, end: date | None = None
) -> Verification:
    """What was checked, and each file of the table that is missing, changed or not accounted for.

    With ``start`` or ``end``, only the files of calls of these dates, and only the records of runs that began on the
    first of them or later; a record that cannot be read is named, whatever it lists. Six years are read file by file:
    memory does not grow with the rows.

    Raises InvalidRequest where there is no audit table, or no such range.
    """
    check_dates(start, end)
    files = open_table(audit_uri, session)
    check_table(files, audit_uri)
    asked = _Dates(start, end)
    digests: dict[str, set[str]] = defaultdict(set)
    rows: dict[str, int] = {}
    starts: dict[str, str] = {}  # the digest of each start record, by its name
    unreadable, runs = list[str](), 0
    for name, record in _records_named(files, _LISTING, _first_name(start)):
        runs += record is not None and name.endswith(_END)
        if record is None:
            unreadable.append(name)
            continue
        if isinstance(record.get("start_sha256"), str):  # none in records of earlier versions
            starts[name.removesuffix(_END) + _START] = record["start_sha256"]
        for file in record["files"]:
            if asked.has(file["name"]):
                digests[file["name"]].add(file["sha256"])
                rows[file["name"]] = file.get("rows", 0)
    there = {name for name in _files_of_table(files, asked) if asked.has(name)}
    flaws = {
        **dict.fromkeys(digests.keys() - there, Flaw.MISSING),
        **dict.fromkeys(_changed(files, digests, there), Flaw.CHANGED),
        **_unlisted(files, there - digests.keys()),
        **dict.fromkeys(unreadable, Flaw.CHANGED),
        **_starts(files, starts, _first_name(start)),
    }
    of_days = {name for name in there if not name.startswith(f"{DIFFERENCES}/")}
    dates = sorted(filter(None, map(_date_of, of_days)))
    return Verification(
        audit_uri=audit_uri,
        files=len(of_days),
        rows=sum(rows[name] for name in (of_days & rows.keys()) - flaws.keys()),
        runs=runs,
        first_date=dates[0] if dates else None,
        last_date=dates[-1] if dates else None,
        discrepancies=tuple(Discrepancy(flaw=flaw, name=name) for name, flaw in sorted(flaws.items())),
    )


class _Dates(NamedTuple):
    start: date | None
    end: date | None

    def has(self, name: str) -> bool:
        """Whether a file or folder is of these dates; without dates each is."""
        if self.start is None and self.end is None:
            return True
        day = _date_of(name)
        return day is not None and (self.start or date.min) <= day <= (self.end or date.max)


def check_table(files: AuditFiles, audit_uri: str) -> None:
    """Raises InvalidRequest where no run has ever written, or nothing of it is left: rather a name mistyped."""
    folders = (name for name in files.folders() if name == RUNS or name.startswith(f"{PARTITION}="))
    if not any(True for folder in folders for _ in files.names(folder)):
        raise InvalidRequest(f"audit_uri {audit_uri!r} holds no audit table: name the place that the runs were given")


def _date_of(name: str) -> date | None:
    try:
        return date.fromisoformat(name.removeprefix(f"{PARTITION}=")[:10])
    except ValueError:
        return None  # the folder is no day's


def end_records(files: AuditFiles, since: datetime | date | None = None) -> Iterator[Record]:
    """The records of the runs that ended, oldest first, read some at a time; ``verify_audit`` names what is none.

    With ``since``, of the runs that began then or later. No other record is read: its name tells when its run began.
    """
    return (record for _, record in _records_named(files, (_END,), _first_name(since)) if record is not None)


def listed_digests(files: AuditFiles, since: datetime) -> dict[str, set[str]]:
    """The digests that the records of runs that began since then list, by name: two where they differ."""
    records = (record for _, record in _records_named(files, _LISTING, _first_name(since)))
    return _digests(file for record in records if record for file in record["files"])


def _first_name(moment: datetime | date | None) -> str:
    """The first name that a record of a run that began then can have: a run's id begins with its time."""
    return f"{RUNS}/{first_id(moment)}" if moment else ""


def first_id(moment: datetime | date) -> str:
    """The first id that a run which began then can have."""
    return f"{moment:%Y%m%dT%H%M%SZ}"


def _digests(listed: Iterable[Mapping[str, Any]]) -> dict[str, set[str]]:
    digests: dict[str, set[str]] = defaultdict(set)
    for file in listed:
        digests[file["name"]].add(file["sha256"])
    return digests


def _records_named(
    files: AuditFiles, suffixes: tuple[str, ...], first: str = ""
) -> Iterator[tuple[str, Mapping[str, Any] | None]]:
    """By name, oldest first, those named ``first`` or later, some at a time; None for what is no record."""
    names = sorted(name for name in files.names(RUNS) if name.endswith(suffixes) and name >= first)
    with ThreadPoolExecutor(_FILES_AT_ONCE) as threads:
        for start in range(0, len(names), _RECORDS_AT_ONCE):
            some = names[start : start + _RECORDS_AT_ONCE]
            yield from zip(some, map(_record, some, threads.map(files.read, some)), strict=True)


def _record(name: str, data: bytes) -> Record | None:
    record = json_object(data)
    if record is None or not _lists_files(record.get("files")):
        return None
    return record if not name.endswith(_END) or _is_run(record.get("run"), name, _END) else None


def start_record(name: str, data: bytes) -> Record | None:
    """What a run said at its start; None for what is no record of the run that the name tells."""
    record = json_object(data)
    try:
        return record if record and _is_run(record, name, _START) and began_at(record["run_id"]) else None
    except ValueError:  # nobody could say how old it is
        return None


def _is_run(told: Any, name: str, suffix: str) -> bool:
    """Whether these are a run's parameters, as far as others rely on them."""
    if not isinstance(told, dict) or told.get("run_id") != PurePosixPath(name).name.removesuffix(suffix):
        return False
    try:
        dates = [date.fromisoformat(told[each]) for each in ("start_date", "end_date") if told[each] is not None]
    except (KeyError, TypeError, ValueError):
        return False
    texts = [told.get("bucket"), told.get("shard", ""), *_listed(told.get("prefixes"))]
    return all(isinstance(text, str) for text in texts) and dates == sorted(dates)


def _listed(prefixes: Any) -> list[Any]:
    return prefixes if isinstance(prefixes, list) else [None]


def began_at(run_id: str) -> datetime:
    """When a run began, by its id. Raises ValueError where that is none of ours."""
    return datetime.strptime(run_id[:16] + "+0000", "%Y%m%dT%H%M%SZ%z").astimezone(UTC)


def _lists_files(listed: Any) -> bool:
    return isinstance(listed, list) and all(isinstance(file, dict) and _names_a_file(file) for file in listed)


def _names_a_file(file: Mapping[str, Any]) -> bool:
    kinds = {"name": str, "sha256": str, "rows": int}
    return all(isinstance(file.get(key, 0 if kind is int else None), kind) for key, kind in kinds.items())


def of_sound(use: Callable[[Record], T], records: Iterable[Record]) -> Iterator[T]:
    """What ``use`` makes of each record; one that lacks what each of ours has is passed over."""
    for record in records:
        with suppress(KeyError, TypeError, ValueError, AttributeError, OverflowError):
            yield use(record)


def _starts(files: AuditFiles, digests: Mapping[str, str], first: str) -> dict[str, Flaw]:
    """The start records that are gone or not as they were when their runs ended; of those named ``first`` or later."""
    names = sorted(name for name in files.names(RUNS) if name.endswith(_START) and name >= first)
    changed = []
    with ThreadPoolExecutor(_FILES_AT_ONCE) as threads:
        for start in range(0, len(names), _RECORDS_AT_ONCE):
            some = names[start : start + _RECORDS_AT_ONCE]
            for name, data in zip(some, threads.map(files.read, some), strict=True):
                digest = digest_of(data)
                if digests.get(name, digest) != digest or not start_record(name, data):
                    changed.append(name)
    return dict.fromkeys(digests.keys() - set(names), Flaw.MISSING) | dict.fromkeys(changed, Flaw.CHANGED)


def digest_of(data: bytes) -> str:
    """The SHA-256, in hex."""
    return hashlib.sha256(data).hexdigest()


def json_object(data: bytes) -> Record | None:
    """The JSON object that each record is; None for anything else."""
    try:
        record = loads(data)
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) else None


def _files_of_table(files: AuditFiles, asked: _Dates) -> set[str]:
    """Also those of folders that are no day's, but that other readers would take for one."""
    there = (each for each in files.folders() if each.startswith(f"{PARTITION}=") or each == DIFFERENCES)
    folders = [each for each in there if asked.has(each)]
    with ThreadPoolExecutor(_FILES_AT_ONCE) as threads:
        return {name for names in threads.map(lambda folder: list(files.names(folder)), folders) for name in names}


def _changed(files: AuditFiles, digests: Mapping[str, set[str]], there: set[str]) -> list[str]:
    def is_changed(name: str) -> bool:
        return {digest_of(files.read(name))} != digests[name]

    names = sorted(there & digests.keys())
    with ThreadPoolExecutor(_FILES_AT_ONCE) as threads:
        return [name for name, changed in zip(names, threads.map(is_changed, names), strict=True) if changed]


def _unlisted(files: AuditFiles, names: Iterable[str]) -> dict[str, Flaw]:
    records = {PurePosixPath(name).name for name in files.names(RUNS)}

    def flaw(name: str) -> Flaw:
        run_id = "-".join(PurePosixPath(name).stem.split("-")[:2])  # <run_id>-<batch>, or -<batch>-<number>
        began, ended = (f"{run_id}.{which}.json" in records for which in ("start", "end"))
        return Flaw.UNCOMMITTED if began and not ended else Flaw.ADDED

    return {name: flaw(name) for name in names}
