"""Real parts for all tests: S3 servers over HTTP, a fresh bucket per test that asks for one, Prefect with a worker.

Only the fixtures that need Prefect import it, so that the tests of the domain start at once.
"""

import os
import subprocess
from collections.abc import Iterator
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import numpy as np
import pytest

from demo.calls import call
from demo.servers import Server, child, prefect_server, s3_server, tell_the_rest
from demo.ui import PREFECT, deploy, deployment_env
from recordings.pricing import prices
from recordings.settings import settings
from tests.bucket import PREFIX, Bucket
from tests.fixtures import MakeCall, PlanRun, Setting
from tests.planned import planned
from tests.seaweed import HAS_WHEEL, seaweed_server

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient


LONGEST = ("test_backfill.py", "test_makefile.py", "test_one_bad_thing.py", "test_life_end_policies.py")


def pytest_configure() -> None:
    for name in [name for name in os.environ if name.startswith(("AWS_", "PREFECT_", "ARCHIVE_"))]:
        del os.environ[name]  # neither the developer's account nor settings
    os.environ["ARCHIVE_SKIP_UNPROFITABLE"] = "false"  # calls of tests last a second: archiving them never pays
    drawn = 100 if os.environ.get("FULL") else 25
    hypothesis.settings.register_profile("any machine", deadline=None, max_examples=drawn)  # a busy one is no failure
    hypothesis.settings.load_profile("any machine")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test once on each S3 server that its mark ``s3_servers`` names, that of its module if it has none."""
    mark = metafunc.definition.get_closest_marker("s3_servers")
    if mark and "s3" in metafunc.fixturenames:
        metafunc.parametrize("s3", mark.args, indirect=True)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files come first, so that at the end of a run no process works alone for minutes."""
    items.sort(key=lambda item: LONGEST.index(item.path.name) if item.path.name in LONGEST else len(LONGEST))


def _forget_settings() -> None:
    for cached in (settings, prices):
        cached.cache_clear()


@pytest.fixture(autouse=True)
def read_anew() -> None:
    """Forget the settings of the test before, which may have changed some: a process reads them once."""
    _forget_settings()


@pytest.fixture
def setting(monkeypatch: pytest.MonkeyPatch) -> Setting:
    """Change settings until the test ends."""

    def change(**values: object) -> None:
        for name, value in values.items():
            monkeypatch.setenv(f"ARCHIVE_{name}", str(value))
        _forget_settings()

    return change


@pytest.fixture(scope="session")
def ministack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with s3_server(tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.fixture(scope="session")
def seaweed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    if not HAS_WHEEL:
        pytest.skip("there is no wheel of SeaweedFS for this platform")
    with seaweed_server(tmp_path_factory.mktemp("seaweed")) as server:
        yield server


@pytest.fixture
def s3(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Server:
    """The test's S3 server, which clients made during the test talk to: ministack, where no mark says otherwise."""
    server: Server = request.getfixturevalue(getattr(request, "param", "ministack"))
    for name, value in server.env.items():
        monkeypatch.setenv(name, value)
    return server


@pytest.fixture
def bucket(s3: Server) -> Bucket:
    return Bucket(s3)


@pytest.fixture
def unversioned_bucket(s3: Server) -> Bucket:
    return Bucket(s3, versioned=False)


@pytest.fixture(scope="session")
def a_call() -> MakeCall:
    """Synthetic calls: another seed is another call. The tests ask for the same ones, and each takes 20 ms to make."""

    @lru_cache(maxsize=256)
    def make(seed: int = 1, duration_s: float = 2.0) -> bytes:
        return call(np.random.default_rng(seed), duration_s)

    return make


@pytest.fixture
def plan(tmp_path: Path) -> PlanRun:
    """A run's parameters, its table in the test's folder."""
    return partial(planned, audit_uri=str(tmp_path / "audit"))


@pytest.fixture(scope="session")
def prefect(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A real Prefect server of the locked versions, and this process as its client."""
    with prefect_server(tmp_path_factory.mktemp("prefect")) as server:
        os.environ.update(server.env)  # for processes that tests start
        from prefect.settings import (
            PREFECT_API_URL,
            PREFECT_FLOWS_HEARTBEAT_FREQUENCY,
            PREFECT_HOME,
            temporary_settings,
        )

        here = {
            PREFECT_API_URL: f"{server.url}/api",
            PREFECT_HOME: Path(server.env["PREFECT_HOME"]),
            PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None,  # the end of each run waits for its thread, up to a second
        }
        with temporary_settings(here):
            yield server
            tell_the_rest()


@pytest.fixture(scope="session")
def client(prefect: Server) -> Iterator["SyncPrefectClient"]:
    """A client of the server."""
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        yield client


@pytest.fixture(scope="session")
def env(prefect: Server, ministack: Server, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of the deployments' worker, with every deployment of prefect.yaml registered."""
    audit_uri = str(tmp_path_factory.mktemp("deployed") / "audit")
    bucket = {"ARCHIVE_BUCKET": Bucket(ministack).name, "ARCHIVE_PREFIX": PREFIX}
    env = deployment_env(ministack, prefect, audit_uri) | bucket
    deploy(env)
    return env


@pytest.fixture(scope="session")
def worker(env: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[subprocess.Popen[bytes]]:
    """A worker of the local pool."""
    start = [*PREFECT, "worker", "start", "--pool", env["ARCHIVE_WORK_POOL"], "--work-queue", "default"]
    log = tmp_path_factory.mktemp("worker") / "worker.log"
    with child(start, {**env, "PREFECT_WORKER_QUERY_SECONDS": "1"}, log) as process:
        yield process
