"""A real Prefect server of the locked versions, for all tests of flows."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from demo.servers import Server, prefect_server, tell_the_rest
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
