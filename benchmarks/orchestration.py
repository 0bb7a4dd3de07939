"""Prefect's share of a run of 16,000 recordings: ``python -m benchmarks.orchestration``.

The flow runs on a real Prefect server with the real plan, tasks, waves and audit table, but the stages' own work is
left out: listing, resampling, verifying and tagging answer at once with what they would. The same waves without Prefect
run beside it, and the difference is Prefect. It is set against what recordings of one minute cost, measured on an S3
server in the same run. Each figure is of a process of its own, after a run of one batch that does not count.

Then both do all the work on as many calls of two seconds, each on a bucket of its own, and nothing is left out.
"""

import argparse
import importlib
import json
import os
import sqlite3
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any
from unittest.mock import patch

import psutil
from rich.console import Console
from rich.table import Table

from benchmarks.clients import DAY, PREFIX, STORAGE_CLASS, WARM_UP, Used, cpu_seconds
from benchmarks.pipeline import one_round
from benchmarks.ways import by_flow, ours
from demo.servers import CREDENTIALS, Server, prefect_server, run_to_end
from recordings.observed import listed_row
from recordings.plan import Listing
from recordings.recording import Batch, Day, Recording
from recordings.retention import Retention
from recordings.run import Run
from recordings.s3.objects import Sight
from recordings.table.rows import AuditRow, Status

RECORDINGS, BATCH, QUICK = 16_000, 200, 100
SIZE_BYTES = 1_920_044  # of a call of one minute
SHORT_S = 2
_DONE: dict[str, Any] = {
    "status": Status.ARCHIVED,
    "bytes_after": SIZE_BYTES // 4,
    "etag_after": '"5d41402abc4b2a76b9719d911017c592"',
    "storage_class_after": STORAGE_CLASS,
    "verified": True,
    "tagged": True,
    "state_at": datetime(2026, 1, 20, tzinfo=UTC),
}


@contextmanager
def no_work(module: str, recordings: int) -> Iterator[None]:
    """Make the stages that ``module`` calls answer at once, without work."""

    def list_day(_: Any, __: Any, day: Day, ___: Run) -> Listing:
        return Listing(day, [_recording(day.date, number) for number in range(recordings)], 0)

    def resample_batch(_: Any, batch: Batch, run: Run, __: Any) -> list[AuditRow]:
        return [replace(listed_row(each, run), **_DONE) for each in batch.recordings]

    def as_it_is(_: Any, rows: Sequence[AuditRow], *__: Any) -> Sequence[AuditRow]:
        return rows

    stages: dict[str, Any] = {
        "list_day": list_day,
        "resample_batch": resample_batch,
        "verify_batch": as_it_is,
        "tag_batch": as_it_is,
    }
    with patch.multiple(importlib.import_module(module), **stages):
        yield


def _recording(day: date, number: int) -> Recording:
    name = f"{number:08x}-0000-4000-8000-000000000000_{day:%Y%m%d}T12:00_UTC.wav"
    return Recording(
        bucket="recordings",
        key=f"{PREFIX}{day:%Y/%m/%d}/{name}",
        recording_date=day,
        etag='"098f6bcd4621d373cade4e832627b4f6"',
        size_bytes=SIZE_BYTES,
        storage_class="STANDARD",
    )


def run_here(way: str, recordings: int) -> None:
    """Process this many recordings without work, with Prefect or without, and print what that took."""
    is_flow = way == "flow"
    module, work = ("tasks.stages", by_flow) if is_flow else ("benchmarks.ways", ours)
    no_rules = Retention(rules=(), otherwise_years=6)
    sound: dict[str, Any] = {  # no server is asked
        "check_bucket": lambda *_, **__: [],
        "check_sight": lambda *_: Sight(),
        "retention_of": lambda _: no_rules,
    }
    with patch.multiple("tasks.run", **sound) if is_flow else nullcontext():
        with no_work(module, BATCH):
            work("recordings", WARM_UP)
        began_s, began_cpu_s, began_mb = time.monotonic(), cpu_seconds(), _resident_mb()
        with no_work(module, recordings):
            work("recordings", DAY)
    figures = {"wall_s": time.monotonic() - began_s, "cpu_s": cpu_seconds() - began_cpu_s}
    print(json.dumps({**figures, "grown_mb": _resident_mb() - began_mb}), flush=True)


