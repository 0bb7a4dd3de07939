"""``python -m benchmarks.backfill [DAYS [RECORDINGS]]``: what a backfill by a local process pool takes."""

import os
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import psutil

from demo.bucket import fill_bucket
from demo.calls import PREFIX, StoredCall, call
from demo.servers import child, prefect_server, s3_server
from demo.ui import PREFECT, deploy, deployment_env

FIRST = date(2026, 1, 1)
WAVE = 4  # batches
BATCH = 200


def main(days: int, recordings: int) -> None:
    with tempfile.TemporaryDirectory() as name, s3_server(Path(name) / "s3") as s3:
        folder = Path(name)
        os.environ.update(s3.env)
        fill_bucket(calls=calls(days, recordings))
        with prefect_server(folder / "prefect") as prefect:
            env = deployment_env(s3, prefect, str(folder / "audit"))
            os.environ.update(env)
            deploy(env)
            worker = [*PREFECT, "worker", "start", "--pool", env["ARCHIVE_WORK_POOL"]]
            fast = {**env, "PREFECT_WORKER_QUERY_SECONDS": "2", "PREFECT_LOGGING_LEVEL": "WARNING"}
            with child(worker, fast, folder / "worker.log") as process:
                measure(days, recordings, process.pid, str(folder / "audit"))


def calls(days: int, recordings: int) -> Iterator[StoredCall]:
    """Two seconds of speech, the same under each key."""
    body = call(np.random.default_rng(1), 2.0)
    for day in (FIRST + timedelta(days=n) for n in range(days)):
        for number in range(recordings):
            contact_id = f"{number * 4099 % 2**32:08x}-0000-4000-8000-{number:012x}"
            yield StoredCall(key=f"{PREFIX}{day:%Y/%m/%d}/{contact_id}_{day:%Y%m%d}T00:00_UTC.wav", body=body)


def measure(days: int, recordings: int, worker_pid: int, audit_uri: str) -> None:
    from prefect.client.orchestration import get_client  # only now: Prefect reads its address on import

    from recordings.table.reading import read_audit

    ours = psutil.Process()
    server = next(each for each in ours.children() if "server" in each.cmdline())
    with get_client(sync_client=True) as client:
        deployment = client.read_deployment_by_name("backfill-recordings/backfill")
        began, cpu_before = time.monotonic(), cpu_s(server)
        parameters = {"start_date": str(FIRST), "end_date": str(FIRST + timedelta(days=days - 1)), "max_parallel": 2}
        with peaks({"server": server, "worker and runs": psutil.Process(worker_pid)}) as peak:
            run = client.create_flow_run_from_deployment(deployment.id, parameters=parameters)
            while not (state := client.read_flow_run(run.id).state) or not state.is_final():
                time.sleep(1)
        wall_s, server_s = time.monotonic() - began, cpu_s(server) - cpu_before
        time.sleep(15)  # the server writes task runs with a delay
        counted = client.request("POST", "/task_runs/count", json={}).json()
    batches = -(-recordings // BATCH)
    of_a_day = 2 + 3 * batches + -(-batches // WAVE)  # per day: preflight, list; resample, verify, tag; audit
    expected = days * (of_a_day + 1) + 2  # and the day's run; the parent's preflight and its look at what is left
    frame = read_audit(audit_uri)
    print(f"{days} days of {recordings} recordings: {state.name} in {wall_s:.0f} s")
    print(f"audit table: {len(frame)} rows, {(frame['status'] == 'archived').sum()} archived")
    print(f"task runs in the database: {counted} of {expected}")
    per_task_run_ms = server_s / counted * 1000
    print(f"CPU: server {server_s:.0f} s, {per_task_run_ms:.0f} ms a task run; runs {run_cpu_s(audit_uri):.0f} s")
    print(f"memory: {', '.join(f'{name} {mb:.0f} MB' for name, mb in peak.items())} at most")


def run_cpu_s(audit_uri: str) -> float:
    """CPU seconds of all runs, as their records say."""
    from recordings.table.files import LocalFiles
    from recordings.table.records import end_records

    return float(sum(end.cpu_s or 0 for end in end_records(LocalFiles(Path(audit_uri)))))


def cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system + times.children_user + times.children_system)


@contextmanager
def peaks(watched: dict[str, psutil.Process]) -> Iterator[dict[str, float]]:
    """The maximum resident memory in MB of these processes with their children, sampled each second."""
    peak, ended = dict.fromkeys(watched, 0.0), threading.Event()

    def watch() -> None:
        while not ended.wait(1):
            for name, process in watched.items():
                peak[name] = max(peak[name], resident_mb(process))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield peak
    finally:
        ended.set()
        watcher.join()


def resident_mb(process: psutil.Process) -> float:
    total = 0
    for each in [process, *process.children(recursive=True)]:
        try:
            total += each.memory_info().rss
        except psutil.NoSuchProcess:
            continue
    return total / 1e6


if __name__ == "__main__":
    given = [int(argument) for argument in sys.argv[1:]]
    main(*given, *(16, 1000)[len(given) :])
