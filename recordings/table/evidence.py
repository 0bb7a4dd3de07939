"""Is the audit table still what its runs wrote? Each file against the digests in the records of the runs."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
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
    CLOSED,
    COVERED,
    END,
    ERASED,
    ERASURE,
    INTENT,
    LEFT,
    RUNS,
    START,
    EndRecord,
    is_sound,
    listings,
    names_since,
    run_ids,
    writer_of,
)

DIFFERENCES_FOLDER = "_differences"  # where recordings.jobs.reconcile keeps what it finds
_FILES_AT_ONCE = 16
_RECORD = "a record as some version of this software writes it"


class Flaw(StrEnum):
    """What may be wrong with a file of the table."""

    MISSING = "missing"  # its run's record lists it, and it is not there
    CHANGED = "changed"  # its bytes are not those that its run wrote
    ADDED = "added"  # no run's record lists it
    UNCOMMITTED = "uncommitted"  # so too, but its run began and has not ended: it works, it died, or its record is gone


@dataclass(frozen=True, slots=True, kw_only=True)
class Discrepancy:
    """A file that is not as the runs' records say, with what they say and what is there."""

    flaw: Flaw
    name: str  # its path below the audit table
    expected: str
    found: str

    def __str__(self) -> str:
        return f"{self.flaw}: {self.name}: expected {self.expected}, found {self.found}"


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
    of_records: dict[str, str] = {}  # digests of start records and of requests to erase, by their names
    unreadable, runs = list[str](), 0
    for name, record in listings(files, start):
        if record is None:
            unreadable.append(name)
            continue
        if isinstance(record, EndRecord):
            runs += 1
            told = {START: record.start_sha256, ERASURE: record.erasure_sha256}
            of_records |= {name.removesuffix(END) + ending: digest for ending, digest in told.items() if digest}
        for file in record.files:
            if asked.has(file.name):
                digests[file.name].add(file.sha256)
                rows[file.name] = file.rows
    there = {name for name in _files_of_table(files, asked) if asked.has(name)}
    flaws = {
        each.name: each
        for each in (
            *(_missing(name, digests[name]) for name in digests.keys() - there),
            *_changed(files, digests, there),
            *_unlisted(files, there - digests.keys()),
            *(_no_record(files, name) for name in unreadable),
            *_records(files, of_records, start),
        )
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
        discrepancies=tuple(flaws[name] for name in sorted(flaws)),
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


def check_table(files: AuditFiles, audit_uri: str, *, may_begin: bool = False) -> None:
    """Raises InvalidRequest where no run has ever written, or nothing of it is left: rather a name mistyped.

    ``may_begin``: the parameter new_table would let the run be the first to write.
    """
    folders = (name for name in files.folders() if name == RUNS or name.startswith(f"{PARTITION}="))
    if not any(True for folder in folders for _ in files.names(folder)):
        begins = "; if no run has written to a table of this bucket yet, say new_table=True" if may_begin else ""
        raise InvalidRequest(
            f"audit_uri {audit_uri!r} holds no audit table: name the place that the runs were given{begins}"
        )


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


def _records(files: AuditFiles, digests: Mapping[str, str], since: date | None) -> Iterator[Discrepancy]:
    """The records of runs since then that are gone, unreadable, or not as they were when the runs ended.

    Records that list files are not among them, but each batch that is closed must have its intent.
    """
    names = names_since(files, (START, ERASURE, ERASED, LEFT, COVERED, INTENT), since)
    there = set(names)
    for closed in names_since(files, CLOSED, since):
        if (intent := closed.removesuffix(CLOSED) + INTENT) not in there:
            yield Discrepancy(flaw=Flaw.MISSING, name=intent, expected=f"what {closed} closed", found="no such file")
    yield from (_missing(name, {digests[name]}) for name in digests.keys() - set(names))
    for name in names:
        request = name.removesuffix(ERASED) + ERASURE
        if name.endswith(ERASED) and request not in names and request not in digests:
            yield Discrepancy(flaw=Flaw.MISSING, name=request, expected=f"what {name} finished", found="no such file")
    for name, data in read_each(files, names):
        if digests.get(name) not in (None, digest_of(data)):
            yield _differs(name, {digests[name]}, data)
        elif not is_sound(name, data):
            yield Discrepancy(flaw=Flaw.CHANGED, name=name, expected=_RECORD, found=_digest(data))


def _missing(name: str, digests: Iterable[str]) -> Discrepancy:
    return Discrepancy(flaw=Flaw.MISSING, name=name, expected=_either(digests), found="no such file")


def _differs(name: str, digests: Iterable[str], data: bytes) -> Discrepancy:
    return Discrepancy(flaw=Flaw.CHANGED, name=name, expected=_either(digests), found=_digest(data))


def _no_record(files: AuditFiles, name: str) -> Discrepancy:
    return Discrepancy(flaw=Flaw.CHANGED, name=name, expected=_RECORD, found=_digest(files.read(name)))


def _either(digests: Iterable[str]) -> str:
    return f"SHA-256 {' and also '.join(sorted(digests))}"


def _digest(data: bytes) -> str:
    return f"{plural(len(data), 'byte')} with SHA-256 {digest_of(data)}"


def _files_of_table(files: AuditFiles, asked: _Dates) -> set[str]:
    """Also those of folders that are no day's, but that other readers would take for one."""
    there = (each for each in files.folders() if each.startswith(f"{PARTITION}=") or each == DIFFERENCES_FOLDER)
    folders = [each for each in there if asked.has(each)]
    with ThreadPoolExecutor(_FILES_AT_ONCE) as threads:
        return {name for names in threads.map(lambda folder: list(files.names(folder)), folders) for name in names}


def _changed(files: AuditFiles, digests: Mapping[str, set[str]], there: set[str]) -> list[Discrepancy]:
    def compared(name: str) -> Discrepancy | None:
        data = files.read(name)
        return None if {digest_of(data)} == digests[name] else _differs(name, digests[name], data)

    with ThreadPoolExecutor(_FILES_AT_ONCE) as threads:
        return [each for each in threads.map(compared, sorted(there & digests.keys())) if each]


def _unlisted(files: AuditFiles, unlisted: Iterable[str]) -> Iterator[Discrepancy]:
    names = list(files.names(RUNS))
    died = run_ids(names, START) - run_ids(names, END)
    for name, data in read_each(files, sorted(unlisted)):
        flaw = Flaw.UNCOMMITTED if writer_of(name) in died else Flaw.ADDED
        yield Discrepancy(flaw=flaw, name=name, expected="no file that no run lists", found=_digest(data))
