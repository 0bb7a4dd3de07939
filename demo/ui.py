"""The demo's servers stay up, with the Prefect UI, the deployments, and a worker that runs them, until Ctrl-C.

Each start has a day of calls that nobody has archived. Everything lies in .demo; make clean-demo removes it.
"""

import os
import signal
import sys
from contextlib import ExitStack

from demo.program import FOLDER, start
from demo.servers import Server, child, prefect_server, run_to_end, s3_server

POOL = "local"
PREFECT = [sys.executable, "-m", "prefect"]
WHAT_TO_DO = """
Prefect UI:   {prefect}
S3 endpoint:  {s3}

Nobody has archived the calls of {days} yet. In the Prefect UI, choose Deployments, backfill, Run,
Custom run; set start_date to {first} and end_date to {last}; then Submit.
Ctrl-C here ends the servers.
"""


def deployment_env(s3: Server, prefect: Server, audit_uri: str) -> dict[str, str]:
    """The environment that ``prefect.yaml`` and a worker need to use these servers."""
    from demo.bucket import BUCKET
    from demo.calls import PREFIX

    here = {
        "ARCHIVE_WORK_POOL": POOL,
        "ARCHIVE_BUCKET": BUCKET,
        "ARCHIVE_PREFIX": PREFIX,
        "ARCHIVE_AUDIT_URI": audit_uri,
        "ARCHIVE_ROLE_PREFIX": "local/",  # a process has no role
        "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30",
        "ARCHIVE_CODE": os.getcwd(),
        "PYTHONPATH": os.getcwd(),
        "ARCHIVE_SKIP_UNPROFITABLE": "false",  # the demo's calls are short
    }
    return {**s3.env, **prefect.env, **here}


def deploy(env: dict[str, str]) -> None:
    """Create the local work pool, the automations and all deployments of ``prefect.yaml``, as ``make deploy`` does."""
    run_to_end([sys.executable, "-m", "deployments.deploy", "--local"], env)


def main() -> None:
    folder = FOLDER.absolute()
    with ExitStack() as servers:
        _say("Starting an S3 server ...")
        s3 = servers.enter_context(s3_server(folder / "s3"))
        _say("Starting a Prefect server ...")
        prefect = servers.enter_context(prefect_server(folder / "prefect"))
        env = deployment_env(s3, prefect, str(folder / "audit"))
        os.environ.update(env)
        _say("Putting calls into the bucket ...")
        first, last = _fill(env["ARCHIVE_AUDIT_URI"])
        _say("Registering the deployments ...")
        deploy(env)
        _say("Starting a worker ...")
        worker = [*PREFECT, "worker", "start", "--pool", POOL]
        soon = {"PREFECT_WORKER_QUERY_SECONDS": "2"}  # a person is waiting
        servers.enter_context(child(worker, {**env, **soon}, folder / "worker.log"))
        days = first if first == last else f"{first} to {last}"
        _say(WHAT_TO_DO.format(prefect=prefect.url, s3=s3.url, days=days, first=first, last=last))
        signal.pause()


def _fill(audit_uri: str) -> tuple[object, object]:
    """The first and the last day to archive."""
    from demo.bucket import (
        days_to_archive,
        fill_bucket,
    )  # only now: it takes a moment, and from here on Ctrl-C is quiet

    fill_bucket()
    return days_to_archive(audit_uri)


def _say(sentence: str) -> None:
    print(sentence, flush=True)


if __name__ == "__main__":
    start("make ui", __doc__, main)
