"""What the real ECS worker asks of ECS for each deployment: make deploy, a worker, and an ECS on this machine."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
import yaml
from prefect.client.orchestration import SyncPrefectClient

from demo.servers import Server, child, prefect_server
from demo.ui import PREFECT
from deployments import automations
from deployments.environment import NEEDED, OPTIONAL, base_job_template
from tests.deployed import deployment, eventually

ROOT = Path(__file__).parents[2]
DECLARED = [each["name"] for each in yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]]
THINGS = 1 + len(automations.names()) + len(DECLARED)  # the work pool is the first
# By prefect.yaml: whom each deployment acts as.
POLICY = {
    **{"archive-daily": "archive", "archive-day": "archive", "backfill": "archive", "inspect": "inspect"},
    **{"estimate": "estimate", "restore": "restore", "release-originals": "release"},
    **{"reconcile-weekly": "reconcile", "report-monthly": "report", "check-fixity-yearly": "check"},
    **{"export": "export"},
    **{"expire-recordings": "expire", "erase": "erase", "erase-deferred": "erase", "hold": "hold"},
}
MUST_BE_GIVEN = {
    "backfill": {"start_date": "2026-01-12", "end_date": "2026-01-14"},
    "hold": {"case": "2026-CV-1"},
    "export": {"destination_uri": "s3://handover/case-1"},
}
RUNBOOK = (ROOT / "deployments" / "README.md").read_text()
SECRETS = "arn:aws:secretsmanager:us-east-1:000000000000:secret:"
API_KEY, AUTH_STRING = SECRETS + "prefect-api-key", SECRETS + "prefect-auth-string"
SAYS_NOTHING = dict.fromkeys(OPTIONAL, "")


def prefect_commands() -> list[str]:
    """The runbook's commands of prefect and prefect-aws, as typed, but for those that it marks AWS."""
    here = RUNBOOK.partition("\n## Destroy (**AWS**)")[0]
    inline = re.findall(r"`(?:\.venv/bin/)?(prefect(?:-aws)? [^`]+)`", here)
    return inline + re.findall(r"^ +\.venv/bin/(prefect .+)$", here, re.M)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with prefect_server(tmp_path_factory.mktemp("prefect")) as server:
        yield server


@pytest.fixture(scope="module")
def env(aws: Server, server: Server, outputs: dict[str, str]) -> dict[str, str]:
    """As the runbook's shell has it after the stack; image.sh finds a docker that has the image already."""
    boto3.client("ecs").create_cluster(clusterName="calls")
    sqs = boto3.client("sqs")
    sqs.create_queue(QueueName="prefect-ecs-events")
    subnets = [each["SubnetId"] for each in boto3.client("ec2").describe_subnets()["Subnets"]]
    ours = {
        **{"ARCHIVE_WORK_POOL": "ecs", "ARCHIVE_CLUSTER": "calls", "ARCHIVE_SUBNETS": ",".join(subnets[:2])},
        **{"ARCHIVE_BUCKET": "calls", "ARCHIVE_PREFIX": "connect/acme/CallRecordings/"},
        **{"ARCHIVE_IMAGE": outputs["ARCHIVE_REPOSITORY"] + ":1", "ARCHIVE_API_KEY_SECRET_ARN": API_KEY},
        **{"ARCHIVE_AUTH_STRING_SECRET_ARN": AUTH_STRING},
    }
    return {**aws.env, **server.env, **outputs, **ours}


