"""What a run must see is proved on an object of its own, and what is proved is used."""

import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any, Protocol

import pytest
from aiohttp import web

from demo.servers import Server
from recordings.finding import PreflightFailed
from recordings.preflight import canary
from recordings.preflight.canary import NAME, check_sight
from recordings.s3.objects import Encryption, Sight
from recordings.s3.store import Store
from recordings.settings import Settings
from tests.bucket import DAY, PREFIX, Bucket, key_of
from tests.faults import RARE_ERRORS, ErrorProxy, FaultyProxy, HidingProxy, Proxy, faulty_proxy
from tests.fixtures import MakeCall, PlanRun

KEY = key_of(1)


class Hiding(FaultyProxy):
    """Passes everything on, and leaves these headers out of each answer."""

    def __init__(self, upstream: str, *hidden: str) -> None:
        super().__init__(upstream, probability=0)
        self._hidden = hidden

    async def _forward(self, request: Any) -> tuple[int, dict[str, str], bytes]:
        status, headers, body = await super()._forward(request)
        return status, {name: value for name, value in headers.items() if name.lower() not in self._hidden}, body


class Through(Protocol):
    def __call__(self, *hidden: str) -> Store: ...


@pytest.fixture
def through(s3: Server, bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> Iterator[Through]:
    """A store that sees the bucket through a proxy that hides these headers."""
    proxies: list[Any] = []

    def make(*hidden: str) -> Store:
        proxy = faulty_proxy(Hiding(s3.url, *hidden))
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.__enter__())
        proxies.append(proxy)
        return Store(bucket.name, Settings())

    yield make
    for proxy in proxies:
        proxy.__exit__(None, None, None)


@pytest.fixture
def locking(bucket: Bucket) -> Bucket:
    lock = {"ObjectLockEnabled": "Enabled"}
    bucket.client.put_object_lock_configuration(Bucket=bucket.name, ObjectLockConfiguration=lock)
    return bucket


def codes_of(error: pytest.ExceptionInfo[PreflightFailed]) -> list[str]:
    return [finding.code for finding in error.value.findings]


def test_all_is_seen_and_so_said(bucket: Bucket, plan: PlanRun, store: Store, a_call: MakeCall) -> None:
    bucket.put(KEY, a_call())
    sight = check_sight(store, plan(bucket.name))
    assert sight == Sight(shows_tag_counts=True, owner=None)  # where ACLs are disabled nobody needs to know
    assert bucket.tags(PREFIX + NAME) == {"canary": "of the recording archive"}


def test_whose_the_replacements_will_be_is_known_where_it_matters(
    bucket: Bucket, plan: PlanRun, store: Store, a_call: MakeCall
) -> None:
    bucket.enable_acls()
    bucket.put(KEY, a_call())
    assert check_sight(store, plan(bucket.name)).owner


def test_nothing_is_written_where_nothing_lies(bucket: Bucket, plan: PlanRun, store: Store) -> None:
    assert not check_sight(store, plan(bucket.name)).shows_tag_counts
    assert bucket.versions("") == []


def test_each_place_is_tried(bucket: Bucket, plan: PlanRun, store: Store, a_call: MakeCall) -> None:
    bucket.put(KEY, a_call())
    bucket.put(key_of(2, folder="ivr/"), a_call())
    check_sight(store, plan(bucket.name))
    assert [len(bucket.versions(place + NAME)) for place in (PREFIX, PREFIX + "ivr/")] == [1, 1]


class Elsewhere(HidingProxy):
    """Hides only what lies below one folder, as a policy that names another one does."""

    folder: str

    async def handle(self, request: web.Request) -> web.StreamResponse:
        below = f"/{self.folder}" in request.path
        return await (super().handle(request) if below else Proxy.handle(self, request))

    def _hiding(self, asked: Any, name: str, headers: Any) -> str | None:
        return super()._hiding(asked, name, headers) if asked.key.startswith(self.folder) else None


@pytest.mark.parametrize("action", ["s3:GetObjectTagging", "s3:GetObjectVersionTagging", "s3:GetObjectLegalHold"])
@pytest.mark.parametrize("folder", ["connect/other/CallRecordings/", f"{PREFIX}ivr/"])
def test_what_is_hidden_in_one_place_only_blocks(
    s3: Server,
    locking: Bucket,
    plan: PlanRun,
    a_call: MakeCall,
    monkeypatch: pytest.MonkeyPatch,
    action: str,
    folder: str,
) -> None:
    locking.put(KEY, a_call())
    locking.put(f"{folder}{DAY:%Y/%m/%d}/a.wav", a_call(), Tagging="archive=exempt")
    proxy = Elsewhere(s3.url, without=[action])
    proxy.folder = folder
    run = plan(locking.name, prefixes=[PREFIX, "connect/other/CallRecordings/"])
    with faulty_proxy(proxy) as address:
        monkeypatch.setenv("AWS_ENDPOINT_URL", address)
        with pytest.raises(PreflightFailed, match=action):
            check_sight(Store(locking.name, Settings()), run)


