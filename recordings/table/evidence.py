"""Is the audit table still what its runs wrote? Each file against the digests in the records of the runs."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from typing import NamedTuple

from recordings.errors import InvalidRequest
from recordings.formatting import plural
from recordings.request import check_dates
from recordings.s3.session import Session
from recordings.table.files import PARTITION, AuditFiles, digest_of, open_table, read_each
from recordings.table.records import (
    END,
    RUNS,
    START,
    EndRecord,
    listings,
    names_since,
    run_ids,
    start_record,
    writer_of,
)

DIFFERENCES_FOLDER = "_differences"  # where recordings.jobs.reconcile keeps what it finds
_FILES_AT_ONCE = 16


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
    for name, record in listings(files, start):
        if record is None:
            unreadable.append(name)
            continue
        if isinstance(record, EndRecord):
            runs += 1
            if record.start_sha256:
                starts[name.removesuffix(END) + START] = record.start_sha256
        for file in record.files:
            if asked.has(file.name):
                digests[file.name].add(file.sha256)
                rows[file.name] = file.rows
    there = {name for name in _files_of_table(files, asked) if asked.has(name)}
    flaws = {
        **dict.fromkeys(digests.keys() - there, Flaw.MISSING),
        **dict.fromkeys(_changed(files, digests, there), Flaw.CHANGED),
        **_unlisted(files, there - digests.keys()),
        **dict.fromkeys(unreadable, Flaw.CHANGED),
        **_starts(files, starts, start),
    }
    of_days = {name for name in there if not name.startswith(f"{DIFFERENCES_FOLDER}/")}
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


def listed_digests(files: AuditFiles, since: datetime) -> dict[str, set[str]]:
    """The digests that the records of runs that began since then list, by name: two where they differ."""
    digests: dict[str, set[str]] = defaultdict(set)
    for file in (file for _, record in listings(files, since) if record for file in record.files):
        digests[file.name].add(file.sha256)
    return digests


def _starts(files: AuditFiles, digests: Mapping[str, str], since: date | None) -> dict[str, Flaw]:
    """The start records that are gone or not as they were when their runs ended; of runs that began since then."""
    names = names_since(files, START, since)
    changed = [
        name
        for name, data in read_each(files, names)
        if digests.get(name) not in (None, digest_of(data)) or not start_record(name, data)
    ]
    return dict.fromkeys(digests.keys() - set(names), Flaw.MISSING) | dict.fromkeys(changed, Flaw.CHANGED)


def _files_of_table(files: AuditFiles, asked: _Dates) -> set[str]:
    """Also those of folders that are no day's, but that other readers would take for one."""
    there = (each for each in files.folders() if each.startswith(f"{PARTITION}=") or each == DIFFERENCES_FOLDER)
    folders = [each for each in there if asked.has(each)]
    with ThreadPoolExecutor(_FILES_AT_ONCE) as threads:
        return {name for names in threads.map(lambda folder: list(files.names(folder)), folders) for name in names}


def _changed(files: AuditFiles, digests: Mapping[str, set[str]], there: set[str]) -> list[str]:
    def is_changed(name: str) -> bool:
        return {digest_of(files.read(name))} != digests[name]

    names = sorted(there & digests.keys())
    with ThreadPoolExecutor(_FILES_AT_ONCE) as threads:
        return [name for name, changed in zip(names, threads.map(is_changed, names), strict=True) if changed]


def _unlisted(files: AuditFiles, unlisted: Iterable[str]) -> dict[str, Flaw]:
    names = list(files.names(RUNS))
    died = run_ids(names, START) - run_ids(names, END)
    return {name: Flaw.UNCOMMITTED if writer_of(name) in died else Flaw.ADDED for name in unlisted}
