"""What the audit table adds up to: years of rows summed up by SQL, weeks at a time. The only file that knows duckdb.

All rows of a recording lie under its own date, so weeks can be summed up without looking at any other.
"""

import re
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, date, datetime
from glob import escape
from tempfile import TemporaryDirectory
from typing import Any

import duckdb
import pandas as pd

from recordings.errors import InvalidRequest
from recordings.pricing import PriceList
from recordings.profiles import PROFILES
from recordings.recording import open_span, span
from recordings.table.files import AuditFiles
from recordings.table.reading import audit_dates, audit_parts, damage_named, dataset_of, table_of
from recordings.table.records import EndRecord, Kind, end_records
from recordings.table.rows import DESTROYED, EVENTS, SMALL, STATES
from recordings.table.schema import CURRENT_ORDER

_DAYS_AT_ONCE, _PARTS_AT_ONCE = 4, 2  # of the rows of so many days, all are in memory if they come from S3
_MEMORY = "500MB"  # for one part; DuckDB writes to disk what is more
SNR_BIN_DB = 2
_STATES = tuple(map(str, STATES))
_EVENTS = tuple(map(str, EVENTS))
SMALL_STATES = tuple(state.value for state in SMALL)
DESTROYED_STATES = tuple(state.value for state in DESTROYED)

# What was once shown of a version (verified, read back, tagged) stays true of it, whichever row said so. Only few
# recordings have rows that may differ in this.
_SHOWN = f"""
CREATE TEMP TABLE shown AS
SELECT recording_date, bucket, key, version_after,
  bool_or(verified) AS verified, bool_or(read_back) AS read_back, bool_or(tagged) AS tagged
FROM rows
WHERE version_after <> 'null' AND (recording_date, bucket, key) IN (
  SELECT (recording_date, bucket, key) FROM rows
  WHERE read_back OR (status IN {SMALL_STATES} AND NOT (verified AND tagged))
)
GROUP BY ALL
"""  # noqa: S608 (constants of ours)

# Each state's row with the moment its successor took over, and for recordings without a state their last attempt.
_HISTORY = f"""
CREATE TEMP TABLE history AS
SELECT recording_date, bucket, key, run_id, status, reason, profile, bytes_before, bytes_after, duration_after_s,
  snr_db, storage_class_before, storage_class_after, original_kept, state_at, started_at, is_state,
  newest = 1 AS stands, next_at, states.verified OR shown.verified AS verified,
  states.read_back OR shown.read_back AS read_back, states.tagged OR shown.tagged AS tagged
FROM (
  SELECT *, row_number() OVER newest_first AS newest, lag(state_at) OVER newest_first AS next_at
  FROM (
    SELECT * REPLACE (CASE WHEN status IN {_STATES} THEN state_at END AS state_at), status IN {_STATES} AS is_state
    FROM rows WHERE status NOT IN {_EVENTS}
  )
  WINDOW newest_first AS (PARTITION BY recording_date, bucket, key ORDER BY is_state DESC, {CURRENT_ORDER})
) AS states
LEFT JOIN shown USING (recording_date, bucket, key, version_after)
WHERE is_state OR newest = 1
"""  # noqa: S608 (constants of ours)

# What each profile usually makes of a recording, as its storage class would bill it.
_UNDER_PROFILES = ", ".join(
    f"coalesce(sum(greatest(bytes_before * {profile.size_ratio}, coalesce(after.minimum_bytes, 0))), 0)::BIGINT"
    f' AS "billed_{name}"'
    for name, profile in PROFILES.items()
)

