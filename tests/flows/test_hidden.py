"""A role that lacks one action sees less: the run is refused or the recording skipped, and nothing hidden is lost."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from demo.servers import Server
from flows.archive import archive_recordings
from recordings.errors import InvalidRequest, StoreRefused
from recordings.summary import RunFailed
from tests.bucket import DAY, PREFIX, Bucket, key_of
from tests.faults import HidingProxy, faulty_proxy
from tests.fixtures import MakeCall

pytestmark = pytest.mark.usefixtures("prefect")
UNTIL = datetime(2037, 1, 1, tzinfo=UTC)
# What a recording may have that a role may not see, by the number in its key.
RECORDINGS: dict[int, dict[str, Any]] = {
    0: {},
    1: {"Tagging": "queue=sales&case=a%20b"},
    2: {"Tagging": "archive=exempt"},
    3: {"ObjectLockLegalHoldStatus": "ON"},
    4: {"ObjectLockMode": "GOVERNANCE", "ObjectLockRetainUntilDate": UNTIL},
    5: {"Metadata": {"agent": "ida"}, "Expires": UNTIL},
}
# Without these the run must not begin: it would take what is hidden for nothing.
BLOCKING = [
    "s3:GetObjectTagging",
    "s3:GetObjectVersionTagging",
    "s3:GetObjectLegalHold",
    "s3:GetObjectRetention",
    "s3:PutObjectVersionTagging",
    "s3:PutObjectLegalHold",
    "s3:PutObjectRetention",
    "s3:PutObjectTagging",
    "s3:GetObject",
    "s3:PutObject",
]
OTHERS = ["s3:GetObjectVersion", "s3:ListBucketVersions", "s3:GetBucketOwnershipControls", "s3:GetObjectAcl"]


Without = Callable[[str], HidingProxy]


@pytest.fixture
def filled(bucket: Bucket, a_call: MakeCall) -> Bucket:
    lock = {"ObjectLockEnabled": "Enabled"}
    bucket.client.put_object_lock_configuration(Bucket=bucket.name, ObjectLockConfiguration=lock)
    for number, properties in RECORDINGS.items():
        bucket.put(key_of(number), a_call(number), **properties)
    return bucket


@pytest.fixture
def without(ministack: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Without]:
    """From now on this process sees S3 as a role without an action does."""
    running: list[Any] = []

    def through(action: str) -> HidingProxy:
        proxy = HidingProxy(ministack.url, without=[action])
        running.append(faulty_proxy(proxy))
        monkeypatch.setenv("AWS_ENDPOINT_URL", running[-1].__enter__())
        return proxy

    yield through
    for each in running:
        each.__exit__(None, None, None)


def archive_and_read_back(bucket: Bucket, audit_uri: str) -> Any:
    return archive_recordings(
        bucket=bucket.name,
        prefixes=[PREFIX],
        audit_uri=audit_uri,
        start_date=DAY,
        end_date=DAY,
        include_held=True,
        readback_percent=100,
    )


def belongings(bucket: Bucket, key: str) -> dict[str, Any]:
    """All that an object has beside its body, as its owner sees it."""
    answer = bucket.get(key)
    names = ("Expires", "ObjectLockMode", "ObjectLockRetainUntilDate", "ObjectLockLegalHoldStatus")
    tags = {name: value for name, value in bucket.tags(key).items() if name != "converted"}
    metadata = {name: value for name, value in answer["Metadata"].items() if not name.startswith("archive-")}
    return {"tags": tags, "metadata": metadata} | {name: answer[name] for name in names if name in answer}


@pytest.mark.parametrize("action", BLOCKING)
def test_a_run_that_would_be_blind_does_not_begin(
    filled: Bucket, audit_uri: str, without: Without, action: str
) -> None:
    before = filled.snapshot()
    proxy = without(action)
    with pytest.raises((InvalidRequest, StoreRefused), match=action):
        archive_and_read_back(filled, audit_uri)
    assert proxy.refused[action] or proxy.hidden[action]
    assert filled.snapshot() == before


@pytest.mark.parametrize("action", [*BLOCKING, *OTHERS])
def test_nothing_hidden_is_lost(filled: Bucket, audit_uri: str, without: Without, action: str) -> None:
    before = {key_of(number): belongings(filled, key_of(number)) for number in RECORDINGS}
    without(action)
    with suppress(InvalidRequest, StoreRefused, RunFailed):
        archive_and_read_back(filled, audit_uri)
    assert {key: belongings(filled, key) for key in before} == before
    assert len(filled.versions(key_of(2))) == 1  # the exempt one


def test_with_every_action_all_is_archived_and_carried(filled: Bucket, audit_uri: str) -> None:
    """Otherwise the tests above could not fail."""
    before = {key_of(number): belongings(filled, key_of(number)) for number in RECORDINGS}
    assert archive_and_read_back(filled, audit_uri).counts == {"archived": len(RECORDINGS) - 1, "skipped": 1}
    assert {key: belongings(filled, key) for key in before} == before


def test_a_replacement_whose_checksum_is_not_shown_is_read(
    ministack: Server, filled: Bucket, audit_uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after a run that died between PUT and tag, on a server, or under a role, that shows no checksum."""
    archive_and_read_back(filled, audit_uri)

    class Showing(HidingProxy):
        def _hiding(self, asked: Any, name: str, headers: Any) -> str | None:
            return "hidden" if name.startswith("x-amz-checksum-") else super()._hiding(asked, name, headers)

    with faulty_proxy(Showing(ministack.url, without=[])) as address:
        monkeypatch.setenv("AWS_ENDPOINT_URL", address)
        counts = archive_and_read_back(filled, str(tmp_path / "another table")).counts
    assert counts == {"already_archived": len(RECORDINGS) - 1, "skipped": 1}
