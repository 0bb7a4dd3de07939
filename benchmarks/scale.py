"""What planning a day costs as it grows to a million keys, in sixteen shards: ``python -m benchmarks.scale`` (Linux).

A synthetic server answers ListObjectsV2 by pages of 1,000; half of the keys are final in a local audit table, which
the real writer wrote in files of 800 rows, each shard its own. Each is planned as a run plans it (list, drop what is
final, pack into batches and waves) by a process of its own. CPU and memory are above those of the idle process.
"""

import argparse
import hashlib
import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from rich.console import Console
from rich.table import Table

from benchmarks.clients import DAY, PREFIX, cpu_seconds
from benchmarks.ways import planned
from demo.servers import CREDENTIALS, HOST
from recordings.observed import listed_row
from recordings.plan import Plan, list_day
from recordings.recording import Day, Recording
from recordings.s3.store import Store
from recordings.settings import settings
from recordings.table.files import LocalFiles
from recordings.table.parquet import write_rows
from recordings.table.rows import Status

BUCKET, SHARDS = "recordings", "0123456789abcdef"
PAGE, ROWS_A_FILE, SIZE_BYTES = 1000, 800, 9_600_044  # a call of five minutes
SIZES, QUICK_SIZES, QUICK_SHARDS = (10_000, 100_000, 1_000_000), (3_200,), "0f"


def key(shard: str, number: int) -> str:
    """The shard's n-th key, in the order in which S3 lists them."""
    return f"{PREFIX}{DAY:%Y/%m/%d}/{shard}{number:07x}-0000-4000-8000-000000000000_{DAY:%Y%m%d}T12:00_UTC.wav"


def etag(shard: str, number: int) -> str:
    """An ETag like a real one: 32 random hex digits, in quotes."""
    return f'"{hashlib.md5(f"{shard}{number}".encode(), usedforsecurity=False).hexdigest()}"'


class Listings(BaseHTTPRequestHandler):
    """ListObjectsV2 of one shard of a day, and nothing else."""

    protocol_version = "HTTP/1.1"
    keys_a_shard = 0

    def do_GET(self) -> None:
        query = {name: values[0] for name, values in parse_qs(urlsplit(self.path).query).items()}
        folder, _, shard = query["prefix"].rpartition("/")
        count = self.keys_a_shard if shard and "/ivr/" not in folder else 0
        first = int(query.get("continuation-token", 0))
        page = self._page(shard, first, min(first + PAGE, count), count).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(page)))
        self.end_headers()
        self.wfile.write(page)

    def _page(self, shard: str, first: int, end: int, count: int) -> str:
        lines = "".join(
            f"<Contents><Key>{key(shard, number)}</Key><LastModified>2026-01-12T12:05:00.000Z</LastModified>"
            f"<ETag>{etag(shard, number)}</ETag><Size>{SIZE_BYTES}</Size></Contents>"
            for number in range(first, end)
        )
        more = f"<NextContinuationToken>{end}</NextContinuationToken>" if end < count else ""
        truncated = str(end < count).lower()
        return f"<ListBucketResult><IsTruncated>{truncated}</IsTruncated>{more}{lines}</ListBucketResult>"

    def log_message(self, *_: object) -> None:
        """Log nothing."""


@contextmanager
def listing_server(keys_a_shard: int) -> Iterator[str]:
    """The address of a server with this many keys per shard, in a process of its own."""
    Listings.keys_a_shard = keys_a_shard
    with ThreadingHTTPServer((HOST, 0), Listings) as server:
        process = multiprocessing.get_context("fork").Process(target=server.serve_forever, daemon=True)
        process.start()
        try:
            yield f"http://{HOST}:{server.server_port}"
        finally:
            process.terminate()
            process.join()


def make_final(audit_uri: str, shard: str, keys: int) -> None:
    """Write rows for every second key as an earlier run would: archived, verified, tagged."""
    run = planned(BUCKET, DAY, audit_uri)
    listed = Recording(
        bucket=BUCKET, key="", recording_date=DAY, etag='""', size_bytes=SIZE_BYTES, storage_class="STANDARD"
    )
    done = replace(listed_row(listed, run), status=Status.ARCHIVED, verified=True, tagged=True)
    rows = [
        replace(done, key=key(shard, number), etag_before=etag("before", number), etag_after=etag(shard, number))
        for number in range(0, keys, 2)
    ]
    for wave, start in enumerate(range(0, len(rows), ROWS_A_FILE)):
        name = f"{run.run_id}-{shard}"
        write_rows(LocalFiles(Path(audit_uri)), rows[start : start + ROWS_A_FILE], run_id=name, number=wave)


def plan_shard(audit_uri: str, shard: str) -> None:
    """Plan one shard, and print what that took."""
    run = planned(BUCKET, DAY, audit_uri)
    store, files = Store(BUCKET, settings()), LocalFiles(Path(audit_uri))
    list_day(store, files, Day(prefix=PREFIX, date=DAY - timedelta(days=1)), run)  # loads everything
    Path("/proc/self/clear_refs").write_text("5")  # resets the peak
    idle_mb, idle_s = _resident_mb("VmRSS"), cpu_seconds()
    day = Day(prefix=PREFIX, date=DAY, shard=shard)
    plan = Plan([day], [list_day(store, files, day, run)], run)
    figures = {"cpu_s": cpu_seconds() - idle_s, "peak_mb": _resident_mb("VmHWM") - idle_mb}
    print(json.dumps({**figures, "open": plan.recordings, "final": plan.final_count, "waves": len(plan.waves)}))


def _resident_mb(field: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field)) * 1024 / 1e6


def _planned_by_its_own_process(audit_uri: str, shard: str, url: str) -> dict[str, float]:
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.scale", "--audit", audit_uri, "--shard", shard]
    env = {**os.environ, **CREDENTIALS, "AWS_ENDPOINT_URL": url}
    shown = subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout  # noqa: S603 (ourselves)
    figures: dict[str, float] = json.loads(shown)
    return figures


def measure(keys: int, shards: str) -> list[dict[str, float]]:
    """Each shard's figures for a day with this many keys."""
    with tempfile.TemporaryDirectory() as audit_uri, listing_server(keys // len(shards)) as url:
        for shard in shards:
            make_final(audit_uri, shard, keys // len(shards))
        return [_planned_by_its_own_process(audit_uri, shard, url) for shard in shards]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a small day in two shards: to see that it works")
    parser.add_argument("--shard", help=argparse.SUPPRESS)
    parser.add_argument("--audit", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.shard:
        plan_shard(options.audit, options.shard)
        return
    table = Table("keys", "open", "final", "waves", "CPU s, all shards", "µs per key", "peak MB, largest shard")
    for keys in QUICK_SIZES if options.quick else SIZES:
        shards = measure(keys, QUICK_SHARDS if options.quick else SHARDS)
        sums = {name: sum(shard[name] for shard in shards) for name in ("open", "final", "waves", "cpu_s")}
        counts = [f"{sums[name]:,.0f}" for name in ("open", "final", "waves")]
        peak_mb = max(shard["peak_mb"] for shard in shards)
        table.add_row(
            f"{keys:,}", *counts, f"{sums['cpu_s']:.1f}", f"{1e6 * sums['cpu_s'] / keys:.0f}", f"{peak_mb:.0f}"
        )
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
