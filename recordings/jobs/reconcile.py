"""Compare the audit table with the bucket, and repair what is safe to repair."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta

import pandas as pd

from recordings.errors import RecordingError, StoreRefused, StoreUnavailable
from recordings.formatting import label, plural
from recordings.glossary import code_of
from recordings.holds import cases_by_key
from recordings.jobs.drifts import Drift
from recordings.jobs.engine.intents import open_intents, runs_by_deed
from recordings.jobs.engine.job import Job, begun
from recordings.jobs.engine.traces import FOUND_GONE, trace_of_restore
from recordings.keys import contact_of, date_of
from recordings.marks import is_committed
from recordings.observed import found_row
from recordings.pool import Pool
from recordings.recording import Day
from recordings.retention_rules import possible_ends, rule_for
from recordings.retrying import patience
from recordings.s3.objects import UNVERSIONED, Version
from recordings.s3.store import Store
from recordings.table.files import AuditFiles
from recordings.table.reading import STATE_COLUMNS, Only, current, last_attempts, rows_of_days
from recordings.table.records import ErasureRecord, Kind, erasures
from recordings.table.rows import DESTROYED, EVENTS, AuditRow, Status
from recordings.versions import versions_below, versions_of

_YEAR_DAYS = 365.25

_UNTOLD = {Kind.RELEASE: "release-untold", Kind.EXPIRE: "expire-untold", Kind.ERASE: "erase-untold"}

Runs = Mapping[tuple[Kind, str], str]  # by kind and key: the run that recorded its intent and then wrote no row


def reconcile_day(
    store: Store, files: AuditFiles, day: Day, job: Job, pool: Pool, runs: Runs | None = None
) -> list[Drift]:
    """Every drift of one day below one prefix, each kind in key order.

    A day with losses is looked at twice: another run of ours may have worked on the day in the meantime.
    """

    def look(runs: Runs) -> list[Drift]:
        return [*_look(store, files, day, job, pool, runs), *_elsewhere(store, files, day, job, runs)]

    found = look(runs or {})
    if any(drift.is_loss for drift in found):
        found = look({**(runs or {}), **runs_by_deed(files, open_intents(files, store.bucket))})
    return _unless_to_be_erased(found, files, store.bucket) if any(drift.row for drift in found) else found


def _unless_to_be_erased(drifts: Sequence[Drift], files: AuditFiles, bucket: str) -> list[Drift]:
    """The drifts, without the rows of objects that a run was asked to erase: the row that is missing may say so."""
    requests = erasures(files, bucket)

    def checked(drift: Drift) -> Drift:
        asked = next((each for each in requests if _asks_for(each, drift.key)), None) if drift.row else None
        if asked is None:
            return drift
        sentence = f"{drift.sentence}; nothing is repaired, since run {asked.run_id} was asked to erase it"
        return replace(drift, row=None, sentence=sentence)

    return [checked(drift) for drift in drifts]


def _asks_for(request: ErasureRecord, key: str) -> bool:
    """Whether the request names the key, or its contact and no two dates that are more than a day away.

    One date alone does not narrow where an erasure looks.
    """
    day, near, (start, end) = date_of(key), timedelta(days=1), (request.start_date, request.end_date)
    is_elsewhere = day and start and end and not start - near <= day <= end + near
    return key in request.keys or (contact_of(key) in request.contact_ids and not is_elsewhere)


def _look(store: Store, files: AuditFiles, day: Day, job: Job, pool: Pool, runs: Runs) -> list[Drift]:
    only, named = Only(bucket=store.bucket, prefixes=day.key_prefixes), set[str]()
    left_alone = dict[str, str]()  # what no run has archived: the reason that the last run gave, or who holds it
    deleted = set[tuple[str, str]]()
    columns = (*STATE_COLUMNS, "reason", "version_before")

    def states(rows: pd.DataFrame) -> pd.DataFrame:
        told, rows = rows, rows[~rows["status"].isin(EVENTS)]
        named.update(rows["key"])
        left_alone.update(_held(told, but=named))
        released = rows[rows["status"].eq(Status.RELEASED)]
        by_us = released[~released["reason"].fillna("").astype(str).str.startswith(FOUND_GONE)]
        deleted.update(zip(by_us["key"], by_us["version_before"], strict=True))
        now = current(rows)
        left_alone.update(_left_alone(rows[~rows["key"].isin(now["key"])]))
        return now

    known = {row.key: row for row in rows_of_days(files, [day.date], columns, only, states)}
    versions = versions_below(store, day.key_prefixes)
    keys = sorted(versions.keys() | known.keys())

    def compared(key: str) -> list[Drift]:
        is_new = bool(known) and key not in named
        return _compared(store, key, known.get(key), versions.get(key, []), job, runs, is_new=is_new)

    def overdue(key: str) -> list[Drift]:
        of_key = _kept(versions[key])
        return _looked(key, known.get(key), lambda: _overdue(store, key, of_key, day, job))

    drifts = [*pool.map(compared, keys), _vanished(left_alone, versions, runs), _found_gone(known, deleted)]
    drifts += pool.map(overdue, sorted(versions)) if _may_be_overdue(day, job) else []
    return [drift for of_key in drifts for drift in of_key]


def _elsewhere(store: Store, files: AuditFiles, day: Day, job: Job, runs: Runs) -> list[Drift]:
    """Objects beside the folders of recordings, such as analyses: erased and there again, or held and gone.

    They lie below no prefix of the job, so each date is looked at once, with the first prefix.
    """
    if day.prefix != job.prefixes[0]:
        return []
    folders = tuple(each for prefix in job.prefixes for each in Day(prefix=prefix, date=day.date).key_prefixes)
    only = Only(bucket=store.bucket, statuses=(Status.ERASED, Status.HELD, Status.LIFTED))
    held = dict[str, str]()

    def beside(rows: pd.DataFrame) -> pd.DataFrame:
        rows = rows[~rows["key"].str.startswith(folders)]
        states = current(rows)
        held.update(_held(rows, but=states["key"]))
        return states

    erased = list(rows_of_days(files, [day.date], (*STATE_COLUMNS, "reason"), only, beside))

    def versions(key: str) -> list[Version]:
        return versions_of(store, key)[::-1]

    def again(row: AuditRow) -> list[Drift]:
        return _looked(row.key, row, lambda: _back_again(row, versions(row.key)))

    def gone(key: str) -> list[Drift]:
        return _looked(key, None, lambda: _vanished({key: held[key]}, {key: versions(key)}, runs))

    return [drift for of_key in (*map(again, erased), *map(gone, sorted(held))) for drift in of_key]


def _held(rows: pd.DataFrame, *, but: Iterable[str]) -> dict[str, str]:
    """The recordings of these rows that cases hold, each with what the table says of it; without these keys."""
    others = set(but)
    return {
        key: f"held for {', '.join(sorted(cases))}" for key, cases in cases_by_key(rows).items() if key not in others
    }


def _left_alone(attempts: pd.DataFrame) -> Iterator[tuple[str, str]]:
    """The recordings that a run looked at and left as they were, each with the last run's reason.

    Leaves out recordings that somebody else wrote or deleted during the run, and objects that are not recordings.
    """
    last = last_attempts(attempts)
    for key, status, reason in last[["key", "status", "reason"]].itertuples(index=False):
        code = code_of(reason if isinstance(reason, str) else None)
        if status != Status.CHANGED and code != "not-a-recording":
            yield key, f"{label(status)} ({code})" if code else label(status)


def _vanished(left_alone: Mapping[str, str], versions: Mapping[str, Sequence[Version]], runs: Runs) -> list[Drift]:
    """The recordings of ``left_alone`` that no longer exist."""
    return [
        _missing(key, said, versions.get(key, []), runs)
        for key, said in sorted(left_alone.items())
        if _newest(versions.get(key, [])) is None
    ]


def _kept(versions: Sequence[Version]) -> list[Version]:
    """The versions that are no delete markers, the newest first."""
    return [version for version in versions if not version.is_marker]


def _newest(versions: Sequence[Version]) -> Version | None:
    """The current version; None where the key has none, or a delete marker hides the others."""
    return next((version for version in versions if version.is_current and not version.is_marker), None)


def _untold(key: str, runs: Runs, *kinds: Kind, what: str) -> Drift | None:
    """What a run of one of these kinds set out to delete and wrote no row about; None if there is no such run."""
    kind = next((kind for kind in kinds if (kind, key) in runs), None)
    if kind is None:
        return None
    sentence = f"run {runs[kind, key]} set out to delete {what} and wrote no row, and it is gone"
    return Drift(code=_UNTOLD[kind], key=key, sentence=sentence)


def _missing(key: str, said: str, versions: Sequence[Version], runs: Runs) -> Drift:
    untold = None if _kept(versions) else _untold(key, runs, Kind.EXPIRE, Kind.ERASE, what="all versions")
    if untold:
        return untold
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
    """The drifts of one recording; a failure to look at it affects no other recording."""

    def look() -> Iterator[Drift]:
        drifts = list(_drifts(store, key, row, versions, job, runs))
        yield from drifts
        if is_new and not drifts and _newest(versions) is not None:
            sentence = "no run has looked at it, although runs have looked at other objects of its day"
            yield Drift(code="new-since", key=key, sentence=sentence)

    return _looked(key, row, look)


def _looked(key: str, row: AuditRow | None, look: Callable[[], Iterable[Drift]]) -> list[Drift]:
    """What the look at a recording finds; a failure to look is a drift, too."""
    found: list[Drift] = []

    def look_again() -> None:
        found.clear()
        found.extend(look())

    try:
        patience()(look_again)
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
    newest = _newest(versions)
    if row is None:
        if newest is not None:
            yield from _unknown(store, key, job)
        return
    if row.status in DESTROYED:
        yield from _back_again(row, versions)
        return
    if newest is None:
        yield _missing(key, label(row.status), versions, runs)
        return
    if newest.version_id != (row.version_after or UNVERSIONED):
        yield from _changed(store, key, row, newest, job, runs)
        return
    if row.status is Status.RESTORED:
        return
    yield from _original(row, versions, runs)
    yield from _replacement(store, row, newest, job)


def _back_again(row: AuditRow, versions: Sequence[Version]) -> Iterator[Drift]:
    """A recording that a run destroyed must not have any version; a delete marker is none."""
    if kept := _kept(versions):
        when = f"version {kept[0].version_id} of {kept[0].last_modified:%Y-%m-%d at %H:%M} UTC"
        sentence = f"run {row.run_id} {label(row.status)} it, but it is there again: {when}"
        yield Drift(code="resurrected", key=row.key, sentence=sentence)


def _left(versions: Sequence[Version]) -> str:
    left, deleted = _kept(versions), [each for each in versions if each.is_current]
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
        trace_of_restore(store, row)
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
    what = f"version {row.version_before}"
    if untold := _untold(row.key, runs, *_UNTOLD, what=what):
        yield untold
    else:
        sentence = f"{what} is gone, and no release recorded deleting it"
        yield Drift(code="original-gone", key=row.key, sentence=sentence)


def _may_be_overdue(day: Day, job: Job) -> bool:
    today = job.started_at.date()
    if job.rules:
        return any(rule.has_ended(day.date, today) for rule in job.rules)
    return (today - day.date).days > job.retention_years * _YEAR_DAYS


def _overdue(store: Store, key: str, versions: Sequence[Version], day: Day, job: Job) -> list[Drift]:
    """What is kept, though its retention has ended, of a day that may be overdue. Its tags are read if they decide."""
    if not versions:
        return []
    if not job.rules:
        return [_overdue_by(key, f"the {job.retention_years:g} years that ARCHIVE_RETENTION_YEARS allows")]
    today = job.started_at.date()
    ends = possible_ends(job.rules, key, day.date, today)
    if len(ends) > 1:
        tags = store.tags(key, versions[0].version_id)
        ends = {rule_for(job.rules, key, tags).has_ended(day.date, today)}
    return [_overdue_by(key, "ARCHIVE_RETENTION_RULES allows")] if ends == {True} else []


def _overdue_by(key: str, said: str) -> Drift:
    return Drift(code="retention-overdue", key=key, sentence=f"kept longer than {said}")
