"""A real Prefect server of the locked versions, for all tests of flows."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prefect.client.orchestration import SyncPrefectClient, get_client

from demo.servers import Server, child, prefect_server, tell_the_rest
from demo.ui import PREFECT, deploy, deployment_env
from tests.bucket import DAY, PREFIX, Bucket, key_of


@pytest.fixture(scope="session")
def prefect(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The server, and this process as its client."""
    with prefect_server(tmp_path_factory.mktemp("prefect")) as server:
        os.environ.update(server.env)  # for processes that tests start
        from prefect.settings import PREFECT_API_URL, PREFECT_HOME, temporary_settings

        with temporary_settings({PREFECT_API_URL: f"{server.url}/api", PREFECT_HOME: Path(server.env["PREFECT_HOME"])}):
            yield server
            tell_the_rest()


@pytest.fixture
def audit_uri(tmp_path: Path) -> str:
    return str(tmp_path / "audit")


@pytest.fixture
def archived(prefect: Server, bucket: Bucket, audit_uri: str, a_call: Any) -> dict[str, str]:
    """Three archived recordings: the version ids of their originals by key."""
    from flows.archive import archive_recordings

    versions = {key_of(n): bucket.put(key_of(n), a_call(n, 1.0))["VersionId"] for n in range(3)}
    archive_recordings(bucket=bucket.name, prefixes=[PREFIX], audit_uri=audit_uri, start_date=DAY, end_date=DAY)
    return versions


@pytest.fixture(scope="session")
def client(prefect: Server) -> Iterator[SyncPrefectClient]:
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
