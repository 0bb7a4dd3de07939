"""Compare the audit table with the bucket, and repair what is safe to repair.

A drift is one difference between the table and the bucket.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import pandas as pd

from recordings.errors import RecordingError, StoreRefused, StoreUnavailable
from recordings.found import found_row
from recordings.glossary import code_of, label, plural
from recordings.jobs.aftermath import found_restored
from recordings.jobs.job import FOUND_GONE, Job, begun
from recordings.jobs.release import is_committed
from recordings.keys import date_of
from recordings.pool import Pool
from recordings.provenance import UNVERSIONED
from recordings.recording import Day
from recordings.retrying import patience
from recordings.s3.objects import Version
from recordings.s3.store import Store
from recordings.table.evidence import DIFFERENCES
from recordings.table.files import AuditFiles, digest_of, open_table
from recordings.table.reading import STATE_COLUMNS, Only, current, rows_of_days
from recordings.table.records import Kind
from recordings.table.rows import AuditRow, ManifestFile, Status

_YEAR_DAYS = 365.25
_MAX_NAMED = 100  # differences of each kind that reports name; the files list all
_DIFFERENCES_OF_A_FILE = 20_000
FAILURES = ("unavailable", "bug", "not-compared")  # the comparison itself failed; these say nothing about the bucket
LOSSES = ("vanished", "changed-since", "original-gone", "resurrected")  # others deleted or overwrote objects

Runs = Mapping[tuple[Kind, str], str]  # by kind and key: the run that recorded its intent and then wrote no row


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
        """Of the counts, those of losses."""
        return {code: count for code, count in self.counts.items() if code in LOSSES}

    @property
    def problems(self) -> list[str]:
        """Losses and failed comparisons: the first of each kind, and how many more."""
        bad = sum(count for code, count in self.counts.items() if code in (*LOSSES, *FAILURES))
        more = bad - len(self._bad)
        said = f"and {plural(more, 'more recording')}: the files {DIFFERENCES}/{self._job.run_id}*.csv list all"
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
    name = f"{DIFFERENCES}/{job.run_id}{f'-{number}' if number > 1 else ''}.csv"
    files.create(name, data)
    return [ManifestFile(name=name, rows=len(rows), sha256=digest_of(data))]


def reconcile_day(
    store: Store, day: Day, job: Job, pool: Pool, *, retention_years: float, runs: Runs | None = None
) -> list[Drift]:
    """Every drift of one day below one prefix, in key order."""
    files = open_table(job.audit_uri, store.session)
    only, named = Only(bucket=store.bucket, prefixes=day.key_prefixes), set[str]()
    left_alone = dict[str, str]()  # recordings that no run has archived: the reason that the last run gave
    deleted = set[tuple[str, str]]()
    columns = (*STATE_COLUMNS, "reason", "version_before")

    def states(rows: pd.DataFrame) -> pd.DataFrame:
        named.update(rows["key"])
        released = rows[rows["status"].eq(Status.RELEASED)]
        by_us = released[~released["reason"].fillna("").astype(str).str.startswith(FOUND_GONE)]
        deleted.update(zip(by_us["key"], by_us["version_before"], strict=True))
        now = current(rows)
        left_alone.update(_left_alone(rows[~rows["key"].isin(now["key"])]))
        return now

    known = {row.key: row for row in rows_of_days(files, [day.date], columns, only, states)}
    versions = _versions_by_key(store, day)
    keys = sorted(versions.keys() | known.keys())

    def compared(key: str) -> list[Drift]:
        is_new = bool(known) and key not in named
        return _compared(store, key, known.get(key), versions.get(key, []), job, runs or {}, is_new=is_new)

    drifts = pool.map(compared, keys)
    overdue = _overdue(day, versions, job, retention_years)
    gone = _vanished(left_alone, versions)
    return [drift for of_key in [*drifts, gone, _found_gone(known, deleted), overdue] for drift in of_key]


def _left_alone(attempts: pd.DataFrame) -> Iterator[tuple[str, str]]:
    """The recordings that a run looked at and left as they were, each with the last run's reason.

    Leaves out recordings that somebody else wrote or deleted during the run, and objects that are not recordings.
    """
    last = attempts.sort_values("started_at", kind="stable").drop_duplicates("key", keep="last")
    for key, status, reason in last[["key", "status", "reason"]].itertuples(index=False):
        code = code_of(reason if isinstance(reason, str) else None)
        if status != Status.CHANGED and code != "not-a-recording":
            yield key, f"{label(status)} ({code})" if code else label(status)


def _vanished(left_alone: Mapping[str, str], versions: Mapping[str, Sequence[Version]]) -> list[Drift]:
    """The recordings of ``left_alone`` that no longer exist."""
    return [
        _missing(key, said, versions.get(key, []))
        for key, said in sorted(left_alone.items())
        if not any(version.is_current and version.etag for version in versions.get(key, []))
    ]


def _missing(key: str, said: str, versions: Sequence[Version]) -> Drift:
    sentence = f"the table says {said}, but the key has no current version: {_left(versions)}"
    return Drift(code="vanished", key=key, sentence=sentence)


def _found_gone(known: Mapping[str, AuditRow], deleted: Collection[tuple[str, str]]) -> list[Drift]:
    """Originals that a release found already deleted, unless another release recorded the deletion in ``deleted``.

    ``deleted`` holds keys and versions.
    """
    gone = [row for row in known.values() if row.status is Status.RELEASED and code_of(row.reason) == FOUND_GONE]
    return [
        Drift(code="original-gone", key=row.key, sentence=f"run {row.run_id} found version {row.version_before} gone")
        for row in gone
        if (row.key, row.version_before) not in deleted
    ]


def _versions_by_key(store: Store, day: Day) -> Mapping[str, list[Version]]:
    found: dict[str, list[Version]] = defaultdict(list)
    for prefix in day.key_prefixes:
        for page in store.list_versions(prefix):
            for version in page:
                if not version.key.endswith("/"):  # a folder's placeholder
                    found[version.key].append(version)
    return found


def _compared(
    store: Store,
    key: str,
    row: AuditRow | None,
    versions: Sequence[Version],
    job: Job,
    runs: Runs,
    *,
    is_new: bool,
) -> list[Drift]:
    """The drifts of one recording; a failure to look at it is a drift, too, and affects no other recording."""
    found: list[Drift] = []

    def look() -> None:
        found.clear()
        found.extend(_drifts(store, key, row, versions, job, runs))
        if is_new and not found and any(version.is_current and version.etag for version in versions):
            found.append(
                Drift(code="new-since", key=key, sentence="no run has looked at it, though at others of its day")
            )

    try:
        patience()(look)
    except (RecordingError, StoreRefused) as error:
        if row is None:  # an object that no run has archived, and that may not be ours
            found.append(Drift(code="unreadable", key=key, sentence=str(error)))
        else:
            found.append(Drift(code="not-compared", key=key, sentence=str(error)))
    except StoreUnavailable as error:
        found.append(Drift(code="unavailable", key=key, sentence=str(error)))
    except Exception as error:  # a bug: reported as a drift, and the run fails after all other recordings are done
        found.append(Drift(code="bug", key=key, sentence=f"{type(error).__name__}: {error}"))
    return found


def _drifts(
    store: Store, key: str, row: AuditRow | None, versions: Sequence[Version], job: Job, runs: Runs
) -> Iterator[Drift]:
    newest = next((version for version in versions if version.is_current and version.etag), None)
    if row is None:
        if newest is not None:
            yield from _unknown(store, key, job)
        return
    if newest is None:
        yield _missing(key, label(row.status), versions)
        return
    if newest.version_id != (row.version_after or UNVERSIONED):
        yield from _changed(store, key, row, newest, job, runs)
        return
    if row.status is Status.RESTORED:
        return
    yield from _original(row, versions, runs)
    yield from _replacement(store, row, newest, job)


def _left(versions: Sequence[Version]) -> str:
    left, deleted = [each for each in versions if each.etag], [each for each in versions if each.is_current]
    when = f", below a delete marker of {deleted[0].last_modified:%Y-%m-%d at %H:%M} UTC" if deleted else ""
    return (
        f"{plural(len(left), 'older version')} can be brought back{when}" if left else f"no older version is left{when}"
    )


def _unknown(store: Store, key: str, job: Job) -> Iterator[Drift]:
    """An object without a state in the table: a recording not yet archived, or a replacement whose row was lost."""
    row = found_row(store, key)
    if row is not None:
        yield Drift(
            code="row-missing",
            key=key,
            sentence=f"archived by run {row.run_id}, but the table has no row for it",
            row=replace(begun(row, job), status=Status.ALREADY_ARCHIVED, reason="row-missing: rebuilt"),
        )


def _changed(store: Store, key: str, row: AuditRow, newest: Version, job: Job, runs: Runs) -> Iterator[Drift]:
    """Another version is current than the table knows; ours again, if a run died before it wrote its row."""
    sentence = f"version {newest.version_id} is current, but the table knows {row.version_after}"
    try:
        ours = list(_unknown(store, key, job))
    except (RecordingError, StoreRefused) as error:  # what the listing shows is certain nevertheless
        yield Drift(code="changed-since", key=key, sentence=f"{sentence}; {error}")
        return
    run_id = runs.get((Kind.RESTORE, key))
    if ours:
        yield from ours
    elif run_id and row.holds_replacement and _is_original(store, row):
        sentence = f"run {run_id} set out to restore it and wrote no row, and version {newest.version_id} is current"
        yield Drift(code="restore-untold", key=key, sentence=sentence)
    else:
        yield Drift(code="changed-since", key=key, sentence=sentence)


def _is_original(store: Store, row: AuditRow) -> bool:
    """Whether the current version is the original brought back, and not somebody else's object."""
    try:
        found_restored(store, row)
    except RecordingError:
        return False
    return True


