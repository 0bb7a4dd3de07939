"""Deployed flows on the tests' Prefect server: find them, start them, wait for them."""

import time
from collections.abc import Callable
from typing import Any

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterFlowRunId,
    DeploymentFilter,
    DeploymentFilterName,
    FlowRunFilter,
    FlowRunFilterDeploymentId,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import FlowRun, StateType


def eventually(what: Callable[[], Any], patience_s: float = 240) -> Any:
    """The first true answer. Patient: a Prefect server on SQLite now and then answers nobody for two minutes."""
    deadline = time.monotonic() + patience_s
    while not (answer := what()):
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.2)
    return answer


def deployment(client: SyncPrefectClient, name: str) -> Any:
    (found,) = client.read_deployments(deployment_filter=DeploymentFilter(name=DeploymentFilterName(any_=[name])))
    return found


def runs_of(client: SyncPrefectClient, name: str, *states: StateType) -> list[FlowRun]:
    """The deployment's runs, or those in these states."""
    in_states = FlowRunFilterState(type=FlowRunFilterStateType(any_=list(states))) if states else None
    of_deployment = FlowRunFilterDeploymentId(any_=[deployment(client, name).id])
    return client.read_flow_runs(flow_run_filter=FlowRunFilter(deployment_id=of_deployment, state=in_states))


def final_state(client: SyncPrefectClient, run_id: Any) -> Any:
    state = client.read_flow_run(run_id).state
    return state if state and state.is_final() else None


def artifacts_of(client: SyncPrefectClient, run_id: Any) -> dict[str | None, Any]:
    """What the run has published, by key."""
    of_run = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[run_id]))
    return {artifact.key: artifact for artifact in client.read_artifacts(artifact_filter=of_run)}


def notice_within(seconds: float, client: SyncPrefectClient, name: str) -> None:
    """Let this automation wait no longer than that for what it expects."""
    by_name = {"automations": {"name": {"any_": [name]}}}
    (found,) = client.request("POST", "/automations/filter", json=by_name).json()
    sooner = {**found, "trigger": {**found["trigger"], "within": seconds}}
    changes = {name: sooner[name] for name in ("name", "description", "enabled", "trigger", "actions")}
    client.request("PUT", "/automations/{id}", path_params={"id": found["id"]}, json=changes).raise_for_status()