def _resident_mb() -> float:
    return float(psutil.Process().memory_info().rss) / 1e6


def _in_its_own_process(way: str, recordings: int, server: Server) -> dict[str, float]:
    program = [sys.executable, "-W", "ignore", "-m", "benchmarks.orchestration"]
    command = [*program, "--way", way, "--number", str(recordings)]
    shown = run_to_end(command, {**CREDENTIALS, **server.env})
    figures: dict[str, float] = json.loads(next(line for line in shown.splitlines() if line.startswith("{")))
    return figures


def growth_of_server(folder: Path) -> dict[str, float]:
    """CPU seconds of the server so far, and the contents of its database."""
    used = [child.cpu_times() for child in psutil.Process().children(recursive=True)]
    database = folder / "prefect.db"
    with sqlite3.connect(f"file:{database}?mode=ro", uri=True) as connection:
        counts = {name: connection.execute(f"select count(*) from {name}").fetchone()[0] for name in SERVER_TABLES}  # noqa: S608
        longest = connection.execute("select coalesce(max(length(data)), 0) from artifact").fetchone()[0]
    files = sum(path.stat().st_size for path in folder.glob("prefect.db*"))
    return {
        "cpu_s": sum(each.user + each.system for each in used),
        "database_mb": files / 1e6,
        "longest_artifact": longest,
        **counts,
    }


SERVER_TABLES = ("task_run", "events", "log")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a single batch: to see that it works")
    parser.add_argument("--number", type=int, default=RECORDINGS, help="recordings in the run")
    parser.add_argument("--way", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.way:
        run_here(options.way, options.number)
        return
    number = QUICK if options.quick else options.number
    with tempfile.TemporaryDirectory() as folder, prefect_server(Path(folder)) as server:
        plain = _in_its_own_process("plain", number, server)
        before = growth_of_server(Path(folder))
        flow = _in_its_own_process("flow", number, server)
        time.sleep(3)  # the server writes with a delay
        after = growth_of_server(Path(folder))
        os.environ.update(server.env)
        worked = one_round({"without Prefect": ours, "the flow": by_flow}, {SHORT_S: number})
    each = 10 if options.quick else 60
    one_minute_s = one_round({"ours": ours}, {60: each})["ours"].cpu_s / each
    grown = {name: after[name] - before[name] for name in after}
    Console(width=120).print(_table(number, plain, flow, grown, one_minute_s), _with_work(number, worked))


def _table(
    number: int, plain: dict[str, float], flow: dict[str, float], grown: dict[str, float], one_minute_s: float
) -> Table:
    prefect_s = flow["cpu_s"] - plain["cpu_s"]
    table = Table(f"{number:,} recordings in batches of {BATCH}", "")
    table.add_row("the run without Prefect and without work", f"{plain['cpu_s']:.1f} s CPU, {plain['wall_s']:.1f} s")
    table.add_row("the flow without work", f"{flow['cpu_s']:.1f} s CPU, {flow['wall_s']:.1f} s")
    table.add_row("Prefect", f"{prefect_s:.1f} s CPU, {1e6 * prefect_s / number:.0f} µs per recording")
    table.add_row("the work on recordings of one minute", f"{1000 * one_minute_s:.1f} ms CPU each")
    table.add_row("Prefect's share of CPU", f"{prefect_s / (prefect_s + number * one_minute_s):.1%}")
    table.add_row("memory that the flow's process grew by", f"{flow['grown_mb']:.0f} MB")
    table.add_section()
    table.add_row("task runs, events, log lines", ", ".join(f"{grown[name]:,.0f}" for name in SERVER_TABLES))
    table.add_row("the server", f"{grown['cpu_s']:.1f} s CPU, its database {grown['database_mb']:.1f} MB more")
    return table


def _with_work(number: int, worked: Mapping[str, Used]) -> Table:
    plain, flow = worked.values()
    table = Table(f"{number:,} recordings of {SHORT_S} s, all the work", "CPU", "wall", "peak MB")
    for name, used in worked.items():
        table.add_row(name, f"{used.cpu_s:.1f} s", f"{used.wall_s:.1f} s", f"{used.peak_mb:.0f}")
    table.add_row("Prefect's share of CPU", f"{1 - plain.cpu_s / flow.cpu_s:.1%}")
    return table


if __name__ == "__main__":
    main()
