"""Join the audit table with a report of S3 Batch Operations' *Compute checksum*, which hashes objects where they lie.

A report's CSV files have no headings. A line has bucket, key, version id, task status, two codes and a message; of a
task that succeeded, the message is JSON with the checksum ("Examples: S3 Batch Operations completion reports" in the
S3 user guide). Keys may be URL-encoded there.
"""

import base64
import csv
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.parse import unquote_plus

import pandas as pd

from recordings.errors import InvalidRequest
from recordings.formatting import plural
from recordings.keys import date_of
from recordings.s3.session import Session
from recordings.table.evidence import check_table
from recordings.table.files import AuditFiles, open_table
from recordings.table.reading import STATE_COLUMNS, Only, current, read_days
from recordings.table.rows import DESTROYED, STATES

_LINES_AT_ONCE = 50_000
_FIELDS = 7
_NOT_SHOWN = {"403", "404"}  # who may not list is told 403 of what is not there ("HeadObject" in the S3 API reference)
_SHA256_BYTES = 32
_MAX_NAMED = 1000  # objects of each kind that a comparison names; it counts all
_SIDES = ("version_before", "sha256_before", "version_after", "sha256_after")
_COLUMNS = (*STATE_COLUMNS, *_SIDES, "run_id")

Hashes = Mapping[tuple[str, str], str]  # SHA-256, hex, by key and version id; of the current version by key and ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Computed:
    """What a line of the report says of one object."""

    bucket: str
    key: str
    version_id: str  # empty: the version that was current
    sha256: str | None  # hex; None: the task failed, or it was asked for another checksum
    trouble: str | None = None  # in words, where there is no SHA-256
    is_there: bool = True  # False: the task found no such object, or may not say whether there is one

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.key}" + (f" (version {self.version_id})" if self.version_id else "")


@dataclass(slots=True, kw_only=True)
class ReportComparison:
    """What became of comparing a report with the audit table."""

    report: str
    intact: int = 0  # objects with the SHA-256 that the table says, replacements and originals
    differing: int = 0
    resurrected: int = 0  # objects that are there, although the table says that a run destroyed the recording
    unknown: int = 0  # objects that no state in the table speaks of
    not_computed: int = 0  # the task failed, or the report has another checksum
    named: list[str] = field(default_factory=list)  # a sentence for each object that is not intact, if known

    def __str__(self) -> str:
        counts = [
            plural(self.intact, "object") + " intact",
            f"{self.differing:,} differing",
            f"{self.resurrected:,} resurrected",
            f"{self.not_computed:,} not computed",
            f"{self.unknown:,} not in the table",
        ]
        return "\n".join([f"{self.report}: {', '.join(counts)}", *self.named])


def compare_checksums(report: str | Path, audit_uri: str, session: Session | None = None) -> ReportComparison:
    """Compare a CSV file of the report, on this machine, with the table. Memory does not grow with the report.

    A file says nothing of recordings that are not in it, since a report may have several.

    Raises InvalidRequest where the file is not such a report, or there is no audit table; AuditDamaged, naming the
    file, where a file of the table cannot be read.
    """
    files, path = open_table(audit_uri, session), Path(report)
    check_table(files, audit_uri)
    found = ReportComparison(report=str(report))
    try:
        with path.open(encoding="utf-8-sig", newline="") as lines:
            computed = computed_in(lines, str(report))
            while some := list(islice(computed, _LINES_AT_ONCE)):
                _compare(found, some, files)
    except OSError as error:
        raise InvalidRequest(f"report {str(report)!r} cannot be read: {error.strerror}; copy it here first") from error
    return found


def computed_in(lines: Iterable[str], report: str) -> Iterator[Computed]:
    """What each line of a report says; ``report`` is its name. Raises InvalidRequest for what is no such line."""
    for number, line in enumerate(_fields_of(lines, report), start=1):
        if len(line) < _FIELDS:
            raise _no_report(report, f"line {number} has {plural(len(line), 'field')}, not {_FIELDS}")
        bucket, key, version_id, status, *codes = line[:6]
        message = ",".join(line[6:])  # where a task failed, not all quotes are doubled
        sha256, trouble = _result(status, message)
        is_there = status == "succeeded" or _NOT_SHOWN.isdisjoint(codes)
        yield Computed(bucket=bucket, key=key, version_id=version_id, sha256=sha256, trouble=trouble, is_there=is_there)


