"""Read the audit table: all of it, some days of it, or chosen rows."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields, replace
from datetime import date
from functools import reduce
from itertools import chain
from operator import or_
from types import MappingProxyType
from typing import Any, NamedTuple

import pandas as pd
import pyarrow as pa  # type: ignore[import-untyped]  # ships no type information
import pyarrow.compute as pc  # type: ignore[import-untyped]
import pyarrow.dataset as ds  # type: ignore[import-untyped]
from pyarrow import fs

from recordings.errors import AuditDamaged
from recordings.holds import cases_by_key
from recordings.keys import contact_of
from recordings.recording import Day
from recordings.s3.session import Session
from recordings.table.files import PARTITION, AuditFiles, LocalFiles, open_table
from recordings.table.parquet import PANDAS_TYPES, arrow_schema
from recordings.table.records import intended
from recordings.table.rows import DESTROYED, STATES, TAG_LIMIT, AuditRow, Status

STATE_COLUMNS = ("bucket", "key", "status", "state_at", "started_at")  # the columns that ``current`` needs
_HOLD_COLUMNS = ("key", "status", "reason", "state_at", "started_at")  # that ``cases_by_key`` needs
_LISTINGS_AT_ONCE = 16
_ROWS_AT_ONCE = 1000
_LAST_CHARACTER = "\U0010ffff"


def read_audit(
    audit_uri: str,
    start: date | None = None,
    end: date | None = None,
    columns: Sequence[str] | None = None,
    session: Session | None = None,
) -> pd.DataFrame:
    """Every row of the dates from ``start`` to ``end`` (inclusive), states and attempts alike, with dates as dates.

    A table in S3 is read with the ``session``'s credentials, region and endpoint; by default those of the environment.

    A month of 500,000 rows takes a second or two and 1 GB; name the ``columns`` you need to take less, or aggregate
    years with SQL (``recordings.savings.sums``, docs/audit-table.md).

    Raises AuditDamaged, naming the file, where a file cannot be read.
    """
    table = table_of(audit_dataset(audit_uri, start, end, session), columns=columns and list(columns))
    frame: pd.DataFrame = table.to_pandas(types_mapper=PANDAS_TYPES.get, split_blocks=True)
    return frame


def current(frame: pd.DataFrame) -> pd.DataFrame:
    """One row per recording: its last state-changing row by S3's clock. Recordings never archived are not in it.

    S3's clock has whole seconds: within one second, a destruction counts as the last state. Of two
    rows about one version, the row of the run that wrote the version counts, then the later one. Order is kept.
    """
    clock = frame[["state_at", "started_at"]].assign(
        bucket=pd.factorize(frame["bucket"])[0],  # numbers, because sorting whole keys is slow
        key=pd.factorize(frame["key"])[0],
        destroyed=frame["status"].isin(DESTROYED),
        wrote=frame["status"].ne(Status.ALREADY_ARCHIVED),
    )
    states = clock.reset_index(drop=True)[frame["status"].isin(STATES).to_numpy(bool)]
    ordered = states.sort_values(["state_at", "destroyed", "wrote", "started_at"], kind="stable")
    last = ordered.drop_duplicates(["bucket", "key"], keep="last")
    return frame.iloc[last.index.sort_values()]


def last_attempts(rows: pd.DataFrame) -> pd.DataFrame:
    """The row of the last run that worked on each recording, by the clock of the machines that ran it."""
    return rows.sort_values("started_at", kind="stable").drop_duplicates("key", keep="last")


def states_or_attempts(rows: pd.DataFrame, attempts: pd.DataFrame) -> pd.DataFrame:
    """One row per recording of one bucket: its current state; where it has none, the last of these attempts, if any."""
    states = current(rows)
    return pd.concat([states, last_attempts(attempts[~attempts["key"].isin(states["key"])])])


@dataclass(frozen=True, slots=True, kw_only=True)
class Only:
    """The rows of a day to read; statistics of the files exclude most others. What is empty does not narrow."""

    bucket: str
    prefixes: tuple[str, ...] = ("",)
    contact_ids: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()
    run_id: str | None = None
    statuses: tuple[Status, ...] = ()
    first_key: str = ""
    last_key: str = _LAST_CHARACTER


def read_days(files: AuditFiles, days: Iterable[date], columns: Sequence[str], only: Only) -> pd.DataFrame:
    """These columns of the rows of these days. Raises AuditDamaged, naming the file that cannot be read."""
    table = table_of(dataset_of(files, days), columns=list(columns), filter=_filter(only))
    frame: pd.DataFrame = table.to_pandas(types_mapper=PANDAS_TYPES.get, split_blocks=True)
    return frame


def rows_of_days(
    files: AuditFiles,
    days: Iterable[date],
    columns: Sequence[str],
    only: Only,
    chosen: Callable[[pd.DataFrame], pd.DataFrame],
) -> Iterator[AuditRow]:
    """Whole rows of these days: those that ``chosen`` selects from a frame of these columns, in its order.

    Only the selected rows leave Arrow, which needs a third of the memory. Raises AuditDamaged.
    """
    table = table_of(dataset_of(files, days), filter=_filter(only))
    narrow = table.select(list(columns)).to_pandas(types_mapper=PANDAS_TYPES.get, split_blocks=True)
    taken = table.take(pa.array(chosen(narrow).index.to_numpy()))
    del table, narrow
    for start in range(0, len(taken), _ROWS_AT_ONCE):
        yield from rows_of(taken.slice(start, _ROWS_AT_ONCE).to_pandas(types_mapper=PANDAS_TYPES.get))


def _filter(only: Only) -> pc.Expression:
    """A filter by ranges where possible, not by first letters, so that the files' statistics exclude most rows."""
    key, contact = ds.field("key"), ds.field("contact_id")
    ranges = [(key >= prefix) & (key < prefix + _LAST_CHARACTER) for prefix in only.prefixes if prefix]
    wanted = (ds.field("bucket") == only.bucket) & (key >= only.first_key) & (key <= only.last_key)
    if ranges and "" not in only.prefixes:
        wanted &= reduce(or_, ranges)
    if only.run_id is not None:
        wanted &= ds.field("run_id") == only.run_id
    if only.statuses:
        wanted &= pc.is_in(ds.field("status"), pa.array([str(each) for each in only.statuses], pa.string()))
    if only.keys:
        wanted &= (key >= min(only.keys)) & (key <= max(only.keys)) & pc.is_in(key, pa.array(only.keys, pa.string()))
    if only.contact_ids:
        among = pc.is_in(contact, pa.array(only.contact_ids, pa.string()))
        wanted &= (contact >= min(only.contact_ids)) & (contact <= max(only.contact_ids)) & among
    return wanted