_SUMS = f"""
SELECT recording_date, run_id, status, is_state,
  CASE WHEN is_state THEN '' ELSE coalesce(split_part(reason, ':', 1), '') END AS code,
  coalesce(before.class, 'STANDARD') AS class_before, coalesce(after.class, 'STANDARD') AS class_after,
  coalesce(original_kept, false) AS kept, stands,
  CAST(coalesce(state_at, started_at) AS DATE) AS since, CAST(next_at AS DATE) AS until,
  coalesce(profile, '') AS profile, count(*) AS recordings,
  coalesce(count_if(tagged), 0)::BIGINT AS tags,
  coalesce(count_if(verified), 0)::BIGINT AS verified,
  coalesce(count_if(read_back), 0)::BIGINT AS read_back,
  coalesce(sum(bytes_before), 0)::BIGINT AS bytes_before,
  coalesce(sum(bytes_after), 0)::BIGINT AS bytes_after,
  coalesce(sum(greatest(bytes_before, coalesce(before.minimum_bytes, 0))), 0)::BIGINT AS billed_before,
  coalesce(sum(greatest(bytes_after, coalesce(after.minimum_bytes, 0))), 0)::BIGINT AS billed_after,
  coalesce(sum(greatest(bytes_before, coalesce(after.minimum_bytes, 0))), 0)::BIGINT AS billed_moved,
  {_UNDER_PROFILES},
  coalesce(sum(duration_after_s) FILTER (WHERE isfinite(duration_after_s)), 0) / 60 AS minutes,
  histogram(floor(snr_db / {SNR_BIN_DB}) * {SNR_BIN_DB})
    FILTER (WHERE stands AND is_state AND isfinite(snr_db)) AS snr_db
FROM history
LEFT JOIN classes AS before ON before.class = storage_class_before
LEFT JOIN classes AS after ON after.class = storage_class_after
GROUP BY ALL
"""  # noqa: S608 (constants of ours)

_NOT_SMALL = f"""
SELECT recording_date, bucket, key, status, reason,
  CASE status WHEN 'restored' THEN bytes_after ELSE bytes_before END AS bytes,
  CAST(coalesce(state_at, started_at) AS DATE) AS seen_on, run_id
FROM history
WHERE stands AND status NOT IN {SMALL_STATES + DESTROYED_STATES}
ORDER BY recording_date, bucket, key
"""  # noqa: S608 (constants of ours)


@dataclass(frozen=True, slots=True, kw_only=True)
class Savings:
    """What the rows of a date range add up to.

    ``sums`` has a row for each combination of date, state, storage classes and days of change. Its money columns are
    dollars per month: ``usd_before``, ``usd_after``, ``usd_originals``, ``usd_tags``, and ``usd_saved``, net of these.
    """

    start: date
    end: date
    sums: pd.DataFrame
    not_small: pd.DataFrame  # one row for each recording whose original lies there: never archived, or restored
    runs: pd.DataFrame  # one row for each archiving run that ended; ``share`` of it belongs to these dates
    running_since: date | None  # the first archiving run of the whole table
    standing_share: float  # of worker and server: as much as of all days of calls in the table lies in these dates

    @property
    def standing(self) -> pd.DataFrame:
        """The sums of what is true now: each recording counts once."""
        return self.sums[self.sums["stands"]]

    @property
    def fidelity(self) -> pd.Series:
        """Recordings that are small now, by SNR in dB; lossless results and silence have none."""
        bins: Counter[float] = Counter()
        for counted in self.small["snr_db"].dropna():  # a group without any SNR has none
            bins.update(counted)
        return pd.Series(bins, dtype="int64").sort_index()

    @property
    def small(self) -> pd.DataFrame:
        """The sums of recordings whose replacement is what lies there now."""
        standing = self.standing
        return standing[standing["status"].isin(SMALL_STATES)]


