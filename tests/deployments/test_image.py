"""The image, built and run as ECS runs it: every deployment of prefect.yaml, with what came of its run."""

import json
import os
import re
import signal
import subprocess
import sys
import wave
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import bagit
import boto3
import pandas as pd
import pytest
import yaml
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.objects import FlowRun, StateType

from demo.servers import Server, child, free_port, prefect_server, s3_server
from demo.ui import deploy, deployment_env
from deployments.deploy import CODE_IN_IMAGE
from deployments.template import read_template, template
from recordings import __version__
from recordings.keys import contact_of
from recordings.profiles import PROFILES
from recordings.table.reading import read_audit
from tasks.watching import ON_ECS
from tests.bucket import DAY, PREFIX, Bucket, key_of
from tests.checkout import ROOT, make
from tests.containers import CPUS, IMAGE, MEMORY_MIB, command, has_docker, limits
from tests.deployed import artifacts_of, deployment, eventually, runs_of, scheduled_soon
from tests.fixtures import MakeCall
from tests.flows.backfills import archived_once

pytestmark = [
    pytest.mark.skipif(not os.environ.get("IMAGE"), reason="IMAGE is not set: builds and runs the image, minutes"),
    pytest.mark.timeout(1200),
    pytest.mark.usefixtures("s3"),
]
DECLARED = [each["name"] for each in yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]]
# The profile of each day; the first is that of the scheduled run, the second that of the backfill.
RECENT = datetime.now(UTC).date() - timedelta(days=8)  # in the window of the scheduled runs, today and tomorrow
DAYS = {"alaw-mono": RECENT, "flac-stereo": DAY, "alaw-stereo": DAY + timedelta(1), "opus-dual": DAY + timedelta(2)}
CALLS = 4  # a day
BAG = "_exports/1"


def of(profile: str, number: int) -> str:
    """The key of one of the calls of a profile's day; no two days have a contact in common."""
    return key_of(CALLS * list(DAYS).index(profile) + number, DAYS[profile])


TO_ERASE, TO_EXPORT, TO_RESTORE, TO_HOLD = (of("opus-dual", number) for number in range(CALLS))
CONTACT = str(contact_of(TO_ERASE))
ITS_TRANSCRIPT = f"Analysis/Voice/{DAYS['opus-dual']:%Y/%m/%d}/{CONTACT}_analysis_2026-01-14T00:05:00Z.json"


@dataclass(frozen=True, slots=True)
class Ran:
    """A flow run, once its container has ended."""

    run: FlowRun
    log: str


@dataclass(frozen=True, slots=True)
class Estate:
    """A bucket, one for the table, a Prefect server that knows the deployments, and what ran, by the deployment."""

    bucket: Bucket
    audit: Bucket
    env: Mapping[str, str]
    client: SyncPrefectClient
    folder: Path
    ran: dict[str, list[Ran]] = field(default_factory=lambda: defaultdict(list))

    def start(self, name: str, **parameters: Any) -> FlowRun:
        given = json.loads(json.dumps(parameters, default=str))
        return self.client.create_flow_run_from_deployment(deployment(self.client, name).id, parameters=given)

    def execute(self, *runs: FlowRun) -> None:
        """Run them to their ends, each in a container of its own, all at once."""
        with ExitStack() as containers:
            for run in runs:
                containers.enter_context(self.container(run))

    @contextmanager
    def container(self, run: FlowRun) -> Iterator[subprocess.Popen[bytes]]:
        """The container that executes the run, as ECS starts it; after the block, its end is waited for."""
        assert run.deployment_id
        env = {**self.env, "PREFECT__FLOW_RUN_ID": str(run.id), ON_ECS: "http://169.254.170.2/v4/task"}
        log = self.folder / f"{run.id}-{run.run_count}.log"
        with child(command(env), {}, log) as process:
            yield process
            process.wait(300)
        name = self.client.read_deployment(run.deployment_id).name
        self.ran[name].append(Ran(self.client.read_flow_run(run.id), log.read_text()))

    @property
    def audit_uri(self) -> str:
        return f"s3://{self.audit.name}/recordings"

    def rows(self) -> pd.DataFrame:
        return read_audit(self.audit_uri)


@pytest.fixture(scope="module")
def image() -> None:
    make(ROOT, "image")


