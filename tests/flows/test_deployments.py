"""prefect.yaml on a server of the locked versions: deployed, scheduled, run by a worker, ended without a trace."""

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import pandas as pd
import pytest
import yaml
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import (
    DeploymentFilter,
    DeploymentFilterName,
    FlowRunFilter,
    FlowRunFilterDeploymentId,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import StateType
from prefect.utilities.importtools import import_object

from demo.servers import Server, child
from demo.ui import PREFECT, deploy, deployment_env
from tests.bucket import DAY, PREFIX, Bucket, key_of

ROOT = Path(__file__).parents[2]
DECLARED = {each["name"]: each for each in yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]}


def eventually(what: Callable[[], Any], patience_s: float = 60) -> Any:
    """The first true answer."""
    deadline = time.monotonic() + patience_s
    while not (answer := what()):
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.2)
    return answer


@pytest.fixture(scope="module")
def client(prefect: Server) -> Iterator[SyncPrefectClient]:
    with get_client(sync_client=True) as client:
        yield client


@pytest.fixture(scope="module")
def env(prefect: Server, s3: Server, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of the deployments' worker, with every deployment of prefect.yaml registered."""
    audit_uri = str(tmp_path_factory.mktemp("deployed") / "audit")
    env = deployment_env(s3, prefect, audit_uri) | {"ARCHIVE_BUCKET": Bucket(s3).name, "ARCHIVE_PREFIX": PREFIX}
    deploy(env)
    return env


def deployment(client: SyncPrefectClient, name: str) -> Any:
    (found,) = client.read_deployments(deployment_filter=DeploymentFilter(name=DeploymentFilterName(any_=[name])))
    return found


def test_all_are_deployed_and_the_scheduled_ones_have_runs(client: Any, env: dict[str, str]) -> None:
    assert len(DECLARED) >= 2
    for name, declared in DECLARED.items():
        found = deployment(client, name)
        assert found.work_pool_name == env["ARCHIVE_WORK_POOL"]
        assert found.parameters["bucket"] == env["ARCHIVE_BUCKET"]
        import_object(found.entrypoint)
        if any(schedule.get("active", True) for schedule in declared.get("schedules", [])):
            upcoming = eventually(lambda found=found: scheduled_runs(client, found.id))
            assert all(run.expected_start_time > datetime.now(UTC) - timedelta(days=1) for run in upcoming)


def scheduled_runs(client: SyncPrefectClient, deployment_id: Any) -> Any:
    of_deployment = FlowRunFilter(
        deployment_id=FlowRunFilterDeploymentId(any_=[deployment_id]),
        state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.SCHEDULED])),
    )
    return client.read_flow_runs(flow_run_filter=of_deployment)


def test_a_worker_runs_a_backfill(client: Any, env: dict[str, str], a_call: Any, tmp_path: Path) -> None:
    boto3.client("s3").put_object(Bucket=env["ARCHIVE_BUCKET"], Key=key_of(1), Body=a_call())
    with child([*PREFECT, "worker", "start", "--pool", env["ARCHIVE_WORK_POOL"]], env, tmp_path / "worker.log"):
        run = client.create_flow_run_from_deployment(
            deployment(client, "backfill").id, parameters={"start_date": str(DAY), "end_date": str(DAY)}
        )
        state = eventually(lambda: _final_state(client, run.id), 120)
    assert state.type is StateType.COMPLETED, (tmp_path / "worker.log").read_text()
    assert pd.read_parquet(env["ARCHIVE_AUDIT_URI"])["status"].tolist() == ["archived"]


def _final_state(client: SyncPrefectClient, run_id: Any) -> Any:
    state = client.read_flow_run(run_id).state
    return state if state and state.is_final() else None


@pytest.mark.parametrize(("parameter", "value"), [("batch_size", 0), ("profile", "mp3"), ("readback_percent", 101)])
def test_the_server_refuses_a_run_with_wrong_parameters(
    client: Any, env: dict[str, str], parameter: str, value: Any
) -> None:
    with pytest.raises(Exception, match=parameter):
        client.create_flow_run_from_deployment(deployment(client, "backfill").id, parameters={parameter: value})
