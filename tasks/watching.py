"""What the end of a run tells those who watch: its metrics, for CloudWatch, and an event if a schedule has succeeded.

On ECS, the metrics are one line on standard output, in CloudWatch's embedded metric format ("Specification: Embedded
metric format" in the CloudWatch user guide): CloudWatch Logs makes metrics of it, and asks for no permission. On other
machines nobody would read the line, and there is none.
"""

import json
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypedDict

from prefect import Flow
from prefect.client.schemas.objects import FlowRun, State
from prefect.events import emit_event
from prefect.flows import FlowStateHook

from recordings.errors import InvalidRequest
from recordings.table.files import audit_location

NAMESPACE = "RecordingArchive"  # as in deployments/stack.yaml
ON_ECS = "ECS_CONTAINER_METADATA_URI_V4"  # set in each container ("Amazon ECS task metadata endpoint version 4")
Hook = FlowStateHook[..., Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What watchers are told of a run that ended."""

    counts: bool = False  # whether the run did what its schedule is for: not if it failed, or was only a dry run
    figures: Mapping[str, float] = field(default_factory=dict)  # by metric


class Hooks(TypedDict):
    """The options of a flow that is watched."""

    on_completion: list[Hook]
    on_failure: list[Hook]
    on_crashed: list[Hook]


def watched(outcome_of: Callable[[Any], Outcome]) -> Hooks:
    """The options of a flow whose runs are watched. Prefect calls a hook once for each run, when its state is final.

    ``outcome_of`` is asked of what the flow returns, or of the summary that its exception carries.
    """

    def tell_watchers(flow: Flow[Any, Any], flow_run: FlowRun, state: State[Any]) -> None:
        result = getattr(state.data, "result", state.data)
        told = getattr(result, "summary", None) if isinstance(result, BaseException) else result
        outcome = Outcome() if told is None else outcome_of(told)
        instance = _instance(flow_run.parameters.get("audit_uri"))
        counts = outcome.counts and state.is_completed()
        if flow_run.auto_scheduled and counts:
            announce("schedule-succeeded", f"schedule.{flow.name}.{instance}", instance, flow=flow.name)
        schedule = _of_schedule(counts, state) if flow_run.auto_scheduled else {}
        if ON_ECS in os.environ and (outcome.figures or schedule):
            _write(line(instance, flow.name, str(flow_run.id), outcome.figures, schedule))

    return {"on_completion": [tell_watchers], "on_failure": [tell_watchers], "on_crashed": [tell_watchers]}


def _instance(audit_uri: Any) -> str:
    """The address of the audit table, of which each instance has its own; as it was given, if it is none."""
    try:
        return str(audit_location(audit_uri))
    except InvalidRequest:
        return str(audit_uri or "unknown")


def _of_schedule(counts: bool, state: State[Any]) -> dict[str, float]:
    """No success is ever a 0: the alarm ``Established`` of deployments/stack.yaml takes successes only."""
    if counts:
        return {"ScheduledRunsSucceeded": 1}
    return {} if state.is_completed() else {"ScheduledRunsFailed": 1}


def line(instance: str, flow: str, run: str, figures: Mapping[str, float], schedule: Mapping[str, float]) -> str:
    """The metrics as one line: ``figures`` by instance, those of the ``schedule`` by instance and flow."""
    directives = [_directive(["Instance"], figures), _directive(["Instance", "Flow"], schedule)]
    metadata = {
        "Timestamp": int(datetime.now(UTC).timestamp() * 1000),
        "CloudWatchMetrics": [each for each in directives if each["Metrics"]],
    }
    return json.dumps(
        {"_aws": metadata, "Instance": instance, "Flow": flow, "FlowRun": run, **figures, **schedule}, allow_nan=False
    )


def _directive(dimensions: list[str], metrics: Mapping[str, float]) -> dict[str, Any]:
    named = [{"Name": name, "Unit": _unit(name)} for name in metrics]
    return {"Namespace": NAMESPACE, "Dimensions": [dimensions], "Metrics": named}


def _unit(metric: str) -> str:
    if metric in ("Minutes", "Dollars"):  # CloudWatch has no such units
        return "None"
    return "Bytes" if metric.startswith("Bytes") else "Count"


def _write(text: str) -> None:
    sys.stdout.write(f"{text}\n")  # at once, so that no other line can come between
    sys.stdout.flush()


def announce(
    event: str, resource: str, audit_uri: Any, payload: Mapping[str, Any] | None = None, flow: str = ""
) -> None:
    """Emit an event for automations, which know its instance and perhaps its flow by labels."""
    labels = {
        "prefect.resource.id": f"recording-archive.{resource}",
        "recording-archive.instance": _instance(audit_uri),
        **({"recording-archive.flow": flow} if flow else {}),
    }
    emit_event(f"recording-archive.{event}", resource=labels, payload=dict(payload or {}))
