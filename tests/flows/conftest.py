"""A real Prefect server of the locked versions, for all tests of flows."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from demo.servers import Server, prefect_server, tell_the_rest


@pytest.fixture(scope="session")
def prefect(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The server, and this process as its client."""
    with prefect_server(tmp_path_factory.mktemp("prefect")) as server:
        os.environ.update(server.env)  # for processes that tests start
        from prefect.settings import PREFECT_API_URL, PREFECT_HOME, temporary_settings

        with temporary_settings({PREFECT_API_URL: f"{server.url}/api", PREFECT_HOME: Path(server.env["PREFECT_HOME"])}):
            yield server
            tell_the_rest()
