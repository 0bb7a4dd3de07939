"""The archive path against what people use today, in one run: ``python -m benchmarks.pipeline``.

- *request and process*: the pattern of the published AWS sample, written from its description. For each recording: read
  its tags, have ffmpeg GET it by a presigned URL into a file, ffmpeg again from file to file, upload as Standard, copy
  onto itself with the storage class, put the tags.
- *a good script*: download, one ffmpeg, one upload with the storage class. It checks nothing and tags nothing.
- *ours*: list, resample, judge, replace, verify, tag, audit, as the flow does it, but without Prefect
  (``benchmarks.orchestration`` measures that).

All over HTTPS, as S3 is spoken to, with the same number of threads, on one core, as a task of one vCPU has, each with a
server of its own; once more over HTTP, where what goes through files can be told from what goes through sockets. What
each process and its children used is measured after a warm-up; requests are counted in the server's access log. Rounds
are interleaved, and medians shown.
"""

import argparse
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.clients import Used, Way, fill, measure, middle, price
from benchmarks.ways import good_script, ours, request_and_process
from demo.servers import s3_server

WORKLOADS: Mapping[str, Mapping[int, int]] = {  # recordings by their length in seconds
    "10 s": {10: 120},
    "1 min": {60: 60},
    "5 min": {300: 48},
    "30 min": {1800: 8},
    "mix": {10: 60, 60: 30, 300: 8, 1800: 2},
}
QUICK: Mapping[str, Mapping[int, int]] = {"mix": {10: 2, 60: 1}}
ROUNDS = 3
CORES = sorted(os.sched_getaffinity(0))


WAYS: Mapping[str, Way] = {"request and process": request_and_process, "a good script": good_script, "ours": ours}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a few calls, one round: to see that it works")
    quick = parser.parse_args().quick
    for name, lengths in (QUICK if quick else WORKLOADS).items():
        rounds = [one_round(WAYS, lengths) for _ in range(1 if quick else ROUNDS)]
        middles = {way: middle([each[way] for each in rounds]) for way in WAYS}
        Console(width=160).print(_table(name, lengths, middles, one_round(WAYS, lengths, tls=False)))


def one_round(ways: Mapping[str, Way], lengths: Mapping[int, int], *, tls: bool = True) -> dict[str, Used]:
    """Each way on the last core, one after the other; each with a server of its own on the other cores."""
    os.sched_setaffinity(0, CORES[:-1] or CORES)
    return {name: _measured(way, lengths, tls) for name, way in ways.items()}


def _measured(way: Way, lengths: Mapping[int, int], tls: bool) -> Used:
    bucket = way.__name__.replace("_", "-")
    with tempfile.TemporaryDirectory() as folder, s3_server(Path(folder), tls=tls) as server:
        os.environ.update(server.env)
        fill(bucket, [length_s for length_s, count in lengths.items() for _ in range(count)])
        return measure(way, bucket, server, core=CORES[-1])


def _table(name: str, lengths: Mapping[int, int], found: Mapping[str, Used], plain: Mapping[str, Used]) -> Table:
    count, minutes = sum(lengths.values()), sum(length_s * number for length_s, number in lengths.items()) / 60
    columns = ("recordings/s", "CPU ms each", "of ours", "by HTTP", "requests each", "requests $", "KMS $", "CPU $")
    table = Table(name, *columns, "total $", "files MB", "peak MB", caption="$ per 1,000 minutes; KMS apart")
    for way, used in found.items():
        standard = used.requests["PutObject"] - count if way == "request and process" else 0
        cost = price(used, minutes, writes_to_standard=standard)
        table.add_row(
            way,
            f"{count / used.wall_s:.1f}",
            f"{1000 * used.cpu_s / count:.1f}",
            f"{used.cpu_s / found['ours'].cpu_s:.1f}",
            f"{1000 * plain[way].cpu_s / count:.1f}",
            f"{used.requests.total() / count:.2f}",
            *(f"{usd:.4f}" for usd in (cost.requests_usd, cost.kms_usd, cost.compute_usd, cost.total_usd)),
            f"{plain[way].file_bytes / 1e6 / count:.2f}",
            f"{used.peak_mb:.0f}",
        )
    return table


if __name__ == "__main__":
    main()
