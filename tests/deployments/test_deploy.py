"""make deploy on a real Prefect server, again and again: a release changes what is its own, and keeps what people set.

The pool is one of local processes, as ``make ui`` has it; test_ecs.py has the one of ECS.
"""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import redirect_stdout
from datetime import timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import DeploymentScheduleCreate, DeploymentUpdate, WorkPoolUpdate
from prefect.client.schemas.schedules import CronSchedule, IntervalSchedule
from prefect.exceptions import ObjectNotFound
from prefect.settings import PREFECT_API_URL, temporary_settings

from demo.servers import Server, free_port, prefect_server, run_to_end
from deployments import automations, record
from deployments.comparison import Settings, compare, digests
from deployments.deploy import main
from deployments.plan import plan
from deployments.registration import FILE, Declared
from tests.checkout import copy_checkout
from tests.deployed import deployment

ROOT = Path(__file__).parents[2]
THINGS = 1 + len(automations.names()) + len(yaml.safe_load(FILE.read_text())["deployments"])  # the pool is the first
RELEASE = {
    **{"ARCHIVE_WORK_POOL": "local", "ARCHIVE_IMAGE": "archive:1", "ARCHIVE_BUCKET": "calls", "ARCHIVE_PREFIX": "c/"},
    **{"ARCHIVE_AUDIT_URI": "s3://calls-audit/table", "ARCHIVE_ROLE_PREFIX": "local/", "ARCHIVE_CODE": str(ROOT)},
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with prefect_server(tmp_path_factory.mktemp("prefect")) as server:
        yield server


@pytest.fixture(scope="module")
def client(server: Server) -> Iterator[SyncPrefectClient]:
    with SyncPrefectClient(server.env["PREFECT_API_URL"]) as client:
        yield client


@pytest.fixture
def release(tmp_path: Path) -> Path:
    """A checkout whose prefect.yaml a test may change, as a new release does."""
    return copy_checkout(tmp_path / "release")


def deploy(server: Server, *options: str, folder: Path = ROOT, code: int = 0, **changes: str) -> str:
    """What make deploy prints for a local pool. Of this checkout, in this process, which starts in no time."""
    if folder == ROOT and not any(name.startswith("PREFECT_") for name in changes):
        return deploy_here(server, *options, code=code, **changes)
    command = [sys.executable, "-m", "deployments.deploy", "--local", *options]
    env = {**os.environ, **server.env, **RELEASE, **changes}
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout if code == 0 else done.stderr


def deploy_here(server: Server, *options: str, code: int, **changes: str) -> str:
    shown, said = StringIO(), None
    env = {**os.environ, **server.env, **RELEASE, **changes}
    with (
        pytest.MonkeyPatch.context() as patch,
        temporary_settings({PREFECT_API_URL: env["PREFECT_API_URL"]}),
        redirect_stdout(shown),
    ):
        for name, value in env.items():
            patch.setenv(name, value)
        try:
            main(["--local", *options])
        except SystemExit as ended:
            said = str(ended.code)
    assert (1 if said else 0) == code, said
    return f"{said}\n" if said else shown.getvalue()


def lines_of(shown: str, thing: str) -> list[str]:
    """The lines about this thing."""
    found = re.search(rf"^{re.escape(thing)}\n((?:  .+\n)+)", shown, re.M)
    return [line.strip() for line in found[1].splitlines()] if found else []


def rewrite(folder: Path, *replacements: tuple[str, str]) -> None:
    path = folder / "prefect.yaml"
    text = path.read_text()
    for old, new in replacements:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    path.write_text(text)


def everything(client: SyncPrefectClient) -> dict[str, Any]:
    """All that a deploy could write to, with the times at which somebody did."""
    found: dict[str, Any] = {
        "deployments": client.request("POST", "/deployments/filter", json={}).json(),
        "work_pools": client.request("POST", "/work_pools/filter", json={}).json(),
        "automations": client.request("POST", "/automations/filter", json={}).json(),
        "variables": client.request("POST", "/variables/filter", json={}).json(),
    }
    for each in found["deployments"]:
        each.pop("status", None)
        each["schedules"] = sorted(each["schedules"], key=lambda schedule: str(schedule["id"]))
    for pool in found["work_pools"]:
        pool.pop("status", None)
    return {path: sorted(each, key=lambda thing: str(thing["id"])) for path, each in found.items()}


@pytest.fixture
def deployed(server: Server) -> None:
    """The release as it is."""
    deploy(server, "--reset", "1")


@pytest.mark.usefixtures("deployed")
def test_deployed_twice_nothing_changes(server: Server, client: SyncPrefectClient) -> None:
    before = everything(client)
    assert len(before["deployments"]) == 15
    assert deploy(server).endswith("nothing to change\n")
    assert everything(client) == before


@pytest.mark.usefixtures("deployed")
def test_a_look_changes_nothing(server: Server, client: SyncPrefectClient) -> None:
    before = everything(client)
    shown = deploy(server, "--diff", ARCHIVE_BUCKET="others")
    assert lines_of(shown, "deployment archive-recordings/archive-daily") == [
        '~ parameters.bucket: "calls" -> "others"',
    ]
    assert shown.endswith(f"14 of {THINGS} differ\n")  # all but the report of the audit table
    assert everything(client) == before


@pytest.mark.usefixtures("deployed")
def test_a_new_release_keeps_what_people_set(server: Server, client: SyncPrefectClient, release: Path) -> None:
    prefect = [sys.executable, "-m", "prefect", "--no-prompt"]
    env = dict(server.env)
    releasing = deployment(client, "release-originals")
    run_to_end([*prefect, "deployment", "schedule", "resume", FULL["release"], str(releasing.schedules[0].id)], env)
    for command in (["pause", "local"], ["set-concurrency-limit", "local", "3"]):
        run_to_end([*prefect, "work-pool", *command], env)
    client.update_deployment(
        releasing.id, DeploymentUpdate(parameters={**releasing.parameters, "dry_run": False}, concurrency_limit=2)
    )
    daily = deployment(client, "archive-daily")
    own = {**daily.job_variables, "memory": 4096, "env": {"ARCHIVE_THREADS": "4"}}
    client.update_deployment(daily.id, DeploymentUpdate(job_variables=own, paused=True))
    extra = IntervalSchedule(interval=timedelta(hours=1))
    client.create_deployment_schedules(daily.id, [DeploymentScheduleCreate(schedule=extra, active=True)])
    report = deployment(client, "report-monthly")
    client.delete_deployment_schedule(report.id, report.schedules[0].id)
    weekly = deployment(client, "reconcile-weekly")
    client.update_deployment_schedule(weekly.id, weekly.schedules[0].id, schedule=CronSchedule(cron="0 1 * * 1"))
    client.delete_deployment(deployment(client, "hold").id)
    template = client.read_work_pool("local").base_job_template
    template["variables"]["properties"]["env"]["default"] = {"ARCHIVE_RETENTION_YEARS": "10"}
    client.update_work_pool("local", WorkPoolUpdate(base_job_template=template))
    (dead_runs,) = client.read_automations_by_name("recording archive, dead runs")
    client.pause_automation(dead_runs.id)

    rewrite(
        release,
        ("parameters: { <<: [*bucket, *table], everything: true }", "parameters: { <<: [*bucket, *table] }"),
        ('cron: "30 5 * * 0"', 'cron: "0 4 * * 0"'),
        ('cron: "30 6 * * 0"', 'cron: "0 6 * * 0"'),
        ("Publishes what archiving has saved", "Writes what archiving has saved"),
        ('cron: "30 7 1 * *"', 'cron: "0 7 1 * *"'),
    )
    shown = deploy(server, folder=release, ARCHIVE_IMAGE="archive:2", ARCHIVE_BUCKET="others")

    pool = client.read_work_pool("local")
    assert (pool.is_paused, pool.concurrency_limit) == (True, 3)
    assert pool.base_job_template["variables"]["properties"]["env"]["default"] == {"ARCHIVE_RETENTION_YEARS": "10"}
    (dead_runs,) = client.read_automations_by_name("recording archive, dead runs")
    assert not dead_runs.enabled
    releasing = deployment(client, "release-originals")
    assert releasing.parameters == {"bucket": "others", "audit_uri": RELEASE["ARCHIVE_AUDIT_URI"], "dry_run": False}
    assert releasing.global_concurrency_limit.limit == 2
    (schedule,) = releasing.schedules
    assert (schedule.active, schedule.schedule.cron) == (True, "0 4 * * 0")
    assert lines_of(shown, f"deployment {FULL['release']}") == [
        '~ job_variables.image: "archive:1" -> "archive:2"',
        '~ parameters.bucket: "calls" -> "others"',
        "- parameters.everything: true",
        '~ schedules.weekly.when: {"cron": "30 5 * * 0", "day_or": true, "timezone": "UTC"} -> '
        '{"cron": "0 4 * * 0", "day_or": true, "timezone": "UTC"}',
        '~ version: "1" -> "2"',
        "= concurrency_limit: 2 is kept; the release has 1",
        "= parameters.dry_run: false is kept; the release has nothing",
        "= schedules.weekly.active: true is kept; the release has false",
    ]
    daily = deployment(client, "archive-daily")
    assert daily.paused
    assert daily.job_variables == {**own, "image": "archive:2"}
    assert sorted(each.schedule.model_dump().get("cron", "") for each in daily.schedules) == ["", "30 3 * * *"]
    report = deployment(client, "report-monthly")
    assert (report.schedules, report.description.split()[0]) == ([], "Writes")
    (schedule,) = deployment(client, "reconcile-weekly").schedules
    assert schedule.schedule.cron == "0 1 * * 1"
    with pytest.raises(ObjectNotFound):
        client.read_deployment_by_name(FULL["hold"])
    assert lines_of(shown, f"deployment {FULL['hold']}") == ["= somebody deleted it, and it stays deleted"]

    before = everything(client)
    again = deploy(server, folder=release, ARCHIVE_IMAGE="archive:2", ARCHIVE_BUCKET="others")
    assert again.endswith("\nnothing to change\n")
    assert "= schedules.weekly.active: true is kept" in again
    assert everything(client) == before

    deploy(server, "--reset", "release-originals", folder=release, ARCHIVE_IMAGE="archive:2", ARCHIVE_BUCKET="others")
    (schedule,) = deployment(client, "release-originals").schedules
    assert not schedule.active
    assert deployment(client, "archive-daily").paused

    deploy(server, "--reset", "1")
    pool = client.read_work_pool("local")
    assert (pool.is_paused, pool.concurrency_limit) == (False, None)
    assert not deployment(client, "archive-daily").paused
    assert [each.slug for each in deployment(client, "archive-daily").schedules] == ["daily"]
    assert [each.slug for each in deployment(client, "report-monthly").schedules] == ["monthly"]
    assert deployment(client, "hold").parameters["bucket"] == "calls"
    assert deploy(server).endswith("nothing to change\n")
    assert "is kept" not in deploy(server)


FULL = {"release": "release-originals/release-originals", "hold": "hold-recordings/hold"}


@pytest.mark.timeout(600)
def test_an_upgrade_from_a_release_without_a_record_keeps_what_differs(
    release: Path, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Registered as releases before this one were, by ``prefect deploy``: schedules without slugs, forms with None."""
    path = release / "prefect.yaml"
    former = path.read_text()
    path.write_text(re.sub(r"- slug: \w+\n +cron", "- cron", former))
    with (
        prefect_server(tmp_path_factory.mktemp("prefect")) as server,
        SyncPrefectClient(server.env["PREFECT_API_URL"]) as client,
    ):
        prefect = [sys.executable, "-m", "prefect", "--no-prompt"]
        env = {**server.env, **RELEASE, "PYTHONPATH": str(release)}
        run_to_end([*prefect, "work-pool", "create", "local", "--type", "process"], env)
        registered = subprocess.run(
            [*prefect, "deploy", "--all"], cwd=release, env={**os.environ, **env}, capture_output=True, text=True
        )
        assert registered.returncode == 0, registered.stdout + registered.stderr
        path.write_text(former)
        releasing = deployment(client, "release-originals")
        assert releasing.schedules[0].slug is None
        client.update_deployment_schedule(releasing.id, releasing.schedules[0].id, active=True)
        report = deployment(client, "report-monthly")
        client.delete_deployment_schedule(report.id, report.schedules[0].id)
        daily = deployment(client, "archive-daily")
        few = {name: value for name, value in daily.parameters.items() if name != "prefixes"}
        client.update_deployment(daily.id, DeploymentUpdate(parameters={**few, "batch_size": 50}))

        shown = deploy(server, folder=release)
        assert lines_of(shown, f"deployment {FULL['release']}")[-1] == (
            "= schedules.weekly.active: true is kept; the release has false"
        )
        (schedule,) = deployment(client, "release-originals").schedules
        assert (schedule.active, schedule.slug) == (True, "weekly")
        assert deployment(client, "report-monthly").schedules == []
        assert deployment(client, "archive-daily").parameters == {**daily.parameters, "batch_size": 50}
        again = deploy(server, folder=release)
        assert again.endswith("nothing to change\n")
        assert "= schedules.monthly.when: nothing is kept" in again
        newer = deploy(server, folder=release, ARCHIVE_PREFIX="d/", ARCHIVE_BUCKET="others")
        assert '~ parameters.prefixes: ["c/"] -> ["d/"]' in newer
        assert "= parameters.batch_size: 50 is kept; the release has nothing" in newer


@pytest.mark.usefixtures("deployed")
def test_what_a_deploy_died_over_is_not_taken_for_peoples(client: SyncPrefectClient) -> None:
    """The process ends between the write to the deployment and the note that it is done."""
    wants = {("parameters", "bucket"): "calls"}
    there: dict[Any, Any] = {}

    def deploying(wants: dict[Any, Any], dies: bool) -> list[str]:
        def put(settings: Any) -> None:
            there.clear()
            there.update(settings)
            if dies:
                raise KeyboardInterrupt

        made = plan(
            "a thing",
            record=record.read(client, "a thing"),
            has=dict(there) if there else None,
            wants=wants,
            of_release=lambda key: False,
            reset=False,
            put=put,
        )
        made.carry_out()
        return [*made.changed, *made.kept]

    with pytest.raises(KeyboardInterrupt):
        deploying(wants, dies=True)
    newer = {("parameters", "bucket"): "others"}
    with pytest.raises(KeyboardInterrupt):
        deploying(newer, dies=True)
    newest = {("parameters", "bucket"): "third"}
    assert deploying(newest, dies=False) == ['  ~ parameters.bucket: "others" -> "third"']
    there[("parameters", "bucket")] = "others"  # now people set what a former deploy had written
    assert deploying(newest, dies=False) == ['  = parameters.bucket: "others" is kept; the release has "third"']
    there.clear()  # people delete it
    assert deploying(newest, dies=False) == ["  = somebody deleted it, and it stays deleted"]
    client.delete_variable_by_name(record.read(client, "a thing").variable)


@pytest.mark.usefixtures("deployed")
def test_parameters_that_a_release_does_not_take_stop_it_before_it_changes_anything(
    server: Server, client: SyncPrefectClient
) -> None:
    found = deployment(client, "archive-day")
    client.update_deployment(
        found.id, DeploymentUpdate(parameters={**found.parameters, "batch_size": 0}, enforce_parameter_schema=False)
    )
    before = everything(client)
    said = deploy(server, code=1, ARCHIVE_IMAGE="archive:2")
    assert "  archive-day: batch_size: 0 is less than the minimum of 1" in said
    assert "RESET=<deployment>" in said
    assert everything(client) == before
    client.update_deployment(found.id, DeploymentUpdate(parameters={**found.parameters, "no_longer_taken": 1}))
    shown = deploy(server)
    assert lines_of(shown, "deployment archive-recordings/archive-day") == [
        "- parameters.no_longer_taken: 1",
        "~ parameters_are_checked: false -> true",
    ]
    assert deployment(client, "archive-day").parameters == found.parameters


@pytest.mark.usefixtures("deployed")
def test_what_a_release_no_longer_has_stays_and_is_named(
    server: Server, client: SyncPrefectClient, release: Path
) -> None:
    rewrite(release, ("  - name: report-monthly\n", "  - name: report-each-month\n"), ("slug: yearly", "slug: january"))
    shown = deploy(server, folder=release)
    slugs = [each.slug for each in deployment(client, "check-fixity-yearly").schedules]
    assert sorted(slugs) == ["january", "yearly"]
    assert "= schedules.yearly.active: false is kept; the release has nothing" in shown
    named = "deployment report-savings/report-monthly is not of this release, and stays as it is"
    assert named in shown
    assert deployment(client, "report-monthly").schedules[0].active
    client.delete_deployment(deployment(client, "report-monthly").id)
    client.delete_deployment(deployment(client, "report-each-month").id)


@pytest.mark.parametrize(("name", "sentence"), [("hold-all", "RESET does not know hold-all. It takes 1")])
def test_a_name_that_reset_does_not_know_is_refused(server: Server, name: str, sentence: str) -> None:
    assert sentence in deploy(server, "--reset", name, code=1)


@pytest.mark.usefixtures("deployed")
def test_a_pool_of_another_type_is_refused(server: Server, client: SyncPrefectClient) -> None:
    client.request("POST", "/work_pools/", json={"name": "theirs", "type": "docker"})
    said = deploy(server, code=1, ARCHIVE_WORK_POOL="theirs")
    assert "the work pool 'theirs' is of type docker, not process" in said


def test_a_server_that_does_not_answer_is_named(server: Server) -> None:
    url = f"http://127.0.0.1:{free_port()}/api"
    said = deploy(server, code=1, PREFECT_API_URL=url)
    assert said.startswith(f"no Prefect server answers at PREFECT_API_URL={url}: ")
    assert "Traceback" not in said


def test_an_address_that_is_not_that_of_the_api_is_named(server: Server) -> None:
    said = deploy(server, code=1, PREFECT_API_URL=server.url)
    assert said.startswith(f"the Prefect server at PREFECT_API_URL={server.url} refuses: 404")
    assert "Does the address end in /api?" in said


def test_a_server_that_wants_a_password_says_so_and_takes_it(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFECT_SERVER_API_AUTH_STRING", "operator:password")
    with prefect_server(tmp_path_factory.mktemp("prefect")) as server:
        monkeypatch.delenv("PREFECT_SERVER_API_AUTH_STRING")
        assert httpx.get(f"{server.url}/api/health").status_code == 200
        for wrong in ("", "operator:wrong"):
            said = deploy(server, "--diff", code=1, PREFECT_API_AUTH_STRING=wrong)
            assert "refuses: 401 Unauthorized. Set PREFECT_API_KEY (Prefect Cloud), or PREFECT_API_AUTH_STRING" in said
        said = deploy(server, "--diff", PREFECT_API_AUTH_STRING="operator:password")
        assert said.endswith(f"18 of {THINGS} differ\n")


def test_a_value_is_the_releases_if_a_deploy_wrote_it() -> None:
    has: Settings = {("a",): 1, ("b",): 2, ("c",): True, ("e",): [1]}
    wants: Settings = {("a",): 9, ("b",): 9, ("c",): 1, ("d",): 9, ("e",): [1]}
    written = [digests({("a",): 1, ("b",): 3, ("c",): True, ("d",): 4})]
    compared = compare(has=has, wants=wants, written=written, of_release=lambda key: False)
    assert compared.result == {("a",): 9, ("b",): 2, ("c",): 1, ("e",): [1]}
    assert compared.changed == ["  ~ a: 1 -> 9", "  ~ c: true -> 1"]
    assert compared.kept == ["  = b: 2 is kept; the release has 9", "  = d: nothing is kept; the release has 9"]
    given_back = compare(has=has, wants=wants, written=written, of_release=lambda key: True)
    assert given_back.result == wants


def test_the_release_decides_what_runs_and_people_decide_when_and_with_what() -> None:
    wanted = Declared(name="n", flow="f", settings={("form", "bucket"): {}})
    of_release = [("entrypoint",), ("form", "bucket"), ("job_variables", "image"), ("job_variables", "task_role_arn")]
    of_people = [("paused",), ("parameters", "bucket"), ("job_variables", "memory"), ("schedules", "daily", "active")]
    assert all(wanted.of_release(key) for key in [*of_release, ("parameters", "gone")])
    assert not any(wanted.of_release(key) for key in of_people)
