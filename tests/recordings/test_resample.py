"""One recording's story, told with a real S3 server."""

import hashlib
import struct
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from demo.servers import Server
from recordings.plan import list_day
from recordings.pool import Pool
from recordings.preflight.canary import check_sight
from recordings.provenance import provenance_of
from recordings.recording import Day
from recordings.resample import resample_recording
from recordings.run import Run
from recordings.s3.objects import Sight
from recordings.s3.store import Store
from recordings.settings import Settings
from recordings.table.files import open_table
from recordings.table.rows import AuditRow, Status
from recordings.verify import verify_batch
from tests.bucket import DAY, PREFIX, Bucket, key_of
from tests.faults import EVENT_HOLD, AddingProxy, FaultyProxy, faulty_proxy
from tests.fixtures import Listed, MakeCall, PlanRun, Resample

KEY = key_of(1)


@pytest.fixture
def resample(store: Store, listed: Listed) -> Resample:
    """The row of the bucket's only recording."""

    def one(run: Run) -> AuditRow:
        (recording,) = listed(run)
        return resample_recording(store, recording, run)

    return one


def test_replaces_the_recording_and_keeps_the_original(
    bucket: Bucket, plan: PlanRun, resample: Resample, a_call: MakeCall
) -> None:
    original = a_call()
    before = bucket.put(KEY, original)

    row = resample(plan(bucket.name))

    after = bucket.get(KEY)
    assert row.status is Status.ARCHIVED
    assert after["StorageClass"] == "GLACIER_IR"
    assert after["VersionId"] == row.version_after != before["VersionId"]
    assert bucket.body(KEY, before["VersionId"]) == original
    assert row.sha256_before == hashlib.sha256(original).hexdigest()
    assert row.sha256_after == hashlib.sha256(bucket.body(KEY)).hexdigest()
    assert (row.bytes_before, row.bytes_after) == (len(original), after["ContentLength"])
    assert (row.codec_before, row.channels_before, row.codec_after, row.channels_after) == (
        "pcm_s16le",
        2,
        "pcm_alaw",
        1,
    )
    assert row.duration_after_s == pytest.approx(2.0)
    assert row.attempts == 1


def test_the_row_says_what_was_odd_about_the_source(
    bucket: Bucket, plan: PlanRun, resample: Resample, a_call: MakeCall
) -> None:
    streamed = bytearray(a_call())
    streamed[4:8], streamed[40:44] = b"\x24\xf0\xff\x7f", b"\x00\xf0\xff\x7f"  # as SoX writes into a pipe
    bucket.put(KEY, bytes(streamed))
    row = resample(plan(bucket.name))
    assert (row.status, row.reason) == (Status.ARCHIVED, None)
    assert row.note == "data size 0x7ffff000, read as all bytes to the object's end"


def test_the_row_says_what_was_odd_about_a_law(
    bucket: Bucket, plan: PlanRun, resample: Resample, converted_by_others: bytes
) -> None:
    of_16_bits = converted_by_others[:34] + b"\x10\0" + converted_by_others[36:]
    bucket.put(KEY, of_16_bits, StorageClass="GLACIER_IR")
    row = resample(plan(bucket.name))
    assert (row.status, row.note) == (Status.ALREADY_ARCHIVED, "bits per sample 16, read as 8")
    assert bucket.body(KEY) == of_16_bits


def test_keeps_what_it_did_not_mean_to_change(
    bucket: Bucket, plan: PlanRun, resample: Resample, a_call: MakeCall
) -> None:
    mine: dict[str, Any] = {
        "ContentType": "audio/x-wav",
        "ContentDisposition": 'attachment; filename="call.wav"',
        "ContentLanguage": "en",
        "CacheControl": "private",
        "Metadata": {"agent": "ida", "queue": "sales"},
    }
    bucket.put(KEY, a_call(), Tagging="team=a%26b&case=x+y", **mine)

    resample(plan(bucket.name))

    after = bucket.get(KEY)
    assert after["Metadata"].items() >= mine.pop("Metadata").items()
    assert {name: after[name] for name in mine} == mine
    assert bucket.tags(KEY) == {"team": "a&b", "case": "x y"}