def rows_of(frame: pd.DataFrame) -> Iterator[AuditRow]:
    """The rows of a frame as values, with None for nulls."""
    names = [field.name for field in fields(AuditRow)]
    for record in frame[names].astype(object).itertuples(index=False, name=None):
        values = {name: _plain(value) for name, value in zip(names, record, strict=True)}
        yield AuditRow(**{**values, "status": Status(values["status"])})


def _plain(value: Any) -> Any:
    if value is None or value is pd.NA or value is pd.NaT or value != value:  # NaN differs from itself
        return None
    return value.to_pydatetime() if isinstance(value, pd.Timestamp) else value


class Final(NamedTuple):
    """The final recordings of a day, and the files of the day that cannot be read.

    A recording is final if an earlier run has dealt with its current content, so that no run need look at it again.
    """

    recordings: frozenset[tuple[str, str]]  # (key, ETag)
    damaged: tuple[str, ...]
    unprofitable: frozenset[tuple[str, str]] = frozenset()  # of these, the recordings that are not worth archiving
    destroyed: Mapping[str, str] = MappingProxyType({})  # by key, whatever its ETag: as destroyed_recordings says
    cases: Mapping[str, frozenset[str]] = MappingProxyType({})  # by key, the cases that hold it


def final_recordings(
    files: AuditFiles,
    day: Day,
    *,
    bucket: str,
    profile: str,
    software_version: str,
    weighed_by: str | None = None,
) -> Final:
    """(key, ETag) of the final recordings of the day, or of its shard.

    Final are recordings that under this profile were verified and tagged (or had no room for the tag), that this
    version of the software rejected, or that it found not worth archiving when it weighed them by the digest
    ``weighed_by`` (None: the latter are not final). A damaged file makes nothing final, and is named. A recording that
    a run has destroyed is named with that run, so that a copy which somebody brought back is not taken for another one.
    A recording that cases hold is named with them, since somebody may have taken the hold away in S3. The intent of its
    batch stands in for a damaged file.
    """
    is_marked = ds.field("tagged") | pc.starts_with(ds.field("reason"), TAG_LIMIT)
    done = ds.field("verified") & is_marked
    is_rejected = ds.field("status") == Status.REJECTED
    is_unprofitable = ds.field("weighed_by") == weighed_by if weighed_by else pc.scalar(False)
    left = (is_rejected | is_unprofitable) & (ds.field("software_version") == software_version)
    of_profile = ds.field("profile") == profile
    stays = ~ds.field("status").isin([str(each) for each in STATES])
    etag = pc.if_else(stays, ds.field("etag_before"), ds.field("etag_after"))
    is_destroyed = ds.field("status").isin([str(each) for each in DESTROYED])
    is_held = ds.field("status") == Status.HELD
    only = Only(bucket=bucket, prefixes=day.key_prefixes)
    columns = {"key": ds.field("key"), "etag": etag, "unprofitable": stays & ~is_rejected}
    columns |= {"destroyed": is_destroyed, "held": is_held}
    wanted = {"columns": columns, "filter": _filter(only) & ((of_profile & (done | left)) | is_destroyed | is_held)}
    rows = dataset_of(files, [day.date])
    try:
        tables, damaged = [table_of(rows, **wanted)], list[str]()
    except AuditDamaged:
        tables, damaged = _file_by_file(files, rows.files, wanted)
    lines = (zip(*map(pa.ChunkedArray.to_pylist, table.columns), strict=True) for table in tables)
    found = list(chain.from_iterable(lines))
    final = [(key, etag, is_unprofitable) for key, etag, is_unprofitable, *others in found if not any(others)]
    return Final(
        frozenset((key, etag) for key, etag, _ in final),
        tuple(damaged),
        frozenset((key, etag) for key, etag, is_unprofitable in final if is_unprofitable),
        destroyed_recordings(files, [day.date], only) if damaged or any(is_gone for *_, is_gone, _ in found) else {},
        _cases(files, day.date, only) if damaged or any(is_held for *_, is_held in found) else {},
    )


