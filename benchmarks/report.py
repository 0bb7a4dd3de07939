"""Time and memory of reports on six years of rows: ``python -m benchmarks.report``.

The table is synthetic and thrown away afterwards. The real writer writes it to a local disk, in files as large as an
archiving run's: two rows for each recording, archived and later released, and a few rejects. Every figure is of a
process of its own, imports not counted, files in the page cache or not as they happen to be.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from rich.console import Console
from rich.table import Table

from recordings.gate import CPU_S_PER_MINUTE, CPU_S_PER_RECORDING
from recordings.pricing import prices
from recordings.savings.charts import charts
from recordings.savings.excel import workbook
from recordings.savings.figures import by_day, figures
from recordings.savings.page import page
from recordings.savings.scenarios import archiving_cost
from recordings.savings.sums import SMALL_STATES, savings
from recordings.table.files import LocalFiles
from recordings.table.parquet import as_parquet, file_schema
from recordings.table.reading import current, read_audit

FIRST_DAY, DAYS = date(2020, 1, 1), 2192
MONTH = (date(2023, 5, 1), date(2023, 5, 31))
ROWS_A_DAY = 16_424  # 36 million in all
ROWS_A_FILE = 800  # a wave of four batches of 200
REJECTED = 0.02
COLUMNS = (
    *("bucket", "key", "recording_date", "status", "state_at", "started_at", "bytes_before", "bytes_after"),
    *("duration_after_s", "snr_db", "original_kept"),
)
_CONSTANT = {
    "bucket": "recordings",
    "profile": "alaw-mono",
    "storage_class_before": "STANDARD",
    "storage_class_after": "GLACIER_IR",
    "codec_before": "pcm_s16le",
    "codec_after": "pcm_alaw",
    "sample_rate_before_hz": 8000,
    "sample_rate_after_hz": 8000,
    "channels_before": 2,
    "channels_after": 1,
    "verified": True,
    "read_back": False,
    "tagged": True,
    "attempts": 1,
    "software_version": "0.1.0",
}


def write_day(root: Path, number: int, recordings: int = ROWS_A_DAY // 2) -> None:
    """The rows of one day of calls: archived a week later, released a week after that."""
    day = FIRST_DAY + timedelta(days=number)
    random = np.random.default_rng(number)
    keys, contacts = _keys(random, day, recordings)
    sizes = random.lognormal(15.5, 0.9, recordings).astype("int64") + 60_000
    rejected = random.random(recordings) < REJECTED
    shared = _shared(random, recordings, sizes)
    folder = root / f"recording_date={day}"
    folder.mkdir(parents=True)
    for status, age_days in (("archived", 8), ("released", 15)):
        statuses = np.where(rejected, "rejected" if status == "archived" else "skipped", status)
        at = np.datetime64(datetime.combine(day + timedelta(days=age_days), datetime.min.time()), "us")
        moments = pa.array(at + random.integers(0, 3_600_000_000, recordings)).cast(pa.timestamp("us", tz="UTC"))
        columns = {
            **shared,
            "run_id": np.full(recordings, f"{day + timedelta(days=age_days):%Y%m%d}T030000Z-{status}"),
            "key": keys,
            "contact_id": contacts,
            "status": statuses,
            "reason": np.where(rejected, "truncated: it is shorter than it says", np.array(None)),
            "original_kept": np.full(recordings, status == "archived"),
            **dict.fromkeys(("state_at", "started_at", "finished_at"), moments),
        }
        _write(folder, status, columns)
    _write_record(LocalFiles(root), day, recordings, minutes=float(sizes.sum()) / 32000 / 60)


def _write_record(files: LocalFiles, day: date, recordings: int, *, minutes: float) -> None:
    """Write the record of a day's archiving run, as far as a report reads it: time and cost as in docs/costs.md."""
    cost = archiving_cost(recordings, minutes, "GLACIER_IR", prices())
    cpu_s = recordings * CPU_S_PER_RECORDING + minutes * CPU_S_PER_MINUTE
    run_day = day + timedelta(days=8)
    run = {
        "run_id": f"{run_day:%Y%m%d}T030000Z-archived",
        "bucket": "recordings",
        "prefixes": ["connect/acme/CallRecordings/"],
        "profile_name": "alaw-mono",
        "storage_class": "GLACIER_IR",
        "min_age_days": 7,
        **dict.fromkeys(("scheduled_at", "started_at"), f"{run_day} 03:00:00+00:00"),
    }
    record = {
        "run": {**run, "start_date": str(day), "end_date": str(day)},
        "counts": {"archived": recordings},
        **dict.fromkeys(("wall_s", "cpu_s"), cpu_s),
        "minutes": minutes,
        **dict.fromkeys(("bytes_before", "bytes_after"), int(minutes)),
        "cost": {"requests_usd": cost.requests_usd, "compute_usd": cost.compute_usd},
        "files": [
            {"name": f"recording_date={day}/{wave}.parquet", "rows": 800, "sha256": "0" * 64} for wave in range(11)
        ],
    }
    files.create(f"_runs/{run['run_id']}.end.json", json.dumps(record).encode())


