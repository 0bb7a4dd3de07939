"""Is the audit table still what its runs wrote? Each file against the digests in the records of the runs."""

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from json import loads
from pathlib import PurePosixPath
from typing import Any, TypeVar

from recordings.errors import InvalidRequest
from recordings.files import PARTITION, AuditFiles, open_table
from recordings.glossary import plural
from recordings.s3.session import Session

RUNS = "_runs"  # where recordings.history keeps the records
DIFFERENCES = "_differences"  # where recordings.reconcile keeps what it finds
_START, _END = ".start.json", ".end.json"
_LISTING = (_END, ".done.json")  # the records that list files
_FILES_AT_ONCE = 16

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


def verify_audit(audit_uri: str, session: Session | None = None) -> Verification:
    """What was checked, and each file of the table that is missing, changed or not accounted for.

    Raises InvalidRequest where there is no audit table.
    """
    files = open_table(audit_uri, session)
    check_table(files, audit_uri)
    records = {suffix: _records(files, suffix) for suffix in _LISTING}
    listed = [file for of_kind in records.values() for record in of_kind.values() if record for file in record["files"]]
    digests = _digests(listed)
    there = _files_of_table(files)
    flaws = {
        **dict.fromkeys(digests.keys() - there, Flaw.MISSING),
        **dict.fromkeys(_changed(files, digests, there), Flaw.CHANGED),
        **_unlisted(files, there - digests.keys()),
        **{name: Flaw.CHANGED for of_kind in records.values() for name, record in of_kind.items() if record is None},
        **_starts(files, records[_END]),
    }
    rows = {file["name"]: file.get("rows", 0) for file in listed}
    of_days = {name for name in there if not name.startswith(f"{DIFFERENCES}/")}
    dates = sorted(filter(None, map(_date_of, of_days)))
    return Verification(
        audit_uri=audit_uri,
        files=len(of_days),
        rows=sum(rows[name] for name in (of_days & rows.keys()) - flaws.keys()),
        runs=sum(record is not None for record in records[_END].values()),
        first_date=dates[0] if dates else None,
        last_date=dates[-1] if dates else None,
        discrepancies=tuple(Discrepancy(flaw=flaw, name=name) for name, flaw in sorted(flaws.items())),
    )


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


def end_records(files: AuditFiles) -> list[Mapping[str, Any]]:
    """The records of all runs that ended, oldest first; ``verify_audit`` names those that nobody can read."""
    return [record for record in _records(files, _END).values() if record is not None]


def listed_digests(files: AuditFiles) -> dict[str, set[str]]:
    """The digests that the runs' records list, by name: two of them where runs saw a file differently."""
    records = (record for suffix in _LISTING for record in _records(files, suffix).values())
    return _digests(file for record in records if record for file in record["files"])


def _digests(listed: Iterable[Mapping[str, Any]]) -> dict[str, set[str]]:
    digests: dict[str, set[str]] = defaultdict(set)
    for file in listed:
        digests[file["name"]].add(file["sha256"])
    return digests


def _records(files: AuditFiles, suffix: str) -> dict[str, Mapping[str, Any] | None]:
    """By name, oldest first; None for what is no record."""
    names = sorted(name for name in files.names(RUNS) if name.endswith(suffix))
    with ThreadPoolExecutor(_FILES_AT_ONCE) as threads:
        return dict(zip(names, map(_record, threads.map(files.read, names)), strict=True))


def _record(data: bytes) -> Mapping[str, Any] | None:
    try:
        record = loads(data)
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) and _lists_files(record.get("files")) else None


def _lists_files(listed: Any) -> bool:
    return isinstance(listed, list) and all(isinstance(file, dict) and _names_a_file(file) for file in listed)


def _names_a_file(file: Mapping[str, Any]) -> bool:
    kinds = {"name": str, "sha256": str, "rows": int}
    return all(isinstance(file.get(key, 0 if kind is int else None), kind) for key, kind in kinds.items())


def of_sound(use: Callable[[Record], T], records: Iterable[Record]) -> Iterator[T]:
    """What ``use`` makes of each record; one that lacks what each of ours has is passed over."""
    for record in records:
        with suppress(KeyError, TypeError, ValueError, AttributeError):
            yield use(record)


def _starts(files: AuditFiles, ended: Mapping[str, Record | None]) -> dict[str, Flaw]:
    """The start records that are gone or not as they were when their runs ended."""
    names = {name for name in files.names(RUNS) if name.endswith(_START)}
    digests = {
        name.removesuffix(_END) + _START: record["start_sha256"]
        for name, record in ended.items()
        if record and isinstance(record.get("start_sha256"), str)  # none in records of earlier versions
    }
    with ThreadPoolExecutor(_FILES_AT_ONCE) as threads:
        there = dict(zip(sorted(names), threads.map(files.read, sorted(names)), strict=True))
    changed = (name for name, data in there.items() if digests.get(name, digest_of(data)) != digest_of(data))
    damaged = (name for name, data in there.items() if not is_object(data))
    return dict.fromkeys(digests.keys() - names, Flaw.MISSING) | dict.fromkeys([*changed, *damaged], Flaw.CHANGED)


def digest_of(data: bytes) -> str:
    """The SHA-256, in hex."""
    return hashlib.sha256(data).hexdigest()


def is_object(data: bytes) -> bool:
    """Whether it is a JSON object, as each record is."""
    try:
        return isinstance(loads(data), dict)
    except (ValueError, RecursionError):
        return False


def _files_of_table(files: AuditFiles) -> set[str]:
    """Also those of folders that are no day's, but that other readers would take for one."""
    folders = [each for each in files.folders() if each.startswith(f"{PARTITION}=") or each == DIFFERENCES]
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