def _cases(files: AuditFiles, day: date, only: Only) -> dict[str, frozenset[str]]:
    """By key, the cases that hold recordings of the day, as the files say that can be read.

    What the batch of another file set out to hold counts as held. Raises AuditDamaged where its intent cannot be read.
    """
    told = _filter(replace(only, statuses=(Status.HELD, Status.LIFTED)))
    tables, damaged = _readable(files, day, {"columns": [*_HOLD_COLUMNS], "filter": told})
    set_out = [asdict(each) for name in damaged for each in _set_out(files, name, day, only, (Status.HELD,))]
    schema = pa.schema([arrow_schema().field(name) for name in _HOLD_COLUMNS])
    tables.append(pa.Table.from_pylist(set_out, schema))
    return cases_by_key(pa.concat_tables(tables).to_pandas(types_mapper=PANDAS_TYPES.get))


def destroyed_recordings(files: AuditFiles, days: Iterable[date], only: Only) -> dict[str, str]:
    """By key, of the recordings whose last state says that a run destroyed them: ``run <run_id> erased it on <date>``.

    Where a file of a day cannot be read, the others of that day decide; but what the file's batch set out to destroy
    counts as destroyed. Raises AuditDamaged where the batch's intent cannot be read either.
    """
    wanted = {"columns": [*STATE_COLUMNS, "run_id"], "filter": _filter(only)}
    tables, set_out = list[pa.Table](), dict[str, str]()
    for day in days:
        readable, damaged = _readable(files, day, wanted)
        tables += readable
        set_out |= {
            each.key: f"run {each.run_id} set out to destroy it, and {name} cannot be read"
            for name in damaged
            for each in _set_out(files, name, day, only, DESTROYED)
        }
    rows = pa.concat_tables(tables).to_pandas(types_mapper=PANDAS_TYPES.get) if tables else pd.DataFrame()
    return set_out | ({} if rows.empty else _destroyed(rows))