@pytest.fixture(scope="module")
def estate(image: None, ministack: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Estate]:
    folder = tmp_path_factory.mktemp("image")
    bucket, audit = Bucket(ministack), Bucket(ministack)
    with prefect_server(folder / "prefect") as server, SyncPrefectClient(f"{server.url}/api") as client:
        env = {**ministack.env, "PREFECT_API_URL": f"{server.url}/api", "ARCHIVE_SKIP_UNPROFITABLE": "false"}
        estate = Estate(bucket, audit, env, client, folder)
        ours = {"ARCHIVE_BUCKET": bucket.name, "ARCHIVE_PREFIX": PREFIX, "ARCHIVE_CODE": CODE_IN_IMAGE}
        deploy(deployment_env(ministack, server, estate.audit_uri) | ours)
        yield estate


@pytest.fixture(scope="module")
def history(estate: Estate, a_call: MakeCall) -> Estate:
    """Every deployment has run: archiving first, then what follows it, each with recordings of its own."""
    start, bucket = estate.start, estate.bucket
    for profile in DAYS:
        for number in range(CALLS):
            bucket.put(of(profile, number), a_call(number, 1.0))
    archived = [
        start("archive-day", start_date=DAYS[profile], end_date=DAYS[profile], profile=profile, readback_percent=100)
        for profile in ("alaw-stereo", "opus-dual")
    ]
    estate.execute(*archived, start("inspect"), start("estimate", start_date=DAY, end_date=DAY))
    execute_scheduled(estate, "archive-daily")
    backfill(estate, "flac-stereo")
    in_earnest = {"dry_run": False}
    backfilled = {"start_date": DAYS["flac-stereo"], "end_date": DAYS["flac-stereo"], **in_earnest}
    released = {"start_date": DAYS["alaw-stereo"], "end_date": DAYS["alaw-stereo"], **in_earnest}
    estate.execute(
        start("hold", keys=[TO_HOLD], case="2026-CV-1", **in_earnest),
        start("erase", contact_ids=[CONTACT], case="2026-GDPR-1", **in_earnest),
        start("check-fixity-yearly", sample_percent=100, **backfilled),
        start("report-monthly"),
    )
    bucket.put(ITS_TRANSCRIPT, b"{}")
    estate.execute(
        start("restore", keys=[TO_RESTORE], **in_earnest),
        start("release-originals", grace_days=0, **released),
        start("expire-recordings", rules=[{"keep_days": 30}], **backfilled),
        start("erase-deferred", **in_earnest),
        start("export", keys=[TO_EXPORT], as_pcm=True, destination_uri=f"s3://{estate.audit.name}/{BAG}", **in_earnest),
    )
    for version in bucket.versions(of("alaw-mono", 0)):
        bucket.client.delete_object(Bucket=bucket.name, Key=version["Key"], VersionId=version["VersionId"])
    execute_scheduled(estate, "reconcile-weekly")
    return estate


def execute_scheduled(estate: Estate, name: str) -> None:
    """Run the next run of the deployment's schedule, which is made to be soon."""
    place = deployment(estate.client, name).parameters
    with scheduled_soon(estate.client, name, place) as runs:
        estate.execute(eventually(lambda: next(filter(_is_soon, runs(StateType.SCHEDULED)), None)))


def _is_soon(run: FlowRun) -> bool:
    return run.expected_start_time is not None and run.expected_start_time < datetime.now(UTC) + timedelta(minutes=1)


def backfill(estate: Estate, profile: str) -> None:
    """The backfill of a day, and the run that it starts, which the worker of the pool would take."""
    day = DAYS[profile]
    with estate.container(
        estate.start("backfill", start_date=day, end_date=day, profile=profile, readback_percent=100)
    ):
        estate.execute(*eventually(lambda: runs_of(estate.client, "archive-day", StateType.SCHEDULED)))


@pytest.mark.parametrize("name", DECLARED)
def test_each_deployment_runs_in_it(history: Estate, name: str) -> None:
    expected = StateType.FAILED if name == "reconcile-weekly" else StateType.COMPLETED  # a recording has vanished
    assert history.ran[name]
    for ran in history.ran[name]:
        assert ran.run.state_type is expected, ran.log


