"""``make ui``: the demo's servers stay up, with the deployments registered and a worker to run them, until Ctrl-C."""

import os
import signal
import sys
import threading
from contextlib import ExitStack
from pathlib import Path

from demo.bucket import BUCKET, fill_bucket
from demo.calls import PREFIX
from demo.servers import Server, child, prefect_server, run_to_end, s3_server

FOLDER = Path(".demo").absolute()
POOL = "local"
PREFECT = [sys.executable, "-m", "prefect"]


def deployment_env(s3: Server, prefect: Server, audit_uri: str) -> dict[str, str]:
    """What ``prefect.yaml`` and a worker need to know of these servers."""
    here = {
        "ARCHIVE_WORK_POOL": POOL,
        "ARCHIVE_BUCKET": BUCKET,
        "ARCHIVE_PREFIX": PREFIX,
        "ARCHIVE_AUDIT_URI": audit_uri,
        "ARCHIVE_ROLE_PREFIX": "local/",  # a process has no role
        "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30",
        "ARCHIVE_CODE": os.getcwd(),
        "PYTHONPATH": os.getcwd(),
    }
    return {**s3.env, **prefect.env, **here}


def deploy(env: dict[str, str]) -> None:
    """Create the local work pool, install the automations, and register every deployment of ``prefect.yaml``."""
    run_to_end([*PREFECT, "work-pool", "create", env["ARCHIVE_WORK_POOL"], "--type", "process", "--overwrite"], env)
    run_to_end([sys.executable, "-m", "deployments.automations"], env)
    run_to_end([*PREFECT, "--no-prompt", "deploy", "--all"], env)


def main() -> None:
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    with ExitStack() as servers:
        s3 = servers.enter_context(s3_server(FOLDER / "s3"))
        prefect = servers.enter_context(prefect_server(FOLDER / "prefect"))
        env = deployment_env(s3, prefect, str(FOLDER / "audit"))
        os.environ.update(env)
        fill_bucket()
        deploy(env)
        servers.enter_context(child([*PREFECT, "worker", "start", "--pool", POOL], env, FOLDER / "worker.log"))
        print(f"Prefect UI:   {prefect.url}\nS3 endpoint:  {s3.url}\n\nRun the deployment backfill with start_date")
        print("2026-01-12 and end_date 2026-01-14, or look at what make demo ran. Ctrl-C ends all of it.", flush=True)
        stop.wait()


if __name__ == "__main__":
    main()
