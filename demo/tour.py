"""``python -m demo.tour``: take pictures of the Prefect UI as an operator sees it during a backfill by a worker."""

import os
import sys
import tempfile
import time
from pathlib import Path

import boto3

from demo.bucket import fill_bucket
from demo.calls import DAYS
from demo.screenshots import IMAGES, screenshot
from demo.servers import child, prefect_server, s3_server
from demo.ui import PREFECT, deploy, deployment_env


def main(images: Path) -> None:
    with tempfile.TemporaryDirectory() as name, s3_server(Path(name) / "s3") as s3:
        folder = Path(name)
        os.environ.update(s3.env)
        boto3.client("s3").create_bucket(Bucket="demo-audit")
        fill_bucket()
        with prefect_server(folder / "prefect") as prefect:
            env = deployment_env(s3, prefect, "s3://demo-audit/calls")
            os.environ.update(env)
            deploy(env)
            with child([*PREFECT, "worker", "start", "--pool", env["ARCHIVE_WORK_POOL"]], env, folder / "worker.log"):
                pages = backfill()
            for picture, (path, shows) in pages.items():
                screenshot(f"{prefect.url}/v2/{path}", images / f"{picture}.png", shows=shows, width=1400, height=900)


def backfill() -> dict[str, tuple[str, str]]:
    """Archive the demo's days by the deployment; returns, by the picture's name, a page and a text on it."""
    from prefect.client.orchestration import get_client  # only now: Prefect reads its address on import

    with get_client(sync_client=True) as client:
        deployment = client.read_deployment_by_name("backfill-recordings/backfill")
        dates = {"start_date": DAYS[0].isoformat(), "end_date": DAYS[-1].isoformat()}
        run = client.create_flow_run_from_deployment(deployment.id, parameters=dates)
        while not (state := client.read_flow_run(run.id).state) or not state.is_final():
            time.sleep(1)
    return {
        "run-form": (f"deployments/deployment/{deployment.id}/run", "end_date"),
        "flow-run": (f"runs/flow-run/{run.id}", "Completed"),
    }


if __name__ == "__main__":
    main(Path(sys.argv[1]) if sys.argv[1:] else IMAGES)
