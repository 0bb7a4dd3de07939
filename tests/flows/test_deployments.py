"""prefect.yaml on a server of the locked versions: deployed, scheduled, run by a worker, stopped without remains."""

import json
import subprocess
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import boto3
import pandas as pd
import pytest
import yaml
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import State, StateType
from prefect.states import Scheduled
from prefect.utilities.importtools import import_object

from demo.servers import Server
from tasks.watching import ON_ECS
from tests.bucket import DAY, PREFIX, Bucket, key_of
from tests.deployed import artifacts_of, deployment, eventually, final_state, runs_of, scheduled_soon
from tests.fixtures import MakeCall

ROOT = Path(__file__).parents[2]
DECLARED = {each["name"]: each for each in yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]}
FINAL = (StateType.COMPLETED, StateType.FAILED, StateType.CRASHED)


def is_scheduled(declared: Any) -> bool:
    return any(schedule.get("active", True) for schedule in declared.get("schedules", []))


DRY_AT_FIRST = (
    *("release-originals", "expire-recordings", "erase", "erase-deferred", "hold"),
    *("check-fixity-yearly", "export"),
)


def test_all_that_an_operator_starts_is_declared() -> None:
    assert set(DECLARED) == {
        *("archive-daily", "archive-day", "backfill", "inspect", "estimate", "restore"),
        *("release-originals", "expire-recordings", "erase", "erase-deferred", "hold"),
        *("reconcile-weekly", "check-fixity-yearly", "export", "report-monthly"),
    }


def test_all_are_deployed_and_the_scheduled_ones_have_runs(client: SyncPrefectClient, env: dict[str, str]) -> None:
    for name, declared in DECLARED.items():
        found = deployment(client, name)
        assert found.work_pool_name == env["ARCHIVE_WORK_POOL"]
        assert found.parameters["audit_uri" if name == "report-monthly" else "bucket"]
        assert found.job_variables["task_role_arn"].startswith("local/")
        import_object(found.entrypoint)
        if is_scheduled(declared):
            yesterday = datetime.now(UTC) - timedelta(days=1)
            upcoming = eventually(partial(runs_of, client, name, StateType.SCHEDULED))
            assert all(run.expected_start_time and run.expected_start_time > yesterday for run in upcoming)


def test_what_is_not_scheduled_starts_nothing_by_itself(client: SyncPrefectClient, env: dict[str, str]) -> None:
    eventually(lambda: runs_of(client, "archive-daily", StateType.SCHEDULED))
    for name in DECLARED:
        if not is_scheduled(DECLARED[name]):
            assert not runs_of(client, name, StateType.SCHEDULED)
    for name in DRY_AT_FIRST:
        found = deployment(client, name)
        assert found.parameters.get("dry_run", True), name
        assert found.parameter_openapi_schema["properties"]["dry_run"]["default"] is True, name


def test_every_field_of_a_run_form_opens_ready_to_be_filled_in(client: SyncPrefectClient, env: dict[str, str]) -> None:
    """Of two types, the UI shows a choice between them; of null as the default, that its type is None."""
    for name in DECLARED:
        parameters = deployment(client, name).parameter_openapi_schema["properties"]
        chosen_first = [each for each, schema in parameters.items() if "type" not in schema or "anyOf" in schema]
        assert not chosen_first, name
        assert not [each for each, schema in parameters.items() if schema.get("default", "") is None], name
    restore = deployment(client, "restore").parameter_openapi_schema["properties"]
    assert (restore["start_date"]["type"], restore["start_date"]["format"]) == ("string", "date")
    assert (restore["contact_ids"]["type"], restore["contact_ids"]["items"]) == ("array", {"type": "string"})


def test_every_parameter_is_described_in_the_run_form(client: SyncPrefectClient, env: dict[str, str]) -> None:
    for name in DECLARED:
        parameters = deployment(client, name).parameter_openapi_schema["properties"]
        undescribed = [each for each, schema in parameters.items() if not schema.get("description")]
        assert not undescribed, name


def test_a_schedule_fires_by_itself_and_looks_at_its_own_window(
    client: SyncPrefectClient,
    env: dict[str, str],
    worker: subprocess.Popen[bytes],
    a_call: MakeCall,
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
    s3: Server,
) -> None:
    """As if on ECS: its metrics arrive whole in the worker's log."""
    scheduled_for = datetime.now(UTC).date()
    day = scheduled_for - timedelta(days=7)
    bucket = Bucket(s3)
    bucket.put(key_of(1, day), a_call())
    bucket.put(key_of(2, day + timedelta(days=2)), a_call())
    audit_uri = str(tmp_path / "audit")
    place = {"bucket": bucket.name, "prefixes": [PREFIX], "audit_uri": audit_uri}
    as_on_ecs = {"env": {ON_ECS: "http://169.254.170.2/v4/task"}}
    with scheduled_soon(client, "archive-daily", place, as_on_ecs) as runs:
        run, *_ = eventually(lambda: runs(*FINAL))
    assert run.state
    assert run.state.type is StateType.COMPLETED
    assert run.auto_scheduled
    assert pd.read_parquet(audit_uri)["key"].tolist() == [key_of(1, day)]
    assert {"archive-progress", "archive-report"} <= artifacts_of(client, run.id).keys()
    logs = "".join(log.read_text() for log in tmp_path_factory.getbasetemp().glob("worker[0-9]*/worker.log"))
    documents = [json.loads(line) for line in logs.splitlines() if line.startswith('{"_aws"')]
    (document,) = [each for each in documents if each["FlowRun"] == str(run.id)]
    assert (document["Instance"], document["ScheduledRunsSucceeded"], document["Archived"]) == (audit_uri, 1, 1)


@pytest.mark.usefixtures("s3")
def test_a_worker_archives_a_day(
    client: SyncPrefectClient, env: dict[str, str], worker: subprocess.Popen[bytes], a_call: MakeCall
) -> None:
    boto3.client("s3").put_object(Bucket=env["ARCHIVE_BUCKET"], Key=key_of(1), Body=a_call())
    run = client.create_flow_run_from_deployment(
        deployment(client, "archive-day").id, parameters={"start_date": str(DAY), "end_date": str(DAY)}
    )
    assert eventually(lambda: final_state(client, run.id)).type is StateType.COMPLETED
    assert pd.read_parquet(env["ARCHIVE_AUDIT_URI"])["status"].tolist() == ["archived"]


@pytest.mark.parametrize("name", ["archive-day", "estimate"])
def test_the_server_takes_an_empty_date_for_one_left_out(
    client: SyncPrefectClient, env: dict[str, str], name: str
) -> None:
    """As a form may send it; flows.parameters makes sense of it."""
    tomorrow: State[Any] = Scheduled(scheduled_time=datetime.now(UTC) + timedelta(days=1))
    empty = {"start_date": "", "end_date": None}
    run = client.create_flow_run_from_deployment(deployment(client, name).id, parameters=empty, state=tomorrow)
    client.delete_flow_run(run.id)


@pytest.mark.parametrize(("parameter", "value"), [("batch_size", 0), ("profile", "mp3"), ("readback_percent", 101)])
def test_the_server_refuses_a_run_with_wrong_parameters(
    client: SyncPrefectClient, env: dict[str, str], parameter: str, value: object
) -> None:
    with pytest.raises(Exception, match=parameter):
        client.create_flow_run_from_deployment(deployment(client, "archive-day").id, parameters={parameter: value})
