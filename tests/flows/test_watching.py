"""What the end of a run tells those who watch: metrics on ECS, and events of schedules."""

import importlib
import json
import pkgutil
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from uuid import uuid4

import jsonschema
import pytest
from prefect import Flow
from prefect.client.schemas.objects import FlowRun, State
from prefect.states import Completed, Crashed, Failed

import flows
from demo.servers import Server
from deployments.template import template
from flows.archive import archive_recordings
from flows.reconcile import reconcile_audit
from flows.release import release_originals
from flows.report import report_savings
from recordings.errors import InvalidRequest
from recordings.jobs.engine.kinds import TRAITS
from recordings.jobs.engine.summary import JobFailed
from recordings.summary import RunFailed, RunSummary
from recordings.table.records import Kind
from tasks import watching
from tasks.jobs import outcome_of_job
from tasks.report import outcome_of_report
from tasks.run import outcome_of_run
from tasks.watching import NAMESPACE, ON_ECS, line
from tests.bucket import DAY, PREFIX, Bucket, key_of
from tests.faults import ErrorProxy, S3Error, faulty_proxy
from tests.fixtures import MakeCall

pytestmark = pytest.mark.usefixtures("prefect")
RUNBOOK = (Path(__file__).parents[2] / "deployments" / "README.md").read_text()
TEXT = {"type": "string", "minLength": 1, "maxLength": 1024}
# The schema at the end of "Specification: Embedded metric format" in the CloudWatch user guide, and its units.
SPECIFICATION = {
    "type": "object",
    "required": ["_aws"],
    "properties": {
        "_aws": {
            "type": "object",
            "required": ["Timestamp", "CloudWatchMetrics"],
            "properties": {
                "Timestamp": {"type": "integer"},
                "CloudWatchMetrics": {
                    "type": "array",
                    "minItems": 1,
                    "items": {
                        "type": "object",
                        "required": ["Namespace", "Dimensions", "Metrics"],
                        "additionalProperties": False,
                        "properties": {
                            "Namespace": TEXT,
                            "Dimensions": {
                                "type": "array",
                                "minItems": 1,
                                "items": {
                                    "type": "array",
                                    "maxItems": 30,
                                    "items": {"type": "string", "minLength": 1, "maxLength": 250},
                                },
                            },
                            "Metrics": {
                                "type": "array",
                                "minItems": 1,
                                "maxItems": 100,
                                "items": {
                                    "type": "object",
                                    "required": ["Name"],
                                    "additionalProperties": False,
                                    "properties": {"Name": TEXT, "Unit": {"enum": ["Count", "Bytes", "None"]}},
                                },
                            },
                        },
                    },
                },
            },
        }
    },
}


@pytest.fixture
def on_ecs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ON_ECS, "http://169.254.170.2/v4/task")


