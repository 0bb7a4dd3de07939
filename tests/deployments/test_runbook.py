"""The runbook says what there is, and what it has people type leads from an empty account to several instances."""

import asyncio
import json
import os
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, cast

import boto3
import pytest
import yaml
from botocore.exceptions import ClientError
from prefect.blocks.notifications import CustomWebhookNotificationBlock
from prefect.client.orchestration import SyncPrefectClient
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect_aws.workers.ecs_worker import ECSJobConfiguration

from demo.servers import Server, prefect_server, s3_server
from deployments.environment import NEEDED, OPTIONAL
from deployments.template import template
from recordings.s3.session import assume_role
from tests.checkout import INSTALLED, copy_checkout
from tests.deployed import deployment
from tests.deployments.conftest import NOT_HERE, SERVICES

ROOT = Path(__file__).parents[2]
RUNBOOK = (ROOT / "deployments" / "README.md").read_text()
DECLARED = yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]


def test_its_table_is_prefect_yaml() -> None:
    shown = re.findall(r"^\| `([a-z-]+)` \| (.+?) \| (.+) \|$", RUNBOOK, re.M)
    assert shown == [(each["name"], when(each), each["description"].strip()) for each in DECLARED]


def when(declared: dict[str, list[dict[str, str]]]) -> str:
    for schedule in declared.get("schedules", []):
        return schedule["cron"] + ("" if schedule.get("active", True) else ", inactive")
    return "by hand"


def test_it_names_every_variable_and_parameter() -> None:
    printed = {"ARCHIVE_AUDIT_URI", "ARCHIVE_ROLE_PREFIX", "ARCHIVE_EXECUTION_ROLE_ARN", "ARCHIVE_LOG_GROUP"}
    printed |= {"ARCHIVE_SECURITY_GROUPS"}  # by the stack, as they are needed
    assert not [name for name in (NEEDED.keys() | OPTIONAL.keys()) - printed if name not in RUNBOOK]
    assert not [name for name in template()["Parameters"] if f"{name}=" not in RUNBOOK]


def test_its_table_of_alarms_is_the_stacks() -> None:
    resources = template()["Resources"]
    alarms = {name for name, each in resources.items() if each["Type"].startswith("AWS::CloudWatch::")}
    table = RUNBOOK.partition("| alarm | fires if |")[2].partition("\n\n")[0]
    lines = re.findall(r"^\| (`[A-Z].*?) \| .+ \|$", table, re.M)
    assert {name for line in lines for name in re.findall(r"`(\w+)`", line)} == alarms - {"NoSuccess", "Established"}


def test_its_programs_and_files_exist() -> None:
    for module in re.findall(r"python -m (deployments\.\w+)", RUNBOOK):
        assert (ROOT / module.replace(".", "/")).with_suffix(".py").is_file()
    for path in re.findall(r"(deployments/[\w./-]+\.json)", RUNBOOK):
        assert (ROOT / path).is_file()


def test_each_started_deployment_is_there() -> None:
    names = {each["name"] for each in DECLARED}
    assert set(re.findall(r"deployment run [a-z-]+/([a-z-]+)", RUNBOOK)) <= names


def test_its_commands_are_those_of_the_environment_that_its_first_step_creates() -> None:
    code = re.findall(r"^ *```\w*\n(.+?)^ *```", RUNBOOK, re.M | re.S) + re.findall(r"(?<!`)`([^`\n]+)`(?!`)", RUNBOOK)
    commands = [line.strip() for text in code for line in text.splitlines()]
    assert len([line for line in commands if line.startswith(".venv/bin/")]) > 8
    assert not [line for line in commands if re.match(r"(prefect|prefect-aws|python3?|pip|uv) ", line)]
    assert commands.index("make install") < min(n for n, line in enumerate(commands) if ".venv/" in line)
    assert "\ninstall: $(READY)" in (ROOT / "Makefile").read_text()


TASKS, OTHERS = "111111111111", "222222222222"  # as the runbook has them; the emulator takes them as access keys
ROLE = f"arn:aws:iam::{TASKS}:role/recording-archive"
FEW = ("archive-daily", "backfill", "release-originals", "report-monthly")  # test_estate.py has all of them