def _set_out(files: AuditFiles, name: str, day: date, only: Only, statuses: Sequence[Status]) -> Iterator[AuditRow]:
    """What the batch of a file set out to do, where it leads to one of these statuses."""
    for each in intended(files, name):
        if (
            each.status in statuses
            and (each.bucket, each.recording_date) == (only.bucket, day)
            and each.key.startswith(only.prefixes)
            and (not only.keys or each.key in only.keys)
            and (not only.contact_ids or contact_of(each.key) in only.contact_ids)
        ):
            yield each


def _destroyed(rows: pd.DataFrame) -> dict[str, str]:
    gone = current(rows)
    gone = gone[gone["status"].isin([str(each) for each in DESTROYED])]
    columns = zip(gone["key"], gone["status"], gone["run_id"], gone["state_at"], strict=True)
    return {key: f"run {run_id} {status} it{_on(at)}" for key, status, run_id, at in columns}


def _on(moment: Any) -> str:
    return "" if pd.isna(moment) else f" on {moment:%Y-%m-%d}"


def _readable(files: AuditFiles, day: date, wanted: Mapping[str, Any]) -> tuple[list[pa.Table], list[str]]:
    rows = dataset_of(files, [day])
    try:
        return [table_of(rows, **wanted)], []
    except AuditDamaged:
        return _file_by_file(files, rows.files, wanted)


def _file_by_file(
    files: AuditFiles, paths: Sequence[str], wanted: Mapping[str, Any]
) -> tuple[list[pa.Table], list[str]]:
    """The content of the readable files, and the names of the others."""
    tables, damaged = [], []
    root = _filesystem(files)[1]
    for name in (path.removeprefix(root) for path in paths):
        try:
            tables.append(table_of(_dataset(files, [name]), **wanted))
        except AuditDamaged:
            damaged.append(name)
    return tables, damaged


def audit_dates(files: AuditFiles) -> list[date]:
    """The dates that have rows, in order."""
    named = (folder.partition("=") for folder in files.folders())
    return sorted(day for name, _, value in named if name == PARTITION and (day := _date(value)))


def _date(text: str) -> date | None:
    """The date in a folder's name of our form; None for other names."""
    try:
        day = date.fromisoformat(text)
    except ValueError:
        return None
    return day if str(day) == text else None


def audit_dataset(
    audit_uri: str, start: date | None = None, end: date | None = None, session: Session | None = None
) -> ds.Dataset:
    """The table's files of these dates; without dates, all files. A day's folder is listed only when it is needed.

    Files of every schema version are read with the current one: missing columns are null.
    """
    files = open_table(audit_uri, session)
    return dataset_of(files, _between(audit_dates(files), start, end))


