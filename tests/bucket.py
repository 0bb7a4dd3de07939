"""A bucket on the tests' S3 server, the changes that other people make to it, and the keys of calls in it."""

import io
import os
import time
import urllib.request
import uuid
from collections import Counter
from datetime import date
from functools import lru_cache
from typing import Any

import boto3
import pytest

from demo.servers import CREDENTIALS, Server

PREFIX = "connect/acme/CallRecordings/"
DAY = date(2026, 1, 12)
PROBE = ".conditional-write-probe-object"  # of a server that is not AWS; it lies right below the prefix
OURS = (PROBE, ".recording-archive-canary")
ON_BOTH = pytest.mark.s3_servers("ministack", "seaweed")
# Reads the server's own access log, or needs what only this server does; docs/decisions/0033 says what.
ON_MINISTACK = pytest.mark.s3_servers("ministack")
# On both in the full run only: another test makes the same requests on both in every run, or the test is long.
ON_BOTH_IN_FULL = ON_BOTH if os.environ.get("FULL") else ON_MINISTACK


class Bucket:
    """A bucket with what tests do to one from outside of our code."""

    def __init__(self, server: Server, *, versioned: bool = True) -> None:
        self.name = f"recordings-{uuid.uuid4().hex[:12]}"
        self.client = _client(server.url)
        self.server = server
        self.client.create_bucket(Bucket=self.name)
        if versioned:
            self.client.put_bucket_versioning(Bucket=self.name, VersioningConfiguration={"Status": "Enabled"})

    def put(self, key: str, body: bytes, **properties: Any) -> dict[str, Any]:
        answer: dict[str, Any] = self.client.put_object(Bucket=self.name, Key=key, Body=body, **properties)
        return answer

    def delete(self) -> None:
        """The bucket with all that is in it. SeaweedFS has room for some 150 buckets at a time."""
        for page in self.client.get_paginator("list_object_versions").paginate(Bucket=self.name):
            for each in [*page.get("Versions", ()), *page.get("DeleteMarkers", ())]:
                self.client.delete_object(Bucket=self.name, Key=each["Key"], VersionId=each["VersionId"])
        self.client.delete_bucket(Bucket=self.name)

    def enable_acls(self) -> None:
        """As in buckets that are older than April 2023."""
        controls = {"Rules": [{"ObjectOwnership": "ObjectWriter"}]}
        self.client.put_bucket_ownership_controls(Bucket=self.name, OwnershipControls=controls)

    def get(self, key: str, version_id: str | None = None) -> dict[str, Any]:
        """The whole answer; its body is read, so that no connection is left open."""
        version = {"VersionId": version_id} if version_id else {}
        answer = self.client.get_object(Bucket=self.name, Key=key, **version)
        return {**answer, "Body": io.BytesIO(answer["Body"].read())}

    def body(self, key: str, version_id: str | None = None) -> bytes:
        body: bytes = self.get(key, version_id)["Body"].read()
        return body

    def tags(self, key: str) -> dict[str, str]:
        answer = self.client.get_object_tagging(Bucket=self.name, Key=key)
        return {tag["Key"]: tag["Value"] for tag in answer["TagSet"]}

    def versions(self, key: str) -> list[dict[str, Any]]:
        answer = self.client.list_object_versions(Bucket=self.name, Prefix=key)
        return [version for version in answer.get("Versions", []) if version["Key"] == key]

    def snapshot(self, prefix: str = "") -> list[tuple[str, str, str, bool]]:
        """Every version below the prefix, but of our own probes: whatever else changes changes this."""
        pages = self.client.get_paginator("list_object_versions").paginate(Bucket=self.name, Prefix=prefix)
        lines = [line for page in pages for line in (*page.get("Versions", []), *page.get("DeleteMarkers", []))]
        return sorted(
            (each["Key"], each["VersionId"], each.get("ETag", ""), each["IsLatest"])
            for each in lines
            if not each["Key"].endswith(OURS)
        )

    def requests(self) -> list[tuple[str, str]]:
        """(method, path?query) of every request that the server has answered for this bucket."""
        lines = (line.rpartition("[INFO] ")[2] for line in self._complete_log().splitlines())
        words = (line.split(" ", 2) for line in lines)
        return [(method, path) for _, method, path in words if path.startswith(f"/{self.name}")]

    def _complete_log(self) -> str:
        """The access log, once it holds a request made just now: a line is written after its answer is sent."""
        assert self.server.access_log, "only ministack writes one"
        mark = uuid.uuid4().hex
        urllib.request.urlopen(f"{self.server.url}/_ministack/health?{mark}").close()
        while mark not in (log := self.server.access_log.read_text()):
            time.sleep(0.01)
        return log

    def requests_by_kind(self, since: int = 0) -> Counter[str]:
        """Requests to objects and to listings, counted by kind, after the first ``since``."""
        return Counter(filter(None, (_kind(method, path) for method, path in self.requests()[since:])))


@lru_cache(maxsize=4)
def _client(url: str) -> Any:
    """One of this very server, whatever the environment says. All its buckets share it: it takes 20 ms to make."""
    return boto3.client(
        "s3",
        endpoint_url=url,
        aws_access_key_id=CREDENTIALS["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
        region_name=CREDENTIALS["AWS_DEFAULT_REGION"],
    )


def _kind(method: str, path: str) -> str | None:
    _, _, query = path.partition("?")
    if "tagging" in query:
        return f"{method} tags"
    if query.startswith("versions"):
        return "LIST versions"
    if query.startswith("list-type"):
        return "LIST"
    return method


def key_of(number: int, day: date = DAY, folder: str = "") -> str:
    """The key of a test's n-th call, as Connect would name it."""
    contact_id = uuid.UUID(int=number + 0x01507B3F << 64)
    return f"{PREFIX}{folder}{day:%Y/%m/%d}/{contact_id}_{day:%Y%m%d}T{number // 60 % 24:02d}:{number % 60:02d}_UTC.wav"
