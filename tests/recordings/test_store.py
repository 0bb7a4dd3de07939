"""S3's answers, as the rest of the code sees them."""

import dataclasses
import hashlib
import tracemalloc
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from demo.servers import Server
from recordings.errors import Changed, StoreRefused, StoreUnavailable
from recordings.s3.store import Store
from recordings.settings import Settings
from tests.bucket import Bucket
from tests.faults import FaultyProxy, faulty_proxy

KEY = "calls/a b+c%20é:1.wav"


def replace(store: Store, key: str, body: bytes | bytearray, **changes: Any) -> Any:
    properties = {
        "sha256": hashlib.sha256(body).hexdigest(),
        "storage_class": "GLACIER_IR",
        "content_type": "audio/wav",
        "metadata": {},
        "tags": {},
    }
    return store.replace(store.head(key), body, **{**properties, **changes})


def test_reads_headers_first_and_the_body_in_pieces(bucket: Bucket, store: Store) -> None:
    bucket.put(KEY, b"x" * 100_000, Tagging="a=b", Metadata={"m": "1"})
    with store.read(KEY) as (stored, body):
        assert (stored.size_bytes, stored.tag_count, stored.metadata) == (100_000, 1, {"m": "1"})
        pieces = list(iter(lambda: body.read(30_000), b""))
    assert b"".join(pieces) == b"x" * 100_000
    assert len(pieces) == 4


@pytest.mark.parametrize("algorithm", ["CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256"])
def test_a_damaged_body_is_noticed(bucket: Bucket, s3: Server, monkeypatch: pytest.MonkeyPatch, algorithm: str) -> None:
    """Whatever checksum S3 has: CRC64NVME is what it gives to objects that came without one."""
    bucket.put(KEY, bytes(2000), ChecksumAlgorithm=algorithm)
    with faulty_proxy(FaultyProxy(s3.url, probability=1, faults=("flipped",))) as address:
        monkeypatch.setenv("AWS_ENDPOINT_URL", address)
        with Store(bucket.name, Settings()).read(KEY) as (_, body), pytest.raises(StoreUnavailable, match="checksum"):
            list(iter(lambda: body.read(1000), b""))


def test_replaces_only_what_it_has_seen(bucket: Bucket, store: Store) -> None:
    bucket.put(KEY, b"old")
    seen = store.head(KEY)
    bucket.put(KEY, b"theirs")
    with pytest.raises(Changed):
        store.replace(
            seen, b"ours", sha256=hashlib.sha256(b"ours").hexdigest(), storage_class="STANDARD", content_type="a/b",
            metadata={}, tags={},
        )  # fmt: skip
    assert bucket.body(KEY) == b"theirs"


def test_s3_refuses_a_body_that_is_not_what_we_meant(bucket: Bucket, store: Store) -> None:
    bucket.put(KEY, b"old")
    with pytest.raises((StoreUnavailable, StoreRefused, Changed)):
        replace(store, KEY, b"new", sha256=hashlib.sha256(b"other").hexdigest())
    assert bucket.body(KEY) == b"old"


@pytest.mark.parametrize("said", [b"new", b"other"])
def test_a_body_is_signed_by_the_checksum_it_is_sent_with(bucket: Bucket, store: Store, said: bytes) -> None:
    """By nothing computed again: what is signed is what was said, and where that is wrong S3 refuses it."""
    bucket.put(KEY, b"old")
    signed: list[str] = []
    store._client.meta.events.register(
        "before-send.s3.PutObject", lambda request, **_: signed.append(request.headers["X-Amz-Content-SHA256"].decode())
    )
    with suppress(StoreUnavailable, StoreRefused, Changed):
        replace(store, KEY, b"new", sha256=hashlib.sha256(said).hexdigest())
    assert set(signed) == {hashlib.sha256(said).hexdigest()}
    assert bucket.body(KEY) == (b"new" if said == b"new" else b"old")


def test_the_checksum_of_what_we_wrote_is_s3s(bucket: Bucket, store: Store) -> None:
    bucket.put(KEY, b"old")
    replace(store, KEY, bytearray(b"new"))
    assert store.head(KEY).sha256 == hashlib.sha256(b"new").hexdigest()


