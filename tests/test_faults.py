"""The proxies of tests/faults.py change requests as they say, in front of a real server."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from demo.servers import Server
from tests.bucket import ON_BOTH, Bucket
from tests.faults import RARE_ERRORS, ErrorProxy, HidingProxy, Proxy, S3Error, faulty_proxy, unknown_error
from tests.s3_requests import s3_request

pytestmark = ON_BOTH
KEY = "calls/a b+c:ä.wav"
NOVEL = S3Error(status=400, code="AmberBasalt", message="The <amber> & basalt.")


@contextmanager
def seen_through(proxy: Proxy) -> Iterator[Any]:
    with faulty_proxy(proxy) as address:
        yield boto3.client("s3", endpoint_url=address, config=Config(retries={"total_max_attempts": 1}))


def refusal(call: Any, **parameters: Any) -> Mapping[str, Any]:
    with pytest.raises(ClientError) as refused:
        call(**parameters)
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403
    return refused.value.response["Error"]


@pytest.fixture
def kept(bucket: Bucket) -> dict[str, str]:
    """An object with all that IAM may hide, as a request names it: its bucket, key and version."""
    lock = {"ObjectLockEnabled": "Enabled"}
    bucket.client.put_object_lock_configuration(Bucket=bucket.name, ObjectLockConfiguration=lock)
    version = bucket.put(
        KEY,
        b"a call",
        Tagging="queue=sales",
        ChecksumAlgorithm="SHA256",
        ObjectLockLegalHoldStatus="ON",
        ObjectLockMode="GOVERNANCE",
        ObjectLockRetainUntilDate=datetime.now(UTC) + timedelta(days=1),
    )["VersionId"]
    return {"Bucket": bucket.name, "Key": KEY, "VersionId": version}


def test_a_role_that_lacks_nothing_sees_everything(s3: Server, kept: dict[str, str]) -> None:
    with seen_through(HidingProxy(s3.url, without=())) as client:
        for answer in (client.head_object(**kept), client.get_object(**kept)):
            assert answer["ObjectLockLegalHoldStatus"] == "ON"
            assert answer["ObjectLockMode"] == "GOVERNANCE"
        assert client.get_object_tagging(**kept)["TagSet"] == [{"Key": "queue", "Value": "sales"}]


@pytest.mark.parametrize(
    ("action", "versioned", "hidden"),
    [
        ("s3:GetObjectTagging", False, "x-amz-tagging-count"),
        ("s3:GetObjectVersionTagging", True, "x-amz-tagging-count"),
        ("s3:GetObjectLegalHold", False, "x-amz-object-lock-legal-hold"),
        ("s3:GetObjectRetention", True, "x-amz-object-lock-mode"),
        ("s3:GetObjectRetention", True, "x-amz-object-lock-retain-until-date"),
    ],
)
def test_what_a_missing_action_would_show_is_left_out(
    s3: Server, kept: dict[str, str], action: str, versioned: bool, hidden: str
) -> None:
    asked = kept if versioned else {"Bucket": kept["Bucket"], "Key": KEY}
    whole, proxy = HidingProxy(s3.url, without=()), HidingProxy(s3.url, without=[action])
    with seen_through(whole) as everything, seen_through(proxy) as client:
        shown = everything.get_object(**asked)["ResponseMetadata"]["HTTPHeaders"]
        left = client.get_object(**asked)["ResponseMetadata"]["HTTPHeaders"]
    assert hidden in shown
    assert hidden not in left
    assert proxy.hidden[action]
    assert not proxy.refused


@pytest.mark.parametrize("versioned", [False, True])
def test_tags_need_one_action_without_a_version_id_and_another_with_one(
    s3: Server, kept: dict[str, str], versioned: bool
) -> None:
    plain, of_version = {"Bucket": kept["Bucket"], "Key": KEY}, kept
    action = "s3:GetObjectVersionTagging" if versioned else "s3:GetObjectTagging"
    with seen_through(HidingProxy(s3.url, without=[action])) as client:
        told = refusal(client.get_object_tagging, **(of_version if versioned else plain))
        assert told["Code"] == "AccessDenied"
        assert (
            f'is not authorized to perform: {action} on resource: "arn:aws:s3:::{kept["Bucket"]}/{KEY}"'
            in told["Message"]
        )
        client.get_object_tagging(**(plain if versioned else of_version))


@pytest.mark.parametrize(
    ("action", "operation", "parameters"),
    [
        ("s3:GetObject", "get_object", {}),
        ("s3:GetObject", "head_object", {}),
        ("s3:PutObject", "put_object", {}),
        ("s3:PutObjectTagging", "put_object", {"Tagging": "a=b"}),
        ("s3:PutObjectRetention", "put_object", {"ObjectLockMode": "GOVERNANCE"}),
        ("kms:GenerateDataKey", "put_object", {"ServerSideEncryption": "aws:kms"}),
        ("s3:DeleteObject", "delete_object", {}),
        ("s3:DeleteObjectVersion", "delete_object", {"VersionId": "1"}),
        ("s3:PutObjectLegalHold", "put_object_legal_hold", {"LegalHold": {"Status": "ON"}}),
        ("s3:GetObjectVersion", "copy_object", {"CopySource": {"Bucket": "any", "Key": "any", "VersionId": "1"}}),
        ("s3:GetObjectTagging", "copy_object", {"CopySource": "any/any"}),
        ("s3:ListBucketVersions", "list_object_versions", {}),
        ("s3:GetLifecycleConfiguration", "get_bucket_lifecycle_configuration", {}),
    ],
)
def test_a_request_that_needs_the_missing_action_is_refused_and_does_nothing(
    s3: Server, bucket: Bucket, action: str, operation: str, parameters: dict[str, Any]
) -> None:
    bucket.put(KEY, b"a call")
    before = bucket.snapshot()
    named = {"Bucket": bucket.name} | ({} if "bucket" in operation or "versions" in operation else {"Key": KEY})
    proxy = HidingProxy(s3.url, without=[action])
    with seen_through(proxy) as client:
        refusal(getattr(client, operation), **named, **parameters)
    assert proxy.refused == {action: 1}
    assert bucket.snapshot() == before


def test_who_may_not_list_is_not_told_that_a_key_does_not_exist(s3: Server, bucket: Bucket) -> None:
    with seen_through(HidingProxy(s3.url, without=["s3:ListBucket"])) as client:
        assert refusal(client.get_object, Bucket=bucket.name, Key="none")["Code"] == "AccessDenied"


def test_without_the_key_nothing_encrypted_is_read_and_no_checksum_shown(s3: Server) -> None:
    proxy = HidingProxy(s3.url, without=["kms:Decrypt"])
    asked = s3_request("GET", "/bucket/key", {}), s3_request("HEAD", "/bucket/key", {})
    headers = {"x-amz-server-side-encryption": "aws:kms", "x-amz-checksum-sha256": "abc", "etag": "e"}
    assert [proxy._missing_by_answer(each, 200, headers) for each in asked] == ["kms:Decrypt", None]
    assert proxy._shown(asked[1], headers) == {"x-amz-server-side-encryption": "aws:kms", "etag": "e"}
    assert proxy._shown(asked[1], {"x-amz-checksum-sha256": "abc"}) == {"x-amz-checksum-sha256": "abc"}


@pytest.mark.parametrize(
    ("method", "path", "operation"),
    [
        ("GET", "/b?list-type=2&prefix=a%2F", "ListObjectsV2"),
        ("GET", "/b?versions&prefix=a", "ListObjectVersions"),
        ("GET", "/b?object-lock", "GetObjectLockConfiguration"),
        ("PUT", "/b?lifecycle", "PutBucketLifecycleConfiguration"),
        ("GET", "/b/a%20b?tagging&versionId=1", "GetObjectTagging"),
        ("PUT", "/b/a?legal-hold", "PutObjectLegalHold"),
        ("DELETE", "/b/a?versionId=1", "DeleteObject"),
        ("PUT", "/b/a?partNumber=1&uploadId=2", "UploadPart"),
        ("POST", "/b/a?uploadId=2", "CompleteMultipartUpload"),
        ("HEAD", "/b", "HeadBucket"),
    ],
)
def test_a_request_is_read_as_the_operation_it_is(method: str, path: str, operation: str) -> None:
    assert s3_request(method, path, {}).operation == operation


def test_the_error_hits_the_requests_picked_and_no_others(s3: Server, bucket: Bucket) -> None:
    for key in ("good", "bad"):
        bucket.put(key, b"a call")
    proxy = ErrorProxy(s3.url, NOVEL, lambda asked: asked.key == "bad", after=1, times=1)
    with seen_through(proxy) as client:
        client.get_object(Bucket=bucket.name, Key="bad")["Body"].read()
        with pytest.raises(ClientError) as hit:
            client.get_object(Bucket=bucket.name, Key="bad")
        client.get_object(Bucket=bucket.name, Key="good")["Body"].read()
        client.get_object(Bucket=bucket.name, Key="bad")["Body"].read()
    told = hit.value.response
    assert (told["Error"]["Code"], told["Error"]["Message"]) == (NOVEL.code, NOVEL.message)
    assert told["ResponseMetadata"]["HTTPStatusCode"] == NOVEL.status
    assert [asked.key for asked in proxy.hit] == ["bad"]
    assert [asked.operation for asked in proxy.seen] == ["GetObject"] * 4


@pytest.mark.parametrize("lost", [False, True])
def test_where_the_answer_is_lost_the_server_has_acted(s3: Server, bucket: Bucket, lost: bool) -> None:
    with seen_through(ErrorProxy(s3.url, NOVEL, lambda _: True, lost=lost)) as client, pytest.raises(ClientError):
        client.put_object(Bucket=bucket.name, Key=KEY, Body=b"a call")
    assert [version["Size"] for version in bucket.versions(KEY)] == ([6] if lost else [])


def test_unknown_errors_are_unknown_and_many() -> None:
    drawn = [unknown_error(seed) for seed in range(200)]
    assert len({error.code for error in drawn}) > 150
    assert {error.status for error in drawn}.isdisjoint({404, 405, 412})
    assert all(error.code not in {rare.code for rare in RARE_ERRORS} for error in drawn)
    assert unknown_error(7) == unknown_error(7)
