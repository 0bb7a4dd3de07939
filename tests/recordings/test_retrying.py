"""One patience for whatever may pass: it lasts for a time, and every stage of a run has it."""

from collections.abc import Callable, Iterator

import pytest
from aiohttp import web

from demo.servers import Server
from recordings.errors import StoreUnavailable
from recordings.jobs.engine.object_search import ObjectSearch
from recordings.plan import list_day
from recordings.pool import Pool
from recordings.recording import Batch, Day
from recordings.request import Selection
from recordings.resample import resample_batch
from recordings.retrying import patience
from recordings.run import Run
from recordings.s3.objects import Version
from recordings.s3.store import Store
from recordings.settings import Settings
from recordings.table.files import AuditFiles, open_files, open_table
from recordings.table.rows import AuditRow, Status
from recordings.tag import tag_batch
from recordings.verify import verify_batch
from tests.bucket import DAY, PREFIX, Bucket, key_of
from tests.faults import FaultyProxy, faulty_proxy
from tests.fixtures import MakeCall, PlanRun, Setting

OLD_COUNT = 12  # attempts, as many as there once were


class Clock:
    """Time passes only while somebody waits for it."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def sleep(self, pause_s: float) -> None:
        self.now_s += pause_s


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("time.monotonic", lambda: clock.now_s)
    monkeypatch.setattr("time.sleep", clock.sleep)
    return clock


@pytest.fixture
def short(setting: Setting) -> None:
    setting(PATIENCE_S=0.2)


class Outage(FaultyProxy):
    """Answers 503 to so many requests, then passes all on."""

    def __init__(self, upstream: str) -> None:
        super().__init__(upstream, probability=0)
        self.left = 0

    async def handle(self, request: web.Request) -> web.StreamResponse:
        if self.left:
            self.left -= 1
            return web.Response(status=503, body=b"<Error><Code>SlowDown</Code></Error>")
        return await super().handle(request)


@pytest.fixture
def outage(s3: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Outage]:
    proxy = Outage(s3.url)
    with faulty_proxy(proxy) as address:
        monkeypatch.setenv("AWS_ENDPOINT_URL", address)
        yield proxy


def test_lasts_for_minutes_not_for_a_count(clock: Clock) -> None:
    def down_for_nine_minutes() -> str:
        if clock.now_s < 540:
            raise StoreUnavailable("down")
        return "up"

    retrying = patience()
    assert retrying(down_for_nine_minutes) == "up"
    assert retrying.statistics["attempt_number"] > OLD_COUNT


def test_ends_soon_after_its_deadline(clock: Clock) -> None:
    def down() -> None:
        raise StoreUnavailable("down")

    with pytest.raises(StoreUnavailable, match="down"):
        patience()(down)
    assert 600 <= clock.now_s <= 620


def test_is_for_what_may_pass_only() -> None:
    calls = []

    def broken() -> None:
        calls.append(1)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        patience()(broken)
    assert calls == [1]


@pytest.mark.usefixtures("short")
def test_its_length_is_a_setting(bucket: Bucket, outage: Outage) -> None:
    outage.left = 10**9
    files = open_files(f"s3://{bucket.name}/audit", lambda name: Store(name, Settings(max_attempts=1)))
    with pytest.raises(StoreUnavailable):
        files.read("x")


Step = Callable[[Store, Run, Pool, list[AuditRow]], list[AuditRow]]
DAY_OF_CALLS = Day(prefix=PREFIX, date=DAY)
STEPS: dict[str, Step] = {
    "resample": lambda store, run, pool, _: resample_batch(
        store, Batch(DAY, 1, list_day(store, open_table(run.audit_uri), DAY_OF_CALLS, run).open), run, pool
    ),
    "verify": lambda store, run, pool, rows: verify_batch(store, rows, pool, 100),
    "tag": lambda store, run, pool, rows: tag_batch(store, rows, pool),
}


@pytest.mark.parametrize("hit", STEPS)
def test_every_stage_waits_out_the_same_outage(
    bucket: Bucket,
    outage: Outage,
    plan: PlanRun,
    pool: Pool,
    a_call: MakeCall,
    hit: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("time.sleep", lambda _: None)
    bucket.put(key_of(1), a_call())
    run, store, rows = plan(bucket.name), Store(bucket.name, Settings(max_attempts=1)), list[AuditRow]()
    for name, step in STEPS.items():
        outage.left = 5 * OLD_COUNT if name == hit else 0
        rows = step(store, run, pool, rows)
        assert outage.left == 0
    assert [(row.status, row.verified, row.tagged) for row in rows] == [(Status.ARCHIVED, True, True)]


@pytest.mark.parametrize("with_markers", [False, True])
def test_a_search_for_objects_goes_on_where_a_listing_broke_off(
    bucket: Bucket, outage: Outage, files: AuditFiles, monkeypatch: pytest.MonkeyPatch, with_markers: bool
) -> None:
    """Each key once, also if the page ended between a delete marker and the versions below it."""
    keys = [key_of(n) for n in range(4)]
    for key in keys:
        bucket.put(key, b"")
        bucket.client.delete_object(Bucket=bucket.name, Key=key)
    store = Store(bucket.name, Settings(max_attempts=1))
    listed, pages = store.list_versions, list[int]()

    def fails_after_each_page(prefix: str, **named: str) -> Iterator[list[Version]]:
        for page in listed(prefix, page_size=3, **named):
            yield page
            pages.append(len(page))
            outage.left = 2  # boto3 repeats the request once

    monkeypatch.setattr(store, "list_versions", fails_after_each_page)
    wanted = Selection(bucket=bucket.name, prefixes=(PREFIX,), start_date=DAY, end_date=DAY)
    found = [key for some in ObjectSearch(wanted, store, files, with_markers=with_markers) for key in some]
    outage.left = 0
    assert found == keys
    assert len(pages) > 2