def _keys(random: np.random.Generator, day: date, count: int) -> tuple[pa.Array, pa.Array]:
    ids = pc.replace_substring_regex(_hex(random, count, 32), r"^(.{8})(.{4})(.{4})(.{4})", r"\1-\2-\3-\4-")
    ids = ids.take(pc.array_sort_indices(ids))
    return pc.binary_join_element_wise(
        f"connect/acme/CallRecordings/{day:%Y/%m/%d}/", ids, f"_{day:%Y%m%d}T09:31_UTC.wav", ""
    ), ids


def _hex(random: np.random.Generator, count: int, length: int) -> pa.Array:
    digits = pa.py_buffer(random.bytes(count * length // 2).hex().encode())
    offsets = pa.py_buffer(np.arange(0, (count + 1) * length, length, dtype=np.int32).tobytes())
    return pa.StringArray.from_buffers(count, offsets, digits)


def _shared(random: np.random.Generator, count: int, sizes: Any) -> dict[str, Any]:
    """The columns that both rows of a recording share."""
    quote = pa.scalar('"')
    return {
        **{name: np.full(count, value) for name, value in _CONSTANT.items()},
        **{name: _hex(random, count, 64) for name in ("sha256_before", "sha256_after")},
        **{name: _hex(random, count, 32) for name in ("version_before", "version_after")},
        **{
            name: pc.binary_join_element_wise(quote, _hex(random, count, 32), quote, "")
            for name in ("etag_before", "etag_after")
        },
        "bytes_before": sizes,
        "bytes_after": sizes // 4,
        "duration_before_s": sizes / 32000,
        "duration_after_s": sizes / 32000,
        "snr_db": random.normal(36, 2, count),
        "error_rms": random.normal(9, 1, count),
        "error_peak": random.integers(100, 512, count),
        "gain_left": random.normal(0.5, 0.001, count),
        "gain_right": random.normal(0.5, 0.001, count),
    }


def _write(folder: Path, name: str, columns: dict[str, Any]) -> None:
    schema = file_schema()
    nothing = pa.nulls(len(columns["key"]))  # for columns that are null in these rows
    table = pa.table(
        {field.name: pa.array(columns.get(field.name, nothing)).cast(field.type) for field in schema}, schema=schema
    )
    for wave, start in enumerate(range(0, len(table), ROWS_A_FILE)):
        (folder / f"{name}-{wave:04d}.parquet").write_bytes(as_parquet(table.slice(start, ROWS_A_FILE)))


def page_of_a_year() -> str:
    """The report on a year of 600,000 recordings per month, whose originals have all been released."""
    with tempfile.TemporaryDirectory() as root:
        days, recordings = 366, 600_000 * 12 // 366
        with ProcessPoolExecutor(os.cpu_count()) as processes:
            list(processes.map(write_day, [Path(root)] * days, range(days), [recordings] * days, chunksize=8))
        price_list, as_of = prices(), FIRST_DAY + timedelta(days=days + 15)
        result = savings(LocalFiles(Path(root)), price_list)
        drawn = charts(result, price_list, as_of, 6)
        return page(result, figures(result, price_list, as_of, 6), price_list, drawn, "a synthetic table", {})


def report(root: str, start: date | None, end: date | None) -> str:
    """All that ``report_savings`` does, except its messages to Prefect."""
    files, price_list, as_of = LocalFiles(Path(root)), prices(), date(2026, 1, 1)
    result = savings(files, price_list, start, end)
    found = figures(result, price_list, as_of, 6)
    html = page(result, found, price_list, charts(result, price_list, as_of, 6), "synthetic", {})
    sheets = {"days": by_day(result), "runs": result.runs, "not small": result.not_small}
    csv = sum(len(sheet.to_csv()) for sheet in sheets.values()) + len(workbook(sheets))
    return f"{found.recordings:,} recordings, {len(html) / 1e3:,.0f} kB of HTML, {csv / 1e6:,.1f} MB of CSV and Excel"


def current_by_sql(root: str, start: date | None, end: date | None) -> str:
    """The last state of each recording, counted and summed up by SQL."""
    small = savings(LocalFiles(Path(root)), prices(), start, end).small
    return f"{small['recordings'].sum():,} recordings, {small['bytes_after'].sum():,} bytes"


def current_by_pandas(root: str, start: date | None, end: date | None) -> str:
    """The same by ``current(read_audit(...))``, reading only the columns needed."""
    frame = current(read_audit(root, start, end, COLUMNS))
    small = frame[frame["status"].isin(SMALL_STATES)]
    return f"{len(small):,} recordings, {small['bytes_after'].sum():,} bytes"


def whole_rows_by_pandas(root: str, start: date | None, end: date | None) -> str:
    """The same by pandas with every column."""
    return f"{len(current(read_audit(root, start, end))):,} recordings"


CASES: dict[str, tuple[Callable[..., str], tuple[date | None, date | None]]] = {
    "report_savings, a month": (report, MONTH),
    "report_savings, six years": (report, (None, None)),
    "current state by SQL, a month": (current_by_sql, MONTH),
    "current state by SQL, six years": (current_by_sql, (None, None)),
    "current(read_audit(...)), a month, 11 columns": (current_by_pandas, MONTH),
    "current(read_audit(...)), a month, all columns": (whole_rows_by_pandas, MONTH),
}


def measure(case: str, root: str) -> None:
    """Run one case and print time, CPU time, peak memory, and the result."""
    work, window = CASES[case]
    began, began_cpu_s = time.perf_counter(), time.process_time()
    outcome = work(root, *window)
    wall_s, cpu_s = time.perf_counter() - began, time.process_time() - began_cpu_s
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
    print(f"{wall_s:.1f} s\t{cpu_s:.1f} s\t{peak_mb:,.0f} MB\t{outcome}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--days", type=int, default=DAYS, help="fewer for a quick look; the month measured needs 1247")
    parser.add_argument("--case", choices=CASES, help=argparse.SUPPRESS)
    parser.add_argument("--root", help=argparse.SUPPRESS)
    parser.add_argument("--page", type=Path, metavar="FILE", help="write the report of a synthetic year instead")
    options = parser.parse_args()
    if options.page:
        options.page.write_text(page_of_a_year(), encoding="utf-8")
        return
    if options.case:
        measure(options.case, options.root)
        return
    with tempfile.TemporaryDirectory() as root:
        _fill(Path(root), options.days)
        Console().print(_results(root))


def _fill(root: Path, days: int) -> None:
    began = datetime.now(UTC)
    with ProcessPoolExecutor(os.cpu_count()) as processes:
        list(processes.map(write_day, [root] * days, range(days), chunksize=8))
    files = list(root.glob("*/*.parquet"))
    size = sum(path.stat().st_size for path in files)
    took = (datetime.now(UTC) - began).total_seconds()
    rows = days * (ROWS_A_DAY // 2) * 2
    print(f"{rows:,} rows in {len(files):,} files, {size / 1e9:.1f} GB, written in {took:.0f} s", flush=True)


def _results(root: str) -> Table:
    table = Table("", "time", "CPU", "peak memory", "")
    for case in CASES:
        table.add_row(case, *_measured(case, root))
    return table


def _measured(case: str, root: str) -> Iterator[str]:
    command = [sys.executable, "-m", "benchmarks.report", "--case", case, "--root", root]
    yield from (
        subprocess.run(  # noqa: S603 (ourselves)
            command, check=True, capture_output=True, text=True
        )
        .stdout.strip()
        .split("\t")
    )


if __name__ == "__main__":
    main()
