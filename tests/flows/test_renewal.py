"""Runs wait for credentials that are missing for some seconds, as they wait for S3: every deed still gets its row."""

import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from flows.release import release_originals
from flows.restore import restore_recordings
from recordings.table.reading import current, read_audit
from tests.bucket import Bucket

pytestmark = pytest.mark.usefixtures("prefect")
REFUSED = range(3, 10)  # which of the requests for credentials are answered with 429


class Endpoint(ThreadingHTTPServer):
    """A container's credentials endpoint, whose credentials are as good as expired: each use asks for new ones."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked = 0
        self.refused = 0
        self.counting = threading.Lock()


class Handler(BaseHTTPRequestHandler):
    server: Endpoint

    def do_GET(self) -> None:
        with self.server.counting:
            self.server.asked += 1
            is_refused = self.server.asked in REFUSED
            self.server.refused += is_refused
        self.send_response(429 if is_refused else 200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        expires = datetime.now(UTC) + timedelta(minutes=5)  # botocore renews what lasts less than ten
        words = {"AccessKeyId": "demo", "SecretAccessKey": "demo", "Token": "t", "Expiration": expires.isoformat()}
        self.wfile.write(b"slow down" if is_refused else json.dumps(words).encode())

    def log_message(self, *_: Any) -> None:
        """Nothing on the terminal."""


@pytest.fixture
def endpoint(originals: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Endpoint]:
    with Endpoint() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.delenv(name)
        monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"http://127.0.0.1:{server.server_port}/")
        yield server
        server.shutdown()


@pytest.mark.parametrize("kind", ["release", "restore"])
def test_an_outage_of_credentials_is_waited_out(
    bucket: Bucket, originals: dict[str, str], audit_uri: str, endpoint: Endpoint, kind: str
) -> None:
    if kind == "release":
        done = release_originals(bucket=bucket.name, audit_uri=audit_uri, everything=True, grace_days=0, dry_run=False)
    else:
        done = restore_recordings(bucket=bucket.name, audit_uri=audit_uri, everything=True, dry_run=False)
    assert endpoint.refused == len(REFUSED)
    assert done.counts == {f"{kind}d": len(originals)}
    assert set(current(read_audit(audit_uri))["status"]) == {f"{kind}d"}
