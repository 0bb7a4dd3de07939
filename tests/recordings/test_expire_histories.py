"""Any history of versions, markers, tags, holds and rules ends as a model of ten lines says, on a real server."""

from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, given, settings

from demo.servers import Server
from recordings.retention_rules import RetentionRule
from recordings.table.rows import Status
from tests.bucket import Bucket, key_of
from tests.recordings.expiring import World
from tests.recordings.tables import NOW

pytestmark = [pytest.mark.slow, pytest.mark.s3_servers("seaweed")]  # ministack: tests/test_servers.py says why
AGES_DAYS = st.sampled_from([10, 40, 100])
KEEP = st.none() | st.sampled_from([5, 30, 90])
EVENTS = st.sampled_from(
    ["overwrite", "hide", "hold newest", "hold oldest", "tag case", "exempt", "exempt oldest", "short", "case row"]
)
_TAGS = {"tag case": ("legal-hold", "C-1"), "exempt": ("archive", "exempt"), "short": ("retention", "short")}


@dataclass
class History:
    """What became of one recording after it had been archived."""

    known: bool
    takes: int  # versions before the original
    age_days: int
    events: list[str] = field(default_factory=list)


HISTORIES = st.lists(
    st.builds(
        History,
        known=st.integers(0, 9).map(bool),
        takes=st.integers(0, 2),
        age_days=AGES_DAYS,
        events=st.lists(EVENTS, max_size=2, unique=True),
    ),
    min_size=1,
    max_size=5,
)


def is_deleted(history: History, keep_days: int | None, short_days: int | None) -> bool:
    """The model."""
    events, is_tagged = history.events, "short" in history.events
    kept_for = short_days if is_tagged else keep_days
    if not history.known or "overwrite" in events:
        return False
    if {"hold newest", "hold oldest", "tag case", "case row", "exempt", "exempt oldest"} & {*events}:
        return False
    return kept_for is not None and history.age_days > kept_for


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(histories=HISTORIES, keep_days=KEEP, short_days=KEEP)
def test_any_history(
    s3: Server,
    tmp_path_factory: pytest.TempPathFactory,
    histories: list[History],
    keep_days: int | None,
    short_days: int | None,
) -> None:
    bucket = Bucket(s3)
    world = World(bucket, Path(tmp_path_factory.mktemp("audit")))
    lock = {"ObjectLockEnabled": "Enabled"}
    bucket.client.put_object_lock_configuration(Bucket=bucket.name, ObjectLockConfiguration=lock)
    rules = (RetentionRule(tag="retention=short", keep_days=short_days), RetentionRule(keep_days=keep_days))
    today = world.job(rules).started_at.date()
    keys = [key_of(number, today - timedelta(days=each.age_days)) for number, each in enumerate(histories)]
    for key, each in zip(keys, histories, strict=True):
        live(world, key, each, today - timedelta(days=each.age_days))
    before = bucket.snapshot()
    ended = world.expire(rules)
    rows = world.rows(Status.EXPIRED) if any(each.known for each in histories) else []
    gone = {key for key, each in zip(keys, histories, strict=True) if is_deleted(each, keep_days, short_days)}
    assert bucket.snapshot() == [line for line in before if line[0] not in gone]
    assert {row.key for row in rows} == gone
    assert ended.problems == []


def live(world: World, key: str, history: History, day: Any) -> None:
    for take in range(history.takes):
        world.bucket.put(key, b"take" * (take + 1))
    original, replacement = world.bucket.put(key, b"original"), world.bucket.put(key, b"small")
    if history.known:
        world.told(key, original, replacement, day)
    of: dict[str, Any] = {"Bucket": world.bucket.name, "Key": key}
    if tags := [_TAGS[event] for event in history.events if event in _TAGS]:
        tag_set = [{"Key": name, "Value": value} for name, value in tags]
        world.bucket.client.put_object_tagging(**of, VersionId=replacement["VersionId"], Tagging={"TagSet": tag_set})
    for event in history.events:
        match event:
            case "hold newest" | "hold oldest":
                version = (replacement if event == "hold newest" else original)["VersionId"]
                world.bucket.client.put_object_legal_hold(**of, VersionId=version, LegalHold={"Status": "ON"})
            case "exempt oldest":
                tag_set = [{"Key": "archive", "Value": "exempt"}]
                version = original["VersionId"]
                world.bucket.client.put_object_tagging(**of, VersionId=version, Tagging={"TagSet": tag_set})
            case "case row" if history.known:
                row = next(row for row in world.rows() if row.key == key)
                world.tell(replace(row, status=Status.HELD, reason="case: C-2", started_at=NOW))
    if "overwrite" in history.events:
        world.bucket.put(key, b"theirs")
    if "hide" in history.events:
        world.bucket.client.delete_object(**of)
