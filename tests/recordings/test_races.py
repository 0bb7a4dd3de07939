"""Somebody else acts on a recording between any two of our requests: what they did stands, and the original is kept."""

import asyncio
from collections.abc import Callable, Iterator
from io import BytesIO

import pytest
from aiohttp import web

from demo.servers import Server
from recordings.conversion.audio import convert
from recordings.profiles import PROFILES
from recordings.s3.store import Store
from recordings.settings import Settings
from recordings.table.rows import AuditRow, Status
from tests.bucket import Bucket, key_of
from tests.faults import FaultyProxy, faulty_proxy
from tests.fixtures import MakeCall, PlanRun, Stages

pytestmark = pytest.mark.slow
KEY = key_of(1)
# Two listings, GET, its tags, who owns objects here, the lifecycle rules, PUT, the old tags again, the new ones, the
# listing of versions, the new tags, PUT tags.
REQUESTS = 12
BEFORE_OUR_LISTING, AFTER_OUR_GET, AFTER_OUR_PUT, BETWEEN_READING_AND_WRITING_TAGS = 0, 3, 7, 11
MOMENTS = pytest.mark.parametrize("moment", range(REQUESTS + 1))
Act = Callable[[], object]


class Interruption(FaultyProxy):
    """Faultless; before it passes on the request at ``moment`` (counted from 0), somebody acts."""

    moment: int = -1
    act: Act

    def __init__(self, upstream: str) -> None:
        super().__init__(upstream, probability=0)
        self.requests = 0

    async def handle(self, request: web.Request) -> web.StreamResponse:
        if self.requests == self.moment:
            await asyncio.to_thread(self.act)
        self.requests += 1
        return await super().handle(request)


@pytest.fixture
def proxy(s3: Server) -> Interruption:
    return Interruption(s3.url)


@pytest.fixture
def store(bucket: Bucket, proxy: Interruption, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    with faulty_proxy(proxy) as address:
        monkeypatch.setenv("AWS_ENDPOINT_URL", address)
        yield Store(bucket.name, Settings())


@pytest.fixture
def original(bucket: Bucket, a_call: MakeCall) -> bytes:
    lock = {"ObjectLockEnabled": "Enabled"}
    bucket.client.put_object_lock_configuration(Bucket=bucket.name, ObjectLockConfiguration=lock)
    body = a_call()
    bucket.put(KEY, body, Tagging="queue=sales")
    return body


Interrupt = Callable[[int, Act], AuditRow | None]


@pytest.fixture
def interrupted(plan: PlanRun, bucket: Bucket, run_stages: Stages, proxy: Interruption, original: bytes) -> Interrupt:
    """Archive the recording while somebody acts; its row, if it was listed, once the original is seen to be kept."""

    def run(moment: int, act: Act) -> AuditRow | None:
        proxy.moment, proxy.act = moment, act
        rows = run_stages(plan(bucket.name))
        if moment >= proxy.requests:
            act()
        assert original in [bucket.body(KEY, version["VersionId"]) for version in bucket.versions(KEY)]
        assert all(row.status in (Status.ARCHIVED, Status.CHANGED, Status.SKIPPED) for row in rows)
        return rows[0] if rows else None

    return run


def test_these_are_all_our_requests(interrupted: Interrupt, proxy: Interruption) -> None:
    row = interrupted(-1, lambda: None)
    assert row
    assert row.tagged
    assert proxy.requests == REQUESTS


@MOMENTS
def test_their_recording_stands(bucket: Bucket, interrupted: Interrupt, a_call: MakeCall, moment: int) -> None:
    theirs = a_call(2)
    interrupted(moment, lambda: bucket.put(KEY, theirs))
    converted = bytes(convert(BytesIO(theirs), len(theirs), PROFILES["alaw-mono"]).body)
    assert bucket.body(KEY) == (converted if moment == BEFORE_OUR_LISTING else theirs)


@MOMENTS
def test_their_deletion_stands(bucket: Bucket, interrupted: Interrupt, moment: int) -> None:
    interrupted(moment, lambda: bucket.client.delete_object(Bucket=bucket.name, Key=KEY))
    assert not any(version["IsLatest"] for version in bucket.versions(KEY))


@MOMENTS
def test_their_tag_stands_but_in_the_window_that_s3_leaves_open(
    bucket: Bucket, interrupted: Interrupt, moment: int
) -> None:
    tag = {"Key": "case", "Value": "7"}

    def act() -> None:
        tags = [{"Key": name, "Value": value} for name, value in bucket.tags(KEY).items()]
        bucket.client.put_object_tagging(Bucket=bucket.name, Key=KEY, Tagging={"TagSet": [*tags, tag]})

    row = interrupted(moment, act)
    assert row
    expected = {"queue": "sales", "converted": "True"}
    if moment != BETWEEN_READING_AND_WRITING_TAGS:  # docs/decisions/0004
        expected["case"] = "7"
    assert bucket.tags(KEY) == expected
    assert row.tagged


@MOMENTS
def test_their_hold_stands(bucket: Bucket, interrupted: Interrupt, moment: int) -> None:
    hold = {"Status": "ON"}
    row = interrupted(moment, lambda: bucket.client.put_object_legal_hold(Bucket=bucket.name, Key=KEY, LegalHold=hold))
    assert row
    held = {version["VersionId"]: _held(bucket, version["VersionId"]) for version in bucket.versions(KEY)}
    assert any(held.values())
    assert (row.status is Status.SKIPPED) == (moment < AFTER_OUR_GET)
    if AFTER_OUR_GET <= moment < AFTER_OUR_PUT:  # docs/decisions/0004
        assert held[str(row.version_before)]


def _held(bucket: Bucket, version_id: str) -> bool:
    return bucket.get(KEY, version_id).get("ObjectLockLegalHoldStatus") == "ON"
