"""What a run must see is proved on an object of its own, and what is proved is used."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from demo.servers import Server
from recordings.canary import NAME, check_sight
from recordings.finding import PreflightFailed
from recordings.run import Run
from recordings.s3.store import Store
from recordings.settings import Settings
from tests.bucket import PREFIX, Bucket, key_of
from tests.faults import FaultyProxy, faulty_proxy

Plan = Callable[..., Run]
KEY = key_of(1)


class Hiding(FaultyProxy):
    """Passes everything on, and leaves these headers out of each answer."""

    def __init__(self, upstream: str, *hidden: str) -> None:
        super().__init__(upstream, probability=0)
        self._hidden = hidden

    async def _forward(self, request: Any) -> tuple[int, dict[str, str], bytes]:
        status, headers, body = await super()._forward(request)
        return status, {name: value for name, value in headers.items() if name.lower() not in self._hidden}, body


@pytest.fixture
def through(s3: Server, bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Store]]:
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


def test_all_is_seen_and_the_store_knows_it(bucket: Bucket, plan: Plan, store: Store, a_call: Any) -> None:
    bucket.put(KEY, a_call())
    check_sight(store, plan(bucket.name))
    assert store.shows_tag_counts
    assert store.owner is None  # where ACLs are disabled nobody needs to know
    assert bucket.tags(PREFIX + NAME) == {"canary": "of the recording archive"}


def test_whose_the_replacements_will_be_is_known_where_it_matters(bucket: Bucket, plan: Plan, store: Store) -> None:
    bucket.enable_acls()
    check_sight(store, plan(bucket.name))
    assert store.owner


def test_a_bucket_without_recordings_is_tried_all_the_same(bucket: Bucket, plan: Plan, store: Store) -> None:
    check_sight(store, plan(bucket.name))
    assert store.shows_tag_counts


def test_counts_that_are_never_shown_are_no_proof(bucket: Bucket, plan: Plan, through: Any, archive: Any) -> None:
    """As from a server that does not send them: then each recording is asked for its tags."""
    store = through("x-amz-tagging-count")
    check_sight(store, plan(bucket.name))
    assert not store.shows_tag_counts


def test_the_canary_is_held_no_longer_than_it_takes(locking: Bucket, plan: Plan, store: Store) -> None:
    for _ in range(2):  # a run finds the canary of the last one
        check_sight(store, plan(locking.name))
    held = [locking.get(PREFIX + NAME, version["VersionId"]) for version in locking.versions(PREFIX + NAME)]
    assert [each.get("ObjectLockLegalHoldStatus") for each in held] == ["OFF", "OFF"]


@pytest.mark.parametrize(
    ("header", "code"),
    [
        ("x-amz-object-lock-legal-hold", "cannot-see-holds"),
        ("x-amz-object-lock-retain-until-date", "cannot-see-locks"),
    ],
)
def test_a_lock_that_is_not_shown_blocks(locking: Bucket, plan: Plan, through: Any, header: str, code: str) -> None:
    with pytest.raises(PreflightFailed) as error:
        check_sight(through(header), plan(locking.name))
    assert codes_of(error) == [code]
    assert "Grant the run's role s3:GetObject" in str(error.value)


def test_the_canary_is_encrypted_as_a_recording_is(bucket: Bucket, plan: Plan, store: Store, a_call: Any) -> None:
    key_id = "arn:aws:kms:us-east-1:000000000000:key/0b2b9a3e-0000-0000-0000-000000000000"
    bucket.put(KEY, a_call(), ServerSideEncryption="aws:kms", SSEKMSKeyId=key_id)
    check_sight(store, plan(bucket.name))
    assert bucket.get(PREFIX + NAME)["SSEKMSKeyId"] == key_id