def savings(files: AuditFiles, price_list: PriceList, start: date | None = None, end: date | None = None) -> Savings:
    """Sum up the dates from ``start`` to ``end`` (inclusive; all by default).

    Raises AuditDamaged where a file of these dates cannot be read.
    """
    all_dates = audit_dates(files)
    dates = [day for day in all_dates if (start or date.min) <= day <= (end or date.max)]
    today = datetime.now(UTC).date()
    first, last = start or min(dates, default=end or today), end or max(dates, default=start or today)
    parts = audit_parts(files, first, last, days=_DAYS_AT_ONCE)  # each is let go after use: it caches all footers
    with ThreadPoolExecutor(_PARTS_AT_ONCE) as threads:
        found = list(threads.map(lambda part: _sum_up(part, price_list), parts))
    found = found or [_sum_up(dataset_of(files, []), price_list)]
    sums, not_small = (pd.concat(frames, ignore_index=True) for frames in zip(*found, strict=True))
    runs = read_runs(files, start)
    share = _shares(runs, sums, start, end)
    return Savings(
        start=first,
        end=last,
        sums=_priced(sums, price_list),
        not_small=not_small,
        runs=runs.assign(share=share)[share > 0].reset_index(drop=True),
        running_since=_running_since(files),
        standing_share=len(dates) / len(all_dates) if all_dates else 1.0,
    )


def check_days(files: AuditFiles, start: date | None, end: date | None) -> None:
    """Raises InvalidRequest if dates were given, and the table has no calls of them: the year may be mistyped."""
    days = audit_dates(files)
    if (start or end) and not any((start or date.min) <= day <= (end or date.max) for day in days):
        there = f"its calls are of {span(days[0], days[-1])}" if days else "nor of any other"
        raise InvalidRequest(f"the audit table has no calls {open_span(start, end)}; {there}")