def told(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    """The documents among the lines on standard output since the last look, each as the specification demands."""
    documents = [json.loads(each) for each in capsys.readouterr().out.splitlines() if each.startswith("{")]
    for document in documents:
        check(document)
    return documents


def check(document: dict[str, Any]) -> None:
    jsonschema.validate(document, SPECIFICATION)
    for directive in document["_aws"]["CloudWatchMetrics"]:
        assert all(isinstance(document[name], str) for names in directive["Dimensions"] for name in names)
        assert all(isinstance(document[each["Name"]], (int, float)) for each in directive["Metrics"])
    moment = datetime.fromtimestamp(document["_aws"]["Timestamp"] / 1000, UTC)
    assert abs(datetime.now(UTC) - moment) < timedelta(minutes=5)


def figures(document: dict[str, Any]) -> dict[str, Any]:
    """The metrics by instance."""
    by_instance = [each for each in document["_aws"]["CloudWatchMetrics"] if each["Dimensions"] == [["Instance"]]]
    return {each["Name"]: document[each["Name"]] for directive in by_instance for each in directive["Metrics"]}


@pytest.fixture
def place(bucket: Bucket, audit_uri: str) -> dict[str, Any]:
    return {"bucket": bucket.name, "prefixes": [PREFIX], "audit_uri": audit_uri, "start_date": DAY, "end_date": DAY}


@pytest.mark.usefixtures("on_ecs")
def test_every_flow_tells_once_what_it_did(
    bucket: Bucket, place: dict[str, Any], audit_uri: str, a_call: MakeCall, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(3):
        bucket.put(key_of(number), a_call(number))
    bucket.put(key_of(3), a_call(3)[:-9])
    summary = archive_recordings(**place)
    (document,) = told(capsys)
    assert (document["Instance"], document["Flow"]) == (audit_uri, "archive-recordings")
    counts = {"Listed": 4, "Archived": 3, "Rejected": 1, "Failed": 0}
    sizes = {"BytesBefore": summary.bytes_before, "BytesAfter": summary.bytes_after}
    assert figures(document) == {**counts, **sizes, "Minutes": summary.minutes_after, "Dollars": summary.cost_usd}
    assert not [name for name in document if name.startswith("Scheduled")]  # it was started by hand

    report_savings(audit_uri)
    (document,) = told(capsys)
    assert figures(document) == {"OriginalsWaiting": 3, "OriginalsOverdue": 0}

    release_originals(bucket=bucket.name, audit_uri=audit_uri, grace_days=0)
    assert told(capsys) == []  # a dry run
    released = release_originals(bucket=bucket.name, audit_uri=audit_uri, everything=True, grace_days=0, dry_run=False)
    (document,) = told(capsys)
    assert figures(document) == {"Released": 3, "BytesReleased": released.original_bytes}

    bucket.client.delete_object(Bucket=bucket.name, Key=key_of(1))
    with pytest.raises(JobFailed):
        reconcile_audit(**place)
    (document,) = told(capsys)
    assert figures(document) == {"Lost": 1}


@pytest.mark.usefixtures("on_ecs")
def test_a_failed_run_has_its_figures_and_one_that_did_nothing_has_none(
    bucket: Bucket,
    s3: Server,
    place: dict[str, Any],
    a_call: MakeCall,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bucket.put(key_of(1), a_call())
    archive_recordings(**place, dry_run=True)
    with pytest.raises(InvalidRequest):
        archive_recordings(**{**place, "bucket": "No Bucket"})
    assert told(capsys) == []
    error = S3Error(status=403, code="AccessDenied", message="Access Denied")
    unreadable = ErrorProxy(s3.url, error, lambda asked: asked.operation == "GetObject" and asked.key == key_of(1))
    with faulty_proxy(unreadable) as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        with pytest.raises(RunFailed):
            archive_recordings(**place)
    (document,) = told(capsys)
    assert (document["Archived"], document["Failed"]) == (0, 1)


def test_other_machines_write_nothing(
    bucket: Bucket, place: dict[str, Any], a_call: MakeCall, capsys: pytest.CaptureFixture[str]
) -> None:
    bucket.put(key_of(1), a_call())
    archive_recordings(**place)
    assert told(capsys) == []


def a_summary(**changes: Any) -> RunSummary:
    sums = {"minutes_after": 1, "bytes_before": 4, "bytes_after": 1, "cpu_s": 1, "wall_s": 1}
    rest = {"manifest_files": (), "requests": {}, "cost_usd": 0.0, "unrecorded": 0}
    return RunSummary(**{"run_id": "1", "counts": {"archived": 1}, "final": 0, **sums, **rest, **changes})


GOOD, FAILED = a_summary(), RunFailed(a_summary(counts={"failed": 1}))
ENDS = [
    pytest.param(Completed(data=GOOD), True, {"ScheduledRunsSucceeded": 1}, id="success"),
    pytest.param(Completed(data=GOOD), False, {}, id="by hand"),
    pytest.param(Completed(data=a_summary(counts={}, final=9)), True, {"ScheduledRunsSucceeded": 1}, id="nothing new"),
    pytest.param(Completed(data=a_summary(counts={"planned": 1}, dry_run=True)), True, {}, id="dry run"),
    pytest.param(Completed(data=a_summary(counts={})), True, {}, id="empty window"),
    pytest.param(Completed(data=a_summary(empty_prefix=True)), True, {}, id="empty prefix"),
    pytest.param(Failed(data=FAILED), True, {"ScheduledRunsFailed": 1}, id="failure"),
    pytest.param(Failed(data=FAILED), False, {}, id="failure by hand"),
    pytest.param(Failed(data=InvalidRequest("no")), True, {"ScheduledRunsFailed": 1}, id="never began"),
    pytest.param(Crashed(), True, {"ScheduledRunsFailed": 1}, id="crash"),
]


@pytest.mark.usefixtures("on_ecs")
@pytest.mark.parametrize(("state", "by_schedule", "expected"), ENDS)
def test_what_counts_for_a_schedule(
    state: State[Any],
    by_schedule: bool,
    expected: dict[str, int],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    events: list[dict[str, str]] = []
    monkeypatch.setattr(watching, "emit_event", lambda _, resource, payload: events.append(resource))
    hooks = {
        "COMPLETED": archive_recordings.on_completion_hooks,
        "FAILED": archive_recordings.on_failure_hooks,
        "CRASHED": archive_recordings.on_crashed_hooks,
    }
    run = FlowRun(flow_id=uuid4(), parameters={"audit_uri": "s3://calls-audit/recordings/"}, auto_scheduled=by_schedule)
    for hook in hooks[state.type.value]:
        hook(archive_recordings, run, state)
    documents = told(capsys)
    shown = {name: value for each in documents for name, value in each.items() if name.startswith("Scheduled")}
    assert shown == expected
    assert {each["Instance"] for each in documents} <= {"s3://calls-audit/recordings"}
    announced = [each["recording-archive.flow"] for each in events if "recording-archive.flow" in each]
    assert announced == ["archive-recordings"] * ("ScheduledRunsSucceeded" in expected)


def test_the_alarms_watch_what_the_runs_write() -> None:
    written = line("s3://calls-audit/recordings", "archive-recordings", "1", {"Lost": 0.5}, {"ScheduledRunsFailed": 1})
    check(json.loads(written))
    names, metrics = watched_flows(), documented()
    for name, metric in ours().items():
        assert metric["MetricName"] in metrics, name
        dimensions = {each["Name"]: each["Value"] for each in metric["Dimensions"]}
        assert dimensions.pop("Instance") == {"Fn::Sub": "s3://${AuditBucket}/recordings"}
        assert set(dimensions.values()) <= names
        assert set(dimensions) == ({"Flow"} if metric["MetricName"].startswith("Scheduled") else set())


def ours() -> dict[str, Any]:
    """What each alarm watches in our namespace."""
    found = {}
    for name, each in template()["Resources"].items():
        properties = each.get("Properties", {})
        stats = [metric["MetricStat"]["Metric"] for metric in properties.get("Metrics", []) if "MetricStat" in metric]
        for metric in [properties, *stats]:
            if metric.get("Namespace") == NAMESPACE:
                found[name] = metric
    assert len(found) > 8
    return found


def watched_flows() -> set[str]:
    modules = [importlib.import_module(f"flows.{each.name}") for each in pkgutil.iter_modules(flows.__path__)]
    found = [each for module in modules for each in vars(module).values() if isinstance(each, Flow)]
    return {each.name for each in found if each.on_crashed_hooks}


def documented() -> set[str]:
    """The metrics of the runbook's table."""
    table = RUNBOOK.partition("| metric | of | what |")[2].partition("\n\n")[0]
    rows = re.findall(r"^\| (`.+?) \|", table, re.M)
    return {name for row in rows for name in re.findall(r"`(\w+)`", row)}


def test_the_runbook_names_every_metric(place: dict[str, Any]) -> None:
    named: set[str] = {"ScheduledRunsSucceeded", "ScheduledRunsFailed"} | outcome_of_run(GOOD).figures.keys()
    named |= outcome_of_report(cast(Any, SimpleNamespace(originals_waiting=1, originals_overdue=1))).figures.keys()
    for kind in Kind:
        if kind in TRAITS:
            summary = SimpleNamespace(
                kind=kind, dry_run=False, lost={}, counts={}, original_bytes=0, counts_for_schedule=True
            )
            named |= outcome_of_job(cast(Any, summary)).figures.keys()
    assert documented() == named