def test_it_runs_with_what_its_task_has(image: None) -> None:
    if not limits():
        pytest.skip("this machine's kernel does not let containers be limited: they ran without limits")
    program = """if True:
        import json, os, pathlib, tempfile
        def writable(path):
            try:
                (pathlib.Path(path) / "x").touch()
            except OSError:
                return False
            return True
        def first(*paths):
            return next(pathlib.Path(path).read_text() for path in paths if os.path.exists(path)).split()
        memory = first("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
        print(json.dumps({
            "user": os.getuid(), "memory": int(memory[0]),
            "quota": first("/sys/fs/cgroup/cpu.max", "/sys/fs/cgroup/cpu/cpu.cfs_quota_us"),
            "writable": [each for each in ("/", "/tmp", "/opt/archive", "/venv", "/scratch") if writable(each)],
            "home": os.path.expanduser("~"), "temporary": tempfile.gettempdir(),
        }))
    """
    done = subprocess.run(command({}, "python", "-c", program), capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    assert found["quota"][0] == str(int(CPUS * 100_000))
    assert found["memory"] == MEMORY_MIB * 1024 * 1024
    assert (found["user"], found["writable"]) == (10001, ["/scratch"])
    assert (found["home"], found["temporary"]) == ("/scratch", "/scratch")


def test_it_says_which_commit_and_version_it_is(image: None) -> None:
    labels = inspected(IMAGE)["Config"]["Labels"]
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert labels["org.opencontainers.image.revision"].removesuffix("-dirty") == commit.strip()
    assert labels["org.opencontainers.image.version"] == __version__


def inspected(image: str) -> Any:
    tool = ["docker", "image"] if has_docker() else ["podman", "image"]
    (found,) = json.loads(subprocess.run([*tool, "inspect", image], capture_output=True, check=True).stdout)
    return found


def test_every_profile_that_the_form_offers_archives(history: Estate) -> None:
    form = deployment(history.client, "archive-day").parameter_openapi_schema
    assert set(form["properties"]["profile"]["enum"]) == DAYS.keys()
    rows = history.rows()
    for profile, day in DAYS.items():
        of_day = rows[rows["recording_date"].eq(day) & rows["status"].eq("archived")]
        assert sorted(of_day["key"]) == sorted(of(profile, number) for number in range(CALLS))
        assert (of_day["verified"] & of_day["tagged"]).all()
        assert (set(of_day["profile"]), set(of_day["codec_after"])) == ({profile}, {PROFILES[profile].codec})


def test_what_follows_archiving_does_what_it_says(history: Estate, a_call: MakeCall) -> None:
    bucket, rows = history.bucket, history.rows()
    released, expired = ({of(profile, n) for n in range(CALLS)} for profile in ("alaw-stereo", "flac-stereo"))
    for status, keys in {
        **{"released": released, "checked": expired, "expired": expired},
        **{"restored": {TO_RESTORE}, "held": {TO_HOLD}, "erased": {TO_ERASE, ITS_TRANSCRIPT}},
    }.items():
        assert set(rows[rows["status"].eq(status)]["key"]) == keys, status
    assert bucket.body(TO_RESTORE) == a_call(2, 1.0)
    assert {key: len(bucket.versions(key)) for key in released} == dict.fromkeys(released, 1)
    assert bucket.tags(TO_HOLD)["legal-hold"]
    assert not [key for key in {TO_ERASE, ITS_TRANSCRIPT, *expired} if bucket.versions(key)]


def test_it_writes_bags_and_reports(history: Estate, tmp_path: Path) -> None:
    beside = [name for name, *_ in history.audit.snapshot()]
    for name in beside:
        if name.startswith(BAG):
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(history.audit.body(name))
    bagit.Bag(str(tmp_path / BAG)).validate()
    (audio,) = tmp_path.rglob("*.wav")
    with wave.open(str(audio)) as file:
        assert file.getparams()[:4] == (2, 2, 8_000, 8_000)
    assert {name.rpartition(".")[2] for name in beside} >= {"html", "xlsx"}
    for name in ("inspect", "estimate", "backfill"):
        (ran,) = history.ran[name]
        assert artifacts_of(history.client, ran.run.id), name


@pytest.mark.parametrize(
    ("alarm", "name"),
    [
        ("Established", "archive-daily"),
        ("ReconcileFailed", "reconcile-weekly"),
        ("RecordingsLost", "reconcile-weekly"),
    ],
)
def test_it_prints_the_figures_of_the_alarms(history: Estate, alarm: str, name: str) -> None:
    (ran,) = history.ran[name]
    assert ran.run.auto_scheduled
    (line,) = [json.loads(each) for each in ran.log.splitlines() if each.startswith('{"_aws"')]
    asked = template()["Resources"][alarm]["Properties"]
    (directive,) = [
        each
        for each in line["_aws"]["CloudWatchMetrics"]
        if asked["MetricName"] in [metric["Name"] for metric in each["Metrics"]]
    ]
    assert directive["Namespace"] == asked["Namespace"]
    assert directive["Dimensions"] == [[each["Name"] for each in asked["Dimensions"]]]
    assert {each["Name"]: line[each["Name"]] for each in asked["Dimensions"][1:]} == {
        each["Name"]: each["Value"] for each in asked["Dimensions"][1:]
    }
    assert line["Instance"] == history.audit_uri
    assert line[asked["MetricName"]] >= asked["Threshold"]


def test_a_stopped_task_is_scheduled_again_and_finishes(estate: Estate, s3: Server, a_call: MakeCall) -> None:
    """SIGTERM in the middle, as a Spot stop sends it to the container's first process."""
    bucket = Bucket(s3)
    calls = {key_of(n): a_call(n, 1.0) for n in range(30)}
    for key, body in calls.items():
        bucket.put(key, body)
    table = f"{estate.audit_uri}-stopped"
    run = estate.start("archive-day", bucket=bucket.name, audit_uri=table, start_date=DAY, end_date=DAY, batch_size=1)
    with estate.container(run) as task:
        eventually(lambda: len(bucket.snapshot()) > len(calls) + 3)  # its rows are written when it ends
        task.send_signal(signal.SIGTERM)
    stopped = estate.client.read_flow_run(run.id)
    assert (task.returncode, stopped.state_name) == (0, "AwaitingRetry")
    assert len(bucket.snapshot()) < 2 * len(calls), "it was in the middle"
    estate.execute(stopped)
    assert estate.client.read_flow_run(run.id).state_type is StateType.COMPLETED
    archived_once(bucket, table, calls)


def test_it_runs_the_worker(estate: Estate, tmp_path: Path) -> None:
    """As worker.yaml has it, on a pool of ECS: it comes online, is healthy, and takes what ECS says of a task."""
    pool, queue, port = "of-the-image", "events-of-the-image", str(free_port())
    task = read_template("worker.yaml")["Resources"]["Task"]["Properties"]
    (worker,) = task["ContainerDefinitions"]
    started = [pool if each == {"Ref": "WorkPool"} else each for each in worker["Command"]]
    healthy = [each.replace(":8080", f":{port}") for each in worker["HealthCheck"]["Command"][1:]]
    cpus, memory_mib = int(task["Cpu"]) / 1024, int(task["Memory"])
    ecs = "arn:aws:ecs:us-east-1:000000000000"
    detail = {"taskArn": f"{ecs}:task/calls/1", "clusterArn": f"{ecs}:cluster/calls", "lastStatus": "RUNNING"}
    counts = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    log = tmp_path / "worker.log"
    estate.client.create_work_pool(WorkPoolCreate(name=pool, type="ecs"))
    with s3_server(tmp_path / "aws", services="ecs,sqs") as aws:
        sqs = boto3.client("sqs", endpoint_url=aws.url)
        url = sqs.create_queue(QueueName=queue)["QueueUrl"]
        sqs.send_message(QueueUrl=url, MessageBody=json.dumps({"id": "1", "detail": detail}))

        def left() -> int:
            found = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=counts)["Attributes"]
            return sum(int(found[each]) for each in counts)

        listening = {
            "PREFECT_INTEGRATIONS_AWS_ECS_OBSERVER_SQS_QUEUE_NAME": queue,
            "PREFECT_WORKER_WEBSERVER_PORT": port,
        }
        with child(
            command({**estate.env, **aws.env, **listening}, *started, cpus=cpus, memory_mib=memory_mib), {}, log
        ):
            eventually(lambda: estate.client.read_workers_for_work_pool(pool))
            eventually(lambda: not left())
            subprocess.run([sys.executable, *healthy[1:]], check=True)
    assert not re.search("Traceback|UnknownService|does not exist", log.read_text())


@pytest.mark.skipif(not os.environ.get("FULL"), reason="FULL is not set: builds the image once more, from nothing")
def test_built_again_from_nothing_its_layers_are_the_same(image: None) -> None:
    if has_docker():
        pytest.skip("Docker keeps times in what it loads; what deployments/image.sh pushes has none")
    again = "recording-archive:again"
    subprocess.run([ROOT / "deployments" / "image.sh", "local", "--no-cache", "--tag", again], check=True)
    try:
        assert inspected(again)["RootFS"]["Layers"] == inspected(IMAGE)["RootFS"]["Layers"]
    finally:
        subprocess.run(["podman", "image", "rm", again], check=True)