@pytest.fixture(scope="module")
def docker(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a stand-in for Docker, of which there is none here; the file ``asked`` has what it was asked."""
    folder = tmp_path_factory.mktemp("bin")
    (folder / "docker").write_text(f'#!/bin/sh\necho "$@" >> {folder}/asked\n')
    (folder / "docker").chmod(0o755)
    return folder


def make_deploy(env: dict[str, str], docker: Path, *options: str) -> str:
    """What make deploy printed."""
    with_docker = {**os.environ, **env, "PATH": f"{docker}:{os.environ['PATH']}"}
    command = [sys.executable, "-m", "deployments.deploy", *options]
    done = subprocess.run(command, cwd=ROOT, env=with_docker, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def deployed(env: dict[str, str], docker: Path) -> str:
    """make deploy; what it printed."""
    printed = make_deploy(env, docker)
    assert f"manifest inspect {env['ARCHIVE_IMAGE']}" in (docker / "asked").read_text()
    return printed


@pytest.fixture(scope="module")
def tasks(
    env: dict[str, str], server: Server, deployed: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Any]]:
    """The ECS task that the worker started for each deployment, by the deployment's name."""
    worker = {"PREFECT_API_KEY": "pnu_not-a-real-key", "PREFECT_WORKER_QUERY_SECONDS": "1", "ARCHIVE_SECRET": "leaks?"}
    worker |= {"PREFECT_API_AUTH_STRING": "operator:not-a-real-password"}
    queue = {"PREFECT_INTEGRATIONS_AWS_ECS_OBSERVER_SQS_QUEUE_NAME": "prefect-ecs-events"}
    log = tmp_path_factory.mktemp("worker") / "worker.log"
    command = [*PREFECT, "worker", "start", "--pool", "ecs"]
    with child(command, {**env, **worker, **queue}, log), client_of(server) as client:
        runs = {name: start(client, name) for name in DECLARED}
        runs["on x86"] = start(client, "inspect", architecture="X86_64")
        runs["without its secret"] = start(client, "inspect", prefect_api_auth_string_secret_arn="")
        runs["without its key"] = start(client, "inspect", prefect_api_key_secret_arn="")
        found = eventually(lambda: tasks_of(runs))
        yield found


def start(client: SyncPrefectClient, name: str, **job_variables: str) -> Any:
    found = deployment(client, name).id
    given = MUST_BE_GIVEN.get(name, {})
    return client.create_flow_run_from_deployment(found, parameters=given, job_variables=job_variables).id


def client_of(server: Server) -> SyncPrefectClient:
    return SyncPrefectClient(f"{server.url}/api")


def tasks_of(runs: dict[str, Any]) -> dict[str, Any] | None:
    ecs = boto3.client("ecs")
    arns = (
        ecs.list_tasks(cluster="calls")["taskArns"]
        + ecs.list_tasks(cluster="calls", desiredStatus="STOPPED")["taskArns"]
    )
    if not arns:
        return None
    listed = ecs.describe_tasks(cluster="calls", tasks=sorted(set(arns)), include=["TAGS"])["tasks"]
    by_run = {tags(task)["prefect.io/flow-run-id"]: task for task in listed}
    return {name: by_run[str(run)] for name, run in runs.items()} if len(by_run) == len(runs) else None


def tags(thing: Any) -> dict[str, str]:
    return {tag["key"]: tag["value"] for tag in thing["tags"]}


def definition_of(task: Any) -> Any:
    return boto3.client("ecs").describe_task_definition(taskDefinition=task["taskDefinitionArn"])["taskDefinition"]


def test_deploy_says_what_is_missing() -> None:
    bare = {"PATH": os.environ["PATH"], "PREFECT_API_URL": "http://127.0.0.1:1/api"}
    command = [sys.executable, "-m", "deployments.deploy"]
    done = subprocess.run(command, cwd=ROOT, env=bare, capture_output=True, text=True)
    assert done.returncode == 1
    assert all(f"  {name}: " in done.stderr for name in NEEDED if name != "PREFECT_API_URL")


def test_deploy_asks_for_the_secret_of_each_credential_that_its_shell_has(env: dict[str, str]) -> None:
    shell = {**env, **SAYS_NOTHING, "ARCHIVE_WORK_POOL": "new", "PREFECT_API_AUTH_STRING": "operator:password"}
    command = [sys.executable, "-m", "deployments.deploy", "--diff"]
    done = subprocess.run(command, cwd=ROOT, env={**os.environ, **shell}, capture_output=True, text=True)
    assert done.returncode == 1
    assert "  ARCHIVE_AUTH_STRING_SECRET_ARN: this shell has PREFECT_API_AUTH_STRING" in done.stderr
    assert "ARCHIVE_API_KEY_SECRET_ARN" not in done.stderr
    assert "operator:password" not in done.stderr


def test_deploy_says_what_it_did(deployed: str) -> None:
    assert "work pool ecs\n  + new" in deployed
    assert "automation 'recording archive, dead runs'\n  + new" in deployed
    assert "automation 'recording archive, a run failed'\n  is off: ARCHIVE_NOTIFY_BLOCK names no block" in deployed
    assert all(re.search(rf"^deployment [a-z-]+/{name}\n  \+ new$", deployed, re.M) for name in DECLARED)
    assert f"\n18 of {THINGS} differ\n" in deployed
    assert deployed.endswith("\ndone\n")


@pytest.mark.usefixtures("deployed")
def test_deployed_again_nothing_changes(env: dict[str, str], docker: Path) -> None:
    """Nor by a shell that does not name what is optional: tasks would start without their secrets."""
    assert "\nnothing to change\n" in make_deploy({**env, **SAYS_NOTHING}, docker)
    given_back = make_deploy({**env, **SAYS_NOTHING}, docker, "--diff", "--reset", "ecs")
    assert f'  ~ defaults.prefect_api_key_secret_arn: "{API_KEY}" -> ""' in given_back


@pytest.mark.usefixtures("tasks")
def test_a_new_image_and_new_subnets_change_these_and_nothing_else(
    env: dict[str, str], docker: Path, server: Server
) -> None:
    newer = {"ARCHIVE_IMAGE": env["ARCHIVE_IMAGE"].replace(":1", ":2"), "ARCHIVE_SUBNETS": "subnet-9"}
    asked = (docker / "asked").read_text()
    shown = make_deploy({**env, **newer}, docker, "--diff")
    assert (docker / "asked").read_text() == asked
    changes = [line.partition(":")[0] for line in shown.splitlines() if line.startswith("  ~ ")]
    assert sorted(changes) == ["  ~ defaults.subnets", *["  ~ job_variables.image"] * 15, *["  ~ version"] * 15]
    with client_of(server) as client:
        assert client.read_work_pool("ecs").base_job_template == base_job_template(env)


@pytest.mark.parametrize("name", DECLARED)
def test_each_deployment_is_a_task_that_acts_as_its_role(tasks: dict[str, Any], env: dict[str, str], name: str) -> None:
    task = tasks[name]
    definition = definition_of(task)
    (container,) = definition["containerDefinitions"]
    assert definition["taskRoleArn"] == env["ARCHIVE_ROLE_PREFIX"] + POLICY[name]
    assert definition["executionRoleArn"] == env["ARCHIVE_EXECUTION_ROLE_ARN"]
    assert (definition["cpu"], definition["memory"], definition["networkMode"]) == ("1024", "2048", "awsvpc")
    assert definition["runtimePlatform"] == {"cpuArchitecture": "ARM64", "operatingSystemFamily": "LINUX"}
    assert definition["ephemeralStorage"] == {"sizeInGiB": 30}
    assert definition["requiresCompatibilities"] == ["FARGATE"]
    assert (container["image"], container["stopTimeout"]) == (env["ARCHIVE_IMAGE"], 120)
    assert container["readonlyRootFilesystem"] is True
    (mounted,) = container["mountPoints"]
    assert mounted["sourceVolume"] in [volume["name"] for volume in definition["volumes"]]
    assert mounted["containerPath"] in re.findall(r"^VOLUME (\S+)$", (ROOT / "Dockerfile").read_text(), re.M)
    assert container["logConfiguration"]["options"]["awslogs-group"] == env["ARCHIVE_LOG_GROUP"]
    assert container["secrets"] == [
        {"name": "PREFECT_API_KEY", "valueFrom": API_KEY},
        {"name": "PREFECT_API_AUTH_STRING", "valueFrom": AUTH_STRING},
    ]
    assert tags(task)["project"] == "recording-archive"
    assert tags(task)["prefect.io/deployment-name"] == name
    (override,) = task["overrides"]["containerOverrides"]
    assert override["command"] == ["prefect", "flow-run", "execute"]


@pytest.mark.parametrize("name", [*DECLARED, "without its secret", "without its key"])
def test_nothing_of_the_worker_leaks_into_the_task(tasks: dict[str, Any], env: dict[str, str], name: str) -> None:
    (override,) = tasks[name]["overrides"]["containerOverrides"]
    given = {each["name"]: each["value"] for each in override["environment"]}
    assert given["PREFECT_API_URL"] == env["PREFECT_API_URL"]
    assert not [each for each in given.values() if "not-a-real" in each or each == "leaks?"]
    allowed = {"PREFECT_API_URL", "PREFECT_WORKER_QUERY_SECONDS"}
    assert {each for each, value in given.items() if value and not each.startswith("PREFECT__")} <= allowed


def test_the_same_pool_makes_tasks_for_x86(tasks: dict[str, Any], env: dict[str, str]) -> None:
    platform = definition_of(tasks["on x86"])["runtimePlatform"]
    assert platform == {"cpuArchitecture": "X86_64", "operatingSystemFamily": "LINUX"}
    properties = base_job_template({**env, "ARCHIVE_ARCHITECTURE": "X86_64"})["variables"]["properties"]
    assert properties["architecture"]["default"] == "X86_64"
    assert properties["subnets"]["default"] == env["ARCHIVE_SUBNETS"].split(",")


@pytest.mark.parametrize("command", [each for each in prefect_commands() if not re.search("pause|resume", each)])
@pytest.mark.usefixtures("deployed")
def test_the_runbooks_commands_work_as_they_stand(env: dict[str, str], tmp_path: Path, command: str) -> None:
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["sh", "-c", command], cwd=tmp_path, env={**os.environ, **env, "PATH": path}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.usefixtures("deployed")
def test_pausing_and_resuming_are_what_the_runbook_says(server: Server, env: dict[str, str]) -> None:
    for word, paused in (("pause", True), ("resume", False)):
        assert f"prefect work-pool {word} ecs" in prefect_commands()
        subprocess.run([*PREFECT, "work-pool", word, "ecs"], env={**os.environ, **env}, check=True)
        with client_of(server) as client:
            assert client.read_work_pool("ecs").is_paused == paused


def test_an_image_that_is_not_there_is_built_and_pushed_once(tmp_path: Path) -> None:
    docker = tmp_path / "docker"
    docker.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/asked\n[ "$1" != manifest ]\n')
    docker.chmod(0o755)
    env = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "ARCHIVE_IMAGE": "repository/archive:7"}
    subprocess.run([ROOT / "deployments" / "image.sh"], env=env, check=True)
    asked = (tmp_path / "asked").read_text().splitlines()
    (build,) = asked[1:]
    assert build.startswith(
        "buildx build --platform linux/arm64 --provenance=mode=max --sbom=true --output type=image,"
    )
    assert (
        "--output type=image,name=repository/archive:7,push=true,rewrite-timestamp=true,oci-mediatypes=true," in build
    )
    assert ",compression=zstd,compression-level=12,force-compression=true " in build
    told = (
        "ARCHIVE_COMMIT=([0-9a-f]{40}(-dirty)?)?",
        r"ARCHIVE_VERSION=\d+\.\d+\.\d+",
        "ARCHIVE_IMAGE=repository/archive:7",
        r"SOURCE_DATE_EPOCH=\d+",
    )
    assert re.search("".join(f" --build-arg {each}" for each in told) + r" \.$", build)
    subprocess.run([ROOT / "deployments" / "image.sh"], env={"PATH": env["PATH"]}, check=True)
    assert len((tmp_path / "asked").read_text().splitlines()) == 2
