"""Runs killed at any moment, and runs at the same time: the bucket and the table end up right.

``KILLS`` sets how many runs are killed; the long version has 200.
"""

import os
import random
import time
from datetime import timedelta
from io import BytesIO
from pathlib import Path

import pytest

from demo.servers import Server
from recordings.conversion.audio import convert
from recordings.profiles import PROFILES
from recordings.table.reading import current, read_audit
from tests.bucket import DAY, ON_BOTH_IN_FULL, Bucket, key_of
from tests.fixtures import MakeCall
from tests.runs import Running, archive_two_days

pytestmark = [pytest.mark.usefixtures("prefect"), ON_BOTH_IN_FULL]
KILLS = int(os.environ.get("KILLS", "6"))
RECORDINGS = 12


@pytest.fixture
def calls(bucket: Bucket, a_call: MakeCall) -> dict[str, bytes]:
    bodies = {key_of(n, DAY + timedelta(days=n % 2)): a_call(n, 1.0) for n in range(RECORDINGS)}
    for key, body in bodies.items():
        bucket.put(key, body, Tagging="queue=sales")
    return bodies


def check(bucket: Bucket, audit_uri: str, calls: dict[str, bytes]) -> None:
    """Every recording converted once, faithfully, its original kept, tagged, and in the table once as current."""
    table = current(read_audit(audit_uri)).set_index("key")
    assert sorted(table.index) == sorted(calls)
    assert table["verified"].all()
    assert table["tagged"].all()
    for key, original in calls.items():
        new, old = sorted(bucket.versions(key), key=lambda version: not version["IsLatest"])
        assert bucket.body(key, old["VersionId"]) == original
        assert bucket.body(key) == bytes(convert(BytesIO(original), len(original), PROFILES["alaw-mono"]).body)
        assert bucket.tags(key) == {"queue": "sales", "converted": "True"}
        assert table.loc[key, "version_after"] == new["VersionId"]
        assert table.loc[key, "bytes_before"] == len(original)


def readable(bucket: Bucket, calls: dict[str, bytes]) -> None:
    """Right after a kill: what is current is the original or its faithful conversion, and the original is there."""
    for key, original in calls.items():
        converted = bytes(convert(BytesIO(original), len(original), PROFILES["alaw-mono"]).body)
        assert bucket.body(key) in (original, converted)
        assert original in [bucket.body(key, version["VersionId"]) for version in bucket.versions(key)]


@pytest.mark.timeout(3600)
def test_killed_at_any_moment(a_call: MakeCall, tmp_path: Path, s3: Server) -> None:
    moments = random.Random(7)  # noqa: S311 (no secret)
    killed = 0
    for number in range(KILLS):
        one = Bucket(s3)
        calls = {key_of(n, DAY + timedelta(days=n % 2)): a_call(n, 1.0) for n in range(RECORDINGS)}
        for key, body in calls.items():
            one.put(key, body, Tagging="queue=sales")
        audit_uri = str(tmp_path / f"audit-{number}")
        killed += killed_after(moments.uniform(0.1, 2), one.name, audit_uri)
        readable(one, calls)
        archive_two_days(one.name, audit_uri)
        check(one, audit_uri, calls)
        one.delete()
    print(f"{KILLS} runs, {killed} of them killed before they had ended")
    assert killed > KILLS / 2


def killed_after(seconds: float, bucket: str, audit_uri: str) -> bool:
    """Start a run in a process of its own and kill that so long after it began; whether it was still running."""
    run = Running(bucket, audit_uri)
    time.sleep(seconds)
    alive = run.process.is_alive()
    run.process.kill()
    run.process.join()
    return alive


def test_two_runs_at_once(bucket: Bucket, calls: dict[str, bytes], tmp_path: Path) -> None:
    audit_uri = str(tmp_path / "audit")
    counts = [run.counts() for run in [Running(bucket.name, audit_uri) for _ in range(2)]]
    assert all(set(each) <= {"archived", "already_archived"} for each in counts)
    assert sum(each.get("archived", 0) for each in counts) == RECORDINGS
    check(bucket, audit_uri, calls)


def test_writers_at_work_lose_nothing(bucket: Bucket, a_call: MakeCall, tmp_path: Path) -> None:
    """While a run works, others replace, tag, and delete. Moment by moment: tests/recordings/test_races.py."""
    calls = {key_of(n): a_call(n, 1.0) for n in range(60)}
    for key, body in calls.items():
        bucket.put(key, body, Tagging="queue=sales")
    dice, keys = random.Random(3), sorted(calls)  # noqa: S311 (no secret)
    theirs = {key: dice.choice(["replace", "tag", "delete", "nothing"]) for key in keys}
    run = Running(bucket.name, str(tmp_path / "audit"))
    for key in dice.sample(keys, len(keys)):
        _act(bucket, key, theirs[key])
        time.sleep(dice.uniform(0, 0.03))
    assert "failed" not in run.counts()
    for key, what in theirs.items():
        versions = bucket.versions(key)
        assert calls[key] in [bucket.body(key, version["VersionId"]) for version in versions]
        if what == "delete":
            assert not any(version["IsLatest"] for version in versions)
        elif what == "replace":
            assert bucket.body(key) == b"theirs"


def _act(bucket: Bucket, key: str, what: str) -> None:
    if what == "replace":
        bucket.put(key, b"theirs")
    elif what == "delete":
        bucket.client.delete_object(Bucket=bucket.name, Key=key)
    elif what == "tag":
        tags = [{"Key": name, "Value": value} for name, value in {**bucket.tags(key), "case": "7"}.items()]
        bucket.client.put_object_tagging(Bucket=bucket.name, Key=key, Tagging={"TagSet": tags})