def _sum_up(rows: Any, price_list: PriceList) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The sums over an Arrow dataset that holds all rows of the recordings in it, and those that are not small."""
    minima = [(name, each.minimum_billable_bytes) for name, each in price_list.classes.items()]
    limits: dict[str, Any] = {"threads": 1, "memory_limit": _MEMORY}
    with (
        TemporaryDirectory(prefix="sums-") as folder,  # otherwise DuckDB would write where the process was started
        duckdb.connect(config={**limits, "temp_directory": folder}) as sql,
    ):
        sql.execute("SET TimeZone = 'UTC'")
        sql.execute("SET parquet_metadata_cache = true")  # each footer is parsed once, not twice
        sql.register("classes", pd.DataFrame(minima, columns=["class", "minimum_bytes"]))
        with damage_named(rows, duckdb.Error):
            _read_rows(sql, rows)
            sql.execute(_SHOWN)
            sql.execute(_HISTORY)
        return sql.execute(_SUMS).df(), sql.execute(_NOT_SMALL).df()


def _read_rows(sql: duckdb.DuckDBPyConnection, rows: Any) -> None:
    """``rows``, each file read once; a column that no file has yet is null.

    From a folder by DuckDB's own reader, which takes two thirds of the time of Arrow's. From S3 by Arrow's, because
    DuckDB's needs an extension that it downloads; and before DuckDB begins, since a file that cannot be read while
    DuckDB waits for it can leave both waiting for ever.
    """
    columns = _columns_of_sums(rows.schema.names)
    if not rows.files or rows.filesystem.type_name != "local":
        sql.register("rows", table_of(rows, columns=columns))
        return
    sql.register("every_column", rows.schema.empty_table())
    paths = [escape(path) for path in rows.files]
    sql.read_parquet(paths, hive_partitioning=True, union_by_name=True).create_view("files")
    every = "FROM files UNION ALL BY NAME FROM every_column"
    sql.execute(f"CREATE TEMP TABLE rows AS SELECT {', '.join(columns)} FROM ({every})")  # noqa: S608 (names of ours)


def _columns_of_sums(names: Iterable[str]) -> list[str]:
    """The columns that the sums are made of."""
    words = set(re.findall(r"\w+", _SHOWN + _HISTORY))
    return [name for name in names if name in words]


def _priced(sums: pd.DataFrame, price_list: PriceList) -> pd.DataFrame:
    """Dollars per month for each line of a state: as it would be without us, and what is paid instead.

    What was destroyed costs nothing, and would cost nothing without us: its retention had ended.
    """
    per_byte = {name: price_list.storage_month(1, name) for name in price_list.classes}
    is_stored = sums["is_state"] & ~sums["status"].isin(DESTROYED_STATES)
    found = sums["billed_before"] * sums["class_before"].map(per_byte) * is_stored
    left = sums["billed_after"] * sums["class_after"].map(per_byte) * is_stored
    restored = sums["status"].eq("restored")  # found the replacement, left the original's copy above it
    original, replacement = found.where(~restored, left), left.where(~restored, found)
    lies_beneath = original * sums["kept"]
    tags = sums["tags"] * is_stored * price_list.tags_month(1)
    paid = replacement + lies_beneath + tags + original * restored
    return sums.assign(
        usd_before=original,
        usd_after=replacement,
        usd_originals=lies_beneath,
        usd_tags=tags,
        usd_saved=original - paid,
    )


def read_runs(files: AuditFiles, first_day: date | None = None) -> pd.DataFrame:
    """Archiving runs that ended: when, for which days, how long, how much, at what cost.

    With ``first_day``, those that began on it or later: no other can have archived its calls, or those of later days.
    """
    rows = [row for row in map(_run_row, end_records(files, first_day)) if row]
    columns = ["run_id", "started_at", "first_day", "last_day", "archived", "failed", *_MEASURED, *_PRICED]
    frame = pd.DataFrame(rows, columns=columns).astype(
        dict.fromkeys(("wall_s", "cpu_s", "minutes", *_PRICED), "float64")
    )
    return frame.assign(started_at=pd.to_datetime(frame["started_at"], utc=True)).sort_values(
        "started_at", ignore_index=True
    )


def _running_since(files: AuditFiles) -> date | None:
    """When the first archiving run of the table began. Records are read up to the first of one, which is soon."""
    return next((end.run.started_at.date() for end in end_records(files) if _run_row(end)), None)


_MEASURED = ("wall_s", "cpu_s", "minutes", "bytes_before", "bytes_after")
_PRICED = ("marginal_usd", "waiting_usd")


def _run_row(end: EndRecord) -> dict[str, Any] | None:
    """None for restore, release and reconcile, and for runs of versions that did not say what they cost."""
    run, cost, counts = end.run, end.cost, end.counts
    measured = {name: getattr(end, name) for name in _MEASURED}
    if run.kind is not Kind.ARCHIVE or cost is None or counts is None or None in measured.values():
        return None
    return {
        "run_id": run.run_id,
        "started_at": run.started_at,
        "first_day": run.start_date,
        "last_day": run.end_date,
        "archived": counts.get("archived", 0),
        "failed": counts.get("failed", 0),
        **measured,
        **{name: getattr(cost, name) for name in _PRICED},
    }


def _shares(runs: pd.DataFrame, sums: pd.DataFrame, start: date | None, end: date | None) -> pd.Series:
    """How much of each run belongs to the dates: the share of its minutes, or, where it archived none, of its days."""
    if start is None and end is None:
        return pd.Series(1.0, index=runs.index)
    archived = sums[sums["status"] == "archived"].groupby("run_id")["minutes"].sum()
    of_minutes = runs["run_id"].map(archived).fillna(0).astype(float) / runs["minutes"].where(runs["minutes"] > 0)
    return of_minutes.fillna(_shares_of_days(runs, start or date.min, end or date.max)).clip(upper=1)


def _shares_of_days(runs: pd.DataFrame, start: date, end: date) -> pd.Series:
    windows = zip(runs["first_day"], runs["last_day"], strict=True)
    shares = [((min(end, last) - max(start, first)).days + 1) / ((last - first).days + 1) for first, last in windows]
    return pd.Series(shares, index=runs.index, dtype=float).clip(lower=0)