@dataclass
class Shell:
    """The operator's shell, in a checkout. Docker is a stand-in, and make takes the environment that is there."""

    folder: Path
    env: dict[str, str] = field(default_factory=dict)

    def type(self, text: str, **changes: str) -> str:
        """What the lines print. Those marked AWS are left out; exports stay in the shell."""
        lines = [line for line in text.splitlines() if not line.endswith("# AWS")]
        script = "\n".join(lines).replace("make deploy", " ".join(["make", *INSTALLED, "deploy"]))
        env = {**os.environ, **self.env, **changes}
        command = ["sh", "-e", "-c", f"{script}\nenv > environment"]
        done = subprocess.run(command, cwd=self.folder, env=env, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        said = dict(
            line.split("=", 1) for line in (self.folder / "environment").read_text().splitlines() if "=" in line
        )
        self.env |= {name: value for name, value in said.items() if name.startswith("ARCHIVE_")}
        self.env |= dict(re.findall(r"^export (\w+)=(.*)$", done.stdout, re.M))
        return done.stdout


def block_with(phrase: str) -> str:
    """The runbook's block of commands with this phrase, as typed."""
    blocks = re.findall(r"^( *)```\w*\n(.+?)^ *```", RUNBOOK, re.M | re.S)
    (found,) = [text for _, text in blocks if phrase in text]
    return re.sub(r"^ {0,3}(?=\S)", "", found, flags=re.M)


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Two accounts whose identities and policies count."""
    with s3_server(tmp_path_factory.mktemp("aws"), enforce_iam=True, services=SERVICES) as server:
        for account, name in ((TASKS, "my"), (TASKS, "emea"), (OTHERS, "apac")):
            client(server, account, "s3").create_bucket(Bucket=f"{name}-connect-bucket")
        yield server


def client(cloud: Server, account: str, service: str) -> Any:
    return _client(cloud.url, account, service)


@cache
def _client(url: str, account: str, service: str) -> Any:
    made = cast(Any, boto3.Session(account, "secret", region_name="us-east-1"))
    return made.client(service, endpoint_url=url)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with prefect_server(tmp_path_factory.mktemp("prefect")) as server:
        with temporary_settings({PREFECT_API_URL: server.env["PREFECT_API_URL"]}):
            CustomWebhookNotificationBlock(name="emea", url="https://example.com/").save("emea")
        yield server


@pytest.fixture(scope="module")
def shell(cloud: Server, server: Server, tmp_path_factory: pytest.TempPathFactory) -> Shell:
    """After the steps for one instance. This cloud knows neither formulas nor composites of alarms."""
    folder = copy_checkout(tmp_path_factory.mktemp("operator") / "checkout")
    with (folder / "deployments" / "template.py").open("a") as file:
        file.write(f"\n\n_whole = template\n\n\ndef template():\n    whole = _whole()\n    for name in {NOT_HERE}:\n")
        file.write('        del whole["Resources"][name]\n    return whole\n')
    with (folder / "deployments" / "cloudformation.py").open("a") as file:
        file.write("\n\n_LOOK_EVERY_S = 0.2\n")
    document = yaml.safe_load((folder / "prefect.yaml").read_text())
    document["deployments"] = [each for each in document["deployments"] if each["name"] in FEW]
    (folder / "prefect.yaml").write_text(yaml.safe_dump(document))
    (folder / "docker").write_text("#!/bin/sh\n")
    (folder / "docker").chmod(0o755)
    (table,) = client(cloud, TASKS, "ec2").describe_route_tables()["RouteTables"]
    as_tasks = {"AWS_ENDPOINT_URL": cloud.url, "AWS_ACCESS_KEY_ID": TASKS, "AWS_SECRET_ACCESS_KEY": "secret"}
    path = {"PATH": f"{folder}:{os.environ['PATH']}"}
    shell = Shell(folder, {**as_tasks, **server.env, **path, "AWS_DEFAULT_REGION": "us-east-1"})
    shell.type(block_with("RecordingsBucket=my-connect-bucket").replace("vpc-1", table["VpcId"]))
    shell.type(block_with("export ARCHIVE_WORK_POOL").replace("$(git rev-parse --short HEAD)", "1"))
    image = {"imageManifest": '{"schemaVersion": 2}', "imageTag": "1"}
    client(cloud, TASKS, "ecr").put_image(repositoryName="recording-archive", **image)
    client(cloud, TASKS, "ecs").create_cluster(clusterName="calls")
    shell.type(block_with("--worker"))
    return shell


def write_estate(shell: Shell, *names: str) -> None:
    """The runbook's file, with these of its instances, and a kind of block that needs no further library."""
    (text,) = re.findall(r"^```yaml\n(.+?)^```", RUNBOOK, re.M | re.S)
    text = text.replace("slack-webhook", "custom-webhook")
    instances = [each for each in yaml.safe_load(text)["instances"] if each["name"] in names]
    (shell.folder / "deployments" / "estate.yaml").write_text(yaml.safe_dump({"instances": instances}))


def in_prefect(server: Server) -> dict[str, Any]:
    """Each deployment, with the time at which somebody changed it."""
    with SyncPrefectClient(server.env["PREFECT_API_URL"]) as prefect:
        found = prefect.request("POST", "/deployments/filter", json={}).json()
    return {each["name"]: {**each, "status": None} for each in found}


@dataclass(frozen=True, slots=True, kw_only=True)
class Grown:
    """What there was with one instance and is with three, and what was printed on the way."""

    one: dict[str, Any]
    three: dict[str, Any]
    printed: str


@pytest.fixture(scope="module")
def grown(shell: Shell, server: Server, cloud: Server) -> Grown:
    """After the commands of "Several instances": for emea, and for apac in both of its accounts."""
    one = in_prefect(server)
    write_estate(shell, "amer", "emea", "apac")
    stack, *deploying = block_with("--instance emea").splitlines()
    for name, account in (("emea", TASKS), ("apac", OTHERS), ("apac", TASKS), ("amer", TASKS)):
        shell.type(stack.replace("emea", name), AWS_ACCESS_KEY_ID=account)
    printed = shell.type("\n".join(deploying))
    read_as_here(cloud)
    return Grown(one=one, three=in_prefect(server), printed=printed)


def test_more_instances_change_only_the_tags_of_the_first(grown: Grown) -> None:
    looked, deployed = grown.printed.split(" differ\n", 1)
    changes = re.findall(r"^deployment [a-z-]+/([a-z-]+)\n((?:  .+\n)+)", looked, re.M)
    assert {name for name, _ in changes} == grown.three.keys()
    assert len(grown.three) == 3 * len(grown.one) + 1
    for name, lines in changes:
        assert lines.startswith("  ~ tags: " if name in grown.one else "  + new\n")
        assert lines.count("\n") == 1
    assert "\ndone\n" in deployed, deployed  # with MAKELEVEL set, make itself has the last word
    for name, each in grown.one.items():
        now = grown.three[name]
        assert {key for key in each if each[key] != now[key]} == {"tags", "updated"}
        assert now["tags"] == sorted([*each["tags"], "instance:amer"])


@pytest.mark.parametrize(
    ("instance", "bucket", "table", "there"),
    [
        ("emea", "emea-connect-bucket", "emea-audit-bucket", ""),
        ("apac", "apac-connect-bucket", "apac-audit-bucket", OTHERS),
    ],
)
def test_what_ecs_is_asked_for_is_of_the_instance_alone(
    grown: Grown, server: Server, instance: str, bucket: str, table: str, there: str
) -> None:
    url = server.env["PREFECT_API_URL"]
    with temporary_settings({PREFECT_API_URL: url}), SyncPrefectClient(url) as prefect:
        pool = prefect.read_work_pool("ecs").base_job_template
        of_instance = [name for name in grown.three if name.endswith(f"-{instance}")]
        assert len(of_instance) == len(grown.one)
        for name in of_instance:
            found = deployment(prefect, name)
            asked: Any = asyncio.run(ECSJobConfiguration.from_template_and_values(pool, found.job_variables))
            role = asked.task_definition["taskRoleArn"]
            assert role.startswith(f"{ROLE}-{instance}-"), name
            assert asked.env.get("ARCHIVE_ASSUME_ROLE_ARN", "") == (role.replace(TASKS, there) if there else "")
            assert asked.env["PREFECT_API_AUTH_STRING"] is None  # what the pool keeps from tasks is still kept
            assert found.parameters.get("bucket", bucket) == bucket
            assert found.parameters["audit_uri"] == f"s3://{table}/recordings"
        assert deployment(prefect, f"archive-daily-{instance}").parameters["bucket"] == bucket


def acting_as(cloud: Server, arn: str) -> Any:
    """A session in the role as ECS gives it to a task; only for that, the role trusts its own account."""
    account, name = arn.split(":")[4], arn.rpartition("/")[2]
    iam = client(cloud, account, "iam")
    trust = iam.get_role(RoleName=name)["Role"]["AssumeRolePolicyDocument"]
    ours = {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"AWS": f"arn:aws:iam::{account}:root"}}
    document = {**trust, "Statement": [*trust["Statement"], ours]}
    iam.update_assume_role_policy(RoleName=name, PolicyDocument=json.dumps(document))
    try:
        given = client(cloud, account, "sts").assume_role(RoleArn=arn, RoleSessionName="task")["Credentials"]
    finally:
        iam.update_assume_role_policy(RoleName=name, PolicyDocument=json.dumps(trust))
    return boto3.Session(given["AccessKeyId"], given["SecretAccessKey"], given["SessionToken"], "us-east-1")


