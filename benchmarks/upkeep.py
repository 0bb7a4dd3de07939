"""What follows archiving, at the size of a real contact centre: ``python -m benchmarks.upkeep --days 31 365 2192``.

The tables are synthetic, written by the product's own writer to a local disk, and thrown away afterwards: 20,000
recordings a day, archived and a week later released; those of the last month are not released yet. There are records of
a run a day for each, of a backfill of all days in sixteen shards each, which found nothing left to do, and of one like
it that died. Every figure is of a process of its own, imports included. S3 answers at once here, with what the table
says: what is measured is ours.

With ``--distinct 92``, so many days have rows of their own, among them the last month, and all others are hard links to
one day's files, which nobody asks for: as much to read and to rule out, and six years fit a small disk.
"""

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any, cast
from unittest.mock import patch

import pyarrow.parquet as pq
from rich.console import Console
from rich.table import Table

from benchmarks import report
from benchmarks.report import FIRST_DAY, write_day
from recordings.backfill.finished import finished_since
from recordings.backfill.records import dead_backfills
from recordings.dead_runs import dead_runs
from recordings.jobs.engine.job import Job, batches_of, plan_job
from recordings.jobs.engine.left import Days, days_to_look_at, record_left
from recordings.jobs.engine.selection import Found, knows_bucket, look_through, packed, rows_of_part
from recordings.jobs.expire import Expiry
from recordings.jobs.reconcile import reconcile_day
from recordings.pool import Budget, Pool
from recordings.pricing import prices
from recordings.recording import Day
from recordings.retention_rules import RetentionRule
from recordings.run import Run, plan_run
from recordings.s3.objects import StoredObject, Version, stored_object
from recordings.s3.store import Store
from recordings.savings.sums import savings
from recordings.table.evidence import verify_audit
from recordings.table.files import LocalFiles
from recordings.table.parquet import file_of
from recordings.table.records import Kind, open_records, record_end, record_start, run_id_of

GRACE_MONTH_LEFT, GRACE_NOTHING_LEFT = 30, 40
CONTACTS, MAX_CONTACTS = "_benchmark/contacts.json", 5000
PREFIX = "connect/acme/CallRecordings/"
LEFT_DAYS = 30  # not released yet
SHARDS = "0123456789abcdef"
_DAYS_OF_A_TASK = 16
_TOTALS = {
    "counts": {},
    "unrecorded": 0,
    "cost": {"requests_usd": 0.01},
    **dict.fromkeys(("wall_s", "cpu_s", "minutes", "bytes_before", "bytes_after"), 1),
}
Outcome = tuple[int, str]  # recordings, and the result of the case in words


class Counted(LocalFiles):
    """A folder that counts the requests that S3 would get: a listing per folder, and a read per file of a day."""

    requests = 0

    def create(self, name: str, data: bytes) -> None:
        """Write without waiting for the disk: these files need not survive a crash."""
        (self.root / name).write_bytes(data)

    def names(self, folder: str) -> Iterator[str]:
        found = list(super().names(folder))
        self.requests += 1 + len(found) // 1000 + sum(name.endswith(".parquet") for name in found)
        return iter(found)

    def folders(self) -> Iterator[str]:
        self.requests += 1
        return super().folders()

    def read(self, name: str) -> bytes:
        self.requests += 1
        return super().read(name)


