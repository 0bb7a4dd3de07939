"""How the two S3 servers of the tests differ, and which of them behaves as AWS does: docs/decisions/0033.

Each difference is asserted, so that we notice a release that removes one, and can extend the tests that avoid it.
"""

from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import psutil
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from demo.servers import Server
from tests.bucket import ON_BOTH, Bucket
from tests.seaweed import HAS_WHEEL

KEY = "calls/one.wav"
STALE = '"00000000000000000000000000000000"'
RULE = {
    "ID": "abort",
    "Status": "Enabled",
    "Filter": {"Prefix": ""},
    "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 7},
}


def outcome(call: Callable[[], Any]) -> Any:
    """What a call returns, or the code of the error it ends in."""
    try:
        return call()
    except ClientError as error:
        return error.response["Error"]["Code"]


def _copy(bucket: Bucket, **parameters: Any) -> Any:
    bucket.put(KEY, b"a call", StorageClass="STANDARD_IA")
    names = {"Bucket": bucket.name, "Key": KEY, "CopySource": f"{bucket.name}/{KEY}", "StorageClass": "STANDARD"}
    return bucket.client.copy_object(**names, **parameters)


def copy_over_another_version(bucket: Bucket) -> Any:
    return outcome(lambda: _copy(bucket, IfMatch=STALE) and "copied")


def etag_of_a_copy_is_quoted(bucket: Bucket) -> Any:
    return _copy(bucket)["CopyObjectResult"]["ETag"].startswith('"')


def class_of_a_copy_in_standard(bucket: Bucket) -> Any:
    _copy(bucket)
    return bucket.get(KEY).get("StorageClass")


def put_over_a_key_that_does_not_exist(bucket: Bucket) -> Any:
    return outcome(lambda: bucket.put(KEY, b"", IfMatch=STALE))


def tag_count_on_head(bucket: Bucket) -> Any:
    bucket.put(KEY, b"a call", Tagging="queue=sales")
    return bucket.client.head_object(Bucket=bucket.name, Key=KEY).get("TagCount")


def checksum_type(bucket: Bucket) -> Any:
    bucket.put(KEY, b"a call", ChecksumAlgorithm="SHA256")
    return bucket.client.head_object(Bucket=bucket.name, Key=KEY, ChecksumMode="ENABLED").get("ChecksumType")


def lock_until_yesterday(bucket: Bucket) -> Any:
    lock = {"ObjectLockEnabled": "Enabled"}
    bucket.client.put_object_lock_configuration(Bucket=bucket.name, ObjectLockConfiguration=lock)
    until = datetime.now(UTC) - timedelta(days=1)
    return outcome(
        lambda: bucket.put(KEY, b"", ObjectLockMode="GOVERNANCE", ObjectLockRetainUntilDate=until) and "locked"
    )


def encryption_by_kms(bucket: Bucket) -> Any:
    client = client_of(bucket, "demo")
    names = {"Bucket": bucket.name, "Key": KEY, "ServerSideEncryption": "aws:kms", "SSEKMSKeyId": "demo"}
    return outcome(lambda: client.put_object(**names)["ServerSideEncryption"])


