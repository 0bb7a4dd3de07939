"""Threads against processes, the same recordings through the archive path: ``python -m benchmarks.processes``.

Two processes have half of the recordings each, in a bucket of their own, and begin at once. Their CPU and memory are
added up; the time is the slower one's. Importing and connecting happen before, as in ``benchmarks.clients``. Rounds are
interleaved, and medians shown.
"""

import argparse
import os
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.clients import Used, fill, measure, middle
from benchmarks.ways import ours
from demo.servers import s3_server

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
            used = middle([each[shape] for each in rounds])
            figures = f"{count / used.wall_s:.1f}", f"{1000 * used.cpu_s / count:.1f}", f"{used.peak_mb:.0f}"
            table.add_row(*map(str, shape), *figures)
        Console(width=100).print(table)


def _measured(processes: int, threads: int, length_s: int, count: int) -> Used:
    """The total of what the processes used, running at the same time."""
    with tempfile.TemporaryDirectory() as folder, s3_server(Path(folder)) as server:
        os.environ.update(server.env)
        buckets = [f"bucket-{number}" for number in range(processes)]
        for bucket in buckets:
            fill(bucket, [length_s] * (count // processes))
        env = {"ARCHIVE_THREADS": str(threads)}
        with ThreadPoolExecutor(processes) as side_by_side:
            clients = list(side_by_side.map(lambda bucket: measure(ours, bucket, server, env), buckets))
    return replace(
        clients[0],
        wall_s=max(each.wall_s for each in clients),
        cpu_s=sum(each.cpu_s for each in clients),
        peak_mb=sum(each.peak_mb for each in clients),
    )


if __name__ == "__main__":
    main()