def test_one_odd_object_blocks_nothing(bucket: Bucket, plan: PlanRun, store: Store, a_call: MakeCall) -> None:
    """The first of its day can be looked at only with its owner's key, and the second is one no longer."""
    own = {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": "k" * 32}
    bucket.put(key_of(0), a_call(), **own)
    bucket.put(KEY, a_call())
    assert check_sight(store, plan(bucket.name)).shows_tag_counts


def test_a_key_that_is_disabled_blocks_only_if_no_other_can_be_used(
    s3: Server, bucket: Bucket, plan: PlanRun, a_call: MakeCall, monkeypatch: pytest.MonkeyPatch
) -> None:
    key_id = "arn:aws:kms:us-east-1:000000000000:key/0b2b9a3e-0000-0000-0000-000000000000"
    bucket.put(key_of(0), a_call(), ServerSideEncryption="aws:kms", SSEKMSKeyId=key_id)
    disabled = RARE_ERRORS[0]
    proxy = ErrorProxy(s3.url, disabled, lambda asked: "x-amz-server-side-encryption-aws-kms-key-id" in asked.headers)
    with faulty_proxy(proxy) as address:
        monkeypatch.setenv("AWS_ENDPOINT_URL", address)
        with pytest.raises(PreflightFailed, match=r"KMS\.DisabledException") as error:
            check_sight(Store(bucket.name, Settings()), plan(bucket.name))
        assert "Grant" not in str(error.value)  # granting would change nothing
        bucket.put(KEY, a_call())
        check_sight(Store(bucket.name, Settings()), plan(bucket.name))


def test_counts_that_are_never_shown_are_no_proof(
    bucket: Bucket, plan: PlanRun, through: Through, a_call: MakeCall
) -> None:
    """As from a server that does not send them: then each recording is asked for its tags."""
    bucket.put(KEY, a_call())
    store = through("x-amz-tagging-count")
    assert not check_sight(store, plan(bucket.name)).shows_tag_counts


def test_the_canary_is_held_no_longer_than_it_takes(
    locking: Bucket, plan: PlanRun, store: Store, a_call: MakeCall
) -> None:
    locking.put(KEY, a_call())
    for _ in range(2):  # a run finds the canary of the last one
        check_sight(store, plan(locking.name))
    held = [locking.get(PREFIX + NAME, version["VersionId"]) for version in locking.versions(PREFIX + NAME)]
    assert [each.get("ObjectLockLegalHoldStatus") for each in held] == ["OFF", "OFF"]


def held_canary(store: Store) -> str | None:
    """As a run leaves it that is killed while it holds its canary."""
    left = store.put_canary(PREFIX + NAME, tags={}, encryption=Encryption(), locked_for=timedelta(minutes=5)).version_id
    store.put_hold(PREFIX + NAME, left, held=True)
    return left


def test_the_holds_that_killed_runs_left_are_lifted_once_no_run_can_need_them(
    locking: Bucket, plan: PlanRun, store: Store, a_call: MakeCall, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also of those whose canary lies below a dozen newer ones, as where a backfill ran on within the hour."""
    locking.put(KEY, a_call())
    left = [held_canary(store), held_canary(store)]
    for dead_after, runs, status in ((timedelta(hours=1), 12, "ON"), (timedelta(seconds=-1), 1, "OFF")):
        monkeypatch.setattr(canary, "_DEAD_AFTER", dead_after)
        for _ in range(runs):
            check_sight(store, plan(locking.name))
        assert {locking.get(PREFIX + NAME, each)["ObjectLockLegalHoldStatus"] for each in left} == {status}


@pytest.mark.slow
def test_canaries_that_an_earlier_run_has_seen_are_not_asked_for_again(
    locking: Bucket, plan: PlanRun, store: Store, a_call: MakeCall, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(canary, "_DEAD_AFTER", timedelta(seconds=1))
    monkeypatch.setattr(canary, "_SLACK", timedelta(0))
    locking.put(KEY, a_call())

    def heads() -> int:
        before = len(locking.requests())
        check_sight(store, plan(locking.name))
        return locking.requests_by_kind(before)["HEAD"]

    none_there = heads()
    for _ in range(4):
        held_canary(store)
    time.sleep(3.1)  # server times are whole seconds
    assert heads() == none_there + 5  # the first run wrote no later than a second before those four
    time.sleep(2.1)
    assert heads() == none_there + 1


@pytest.mark.parametrize(
    ("header", "code"),
    [
        ("x-amz-object-lock-legal-hold", "cannot-see-holds"),
        ("x-amz-object-lock-retain-until-date", "cannot-see-locks"),
    ],
)
def test_a_lock_that_is_not_shown_blocks(
    locking: Bucket, plan: PlanRun, through: Through, a_call: MakeCall, header: str, code: str
) -> None:
    locking.put(KEY, a_call())
    with pytest.raises(PreflightFailed) as error:
        check_sight(through(header), plan(locking.name))
    assert codes_of(error) == [code]
    assert "Grant the run's role s3:GetObject" in str(error.value)


def test_the_canary_is_encrypted_as_a_recording_is(
    bucket: Bucket, plan: PlanRun, store: Store, a_call: MakeCall
) -> None:
    key_id = "arn:aws:kms:us-east-1:000000000000:key/0b2b9a3e-0000-0000-0000-000000000000"
    bucket.put(KEY, a_call(), ServerSideEncryption="aws:kms", SSEKMSKeyId=key_id)
    check_sight(store, plan(bucket.name))
    assert bucket.get(PREFIX + NAME)["SSEKMSKeyId"] == key_id