def test_writing_copies_no_body(bucket: Bucket, store: Store) -> None:
    """boto3's CRT would: memory is budgeted for one copy of each result."""
    bucket.put(KEY, b"old")
    replace(store, KEY, b"warm")
    body = bytearray(20_000_000)
    tracemalloc.start()
    replace(store, KEY, body)
    _, most_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most_bytes < 5_000_000


def test_creates_once(bucket: Bucket, store: Store) -> None:
    store.create("f", b"1")
    store.create("f", b"1")  # our own write again: its answer had been lost
    with pytest.raises(Changed):
        store.create("f", b"2")
    assert bucket.body("f") == b"1"


@pytest.mark.parametrize("gone", ["head", "tags"])
def test_a_missing_object_has_changed(store: Store, gone: str) -> None:
    calls: dict[str, Callable[[], object]] = {"head": lambda: store.head("no"), "tags": lambda: store.tags("no", None)}
    with pytest.raises(Changed, match=r"s3://recordings-\w+/no was deleted"):
        calls[gone]()


def test_a_dead_server_is_unavailable(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")  # the discard port: nobody listens
    store = Store(bucket.name, Settings(max_attempts=1))
    with pytest.raises(StoreUnavailable):
        store.versioning()


def test_pages_of_versions_are_whole_and_in_order(bucket: Bucket, store: Store) -> None:
    for number in range(5):
        for body in (b"1", b"2", b"3"):
            bucket.put(f"k{number}", body)
    bucket.client.delete_object(Bucket=bucket.name, Key="k3")
    pages = list(store.list_versions("k", after_key="k1", page_size=4))
    assert len(pages) >= 3
    lines = [(version.key, version.is_current, version.size_bytes) for page in pages for version in page]
    assert sorted(lines) == sorted(
        [(f"k{n}", n != 3 and i == 0, 1) for n in (2, 3, 4) for i in range(3)] + [("k3", True, 0)]
    )


def test_counts_its_requests(bucket: Bucket, store: Store) -> None:
    bucket.put(KEY, b"x")
    store.head(KEY)
    store.head(KEY)
    store.versioning()
    assert store.requests == {"HeadObject": 2, "GetBucketVersioning": 1}


def test_s3_is_told_who_asks(bucket: Bucket, store: Store) -> None:
    bucket.put(KEY, b"x")
    sent = []
    store._client.meta.events.register("before-send.s3.HeadObject", lambda request, **_: sent.append(request.headers))
    store.head(KEY)
    assert sent[0]["User-Agent"].startswith(b"connect-recording-archive/")


def test_without_credentials_the_message_says_so(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
    with pytest.raises(StoreRefused, match="set AWS credentials in the environment or give the task a role"):
        Store(bucket.name, Settings()).versioning()


def test_the_bucket_key_is_asked_for_again(bucket: Bucket, store: Store) -> None:
    """The test's S3 forgets that an object was encrypted with a bucket key, so what is sent is looked at."""
    bucket.put(KEY, b"old")
    sent = []
    store._client.meta.events.register("before-send.s3.PutObject", lambda request, **_: sent.append(request.headers))
    carried = {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": "k", "BucketKeyEnabled": True}
    seen = dataclasses.replace(store.head(KEY), carried=carried)
    digest = hashlib.sha256(b"new").hexdigest()
    store.replace(seen, b"new", sha256=digest, storage_class="STANDARD", content_type="a/b", metadata={}, tags={})
    (headers,) = sent
    assert headers["x-amz-server-side-encryption-bucket-key-enabled"] == b"true"
    assert headers["x-amz-server-side-encryption-aws-kms-key-id"] == b"k"


def test_another_client_of_the_process_keeps_its_signer(bucket: Bucket, store: Store) -> None:
    from botocore.auth import AUTH_TYPE_MAPS

    signer = AUTH_TYPE_MAPS["s3v4"]
    assert not signer.__module__.startswith("recordings")
    names: list[str] = []

    def note(signature_version: str, **_: Any) -> None:
        names.append(signature_version)

    for client in (bucket.client, store._client):
        client.meta.events.register("before-sign.s3", note)
    bucket.put("another", b"")
    store.create("ours", b"")
    assert names[0] == "s3v4"
    assert names[1] != "s3v4"