def _replacement(store: Store, row: AuditRow, newest: Version, job: Job) -> Iterator[Drift]:
    if newest.storage_class != row.storage_class_after:
        sentence = f"the table says {row.storage_class_after}, S3 says {newest.storage_class}"
        yield Drift(code="class-differs", key=row.key, sentence=sentence)
    if not is_committed(store.tags(row.key, row.version_after)):
        mended = replace(
            begun(row, job),
            status=Status.ALREADY_ARCHIVED,
            reason="tag-missing: tagged again",
            read_back=row.read_back,
        )
        still = row.status is not Status.RELEASED  # a released recording stays released: people must set its tag
        yield Drift(
            code="tag-missing", key=row.key, sentence="not tagged converted=True", row=mended if still else None
        )


def _original(row: AuditRow, versions: Sequence[Version], runs: Runs) -> Iterator[Drift]:
    there = any(version.version_id == row.version_before for version in versions)
    if row.status is Status.RELEASED and there:
        sentence = f"run {row.run_id} says that it deleted version {row.version_before}, but it is there"
        yield Drift(code="resurrected", key=row.key, sentence=sentence)
    if row.status is Status.RELEASED or not row.original_kept or there:
        return
    run_id = runs.get((Kind.RELEASE, row.key))
    if run_id:
        sentence = f"run {run_id} set out to delete version {row.version_before} and wrote no row, and it is gone"
        yield Drift(code="release-untold", key=row.key, sentence=sentence)
    else:
        sentence = f"version {row.version_before} is gone, and no release recorded deleting it"
        yield Drift(code="original-gone", key=row.key, sentence=sentence)


def _overdue(day: Day, versions: Mapping[str, list[Version]], job: Job, retention_years: float) -> list[Drift]:
    kept_until = datetime.combine(day.date, datetime.min.time(), job.started_at.tzinfo)
    if job.started_at < kept_until + timedelta(days=retention_years * _YEAR_DAYS):
        return []
    sentence = f"kept longer than {retention_years:g} years"
    return [Drift(code="retention-overdue", key=key, sentence=sentence) for key in sorted(versions)]