def audit_parts(
    files: AuditFiles, start: date | None = None, end: date | None = None, *, days: int
) -> Iterator[ds.Dataset]:
    """The same in parts of this many days. All rows of one recording are in the same part."""
    dates = _between(audit_dates(files), start, end)
    return (dataset_of(files, dates[n : n + days]) for n in range(0, len(dates), days))


def _between(days: Iterable[date], start: date | None, end: date | None) -> list[date]:
    return [day for day in days if (start or date.min) <= day <= (end or date.max)]


def dataset_of(files: AuditFiles, days: Iterable[date]) -> ds.Dataset:
    """The rows of these days as a dataset."""
    return _dataset(files, names_of_days(files, days))


def names_of_days(files: AuditFiles, days: Iterable[date]) -> list[str]:
    """The names of the files of these days: one listing per day, several at once."""
    with ThreadPoolExecutor(_LISTINGS_AT_ONCE) as threads:
        listed = threads.map(lambda day: list(files.names(f"{PARTITION}={day}")), days)
        return [name for of_day in listed for name in of_day if name.endswith(".parquet")]


def _dataset(files: AuditFiles, names: Sequence[str]) -> ds.Dataset:
    filesystem, root = _filesystem(files)
    return ds.dataset(
        [root + name for name in names],
        schema=arrow_schema(),
        format="parquet",
        filesystem=filesystem,
        partitioning=ds.partitioning(pa.schema([arrow_schema().field(PARTITION)]), flavor="hive"),
        partition_base_dir=root,
    )


def table_of(rows: ds.Dataset, **options: Any) -> pa.Table:
    """The rows, read now, with the options of ``Dataset.to_table``. Raises AuditDamaged where a file cannot be read."""
    with damage_named(rows):
        return rows.to_table(cache_metadata=False, **options)  # hundreds of files' metadata outweighs all rows


@contextmanager
def damage_named(rows: ds.Dataset, *errors: type[Exception]) -> Iterator[None]:
    """Raise AuditDamaged for an error of Arrow, or of these classes, if a damaged file caused it.

    Other errors, such as those of the machine and of S3, pass through.
    """
    try:
        yield
    except (pa.ArrowException, OSError, *errors) as error:
        if damage := getattr(error, "errno", None) is None and _damage(rows):
            raise damage from error
        raise


def _damage(rows: ds.Dataset) -> AuditDamaged | None:
    """The error for the first of the dataset's files that is not a readable file of ours; None if all are."""
    for file in rows.get_fragments():
        try:
            file.to_table(schema=rows.schema, cache_metadata=False)
        except (pa.ArrowException, OSError) as error:
            cause = str(error).splitlines()[0].rpartition("': ")[2]  # without the path
            return AuditDamaged("/".join(file.path.split("/")[-2:]), cause.rstrip("."))
    return None


def _filesystem(files: AuditFiles) -> tuple[fs.FileSystem, str]:
    if isinstance(files, LocalFiles):
        return fs.LocalFileSystem(), f"{files.root}/"
    return fs.PyFileSystem(_Reader(files)), ""


class _Reader(fs.FileSystemHandler):  # type: ignore[misc]  # ships no type information
    """Makes Arrow read through our own client: docs/decisions/0031-one-client-writes-and-reads.md."""

    def __init__(self, files: AuditFiles) -> None:
        self._files = files

    def open_input_file(self, path: str) -> pa.NativeFile:
        return pa.BufferReader(self._files.read(path))

    def get_type_name(self) -> str:
        return "audit-files"

    def normalize_path(self, path: str) -> str:
        return path

    def _not_asked_for(self, *_: Any, **__: Any) -> None:
        raise NotImplementedError("a dataset of named files only opens them")

    get_file_info = get_file_info_selector = open_input_stream = _not_asked_for
    open_output_stream = open_append_stream = copy_file = move = create_dir = _not_asked_for
    delete_file = delete_dir = delete_dir_contents = delete_root_dir_contents = _not_asked_for
