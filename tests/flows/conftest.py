"""Fixtures for the tests of flows, on the Prefect server of ``tests/conftest.py``."""

from pathlib import Path

import pytest

from demo.servers import Server
from tests.bucket import DAY, PREFIX, Bucket, key_of
from tests.fixtures import MakeCall


@pytest.fixture
def audit_uri(tmp_path: Path) -> str:
    return str(tmp_path / "audit")


@pytest.fixture
def originals(prefect: Server, bucket: Bucket, audit_uri: str, a_call: MakeCall) -> dict[str, str]:
    """Three archived recordings: the version ids of their originals by key."""
    from flows.archive import archive_recordings

    versions = {key_of(n): bucket.put(key_of(n), a_call(n, 1.0))["VersionId"] for n in range(3)}
    archive_recordings(bucket=bucket.name, prefixes=[PREFIX], audit_uri=audit_uri, start_date=DAY, end_date=DAY)
    return versions