def fill(root: Path, days: int, recordings: int, distinct: int, processes: int = 2) -> None:
    """Write the table, its runs' records, and those of two releases: one left the last month, one left nothing."""
    (root / "_runs").mkdir()
    apart = -(-days // max(1, distinct - LEFT_DAYS)) if distinct < days else 1
    own = [number for number in range(days) if number >= days - LEFT_DAYS or number in (0, 1) or number % apart == 0]
    with ProcessPoolExecutor(processes) as pool:
        list(pool.map(_write, [root] * len(own), own, [days] * len(own), [recordings] * len(own), chunksize=4))
    for number in sorted({*range(days)} - {*own}):
        folder = _folder(root, number)
        shutil.copytree(_folder(root, 1), folder, copy_function=os.link)
        _record(root, number, days)
    _backfill(root, days)
    now, files = datetime.now(UTC), LocalFiles(root)
    left = {FIRST_DAY + timedelta(days=n): now.date() for n in range(max(0, days - LEFT_DAYS), days)}
    for age_h, grace_days, again in ((2, GRACE_MONTH_LEFT, left), (1, GRACE_NOTHING_LEFT, {})):
        at = now - timedelta(hours=age_h)
        released = _job(root, Kind.RELEASE, everything=True, grace_days=grace_days)
        released = replace(released, run_id=run_id_of(at, "00000000"))
        record_left(files, released, Days(dates=(), later={}), again)
    (root / CONTACTS).parent.mkdir()
    (root / CONTACTS).write_text(json.dumps(_contacts([_folder(root, each) for each in own if each != 1])))


def _backfill(root: Path, days: int) -> None:
    """Write the records of a backfill that died before it began, and of the runs of a similar one that ended."""
    files, last = Counted(root), FIRST_DAY + timedelta(days=days - 1)
    at = datetime.combine(last + timedelta(days=60), datetime.min.time(), UTC)
    dead = replace(_planned(root, FIRST_DAY, last), run_id=run_id_of(at, "deadbeef"))
    record_start(files, dead, backfill={"max_parallel": 4})
    for number in range(days * len(SHARDS)):
        day, shard = FIRST_DAY + timedelta(days=number // len(SHARDS)), SHARDS[number % len(SHARDS)]
        began = at + timedelta(seconds=10 * number)
        run = replace(_planned(root, day, day), run_id=run_id_of(began, f"{number:08x}"), shard=shard)
        record_start(files, run)
        record_end(files, run, totals=_TOTALS, manifest=[])


def _write(root: Path, number: int, days: int, recordings: int) -> None:
    """Write a day's files, and the record of each run that wrote them."""
    report.ROWS_A_FILE = 10_000
    write_day(root, number, recordings)
    _record(root, number, days)


def _folder(root: Path, number: int) -> Path:
    return root / f"recording_date={FIRST_DAY + timedelta(days=number)}"


def _record(root: Path, number: int, days: int) -> None:
    """Write the records of the runs that archived and released a day; the last days are not released yet."""
    day, folder = FIRST_DAY + timedelta(days=number), _folder(root, number)
    for status, age_days in (("archived", 8), ("released", 15)):
        at = day + timedelta(days=age_days)
        paths = sorted(folder.glob(f"{status}-*"))
        if status == "released" and number >= days - LEFT_DAYS:
            for path in paths:
                path.unlink()
            continue
        written = [file_of(f"{folder.name}/{path.name}", path.read_bytes()) for path in paths]
        run = _planned(root, day, day) if status == "archived" else _job(root, Kind.RELEASE, everything=True)
        run = replace(run, run_id=f"{at:%Y%m%d}T030000Z-{status}")
        (root / f"_runs/{run.run_id}.end.json").unlink(missing_ok=True)  # a report's, which names no such file
        record_end(Counted(root), run, totals=_TOTALS, manifest=written)


def _job(root: Path, kind: Kind, **asked: Any) -> Job:
    return plan_job(kind, **{"bucket": "recordings", "audit_uri": str(root), "grace_days": 30, **asked})


def _planned(root: Path, start: date, end: date) -> Run:
    return plan_run(
        flow_run_id="0" * 32, scheduled_at=datetime.now(UTC), bucket="recordings", prefixes=[PREFIX],
        audit_uri=str(root), start_date=start, end_date=end, min_age_days=7, lookback_days=7, profile="alaw-mono",
        storage_class="GLACIER_IR", dry_run=False, overwrite_converted=False, include_held=False, accept=[],
        batch_size=200, readback_percent=0,
    )  # fmt: skip


def taken_up(root: Path, files: Counted, kind: Kind, **asked: Any) -> Outcome:
    """Do all that the flow does before it asks S3 about a recording, a few batches at a time."""
    job, found = _job(root, kind, **asked), Found()
    recordings = 0
    assert knows_bucket(job, files)  # noqa: S101 (as the flow asks)
    days = days_to_look_at(job, files).dates
    for n in range(0, len(days), _DAYS_OF_A_TASK):
        found.add(look_through(job, files, days[n : n + _DAYS_OF_A_TASK]))
    for part in packed(found.parts):
        batches = batches_of(rows_of_part(job, files, part))
        recordings += sum(len(batch.rows) for batch in batches)
    return recordings, f"{len(days)} days looked through"


def _contacts(folders: Sequence[Path], count: int = MAX_CONTACTS) -> list[str]:
    """Some contact ids of each of these days."""
    of_each = -(-count // len(folders))
    found: list[str] = []
    for folder in folders[:: max(1, len(folders) // count)]:
        column = pq.read_table(folder / "archived-0000.parquet", columns=["contact_id", "status"], partitioning=None)
        archived = [each["contact_id"] for each in column.to_pylist() if each["status"] == "archived"]
        found += archived[:: max(1, len(archived) // of_each)][:of_each]
    return found[:count]


class StandIn:
    """Stands in for the parts of a bucket that reconciliations and expiries look at, in agreement with the table."""

    bucket, session, visible_lifecycle_rules = "recordings", None, ()

    def __init__(self, root: Path) -> None:
        self._root = root

    def list_versions(self, prefix: str) -> Iterator[list[Version]]:
        """Both versions of each recording of the prefix's day; of what was rejected, the only one."""
        day = prefix.removeprefix(PREFIX).removeprefix("ivr/").strip("/").replace("/", "-")
        for path in sorted((self._root / f"recording_date={day}").glob("archived-*")) if "ivr" not in prefix else ():
            columns = ["key", "version_before", "version_after", "etag_after", "status", "storage_class_after"]
            for row in pq.read_table(path, columns=columns, partitioning=None).to_pylist():
                if row["status"] == "archived":
                    yield [_version(row, "after"), _version(row, "before")]
                else:
                    yield [replace(_version(row, "before"), is_current=True)]

    def head(self, key: str, version: str | None = None) -> StoredObject:
        """Headers of an object that no run has archived."""
        now = datetime.now(UTC)
        answer = {"ETag": '"0"', "ContentLength": 1, "LastModified": now, "Metadata": {}}
        meta = {"HTTPHeaders": {"date": format_datetime(now, usegmt=True)}, "RetryAttempts": 0}
        return stored_object(key, {**answer, "ResponseMetadata": meta}, ())

    def tags(self, key: str, version: str | None) -> Mapping[str, str]:
        """The tags that archiving set."""
        return {"converted": "True"}

    def versioning(self) -> Mapping[str, str]:
        """S3's answer for a versioned bucket."""
        return {"Status": "Enabled"}


def _version(row: Mapping[str, Any], which: str) -> Version:
    return Version(
        key=row["key"],
        version_id=row[f"version_{which}"],
        etag=row["etag_after"],
        size_bytes=1,
        storage_class=row["storage_class_after"],
        is_current=which == "after",
        last_modified=datetime.now(UTC),
    )


def reconcile(root: Path, files: Counted, first: date, days: int) -> Outcome:
    """Compare some days, one after the other."""
    where: dict[str, Any] = {"bucket": "recordings", "audit_uri": str(root), "prefixes": [PREFIX]}
    job = plan_job(Kind.RECONCILE, **where, retention_years=100)
    pool, drifts = Pool(16, Budget(1)), 0
    for n in range(days):
        day = Day(prefix=PREFIX, date=first + timedelta(days=n))
        drifts += len(reconcile_day(cast(Store, StandIn(root)), files, day, job, pool))
    return drifts, "differences"


def expire(root: Path, files: Counted, keep_days: int, first: date, last: date) -> Outcome:
    """Do all that an expiry does before it asks S3 about a recording, a day at a time."""
    rules = (RetentionRule(keep_days=keep_days),)
    where: dict[str, Any] = {"prefixes": [PREFIX], "start_date": first, "end_date": last, "stop_above_percent": 100}
    expiry = Expiry(_job(root, Kind.EXPIRE, rules=rules, **where), cast(Store, StandIn(root)), files)
    recordings = sum(len(batch.rows) for batches in expiry for batch in batches)
    return recordings, f"to delete, {len(expiry.problems)} problems"


def plan(root: Path, files: Counted, days: int) -> Outcome:
    """Find by the runs' records which of all days are finished."""
    last = FIRST_DAY + timedelta(days=days - 1)
    return len(finished_since(files, _planned(root, FIRST_DAY, last))), "days finished"


def died(root: Path, files: Counted, last: date) -> Outcome:
    """Find the dead runs and backfills that an archiving run takes over when it begins."""
    run = replace(_planned(root, last, last), catches_up=True)
    abandoned_after = timedelta(hours=6)
    opened = open_records(files)
    left = {
        **dead_runs(opened, run, abandoned_after=abandoned_after),
        **dead_backfills(files, opened, run, abandoned_after=abandoned_after),
    }
    return sum((window.end_date - window.start_date).days + 1 for each in left.values() for window in each), "days left"


def report_on(files: Counted, first: date | None = None, last: date | None = None) -> Outcome:
    """The sums of these dates, the basis of a report."""
    found = savings(files, prices(), first, last)
    return int(found.standing["recordings"].sum()), f"recordings, {len(found.runs):,} runs"


def verify(root: Path, files: Counted, first: date) -> Outcome:
    """Check a month's files against the records."""
    with patch("recordings.table.evidence.open_table", lambda *_: files):
        found = verify_audit(str(root), start=first, end=first + timedelta(days=30))
    return found.rows, f"rows in {found.files} files, {len(found.discrepancies)} discrepancies"


def cases(root: Path, files: Counted, days: int) -> dict[str, Callable[[], Outcome]]:
    """The cases to measure, by name."""
    last, left = FIRST_DAY + timedelta(days=days - 1), FIRST_DAY + timedelta(days=max(0, days - LEFT_DAYS))
    week, contacts = last - timedelta(days=min(days, 7) - 1), json.loads((root / CONTACTS).read_text())
    archived_last = f"{last + timedelta(days=8):%Y%m%d}T030000Z-archived"

    def up(kind: Kind, **asked: Any) -> Callable[[], Outcome]:
        return lambda: taken_up(root, files, kind, **asked)

    return {
        "release, nothing left": up(Kind.RELEASE, everything=True, grace_days=GRACE_NOTHING_LEFT),
        "release, a month left": up(Kind.RELEASE, everything=True, grace_days=GRACE_MONTH_LEFT),
        "restore 1 contact of a day": up(
            Kind.RESTORE, contact_ids=contacts[:1], start_date=FIRST_DAY, end_date=FIRST_DAY
        ),
        "restore 1 contact": up(Kind.RESTORE, contact_ids=contacts[:1], missing_ok=True),
        "restore 5,000 contacts": up(Kind.RESTORE, contact_ids=contacts),
        "restore a run": up(Kind.RESTORE, of_run=archived_last),
        "restore a week": up(Kind.RESTORE, start_date=week, end_date=last),
        "reconcile a week": lambda: reconcile(root, files, week, min(days, 7)),
        "expire a month": lambda: expire(root, files, 0, left, last),
        "expire all but the last 30 days": lambda: expire(root, files, 0, FIRST_DAY, left - timedelta(days=1)),
        "verify_audit of a month": lambda: verify(root, files, left),
        "backfill, what is finished": lambda: plan(root, files, days),
        "archiving, what runs that died left": lambda: died(root, files, last),
        "report of a month": lambda: report_on(files, left, last),
        "report of all": lambda: report_on(files),
    }


def measure(root: Path, days: int, case: str) -> str:
    """Run one case; its time, memory and result."""
    files = Counted(root)
    work = cases(root, files, days)[case]
    began, began_cpu_s = time.perf_counter(), time.process_time()
    count, said = work()
    wall_s, cpu_s = time.perf_counter() - began, time.process_time() - began_cpu_s
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
    return f"{cpu_s:.2f}\t{wall_s:.2f}\t{peak_mb:,.0f}\t{files.requests:,}\t{count:,} {said}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--days", type=int, nargs="+", default=[31, 365], help="sizes of the tables")
    parser.add_argument("--recordings", type=int, default=20_000, help="a day")
    parser.add_argument("--distinct", type=int, default=10_000, help="days with rows of their own")
    parser.add_argument("--quick", action="store_true", help="tiny, to see that it works")
    parser.add_argument("--case", help=argparse.SUPPRESS)
    parser.add_argument("--root", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.case:
        print(measure(options.root, options.days[0], options.case))
        return
    sizes, recordings = ([40], 200) if options.quick else (options.days, options.recordings)
    for days in sizes:
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder)
            fill(root, days, recordings, options.distinct)
            Console(width=140).print(_results(root, days, recordings, measure if options.quick else _by_itself))


def _results(root: Path, days: int, recordings: int, measured: Callable[[Path, int, str], str]) -> Table:
    paths = list(root.glob("recording_date=*/*"))
    size_gb = sum(path.stat().st_size for path in paths) / 1e9
    title = f"{days:,} days of {recordings:,} recordings: {len(paths):,} files, {size_gb:.2f} GB"
    table = Table("", "CPU s", "wall s", "peak MB", "requests in S3", "", title=title)
    for case in cases(root, Counted(root), days):
        table.add_row(case, *measured(root, days, case).strip().split("\t"))
    return table


def _by_itself(root: Path, days: int, case: str) -> str:
    """In a process of its own: memory is of this case alone."""
    command = [sys.executable, "-m", "benchmarks.upkeep", "--case", case, "--root", str(root), "--days", str(days)]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout  # noqa: S603 (ourselves)


if __name__ == "__main__":
    main()
