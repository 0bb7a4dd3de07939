"""What a check of the recordings at rest takes: ``python -m benchmarks.fixity``.

A day of 10,000 small recordings lies on an S3 server on this machine, with a table that knows them. The check does all
that the flow does beneath Prefect: it reads the day's rows, asks S3 for each stored checksum, reads a share of the
recordings in full, and writes its rows. Every figure is of a process of its own, imports included; the server's work is
not in it.
"""

import argparse
import hashlib
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path

import boto3
from rich.console import Console
from rich.table import Table

from demo.servers import s3_server
from recordings.jobs.engine.job import batches_of, plan_job
from recordings.jobs.engine.selection import Found, look_through, packed, rows_of_part
from recordings.jobs.fixity import check_batch
from recordings.pool import shared_pool
from recordings.s3.store import Store
from recordings.settings import Settings
from recordings.table.files import open_table
from recordings.table.parquet import write_rows
from recordings.table.records import Kind
from recordings.table.rows import AuditRow, Status

BUCKET, DAY = "recordings", date(2026, 1, 12)
_WRITERS = 8


def fill(root: str, recordings: int, size_bytes: int) -> None:
    """Put the recordings into the bucket, and their rows into the table."""
    client, body = boto3.client("s3"), os.urandom(size_bytes)
    client.create_bucket(Bucket=BUCKET)
    client.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})

    def put(number: int) -> AuditRow:
        key = f"connect/acme/CallRecordings/{DAY:%Y/%m/%d}/{number:08d}_20260112T00:00_UTC.wav"
        made = client.put_object(Bucket=BUCKET, Key=key, Body=body, ChecksumAlgorithm="SHA256")
        return AuditRow(
            run_id="20260120T030000Z-00000001",
            recording_date=DAY,
            bucket=BUCKET,
            key=key,
            status=Status.ARCHIVED,
            profile="alaw-mono",
            bytes_after=size_bytes,
            sha256_after=hashlib.sha256(body).hexdigest(),
            etag_after=made["ETag"],
            version_after=made["VersionId"],
            storage_class_after="GLACIER_IR",
            state_at=datetime(2026, 1, 20, 3, tzinfo=UTC),
            started_at=datetime(2026, 1, 20, 3, tzinfo=UTC),
            software_version="1",
        )

    with ThreadPoolExecutor(_WRITERS) as threads:
        rows = sorted(threads.map(put, range(recordings)), key=lambda row: row.key)
    write_rows(open_table(root), rows, run_id=rows[0].run_id, number=1)


def check(root: str, sample_percent: float) -> None:
    """Check the day, and print what that took."""
    began_s = time.perf_counter()
    job = plan_job(Kind.FIXITY, bucket=BUCKET, audit_uri=root, sample_percent=sample_percent)
    job = replace(job, run_id=f"{job.run_id}{sample_percent:.0f}")  # several may begin within a second
    files, store, found, checked = open_table(root), Store(BUCKET, Settings()), Found(), 0
    first = 1
    found.add(look_through(job, files, [DAY]))
    for part in packed(found.parts):
        for batch in batches_of(rows_of_part(job, files, part), first=first):
            first += 1
            done = check_batch(store, files, batch, job, shared_pool())
            assert set(done.counts) == {"checked"}, done.failures  # noqa: S101 (a measurement of nothing else)
            checked += done.counts["checked"]
    used = resource.getrusage(resource.RUSAGE_SELF)
    asked = ", ".join(f"{count:,} {name}" for name, count in sorted(store.requests.items()))
    figures = (f"{used.ru_utime + used.ru_stime:.1f}", f"{time.perf_counter() - began_s:.1f}")
    print(*figures, f"{used.ru_maxrss / 1000:,.0f}", f"{checked:,} checked: {asked}", sep="\t")


def results(recordings: int, size_bytes: int, samples: Sequence[int]) -> Table:
    """A row for each share of the recordings that is read."""
    table = Table("read in full", "CPU s", "wall s", "peak MB", "")
    table.title = f"a day of {recordings:,} recordings of {size_bytes:,} bytes"
    with tempfile.TemporaryDirectory() as folder, s3_server(Path(folder) / "s3") as server:
        os.environ.update(server.env)
        root = f"{folder}/table"
        fill(root, recordings, size_bytes)
        for sample in samples:
            command = [
                sys.executable,
                "-W",
                "ignore",
                "-m",
                "benchmarks.fixity",
                "--root",
                root,
                "--sample",
                str(sample),
            ]
            done = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603 (ourselves)
            table.add_row(f"{sample} %", *done.stdout.strip().split("\t"))
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--recordings", type=int, default=10_000, help="a day")
    parser.add_argument("--bytes", type=int, default=16 * 1024, help="of a recording")
    parser.add_argument("--samples", type=int, nargs="+", default=[0, 20, 100], help="percent to read in full")
    parser.add_argument("--quick", action="store_true", help="tiny, to see that it works")
    parser.add_argument("--root", help=argparse.SUPPRESS)
    parser.add_argument("--sample", type=float, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.root:
        check(options.root, options.sample)
        return
    recordings = 50 if options.quick else options.recordings
    Console(width=140).print(results(recordings, options.bytes, options.samples))


if __name__ == "__main__":
    main()
