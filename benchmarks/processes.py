"""Threads against processes, the same recordings through the archive path: ``python -m benchmarks.processes``.

Two processes have half of the recordings each, in a bucket of their own, and begin at once. Their CPU and memory are
added up; the time is the slower one's. Importing and connecting happen before, as in ``benchmarks.clients``. Rounds are
interleaved, and medians shown.
"""

import argparse
import os
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median

from rich.console import Console
from rich.table import Table

from benchmarks.clients import Used, fill, measure
from benchmarks.ways import ours
from demo.servers import Server, s3_server

WORKLOADS = {"10 s": (10, 240), "5 min": (300, 48)}  # length in seconds, recordings
SHAPES = ((1, 1), (1, 2), (1, 4), (1, 8), (1, 16), (2, 1), (2, 4), (2, 8))  # processes, threads of each
QUICK = {"10 s": (10, 4)}, ((1, 2), (2, 1))
ROUNDS = 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a few calls, one round: to see that it works")
    quick = parser.parse_args().quick
    workloads, shapes = QUICK if quick else (WORKLOADS, SHAPES)
    for name, (length_s, count) in workloads.items():
        table = Table(name, "threads of each", "recordings/s", "CPU ms each", "peak MB")
        rounds = [
            {shape: _measured(*shape, length_s, count) for shape in shapes} for _ in range(1 if quick else ROUNDS)
        ]
        for shape in shapes:
            table.add_row(*map(str, shape), *_figures([each[shape] for each in rounds], count))
        Console(width=100).print(table)


def _measured(processes: int, threads: int, length_s: int, count: int) -> list[Used]:
    """What each of the processes used, at work side by side."""
    with tempfile.TemporaryDirectory() as folder, s3_server(Path(folder)) as server:
        os.environ.update(server.env)
        buckets = [f"bucket-{number}" for number in range(processes)]
        for bucket in buckets:
            fill(bucket, [length_s] * (count // processes))
        with ThreadPoolExecutor(processes) as side_by_side:
            return list(side_by_side.map(lambda bucket: _client(bucket, threads, server), buckets))


def _client(bucket: str, threads: int, server: Server) -> Used:
    return measure(ours, bucket, server, {"ARCHIVE_THREADS": str(threads)})


def _figures(rounds: list[list[Used]], count: int) -> list[str]:
    wall_s = median(max(each.wall_s for each in clients) for clients in rounds)
    cpu_s = median(sum(each.cpu_s for each in clients) for clients in rounds)
    peak_mb = median(sum(each.peak_mb for each in clients) for clients in rounds)
    return [f"{count / wall_s:.1f}", f"{1000 * cpu_s / count:.1f}", f"{peak_mb:.0f}"]


if __name__ == "__main__":
    main()
