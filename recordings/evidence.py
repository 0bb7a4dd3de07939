"""Is the audit table still what its runs wrote? Each file against the digests in the records of the runs."""

import hashlib
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum
from json import loads
from pathlib import PurePosixPath
from typing import Any

from recordings.files import PARTITION, AuditFiles, open_table
from recordings.s3.session import Session

RUNS = "_runs"  # where recordings.history keeps the records
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


def verify_audit(audit_uri: str, session: Session | None = None) -> list[Discrepancy]:
    """Each file of the table that is missing, changed or not accounted for; none if all is as the runs wrote it."""
    files = open_table(audit_uri, session)
    records = (*end_records(files), *_records(files, ".done.json"))
    digests = {file["name"]: file["sha256"] for record in records for file in record["files"]}
    there = _files_of_table(files)
    flaws = {
        **dict.fromkeys(digests.keys() - there, Flaw.MISSING),
        **dict.fromkeys(_changed(files, digests, there), Flaw.CHANGED),
        **_unlisted(files, there - digests.keys()),
    }
    return [Discrepancy(flaw=flaw, name=name) for name, flaw in sorted(flaws.items())]


def end_records(files: AuditFiles) -> list[Mapping[str, Any]]:
    """The records of all runs that ended, oldest first."""
    return _records(files, ".end.json")


def _records(files: AuditFiles, suffix: str) -> list[Mapping[str, Any]]:
    names = sorted(name for name in files.names(RUNS) if name.endswith(suffix))
    with ThreadPoolExecutor(_FILES_AT_ONCE) as threads:
        return [loads(data) for data in threads.map(files.read, names)]


def _files_of_table(files: AuditFiles) -> set[str]:
    """Also those of folders that are no day's, but that other readers would take for one."""
    folders = [folder for folder in files.folders() if folder.startswith(f"{PARTITION}=")]
    with ThreadPoolExecutor(_FILES_AT_ONCE) as threads:
        return {name for names in threads.map(lambda folder: list(files.names(folder)), folders) for name in names}


def _changed(files: AuditFiles, digests: Mapping[str, str], there: set[str]) -> list[str]:
    def is_changed(name: str) -> bool:
        return hashlib.sha256(files.read(name)).hexdigest() != digests[name]

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
