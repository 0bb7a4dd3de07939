"""Do table and bucket tell the same story? Where they do not, what is safe is mended."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from recordings.errors import RecordingError
from recordings.manifest import ManifestRow, Status, current, read_audit
from recordings.operation import Operation, begun, rows_of
from recordings.pool import Pool
from recordings.provenance import UNVERSIONED
from recordings.recording import Day
from recordings.resample import found_row
from recordings.s3.objects import Version
from recordings.s3.store import Store
from recordings.tag import CONVERTED_TAG

_YEAR_DAYS = 365.25


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """One way in which table and bucket differ. ``row`` is what would mend it, where that is safe."""

    code: str
    key: str
    sentence: str
    row: ManifestRow | None = None


def reconcile_day(store: Store, day: Day, operation: Operation, pool: Pool, *, retention_years: float) -> list[Drift]:
    """Every drift of one day below one prefix, in key order."""
    frame = read_audit(operation.audit_uri, day.date, day.date, session=store.session)
    known = {row.key: row for row in rows_of(current(frame[frame["bucket"] == store.bucket]))}
    versions = _versions_by_key(store, day)
    keys = sorted(versions.keys() | {key for key in known if key.startswith(day.key_prefixes)})
    drifts = pool.map(lambda key: list(_drifts(store, key, known.get(key), versions.get(key, []), operation)), keys)
    overdue = _overdue(day, versions, operation, retention_years)
    return [drift for of_key in [*drifts, overdue] for drift in of_key]


def _versions_by_key(store: Store, day: Day) -> Mapping[str, list[Version]]:
    found: dict[str, list[Version]] = defaultdict(list)
    for prefix in day.key_prefixes:
        for page in store.list_versions(prefix):
            for version in page:
                found[version.key].append(version)
    return found


def _drifts(
    store: Store, key: str, row: ManifestRow | None, versions: Sequence[Version], operation: Operation
) -> Iterator[Drift]:
    lying = next((version for version in versions if version.is_current and version.etag), None)
    if row is None:
        if lying is not None:
            yield from _unknown(store, key, operation)
        return
    if lying is None:
        yield Drift(code="vanished", key=key, sentence=f"the table says {row.status}; nothing current lies there")
        return
    if lying.version_id != (row.version_after or UNVERSIONED):
        yield from _changed(store, key, row, lying, operation)
        return
    if row.status is Status.RESTORED:
        return
    yield from _replacement(store, row, lying, operation)
    yield from _original(row, versions)


def _unknown(store: Store, key: str, operation: Operation) -> Iterator[Drift]:
    """An object without a state in the table: a recording not archived yet, or a replacement whose row was lost."""
    try:
        row = found_row(store, key)
    except RecordingError as error:
        yield Drift(code="unreadable", key=key, sentence=str(error))
        return
    if row is not None:
        yield Drift(
            code="row-missing",
            key=key,
            sentence=f"archived by run {row.run_id}; the table has no row for it",
            row=replace(begun(row, operation), status=Status.ALREADY_ARCHIVED, reason="row-missing: rebuilt"),
        )


def _changed(store: Store, key: str, row: ManifestRow, lying: Version, operation: Operation) -> Iterator[Drift]:
    """Another version is current than the table knows; ours again, if a run died before it wrote its row."""
    ours = list(_unknown(store, key, operation))
    if ours:
        yield from ours
    else:
        sentence = f"the table knows version {row.version_after}; version {lying.version_id} is current"
        yield Drift(code="changed-since", key=key, sentence=sentence)


def _replacement(store: Store, row: ManifestRow, lying: Version, operation: Operation) -> Iterator[Drift]:
    if lying.storage_class != row.storage_class_after:
        sentence = f"the table says {row.storage_class_after}, S3 {lying.storage_class}"
        yield Drift(code="class-differs", key=row.key, sentence=sentence)
    if CONVERTED_TAG not in store.tags(row.key, row.version_after).items():
        mended = replace(begun(row, operation), status=Status.ALREADY_ARCHIVED, reason="tag-missing: tagged again")
        still = row.status is not Status.RELEASED  # a released recording stays released: its tag is for people to set
        yield Drift(
            code="tag-missing", key=row.key, sentence="not tagged converted=True", row=mended if still else None
        )


def _original(row: ManifestRow, versions: Sequence[Version]) -> Iterator[Drift]:
    there = any(version.version_id == row.version_before for version in versions)
    if row.status is not Status.RELEASED and row.original_kept and not there:
        sentence = f"version {row.version_before} is gone, and no release says so"
        yield Drift(code="original-gone", key=row.key, sentence=sentence)


def _overdue(
    day: Day, versions: Mapping[str, list[Version]], operation: Operation, retention_years: float
) -> list[Drift]:
    kept_until = datetime.combine(day.date, datetime.min.time(), operation.started_at.tzinfo)
    if operation.started_at < kept_until + timedelta(days=retention_years * _YEAR_DAYS):
        return []
    sentence = f"kept longer than {retention_years:g} years"
    return [Drift(code="retention-overdue", key=key, sentence=sentence) for key in sorted(versions)]
