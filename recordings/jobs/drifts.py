"""The differences between audit table and bucket that a reconciliation finds: counted, named, written to files.

A drift is one difference between the table and the bucket.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import pandas as pd

from recordings.formatting import plural
from recordings.jobs.engine.job import Job
from recordings.keys import date_of
from recordings.recording import Day
from recordings.table.evidence import DIFFERENCES_FOLDER
from recordings.table.files import AuditFiles, digest_of
from recordings.table.rows import AuditRow, ManifestFile

_MAX_NAMED = 100  # differences of each kind that reports name; the files list all
_DIFFERENCES_OF_A_FILE = 20_000
FAILURES = ("unavailable", "bug", "not-compared")  # the comparison itself failed; these say nothing about the bucket
LOSSES = ("vanished", "changed-since", "original-gone", "resurrected")  # others deleted or overwrote objects


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """One difference between table and bucket. ``row`` is the row that would repair it, where that is safe."""

    code: str
    key: str
    sentence: str
    row: AuditRow | None = None

    @property
    def is_loss(self) -> bool:
        """Whether a recording, an original, or a deletion is not as the table says."""
        return self.code in LOSSES

    @property
    def is_bad(self) -> bool:
        """Whether the drift makes the run fail: something is lost, or could not be compared."""
        return self.code in LOSSES or self.code in FAILURES


class DayDrifts:
    """The drifts of one day below one prefix. A plain class, as Batch is."""

    __slots__ = ("day", "drifts")

    def __init__(self, day: Day, drifts: Sequence[Drift]) -> None:
        self.day = day
        self.drifts = tuple(drifts)

    @property
    def trouble(self) -> str:
        """The first drifts that make the run fail, in a sentence; empty if there is none."""
        bad = [f"{drift.key}: {drift.code}" for drift in self.drifts if drift.is_bad]
        return f"{plural(len(bad), 'recording')} lost, or not compared: {', '.join(bad[:3])}" if bad else ""


class Drifts:
    """The drifts that a reconciliation has found so far: all are counted and written, the first are named."""

    def __init__(self, job: Job, files: AuditFiles) -> None:
        self.counts = Counter[str]()  # by code
        self.examples: dict[str, list[Drift]] = {}  # the first of each code
        self.mendable = 0
        self.files: list[ManifestFile] = []
        self._job, self._audit_files = job, files
        self._unwritten: list[Drift] = []
        self._bad: list[str] = []

    def add(self, drifts: Iterable[Drift]) -> None:
        """Count these in, and write what has gathered if that is much."""
        for drift in drifts:
            self.counts[drift.code] += 1
            examples = self.examples.setdefault(drift.code, [])
            if len(examples) < _MAX_NAMED:
                examples.append(drift)
                if drift.is_bad:
                    self._bad.append(f"{drift.key}: {drift.code}, {drift.sentence}")
            self.mendable += drift.row is not None
            self._unwritten.append(replace(drift, row=None))
        if len(self._unwritten) >= _DIFFERENCES_OF_A_FILE:
            self.write()

    def write(self) -> None:
        """Write the drifts that are not written yet."""
        number = len(self.files) + 1
        self.files += write_differences(self._audit_files, self._job, self._unwritten, number=number)
        self._unwritten = []

    @property
    def lost(self) -> Mapping[str, int]:
        """The counts of the losses."""
        return {code: count for code, count in self.counts.items() if code in LOSSES}

    @property
    def problems(self) -> list[str]:
        """Losses and failed comparisons: the first of each kind, and how many more."""
        bad = sum(count for code, count in self.counts.items() if code in (*LOSSES, *FAILURES))
        more = bad - len(self._bad)
        said = f"and {plural(more, 'more recording')}: the files {DIFFERENCES_FOLDER}/{self._job.run_id}*.csv list all"
        return [*self._bad, *([said] if more else [])]


def write_differences(files: AuditFiles, job: Job, drifts: Sequence[Drift], *, number: int = 1) -> list[ManifestFile]:
    """The differences as ``_differences/<run_id>.csv``, one row each; no file where there are none.

    Further rows go into ``<run_id>-2.csv`` and so on. No cell begins with text that others chose, such as an object's
    name: a spreadsheet would take text that begins with = for a formula.
    """
    if not drifts:
        return []
    rows = [
        {
            "run_id": job.run_id,
            "compared_at": job.started_at,
            "bucket": job.bucket,
            "recording_date": date_of(drift.key),
            "key": drift.key,
            "difference": drift.code,
            "is_loss": drift.is_loss,
            "sentence": drift.sentence,
        }
        for drift in drifts
    ]
    data = pd.DataFrame(rows).to_csv(index=False).encode()
    name = f"{DIFFERENCES_FOLDER}/{job.run_id}{f'-{number}' if number > 1 else ''}.csv"
    files.create(name, data)
    return [ManifestFile(name=name, rows=len(rows), sha256=digest_of(data))]