def _fields_of(lines: Iterable[str], report: str) -> Iterator[list[str]]:
    try:
        yield from csv.reader(lines)
    except UnicodeDecodeError as error:
        raise _no_report(report, "is not text: unpack it if it is compressed") from error
    except csv.Error as error:
        raise _no_report(report, f"is not CSV: {error}") from error


def _no_report(report: str, flaw: str) -> InvalidRequest:
    return InvalidRequest(
        f"report {report!r}, {flaw}: give a CSV file of the results folder that the report's manifest.json names"
    )


def _result(status: str, message: str) -> tuple[str | None, str | None]:
    """The SHA-256, or why there is none."""
    if status != "succeeded":
        return None, f"the task {status}: {message}"
    try:
        told: Mapping[str, Any] = json.loads(message)
        algorithm, kind = told["checksumAlgorithm"], told["checksumType"]
        if (algorithm, kind) == ("SHA256", "FULL_OBJECT"):
            digest = base64.b64decode(told["checksum_base64"], validate=True)
            return (digest.hex(), None) if len(digest) == _SHA256_BYTES else _not_understood(message)
    except (ValueError, TypeError, KeyError):
        return _not_understood(message)
    return None, f"the report has {algorithm} ({kind}): ask for SHA256 of the full object"


def _not_understood(message: str) -> tuple[None, str]:
    return None, f"its message is not understood: {message}"


def _compare(found: ReportComparison, computed: Sequence[Computed], files: AuditFiles) -> None:
    for (bucket, day), objects in _by_day(computed).items():
        rows = read_days(files, [day], _COLUMNS, Only(bucket=bucket)) if day else pd.DataFrame(columns=_COLUMNS)
        hashes, destroyed = _hashes(rows), _destroyed(rows)
        for each in objects:
            deed = next((destroyed[key] for key in _keys(each) if key in destroyed), None)
            if deed and each.is_there:
                found.resurrected += 1
                _name(found, f"{each}: resurrected: {deed}, and the report has it")
            else:
                _count(found, each, _expected(hashes, each))


def _by_day(computed: Iterable[Computed]) -> Mapping[tuple[str, date | None], list[Computed]]:
    by_day: dict[tuple[str, date | None], list[Computed]] = defaultdict(list)
    for each in computed:
        by_day[each.bucket, date_of(each.key) or date_of(unquote_plus(each.key))].append(each)
    return by_day


def _destroyed(rows: pd.DataFrame) -> Mapping[str, str]:
    """By key, what the table says of the recordings of which it says that nothing is left."""
    now = current(rows)
    gone = now[now["status"].isin(DESTROYED)]
    return {row.key: f"run {row.run_id} {row.status} it" for row in gone.itertuples()}  # type: ignore[misc]  # of columns


def _hashes(rows: pd.DataFrame) -> Hashes:
    """The SHA-256 of every version that a state in the table speaks of."""
    states = rows[rows["status"].isin(STATES)]
    of_current = current(rows)[["key", "sha256_after"]].assign(version="")
    sides = [
        states[["key", f"version_{side}", f"sha256_{side}"]].set_axis(["key", "version", "sha256"], axis="columns")
        for side in ("before", "after")
    ]
    told = pd.concat([of_current.rename(columns={"sha256_after": "sha256"}), *sides])
    known = told[told["sha256"].notna() & told["version"].notna()]
    return {(row.key, row.version): row.sha256 for row in known.itertuples()}  # type: ignore[misc]  # of columns


def _keys(computed: Computed) -> tuple[str, str]:
    """The key as it is written, and decoded."""
    return computed.key, unquote_plus(computed.key)


def _expected(hashes: Hashes, computed: Computed) -> str | None:
    names = ((key, computed.version_id) for key in _keys(computed))
    return next((hashes[name] for name in names if name in hashes), None)


def _count(found: ReportComparison, computed: Computed, expected: str | None) -> None:
    if computed.sha256 is None:
        found.not_computed += 1
        _name(found, f"{computed}: {computed.trouble}")
    elif expected is None:
        found.unknown += 1
    elif computed.sha256 == expected:
        found.intact += 1
    else:
        found.differing += 1
        _name(found, f"{computed}: expected SHA-256 {expected}, found {computed.sha256}")


def _name(found: ReportComparison, sentence: str) -> None:
    if len(found.named) < _MAX_NAMED:
        found.named.append(sentence)
