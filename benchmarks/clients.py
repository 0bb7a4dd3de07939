"""Client processes that work on the bucket of an embedded S3 server: CPU, memory, bytes through files, requests.

A way of working is a function ``way(bucket, day)`` that processes all recordings of a day. Each measurement is a
process of its own. It first processes a day of two short calls, which is not measured, so that everything is loaded and
connected. The process can be limited to one core, as a task of one vCPU is; its children share that core.
"""

import importlib
import json
import os
import re
import resource
import subprocess
import sys
import time
import urllib.request
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date
from functools import cache
from pathlib import Path
from statistics import median

import numpy as np
import psutil

from demo.bucket import fill_bucket
from demo.calls import StoredCall, call, wav
from demo.servers import Server
from recordings.pricing import prices
from recordings.s3.objects import KMS

PREFIX = "connect/bench/CallRecordings/"
WARM_UP, DAY = date(2026, 1, 11), date(2026, 1, 12)
STORAGE_CLASS = "GLACIER_IR"
THREADS = 8
Way = Callable[[str, date], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Used:
    """The resources that a client used for one day of recordings."""

    wall_s: float
    cpu_s: float  # user and system, children included
    file_bytes: int  # read from and written to files; over HTTPS also some of the bytes through sockets
    peak_mb: float  # resident, children included
    requests: Counter[str]  # by S3 operation, as the server answered them


def fill(bucket: str, lengths_s: Iterable[int]) -> None:
    """A bucket with two short calls for the warm-up, and a day of calls of these lengths."""
    warm_up = [_stored(WARM_UP, number, 10) for number in range(2)]
    fill_bucket(bucket, [*warm_up, *(_stored(DAY, number, length_s) for number, length_s in enumerate(lengths_s))])


def _stored(day: date, number: int, length_s: int) -> StoredCall:
    contact_id = uuid.uuid5(uuid.NAMESPACE_OID, f"{day} {number}")
    key = f"{PREFIX}{day:%Y/%m/%d}/{contact_id}_{day:%Y%m%d}T{number // 60 % 24:02d}:{number % 60:02d}_UTC.wav"
    return StoredCall(key=key, body=recording(length_s))


@cache
def recording(length_s: int) -> bytes:
    """A call of speech-like sound: up to ten seconds of it, repeated."""
    once = np.frombuffer(call(np.random.default_rng(1), min(length_s, 10))[44:], "<i2").reshape(-1, 2) / 32767
    samples = np.tile(once, (-(-length_s // 10), 1))[: length_s * 8000]
    return wav(samples[:, 0], samples[:, 1])


def measure(
    way: Way, bucket: str, server: Server, env: Mapping[str, str] | None = None, core: int | None = None
) -> Used:
    """Let a process of its own do the bucket's day in this way, on this core or on all available ones."""
    mark = _mark(server)
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.clients", f"{way.__module__}:{way.__name__}", bucket]
    command += [] if core is None else [str(core)]
    settings = {**os.environ, "ARCHIVE_THREADS": str(THREADS), **(env or {})}
    with subprocess.Popen(command, env=settings, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603 (ourselves)
        peak_mb = _peak_mb(process)
        shown = process.stdout.read() if process.stdout else ""
    if process.returncode:
        raise RuntimeError(f"{way.__name__} ended with code {process.returncode}")
    figures = json.loads(shown.splitlines()[-1])
    return Used(**figures, peak_mb=peak_mb, requests=Counter(_requests(server, bucket, mark)))


def _peak_mb(process: "subprocess.Popen[str]") -> float:
    """The largest sum of resident memory in MB over the process and its children, sampled 50 times per second."""
    peak, watched = 0, psutil.Process(process.pid)
    while process.poll() is None:
        peak = max(peak, sum(map(_resident, _family(watched))))
        time.sleep(0.02)
    return peak / 1e6


def _family(process: psutil.Process) -> list[psutil.Process]:
    try:
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def _resident(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.NoSuchProcess:
        return 0


def _requests(server: Server, bucket: str, mark: str) -> Iterator[str]:
    """The day's requests since ``mark``, by S3's operation names. A HEAD costs what a GET of the same object costs."""
    log = _log_until(server, _mark(server)).partition(mark)[2].replace("%2F", "/")
    for line in log.splitlines():
        found = re.search(rf"(GET|HEAD|PUT|POST) (/{bucket}\S*)", line)
        if found and f"{DAY:%Y/%m/%d}" in found[2]:
            yield _operation(found[1], found[2].partition("?")[2])


def _operation(method: str, query: str) -> str:
    if query.startswith("versions"):
        return "ListObjectVersions"
    if query.startswith("list-type"):
        return "ListObjectsV2"
    verb = "Get" if method in ("GET", "HEAD") else "Put"
    return f"{verb}ObjectTagging" if "tagging" in query else f"{verb}Object"


def _mark(server: Server) -> str:
    """Send a request that can be found again in the server's log; returns its mark."""
    mark = uuid.uuid4().hex
    urllib.request.urlopen(f"{server.url}/_ministack/health?{mark}").close()  # noqa: S310 (loopback)
    return mark


def _log_until(server: Server, mark: str) -> str:
    while mark not in (log := _access_log(server).read_text()):
        time.sleep(0.02)  # the line is written after the answer is sent
    return log


def _access_log(server: Server) -> Path:
    if server.access_log is None:
        raise ValueError(f"{server.url} keeps no access log")
    return server.access_log


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """What the work would have cost on AWS, per 1,000 minutes of audio."""

    requests_usd: float
    kms_usd: float  # in addition, if there is no bucket key
    compute_usd: float  # the measured CPU time on Fargate

    @property
    def total_usd(self) -> float:
        """Total in US dollars, without KMS."""
        return self.requests_usd + self.compute_usd


def price(used: Used, minutes: float, *, writes_to_standard: int = 0) -> Price:
    """The price of the work, if ``writes_to_standard`` PUTs wrote to Standard, and the others to the target class."""
    counts, thousands = Counter(used.requests), minutes / 1000
    counts["PutObject"] -= writes_to_standard
    standard = Counter(PutObject=writes_to_standard)
    requests_usd = prices().requests(counts, STORAGE_CLASS) + prices().requests(standard, "STANDARD")
    kms = used.requests["GetObject"] + used.requests["PutObject"]
    return Price(
        requests_usd=requests_usd / thousands,
        kms_usd=prices().kms({KMS: kms}) / thousands,
        compute_usd=prices().task(used.cpu_s) / thousands,
    )


def middle(rounds: list[Used]) -> Used:
    """The median of each figure; requests are those of the first round."""
    figures = {name: median(getattr(each, name) for each in rounds) for name in ("wall_s", "cpu_s", "peak_mb")}
    return replace(rounds[0], **figures)


def main(way_name: str, bucket: str, core: str = "") -> None:
    """The client: process the day in this way, and print what that took."""
    if core:
        os.sched_setaffinity(0, {int(core)})
    module, _, function = way_name.partition(":")
    way: Way = getattr(importlib.import_module(module), function)
    way(bucket, WARM_UP)
    began_s, cpu_s, file_bytes = time.monotonic(), cpu_seconds(), _file_bytes()
    way(bucket, DAY)
    figures = {
        "wall_s": time.monotonic() - began_s,
        "cpu_s": cpu_seconds() - cpu_s,
        "file_bytes": _file_bytes() - file_bytes,
    }
    print(json.dumps(figures), flush=True)


def cpu_seconds() -> float:
    """User and system time of this process and of its ended children."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def _file_bytes() -> int:
    """Bytes through read() and write(), children included; sockets have calls of their own ("proc_pid_io(5)")."""
    counted = dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
    return int(counted["rchar"]) + int(counted["wchar"])


if __name__ == "__main__":
    main(*sys.argv[1:])