def read_as_here(cloud: Server) -> None:
    """What AWS reads in two lines, in the one line that this cloud knows, and the tables open to HTTP.

    This cloud takes neither an account for all of its roles, nor a role's ARN as that of its sessions.
    """
    for account in (TASKS, OTHERS):
        iam = client(cloud, account, "iam")
        for role in iam.list_roles()["Roles"]:
            trust = role["AssumeRolePolicyDocument"]
            for each in (each for each in trust["Statement"] if "Condition" in each):
                each["Principal"]["AWS"] = each.pop("Condition")["ArnEquals"]["aws:PrincipalArn"]
            iam.update_assume_role_policy(RoleName=role["RoleName"], PolicyDocument=json.dumps(trust))
        for bucket in client(cloud, account, "s3").list_buckets()["Buckets"]:
            client(cloud, account, "s3").delete_bucket_policy(Bucket=bucket["Name"])


def may_list(session: Any, cloud: Server, bucket: str) -> bool:
    try:
        session.client("s3", endpoint_url=cloud.url).list_objects_v2(Bucket=bucket)
    except ClientError as error:
        if error.response["Error"]["Code"] != "AccessDenied":
            raise
        return False
    return True


BUCKETS = [f"{name}-{kind}-bucket" for name in ("my", "emea", "apac") for kind in ("connect", "audit")]


