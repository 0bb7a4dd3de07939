"""What the tests' Prefect server knows: deployments, their runs, and what those publish."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol, TypeVar
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterFlowRunId,
    ArtifactFilterKey,
    DeploymentFilter,
    DeploymentFilterName,
    FlowRunFilter,
    FlowRunFilterDeploymentId,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.client.schemas.schedules import IntervalSchedule
from prefect.client.schemas.sorting import ArtifactSort

T = TypeVar("T")


def eventually(what: Callable[[], T | None], patience_s: float = 240) -> T:
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


def final_state(client: SyncPrefectClient, run_id: UUID) -> State[Any] | None:
    state = client.read_flow_run(run_id).state
    return state if state and state.is_final() else None


class RunsOfSchedule(Protocol):
    """The runs that a schedule has started, or those in the given states."""

    def __call__(self, *states: StateType) -> list[FlowRun]: ...


@contextmanager
def scheduled_soon(
    client: SyncPrefectClient, name: str, parameters: dict[str, Any], job_variables: dict[str, Any] | None = None
) -> Iterator[RunsOfSchedule]:
    """The deployment's schedule, active and every few seconds, with these parameters; as it was after the block."""
    found = deployment(client, name)
    (schedule,) = found.schedules
    soon = IntervalSchedule(interval=timedelta(seconds=15), anchor_date=datetime.now(UTC))
    client.update_deployment_schedule(found.id, schedule.id, True, schedule=soon)
    _patch(client, found, parameters, {**found.job_variables, **(job_variables or {})})
    try:
        yield lambda *states: [
            run for run in runs_of(client, name, *states) if run.parameters["audit_uri"] == parameters["audit_uri"]
        ]
    finally:
        client.update_deployment_schedule(found.id, schedule.id, schedule.active, schedule=schedule.schedule)
        _patch(client, found, found.parameters, found.job_variables)


def _patch(client: SyncPrefectClient, found: Any, parameters: dict[str, Any], job_variables: dict[str, Any]) -> None:
    changed = {"parameters": parameters, "job_variables": job_variables}
    client.request("PATCH", "/deployments/{id}", path_params={"id": found.id}, json=changed)


def artifact(key: str) -> str:
    """What the newest artifact of this key holds."""
    with get_client(sync_client=True) as client:
        wanted = ArtifactFilter(key=ArtifactFilterKey(any_=[key]))
        (newest,) = client.read_artifacts(artifact_filter=wanted, sort=ArtifactSort.CREATED_DESC, limit=1)
    return str(newest.data)


def artifacts_of(client: SyncPrefectClient, run_id: UUID) -> dict[str | None, Any]:
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