def read_without_its_owners_key(bucket: Bucket) -> Any:
    key = {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": "0" * 32}
    with suppress(ClientError):
        bucket.put(KEY, b"a call", **key)
    return outcome(lambda: bucket.get(KEY) and "read")


def eleven_tags(bucket: Bucket) -> Any:
    bucket.put(KEY, b"a call")
    tags = [{"Key": str(number), "Value": ""} for number in range(11)]
    return outcome(lambda: bucket.client.put_object_tagging(Bucket=bucket.name, Key=KEY, Tagging={"TagSet": tags}))


def read_from_deep_archive(bucket: Bucket) -> Any:
    bucket.put(KEY, b"a call", StorageClass="DEEP_ARCHIVE")
    return outcome(lambda: bucket.get(KEY) and "read")


def read_a_delete_marker(bucket: Bucket) -> Any:
    bucket.put(KEY, b"a call")
    marker = bucket.client.delete_object(Bucket=bucket.name, Key=KEY)["VersionId"]
    return outcome(lambda: bucket.get(KEY, marker))


def version_id_of_an_object_older_than_versioning(bucket: Bucket) -> Any:
    older = Bucket(bucket.server, versioned=False)
    older.put(KEY, b"a call")
    older.client.put_bucket_versioning(Bucket=older.name, VersioningConfiguration={"Status": "Enabled"})
    return older.get(KEY).get("VersionId")


def tags_of_a_multipart_upload(bucket: Bucket) -> Any:
    names = {"Bucket": bucket.name, "Key": KEY}
    upload = bucket.client.create_multipart_upload(**names, Tagging="queue=sales")["UploadId"]
    etag = bucket.client.upload_part(**names, UploadId=upload, PartNumber=1, Body=b"a call")["ETag"]
    parts = {"Parts": [{"ETag": etag, "PartNumber": 1}]}
    bucket.client.complete_multipart_upload(**names, UploadId=upload, MultipartUpload=parts)
    return bucket.tags(KEY)


def smallest_size_of_transitions(bucket: Bucket) -> Any:
    bucket.client.put_bucket_lifecycle_configuration(
        Bucket=bucket.name,
        LifecycleConfiguration={"Rules": [RULE]},
        TransitionDefaultMinimumObjectSize="varies_by_storage_class",
    )
    answer = bucket.client.get_bucket_lifecycle_configuration(Bucket=bucket.name)
    return answer["TransitionDefaultMinimumObjectSize"]


def a_wrong_secret(bucket: Bucket) -> Any:
    return outcome(lambda: client_of(bucket, "wrong").list_objects_v2(Bucket=bucket.name) and "believed")


def tags_below_a_delete_marker(bucket: Bucket) -> Any:
    version = bucket.put(KEY, b"a call", Tagging="queue=sales")["VersionId"]
    bucket.client.delete_object(Bucket=bucket.name, Key=KEY)
    asked = {"Bucket": bucket.name, "Key": KEY, "VersionId": version}
    return outcome(lambda: bucket.client.get_object_tagging(**asked)["TagSet"][0]["Value"])


def client_of(bucket: Bucket, secret: str) -> Any:
    return boto3.client(
        "s3",
        endpoint_url=bucket.server.url,
        aws_access_key_id="demo",
        aws_secret_access_key=secret,
        config=Config(retries={"total_max_attempts": 1}),
    )


# What each server answers; the one that answers as AWS does is named in the decision.
DIFFERENCES = [
    (copy_over_another_version, "copied", "PreconditionFailed"),
    (etag_of_a_copy_is_quoted, True, False),
    (class_of_a_copy_in_standard, None, "STANDARD"),
    (put_over_a_key_that_does_not_exist, "NoSuchKey", "PreconditionFailed"),
    (tag_count_on_head, None, 1),
    (checksum_type, "FULL_OBJECT", None),
    (lock_until_yesterday, "locked", "InvalidRequest"),
    (encryption_by_kms, "aws:kms", "InternalError"),
    (read_without_its_owners_key, "InvalidRequest", "InvalidArgument"),
    (eleven_tags, "BadRequest", "InvalidTag"),
    (read_from_deep_archive, "InvalidObjectState", "read"),
    (read_a_delete_marker, "MethodNotAllowed", "NoSuchKey"),
    (version_id_of_an_object_older_than_versioning, None, "null"),
    (tags_of_a_multipart_upload, {}, {"queue": "sales"}),
    (smallest_size_of_transitions, "all_storage_classes_128K", "varies_by_storage_class"),
    (tags_below_a_delete_marker, "NoSuchKey", "sales"),
    (a_wrong_secret, "believed", "SignatureDoesNotMatch"),
]


@ON_BOTH
@pytest.mark.parametrize(
    ("probe", "on_ministack", "on_seaweed"), DIFFERENCES, ids=[each[0].__name__ for each in DIFFERENCES]
)
def test_the_servers_differ_as_the_decision_says(
    bucket: Bucket,
    request: pytest.FixtureRequest,
    probe: Callable[[Bucket], Any],
    on_ministack: object,
    on_seaweed: object,
) -> None:
    server = request.node.callspec.params["s3"]
    assert probe(bucket) == {"ministack": on_ministack, "seaweed": on_seaweed}[server]


def test_the_decision_lists_each_difference() -> None:
    decision = (Path(__file__).parents[1] / "docs" / "decisions" / "0033-two-s3-servers-in-the-tests.md").read_text()
    assert [probe.__name__ for probe, _, _ in DIFFERENCES if f"`{probe.__name__}`" not in decision] == []


@pytest.mark.skipif(not HAS_WHEEL, reason="there is no wheel of SeaweedFS for this platform")
def test_seaweed_is_reached_from_this_machine_alone(seaweed: Server) -> None:
    (weed,) = (each for each in psutil.Process().children() if each.name() == "weed")
    listening = {each.laddr.ip for each in weed.net_connections() if each.status == psutil.CONN_LISTEN}
    assert listening == {"127.0.0.1"}