@pytest.mark.usefixtures("grown")
@pytest.mark.parametrize(("suffix", "own"), [("", "my"), ("-emea", "emea")])
def test_the_roles_of_an_instance_reach_its_buckets_and_no_other(cloud: Server, suffix: str, own: str) -> None:
    session = acting_as(cloud, f"{ROLE}{suffix}-archive")
    reached = [bucket for bucket in BUCKETS if may_list(session, cloud, bucket)]
    assert reached == [f"{own}-connect-bucket", f"{own}-audit-bucket"]


@pytest.mark.usefixtures("grown")
def test_a_role_of_another_account_is_acted_as_by_its_namesake_alone(
    cloud: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", cloud.url)
    there = f"{ROLE}-apac-archive".replace(TASKS, OTHERS)
    namesake = acting_as(cloud, f"{ROLE}-apac-archive")
    assert not [bucket for bucket in BUCKETS if may_list(namesake, cloud, bucket)]
    assume_role(namesake, there)
    assert [bucket for bucket in BUCKETS if may_list(namesake, cloud, bucket)] == [
        "apac-connect-bucket",
        "apac-audit-bucket",
    ]
    for other in (f"{ROLE}-apac-erase", f"{ROLE}-emea-archive", f"{ROLE}-archive"):
        session = acting_as(cloud, other)
        assume_role(session, there)
        assert not may_list(session, cloud, "apac-connect-bucket"), other


@pytest.mark.usefixtures("grown")
def test_the_report_on_all_reads_every_table_and_no_recording(cloud: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", cloud.url)
    there = f"{ROLE}-apac".replace(TASKS, OTHERS)
    for own, instance in (("my", ROLE), ("emea", f"{ROLE}-emea"), ("apac", there)):
        session = acting_as(cloud, f"{ROLE}-estate")
        assume_role(session, f"{instance}-report")
        assert [bucket for bucket in BUCKETS if may_list(session, cloud, bucket)] == [f"{own}-audit-bucket"]
        session = acting_as(cloud, f"{ROLE}-estate")
        assume_role(session, f"{instance}-archive")
        assert not may_list(session, cloud, f"{own}-audit-bucket")


def test_an_instance_that_is_taken_out_of_the_file_is_named_and_nothing_else_changes(
    grown: Grown, shell: Shell
) -> None:
    write_estate(shell, "amer", "apac")
    shown = shell.type("make deploy DIFF=1")
    gone = {name for name in grown.three if name.endswith("-emea")}
    for name in gone:
        assert re.search(rf"^deployment [a-z-]+/{name} is not of this release, and stays as it is; ", shown, re.M)
    assert "automation 'recording archive emea, a run failed' is not of this release, and stays as it is" in shown
    assert {*re.findall(r"^deployment [a-z-]+/([a-z-]+)$", shown, re.M)} == {"report-estate"}