def test_loses_none_of_an_objects_headers(bucket: Bucket, plan: PlanRun, resample: Resample, a_call: MakeCall) -> None:
    """All that S3 shows of an object that has every header, but for what says what the body is."""
    lock = {"ObjectLockEnabled": "Enabled"}
    bucket.client.put_object_lock_configuration(Bucket=bucket.name, ObjectLockConfiguration=lock)
    bucket.put(
        KEY,
        a_call(),
        CacheControl="private",
        ContentDisposition="inline",
        ContentEncoding="identity",
        ContentLanguage="en",
        ContentType="audio/x-wav",
        Expires=datetime(2031, 1, 1, tzinfo=UTC),
        Metadata={"agent": "ida"},
        WebsiteRedirectLocation="/elsewhere",
        ServerSideEncryption="aws:kms",
        SSEKMSKeyId="arn:aws:kms:us-east-1:000000000000:key/0b2b9a3e-0000-0000-0000-000000000000",
        BucketKeyEnabled=True,
        ObjectLockMode="GOVERNANCE",
        ObjectLockRetainUntilDate=datetime(2037, 1, 1, tzinfo=UTC),
        ObjectLockLegalHoldStatus="ON",
        Tagging="queue=sales",
    )
    before = bucket.get(KEY)["ResponseMetadata"]["HTTPHeaders"]
    assert resample(plan(bucket.name, include_held=True)).status is Status.ARCHIVED
    after = bucket.get(KEY)["ResponseMetadata"]["HTTPHeaders"]
    of_the_body = {"content-length", "etag", "last-modified", "x-amz-storage-class", "x-amz-version-id"}
    of_the_answer = {"date", "x-amz-request-id", "x-amz-id-2", "x-amzn-requestid"}
    changed = {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
    provenance = {name for name in changed if name.startswith(("x-amz-meta-archive-", "x-amz-checksum-"))}
    assert changed - of_the_body - of_the_answer - provenance == set()
    shown = ("cache-control", "expires", "x-amz-website-redirect-location", "x-amz-object-lock-legal-hold")
    assert set(shown) <= before.keys()  # the server shows what this test is about


@pytest.mark.parametrize(
    ("headers", "words"),
    [
        ({"x-amz-missing-meta": "2"}, "2 entries of metadata"),
        ({"Expires": "when it is done"}, "an Expires header that is no date"),
        ({"x-amz-object-lock-till-doomsday": "ON"}, "a lock that this version does not know"),
    ],
)
def test_skips_what_it_could_not_carry(
    s3: Server, bucket: Bucket, plan: PlanRun, listed: Listed, a_call: MakeCall, headers: dict[str, str], words: str
) -> None:
    bucket.put(KEY, a_call())
    run = plan(bucket.name)
    (recording,) = listed(run)
    before = bucket.snapshot()
    with faulty_proxy(AddingProxy(s3.url, headers)) as address, pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", address)
        row = resample_recording(Store(bucket.name, Settings()), recording, run)
    assert row.status is Status.SKIPPED
    assert str(row.reason).startswith(f"not-carried: a replacement would lose {words}")
    assert bucket.snapshot() == before


def test_an_event_hold_is_a_hold_and_is_carried(
    s3: Server, bucket: Bucket, plan: PlanRun, listed: Listed, a_call: MakeCall
) -> None:
    """No server to be had has event holds: a proxy shows one, and what is sent is looked at."""
    bucket.put(KEY, a_call())
    run, holding = plan(bucket.name), plan(bucket.name, include_held=True)
    (recording,) = listed(run)
    with faulty_proxy(AddingProxy(s3.url, EVENT_HOLD)) as address, pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", address)
        store = Store(bucket.name, Settings())
        sent: list[Any] = []
        store._client.meta.events.register("before-send.s3.PutObject", lambda request, **_: sent.append(request))
        assert str(resample_recording(store, recording, run).reason).startswith("held: ")
        assert not sent
        resample_recording(store, recording, holding)
    assert {name: sent[0].headers[name].decode() for name in EVENT_HOLD} == EVENT_HOLD


def test_skips_what_others_may_read_by_a_grant(
    bucket: Bucket, plan: PlanRun, resample: Resample, a_call: MakeCall
) -> None:
    bucket.enable_acls()
    bucket.put(KEY, a_call(), ACL="public-read")
    row = resample(plan(bucket.name))
    assert row.status is Status.SKIPPED
    assert str(row.reason).startswith(
        "acl-grants: a replacement would not be open to http://acs.amazonaws.com/groups/global"
    )
    assert len(bucket.versions(KEY)) == 1


def test_skips_what_somebody_else_owns(
    bucket: Bucket, plan: PlanRun, store: Store, resample: Resample, a_call: MakeCall
) -> None:
    """In a bucket where each writer owns what it writes; whose the canary is, is the other one's word here."""
    bucket.enable_acls()
    bucket.put(KEY, a_call())
    store.sight = Sight(owner="another account")
    assert str(resample(plan(bucket.name)).reason).startswith("other-owner: ")
    acl = store.acl(KEY, None)
    assert acl
    store.sight = Sight(owner=acl.owner)
    assert resample(plan(bucket.name)).status is Status.ARCHIVED


def test_a_tag_that_the_server_spoils_is_mended(
    s3: Server, bucket: Bucket, plan: PlanRun, listed: Listed, a_call: MakeCall
) -> None:
    """As by a server that stores the header's tags otherwise than it was told."""
    bucket.put(KEY, a_call(), Tagging="case=a%20b&queue=sales")
    run = plan(bucket.name)
    (recording,) = listed(run)

    class Spoiling(FaultyProxy):
        async def _forward(self, request: Any) -> tuple[int, dict[str, str], bytes]:
            sent.append(request.headers.get("x-amz-tagging"))
            changed = request.clone(headers={**request.headers, "x-amz-tagging": "case=a%2Bb"}) if sent[-1] else request
            return await super()._forward(changed)

    sent: list[str | None] = []
    with faulty_proxy(Spoiling(s3.url, probability=0)) as address, pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", address)
        row = resample_recording(Store(bucket.name, Settings()), recording, run)
    assert row.status is Status.ARCHIVED
    assert "case=a%20b&queue=sales" in sent
    assert bucket.tags(KEY) == {"case": "a b", "queue": "sales"}


def test_what_would_not_become_smaller_stays(bucket: Bucket, plan: PlanRun, resample: Resample) -> None:
    bucket.put(KEY, mulaw_wav(seconds=2))
    row = resample(plan(bucket.name))
    assert (row.status, row.bytes_after) == (Status.ALREADY_ARCHIVED, row.bytes_before)
    assert str(row.reason).startswith("not-smaller: ")
    assert len(bucket.versions(KEY)) == 1


def mulaw_wav(seconds: int) -> bytes:
    """mu-law, mono, 8 kHz: as many bytes as its A-law would have."""
    frames = np.random.default_rng(1).integers(0, 256, 8000 * seconds, np.uint8).tobytes()
    head = struct.pack("<4sIHHIIHHH4sII", b"fmt ", 18, 7, 1, 8000, 8000, 1, 8, 0, b"fact", 4, len(frames))
    data = struct.pack("<4sI", b"data", len(frames)) + frames
    return struct.pack("<4sI4s", b"RIFF", 4 + len(head) + len(data), b"WAVE") + head + data


def test_a_bug_becomes_its_recordings_row(
    bucket: Bucket, plan: PlanRun, resample: Resample, a_call: MakeCall, monkeypatch: pytest.MonkeyPatch
) -> None:
    def buggy(*_: Any) -> None:
        raise TypeError("nobody foresaw this")

    bucket.put(KEY, a_call())
    monkeypatch.setattr("recordings.resample.convert", buggy)
    row = resample(plan(bucket.name))
    assert (row.status, row.reason) == (Status.FAILED, "bug: TypeError: nobody foresaw this")


def test_sends_two_requests_for_an_untagged_recording(
    bucket: Bucket, plan: PlanRun, store: Store, resample: Resample, a_call: MakeCall
) -> None:
    bucket.put(KEY, a_call())
    run = plan(bucket.name)
    store.sight = check_sight(store, run)
    before = len(bucket.requests())
    resample(run)
    of_bucket = 1  # its lifecycle rules, once for a run
    assert bucket.requests_by_kind(before) == {"LIST": 2, "GET": 1 + of_bucket, "PUT": 1}


def test_says_in_the_object_where_it_came_from(
    bucket: Bucket, plan: PlanRun, resample: Resample, a_call: MakeCall
) -> None:
    before = bucket.put(KEY, a_call())
    run = plan(bucket.name)
    row = resample(run)
    provenance = provenance_of(bucket.get(KEY)["Metadata"])
    assert provenance is not None
    assert provenance.original.version == before["VersionId"] == row.version_before
    assert provenance.original.etag == before["ETag"] == row.etag_before
    assert (provenance.original.sha256, provenance.result.sha256) == (row.sha256_before, row.sha256_after)
    assert (provenance.run_id, provenance.profile) == (run.run_id, "alaw-mono")


@pytest.mark.parametrize(
    ("body", "code"),
    [
        pytest.param(b"", "empty", id="empty"),
        pytest.param(b"not a call", "not-wav", id="text"),
        pytest.param("truncated", "truncated", id="truncated"),
    ],
)
def test_leaves_alone_what_it_cannot_convert(
    bucket: Bucket, plan: PlanRun, resample: Resample, a_call: MakeCall, body: bytes | str, code: str
) -> None:
    bucket.put(KEY, a_call()[:-7] if isinstance(body, str) else body)
    before = bucket.snapshot()
    row = resample(plan(bucket.name))
    assert row.status is Status.REJECTED
    assert str(row.reason).partition(":")[0] == code
    assert bucket.snapshot() == before


def test_leaves_an_exempt_recording_alone(bucket: Bucket, plan: PlanRun, resample: Resample, a_call: MakeCall) -> None:
    bucket.put(KEY, a_call(), Tagging="archive=exempt")
    before = bucket.snapshot()
    row = resample(plan(bucket.name))
    assert (row.status, row.reason) == (Status.SKIPPED, "exempt: marked archive=exempt")
    assert bucket.snapshot() == before


@pytest.mark.parametrize("key", [key_of(1)[:-4] + ".json", key_of(1) + ".bak"])
def test_takes_nothing_else_for_a_recording(
    bucket: Bucket, plan: PlanRun, resample: Resample, a_call: MakeCall, key: str
) -> None:
    bucket.put(key, a_call())
    before = len(bucket.requests())
    row = resample(plan(bucket.name))
    assert row.status is Status.SKIPPED
    assert str(row.reason).startswith("not-a-recording")
    assert bucket.requests_by_kind(before) == {"LIST": 2}


def test_leaves_young_recordings_alone(bucket: Bucket, plan: PlanRun, resample: Resample, a_call: MakeCall) -> None:
    bucket.put(KEY, a_call())
    row = resample(plan(bucket.name, min_age_days=60))
    assert row.status is Status.SKIPPED
    assert str(row.reason).startswith("too-young")


def test_their_write_survives_ours(
    bucket: Bucket, plan: PlanRun, store: Store, listed: Listed, a_call: MakeCall, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody replaces the recording between our GET and our PUT."""
    bucket.put(KEY, a_call(1))
    theirs = a_call(2)
    replace = Store.replace

    def replace_late(self: Store, *arguments: Any, **properties: Any) -> Any:
        bucket.put(KEY, theirs)
        return replace(self, *arguments, **properties)

    monkeypatch.setattr(Store, "replace", replace_late)
    run = plan(bucket.name)
    (recording,) = listed(run)
    row = resample_recording(store, recording, run)
    assert row.status is Status.CHANGED
    assert bucket.body(KEY) == theirs


def test_their_deletion_stands(bucket: Bucket, plan: PlanRun, store: Store, listed: Listed, a_call: MakeCall) -> None:
    bucket.put(KEY, a_call())
    run = plan(bucket.name)
    (recording,) = listed(run)
    bucket.client.delete_object(Bucket=bucket.name, Key=KEY)
    before = bucket.snapshot()
    assert resample_recording(store, recording, run).status is Status.CHANGED
    assert bucket.snapshot() == before


def test_its_own_result_met_again_is_success(
    bucket: Bucket, plan: PlanRun, store: Store, listed: Listed, a_call: MakeCall, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The PUT succeeds, its answer is lost, and the client sends it again."""
    bucket.put(KEY, a_call())
    replace = Store.replace

    def replace_twice(self: Store, *arguments: Any, **properties: Any) -> Any:
        replace(self, *arguments, **properties)
        return replace(self, *arguments, **properties)

    monkeypatch.setattr(Store, "replace", replace_twice)
    run = plan(bucket.name)
    (recording,) = listed(run)
    row = resample_recording(store, recording, run)
    assert row.status is Status.ARCHIVED
    assert row.attempts == 2
    assert row.version_after == bucket.get(KEY)["VersionId"]
    assert len(bucket.versions(KEY)) == 2


def test_another_runs_result_is_already_archived(
    bucket: Bucket, plan: PlanRun, resample: Resample, a_call: MakeCall
) -> None:
    bucket.put(KEY, a_call())
    first_run = plan(bucket.name)
    first = resample(first_run)
    before, sent = bucket.snapshot(), len(bucket.requests())

    again = resample(plan(bucket.name))

    assert bucket.requests_by_kind(sent) == {"LIST": 2, "HEAD": 1}
    assert bucket.snapshot() == before
    assert again.status is Status.ALREADY_ARCHIVED
    assert again.reason == f"found-archived: by run {first_run.run_id}"
    same = ("bytes_before", "bytes_after", "sha256_before", "sha256_after", "version_before", "version_after",
            "codec_before", "codec_after", "storage_class_before", "duration_after_s", "etag_before")  # fmt: skip
    assert [getattr(again, name) for name in same] == [getattr(first, name) for name in same]


def test_an_alaw_recording_of_others_is_already_archived(
    bucket: Bucket, plan: PlanRun, resample: Resample, converted_by_others: bytes
) -> None:
    bucket.put(KEY, converted_by_others, StorageClass="GLACIER_IR", Tagging="convert-batch=done")
    before = bucket.snapshot()
    row = resample(plan(bucket.name))
    assert row.status is Status.ALREADY_ARCHIVED
    assert row.bytes_after == row.bytes_before == len(converted_by_others)
    assert bucket.snapshot() == before


def test_an_alaw_recording_in_a_dear_class_is_put_again_unchanged(
    bucket: Bucket, plan: PlanRun, resample: Resample, converted_by_others: bytes
) -> None:
    bucket.put(KEY, converted_by_others)
    row = resample(plan(bucket.name))
    assert row.status is Status.ARCHIVED
    assert bucket.get(KEY)["StorageClass"] == "GLACIER_IR"
    assert bucket.body(KEY) == converted_by_others


def test_converts_again_from_the_original_only(
    bucket: Bucket, plan: PlanRun, resample: Resample, a_call: MakeCall
) -> None:
    original = bucket.put(KEY, a_call())
    resample(plan(bucket.name))
    row = resample(plan(bucket.name, overwrite_converted=True, profile="alaw-stereo"))
    assert row.status is Status.ARCHIVED
    assert (row.codec_before, row.channels_before, row.channels_after) == ("pcm_s16le", 2, 2)
    assert row.version_before == original["VersionId"]
    assert len(bucket.versions(KEY)) == 3


def test_refuses_to_convert_a_conversion(bucket: Bucket, plan: PlanRun, resample: Resample, a_call: MakeCall) -> None:
    original = bucket.put(KEY, a_call())
    resample(plan(bucket.name))
    bucket.client.delete_object(Bucket=bucket.name, Key=KEY, VersionId=original["VersionId"])
    before = bucket.snapshot()
    row = resample(plan(bucket.name, overwrite_converted=True, profile="alaw-stereo"))
    assert row.status is Status.REJECTED
    assert str(row.reason).startswith("original-gone")
    assert bucket.snapshot() == before


@pytest.mark.parametrize(("profile", "content_type"), [("flac-stereo", "audio/flac"), ("opus-dual", "audio/ogg")])
def test_what_is_no_wav_says_so_in_the_content_type(
    bucket: Bucket, plan: PlanRun, resample: Resample, a_call: MakeCall, profile: str, content_type: str
) -> None:
    bucket.put(KEY, a_call(), ContentType="audio/wav")
    row = resample(plan(bucket.name, profile=profile))
    assert row.status is Status.ARCHIVED
    assert bucket.get(KEY)["ContentType"] == content_type


def test_opus_is_made_from_the_original_not_from_a_law(
    bucket: Bucket, plan: PlanRun, resample: Resample, a_call: MakeCall
) -> None:
    original = bucket.put(KEY, a_call())
    resample(plan(bucket.name))
    row = resample(plan(bucket.name, overwrite_converted=True, profile="opus-dual"))
    assert (row.status, row.codec_before, row.codec_after) == (Status.ARCHIVED, "pcm_s16le", "opus")
    assert row.version_before == original["VersionId"]
    assert row.channels_after == 2
    figures = (row.worst_error_left, row.worst_error_right, row.least_kept_left, row.delay_right_s, row.crosstalk)
    assert None not in figures


def test_a_recording_of_which_only_a_law_is_left_is_refused(
    bucket: Bucket, plan: PlanRun, resample: Resample, a_call: MakeCall, converted_by_others: bytes
) -> None:
    original = bucket.put(KEY, a_call())
    resample(plan(bucket.name))
    bucket.client.delete_object(Bucket=bucket.name, Key=KEY, VersionId=original["VersionId"])
    before = bucket.snapshot()
    row = resample(plan(bucket.name, overwrite_converted=True, profile="opus-dual"))
    assert (row.status, str(row.reason).partition(":")[0]) == (Status.REJECTED, "original-gone")
    assert bucket.snapshot() == before
    bucket.put(KEY, converted_by_others)
    row = resample(plan(bucket.name, profile="opus-dual"))
    assert (row.status, str(row.reason).partition(":")[0]) == (Status.REJECTED, "only-a-law")


KMS_KEY = "arn:aws:kms:us-east-1:000000000000:key/01507b3f-1022-4cbf-97c7-58ea71d26648"


def test_keeps_the_encryption(bucket: Bucket, plan: PlanRun, resample: Resample, a_call: MakeCall) -> None:
    bucket.put(KEY, a_call(), ServerSideEncryption="aws:kms", SSEKMSKeyId=KMS_KEY)
    assert resample(plan(bucket.name)).status is Status.ARCHIVED
    after = bucket.get(KEY)
    assert (after["ServerSideEncryption"], after["SSEKMSKeyId"]) == ("aws:kms", KMS_KEY)


@pytest.fixture
def locking(bucket: Bucket) -> Bucket:
    lock = {"ObjectLockEnabled": "Enabled"}
    bucket.client.put_object_lock_configuration(Bucket=bucket.name, ObjectLockConfiguration=lock)
    return bucket


def test_carries_the_lock(locking: Bucket, plan: PlanRun, resample: Resample, a_call: MakeCall) -> None:
    until = datetime.now(UTC).replace(microsecond=0) + timedelta(days=30)
    locking.put(KEY, a_call(), ObjectLockMode="GOVERNANCE", ObjectLockRetainUntilDate=until)
    assert resample(plan(locking.name)).status is Status.ARCHIVED
    after = locking.get(KEY)
    assert (after["ObjectLockMode"], after["ObjectLockRetainUntilDate"]) == ("GOVERNANCE", until)


def test_a_lock_that_has_run_out_is_not_carried(
    locking: Bucket, plan: PlanRun, resample: Resample, a_call: MakeCall
) -> None:
    soon = datetime.now(UTC) + timedelta(seconds=1)
    locking.put(KEY, a_call(), ObjectLockMode="GOVERNANCE", ObjectLockRetainUntilDate=soon)
    while datetime.now(UTC) <= soon + timedelta(seconds=1):
        time.sleep(0.1)
    assert resample(plan(locking.name)).status is Status.ARCHIVED
    assert "ObjectLockMode" not in locking.get(KEY)


def test_a_hold_is_respected_and_with_consent_carried(
    locking: Bucket, plan: PlanRun, resample: Resample, a_call: MakeCall
) -> None:
    locking.put(KEY, a_call(), ObjectLockLegalHoldStatus="ON")
    before = locking.snapshot()
    row = resample(plan(locking.name))
    assert (row.status, str(row.reason).partition(":")[0]) == (Status.SKIPPED, "held")
    assert locking.snapshot() == before
    assert resample(plan(locking.name, include_held=True)).status is Status.ARCHIVED
    assert locking.get(KEY)["ObjectLockLegalHoldStatus"] == "ON"


def test_a_hold_lifted_meanwhile_is_not_brought_back(
    locking: Bucket, plan: PlanRun, resample: Resample, a_call: MakeCall, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = locking.put(KEY, a_call(), ObjectLockLegalHoldStatus="ON")["VersionId"]
    _before_our_put(
        monkeypatch,
        lambda: locking.client.put_object_legal_hold(
            Bucket=locking.name, Key=KEY, VersionId=version, LegalHold={"Status": "OFF"}
        ),
    )
    resample(plan(locking.name, include_held=True))
    assert locking.get(KEY)["ObjectLockLegalHoldStatus"] == "OFF"


def test_tags_changed_meanwhile_are_carried(
    bucket: Bucket, plan: PlanRun, resample: Resample, a_call: MakeCall, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket.put(KEY, a_call(), Tagging="queue=sales")
    tags = [{"Key": "queue", "Value": "support"}, {"Key": "case", "Value": "7"}]
    _before_our_put(
        monkeypatch,
        lambda: bucket.client.put_object_tagging(Bucket=bucket.name, Key=KEY, Tagging={"TagSet": tags}),
    )
    resample(plan(bucket.name))
    assert bucket.tags(KEY) == {"queue": "support", "case": "7"}


def _before_our_put(monkeypatch: pytest.MonkeyPatch, act: Callable[[], Any]) -> None:
    replace = Store.replace

    def replace_late(self: Store, *arguments: Any, **properties: Any) -> Any:
        act()
        return replace(self, *arguments, **properties)

    monkeypatch.setattr(Store, "replace", replace_late)


def test_a_customers_key_is_not_ours_to_use(
    bucket: Bucket, plan: PlanRun, resample: Resample, a_call: MakeCall
) -> None:
    bucket.put(KEY, a_call(), SSECustomerAlgorithm="AES256", SSECustomerKey="k" * 32)
    before = bucket.snapshot()
    row = resample(plan(bucket.name))
    assert (row.status, str(row.reason).partition(":")[0]) == (Status.SKIPPED, "needs-key")
    assert bucket.snapshot() == before


@pytest.mark.parametrize("storage_class", ["GLACIER", "DEEP_ARCHIVE"])
def test_what_needs_a_thaw_is_left(
    bucket: Bucket, plan: PlanRun, resample: Resample, a_call: MakeCall, storage_class: str
) -> None:
    bucket.put(KEY, a_call(), StorageClass=storage_class)
    before = bucket.snapshot()
    row = resample(plan(bucket.name))
    assert (row.status, str(row.reason).partition(":")[0]) == (Status.SKIPPED, "needs-thaw")
    assert bucket.snapshot() == before


def test_a_recording_older_than_versioning_keeps_its_null_version(
    unversioned_bucket: Bucket, plan: PlanRun, a_call: MakeCall, pool: Pool
) -> None:
    bucket, original = unversioned_bucket, a_call()
    bucket.put(KEY, original)
    bucket.client.put_bucket_versioning(Bucket=bucket.name, VersioningConfiguration={"Status": "Enabled"})
    run, store = plan(bucket.name), Store(bucket.name, Settings())
    (recording,) = list_day(store, open_table(run.audit_uri), Day(prefix=PREFIX, date=DAY), run).open
    row = resample_recording(store, recording, run)
    assert (row.status, row.version_before) == (Status.ARCHIVED, "null")
    (verified,) = verify_batch(store, [row], pool)
    assert (verified.verified, verified.original_kept) == (True, True)
    assert bucket.body(KEY, "null") == original


def test_metadata_that_leaves_no_room_is_left(
    bucket: Bucket, plan: PlanRun, resample: Resample, a_call: MakeCall
) -> None:
    bucket.put(KEY, a_call(), Metadata={"notes": "x" * 1900})
    before = bucket.snapshot()
    row = resample(plan(bucket.name))
    assert (row.status, str(row.reason).partition(":")[0]) == (Status.SKIPPED, "metadata-full")
    assert bucket.snapshot() == before
