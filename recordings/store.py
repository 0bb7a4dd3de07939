"""One S3 bucket, and every request we make to it. The only file that knows boto3.

Each method is one request kind; failures come out as the classes of ``recordings.errors`` with the cause kept.
A ``Store`` cannot delete.
"""

import base64
import hashlib
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import cache
from typing import Any
from urllib.parse import urlencode

import boto3
import botocore.session
from botocore.auth import AUTH_TYPE_MAPS, S3SigV4Auth
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError, NoCredentialsError, PartialCredentialsError
from botocore.exceptions import ConnectionError as NotConnectedError
from botocore.utils import parse_timestamp
from urllib3.exceptions import HTTPError as TransportError

from recordings import __version__
from recordings.errors import Changed, Skipped, StoreRefused, StoreUnavailable
from recordings.pricing import KMS
from recordings.settings import Settings


class _Signer(S3SigV4Auth):
    """botocore's own signer. It would take CRT's, which makes a stream of each body, and for that a copy."""

    def payload(self, request: Any) -> str:
        """The body's SHA-256, hex; where a header says it already, as S3 will check, it is not computed again."""
        known = request.headers.get("x-amz-checksum-sha256")
        return base64.b64decode(known).hex() if known else str(super().payload(request))


AUTH_TYPE_MAPS["s3v4"] = _Signer
# S3's error codes ("Error Responses" in the S3 API reference; a HEAD has no body and shows the bare HTTP status).
_CHANGED = {
    "PreconditionFailed": "replaced since it was listed",
    "412": "replaced since it was listed",
    "ConditionalRequestConflict": "written by somebody else at the same moment",
    "NoSuchKey": "deleted since it was listed",
    "NoSuchVersion": "that version was deleted",
    "404": "deleted since it was listed",
    "MethodNotAllowed": "deleted since it was listed",
    "405": "deleted since it was listed",
}
_BLOCK_BYTES = 256 * 1024
# Who asks, in CloudTrail and access logs. botocore composes its own words anew for each request, in 7 % of its time.
_NAME = f"connect-recording-archive/{__version__} boto3/{boto3.__version__}"
_NEEDS_THAW = ("needs-thaw", "lies in a storage class that must be thawed before it can be read")
_NEEDS_KEY = ("needs-key", "is encrypted with a key that only its owner has (SSE-C)")
_SKIPPED = {
    ("GetObject", "InvalidObjectState"): _NEEDS_THAW,
    ("GetObject", "InvalidRequest"): _NEEDS_KEY,
}
_UNAVAILABLE = {
    "SlowDown",
    "RequestTimeout",
    "Throttling",
    "ThrottlingException",
    "RequestLimitExceeded",
    "OperationAborted",
    "BadDigest",
    "XAmzContentChecksumMismatch",
    "XAmzContentSHA256Mismatch",
    "IncompleteBody",
}  # and every 5xx
_REFUSED = {
    "ExpiredToken": "the credentials have expired: renew them",
    "InvalidToken": "the session token is not valid: renew the credentials",
    "InvalidAccessKeyId": "there is no such access key: check the credentials",
    "SignatureDoesNotMatch": "the secret key does not fit the access key: check the credentials",
    "RequestTimeTooSkewed": "this machine's clock differs from S3's by more than 15 minutes: set it",
    "400": "the credentials have expired, or the object needs its owner's key (SSE-C)",  # a HEAD does not say which
}
_NOT_CONFIGURED = {
    "NoSuchLifecycleConfiguration",
    "ObjectLockConfigurationNotFoundError",
    "ReplicationConfigurationNotFoundError",
}
# What the body's rewrite must not change: the names are the same in GetObject's answer and in PutObject's request.
_CARRIED = (
    "CacheControl",
    "ContentDisposition",
    "ContentEncoding",
    "ContentLanguage",
)
# The same for what CopyObject does not copy by itself.
_PROTECTION = (
    "ServerSideEncryption",
    "SSEKMSKeyId",
    "BucketKeyEnabled",
    "ObjectLockMode",
    "ObjectLockRetainUntilDate",
    "ObjectLockLegalHoldStatus",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredObject:
    """One version of an object, as the headers of a GET or HEAD describe it."""

    key: str
    version_id: str | None  # None for objects older than the bucket's versioning
    etag: str
    size_bytes: int
    storage_class: str
    last_modified: datetime
    content_type: str
    metadata: Mapping[str, str]
    tag_count: int
    held: bool
    sha256: str | None  # hex, as S3 stored it with the object; None where it has another checksum or none
    locked_until: datetime | None
    carried: Mapping[str, Any]
    answered_at: datetime  # S3's clock
    attempts: int


class Body:
    """An object's bytes as they arrive; failures on the way come out as StoreUnavailable."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def read(self, size_bytes: int) -> bytes:
        """At most ``size_bytes``; empty at the end, which S3's checksum has then confirmed."""
        try:
            data: bytes = self._stream.read(size_bytes)
            return data
        except (BotoCoreError, HTTPClientError, TransportError, OSError) as error:
            raise StoreUnavailable(f"reading the body failed: {error}") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What S3 answered to a write."""

    version_id: str | None
    etag: str
    attempts: int
    sha256: str | None = None  # hex; where S3 was asked to compute it


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """One line of ListObjectVersions; a delete marker has neither ETag nor size."""

    key: str
    version_id: str
    etag: str
    size_bytes: int
    storage_class: str
    is_current: bool
    last_modified: datetime


@cache
def _models() -> Any:
    """What botocore knows of S3: 45 ms to read, so all sessions share it."""
    return botocore.session.get_session().get_component("data_loader")


def _own_session() -> boto3.Session:
    """One that does not spend two thirds of a listing's time on guessing the format of its timestamps."""
    session = botocore.session.get_session()
    session.register_component("data_loader", _models())
    session.get_component("response_parser_factory").set_parser_defaults(timestamp_parser=_timestamp)
    return boto3.Session(botocore_session=session)


def _timestamp(value: Any) -> datetime:
    """A time as S3 writes it in XML (ISO 8601), or in any other form that botocore reads, as headers have."""
    try:
        return datetime.fromisoformat(value)
    except (TypeError, ValueError):
        return parse_timestamp(value)


class Store:
    """A bucket. One client serves all threads."""

    def __init__(self, bucket: str, settings: Settings, session: boto3.Session | None = None) -> None:
        self.bucket = bucket
        self.requests: Counter[str] = Counter()  # sent so far by operation, retries included
        self._counting = threading.Lock()
        config = Config(
            max_pool_connections=2 * settings.threads + settings.batches_in_flight,  # a body half read, and one more
            retries={"mode": "standard", "max_attempts": settings.max_attempts},
            connect_timeout=settings.timeout_s,
            read_timeout=settings.timeout_s,
            request_checksum_calculation="when_required",
            user_agent=_NAME,
        )
        self._client = (session or _own_session()).client("s3", config=config)
        self._client.meta.events.register("before-send.s3", self._count)

    @property
    def is_aws(self) -> bool:
        """False when another endpoint than AWS's own is in use."""
        return "amazonaws.com" in self._client.meta.endpoint_url

    # -- listing ----------------------------------------------------------------------------------------------------

    def list_objects(self, prefix: str) -> Iterator[Mapping[str, Any]]:
        """Current objects under a prefix in key order (ListObjectsV2: Key, ETag, Size, StorageClass)."""
        following: dict[str, Any] = {}
        while True:
            page = self._request("list_objects_v2", Prefix=prefix, **following)
            yield from page.get("Contents", ())
            if not page.get("IsTruncated"):
                return
            following = {"ContinuationToken": page["NextContinuationToken"]}

    def list_versions(self, prefix: str, *, after_key: str = "", page_size: int = 1000) -> Iterator[list[Version]]:
        """Pages of all versions and delete markers under ``prefix``, of keys that sort after ``after_key``."""
        following: dict[str, Any] = {"KeyMarker": after_key} if after_key else {}
        while True:
            page = self._request("list_object_versions", Prefix=prefix, MaxKeys=page_size, **following)
            yield [_version(line) for line in (*page.get("Versions", ()), *page.get("DeleteMarkers", ()))]
            if not page.get("IsTruncated"):
                return
            following = {"KeyMarker": page["NextKeyMarker"], "VersionIdMarker": page["NextVersionIdMarker"]}

    # -- one object -------------------------------------------------------------------------------------------------

    def head(self, key: str, version_id: str | None = None) -> StoredObject:
        """The headers of the current version, or of a given one. Raises Changed where it is gone."""
        return _stored(key, self._request("head_object", Key=key, ChecksumMode="ENABLED", **_of(version_id)))

    @contextmanager
    def read(
        self, key: str, *, if_match: str | None = None, version_id: str | None = None
    ) -> Iterator[tuple[StoredObject, Body]]:
        """Headers first, then the body as a stream; the connection is dropped if the body is not read to its end."""
        condition = {"IfMatch": if_match} if if_match else {}
        answer = self._request("get_object", Key=key, ChecksumMode="ENABLED", **condition, **_of(version_id))
        try:
            yield _stored(key, answer), Body(answer["Body"])
        finally:
            answer["Body"].close()

    def sha256_of(self, stored: StoredObject) -> str:
        """The SHA-256 of a version, hex: as S3 has it, or by reading it where S3 has another checksum."""
        if stored.sha256:
            return stored.sha256
        digest = hashlib.sha256()
        with self.read(stored.key, version_id=stored.version_id) as (_, body):
            while block := body.read(_BLOCK_BYTES):
                digest.update(block)
        return digest.hexdigest()

    def replace(
        self,
        current: StoredObject,
        body: Any,
        *,
        sha256: str,
        storage_class: str,
        content_type: str,
        metadata: Mapping[str, str],
        tags: Mapping[str, str],
    ) -> Written:
        """Overwrite exactly the version that ``current`` describes, carrying what belongs to it.

        Raises Changed where another version is current by now; S3 refuses a body whose SHA-256 is not ``sha256``.
        """
        answer = self._request(
            "put_object",
            Key=current.key,
            Body=body,
            IfMatch=current.etag,
            StorageClass=storage_class,
            ContentType=content_type,
            Metadata=dict(metadata),
            ChecksumSHA256=base64.b64encode(bytes.fromhex(sha256)).decode(),
            **({"Tagging": urlencode(tags)} if tags else {}),
            **_still_valid(current.carried),
        )
        return Written(version_id=answer.get("VersionId"), etag=answer["ETag"], attempts=_attempts(answer))

    def bring_back(self, original: StoredObject, *, over: StoredObject, tags: Mapping[str, str]) -> Written:
        """Make a copy of an older version current, over exactly the version that ``over`` describes.

        Headers and metadata come along by themselves; class, encryption and lock are asked for. S3 computes a SHA-256.
        """
        answer = self._request(
            "copy_object",
            Key=original.key,
            CopySource={"Bucket": self.bucket, "Key": original.key, **_of(original.version_id)},
            IfMatch=over.etag,
            StorageClass=original.storage_class,
            TaggingDirective="REPLACE",
            Tagging=urlencode(tags),
            ChecksumAlgorithm="SHA256",
            **_still_valid({name: value for name, value in original.carried.items() if name in _PROTECTION}),
        )
        result = answer["CopyObjectResult"]
        return Written(
            version_id=answer.get("VersionId"),
            etag=result["ETag"],
            attempts=_attempts(answer),
            sha256=_hex(result.get("ChecksumSHA256")),
        )

    def tags(self, key: str, version_id: str | None) -> dict[str, str]:
        """The tags of one version."""
        answer = self._request("get_object_tagging", Key=key, **_of(version_id))
        return {tag["Key"]: tag["Value"] for tag in answer["TagSet"]}

    def put_tags(self, key: str, version_id: str | None, tags: Mapping[str, str]) -> None:
        """Replace the whole tag set of one version: S3 knows no other way, so merge first."""
        tag_set = [{"Key": name, "Value": value} for name, value in tags.items()]
        self._request("put_object_tagging", Key=key, Tagging={"TagSet": tag_set}, **_of(version_id))

    def put_hold(self, key: str, version_id: str | None, *, held: bool) -> None:
        """Set or lift the legal hold of one version."""
        status = "ON" if held else "OFF"
        self._request("put_object_legal_hold", Key=key, LegalHold={"Status": status}, **_of(version_id))

    # -- the audit table's files --------------------------------------------------------------------------------------

    def get_bytes(self, key: str) -> bytes:
        """A small object whole. Raises Changed where there is none."""
        with self.read(key) as (stored, body):
            return body.read(stored.size_bytes)

    def create(self, key: str, data: bytes) -> None:
        """Write a new object, once: an existing one of that name stays, and Changed is raised if it differs."""
        try:
            self._request("put_object", Key=key, Body=data, IfNoneMatch="*", ChecksumAlgorithm="SHA256")
        except Changed:
            if self.get_bytes(key) != data:  # equal: our own write, whose answer was lost and which was then retried
                raise

    # -- the bucket's configuration -----------------------------------------------------------------------------------

    def versioning(self) -> str:
        """``Enabled``, ``Suspended``, or an empty string for a bucket that never had it."""
        return str(self._request("get_bucket_versioning").get("Status", ""))

    def lifecycle_rules(self) -> list[Mapping[str, Any]]:
        """The bucket's lifecycle rules, none if none are set."""
        return list(self._configuration("get_bucket_lifecycle_configuration").get("Rules", ()))

    def default_lock_mode(self) -> str | None:
        """``COMPLIANCE`` or ``GOVERNANCE`` where new versions are locked by default."""
        lock = self._configuration("get_object_lock_configuration").get("ObjectLockConfiguration", {})
        mode: str | None = lock.get("Rule", {}).get("DefaultRetention", {}).get("Mode")
        return mode

    def notifications(self) -> Mapping[str, Any]:
        """Who is told of new objects, as GetBucketNotificationConfiguration answers it."""
        answer = self._configuration("get_bucket_notification_configuration")
        return {kind: value for kind, value in answer.items() if kind != "ResponseMetadata"}

    def replication_rules(self) -> list[Mapping[str, Any]]:
        """The bucket's replication rules, none if none are set."""
        return list(self._configuration("get_bucket_replication").get("ReplicationConfiguration", {}).get("Rules", ()))

    def refuses_stale_writes(self, probe_key: str) -> bool:
        """Whether the server honours If-Match, tried on a key that does not exist: nothing is written if it does."""
        try:
            self._request("put_object", Key=probe_key, Body=b"", IfMatch='"00000000000000000000000000000000"')
        except Changed:
            return True
        return False

    # -- how ----------------------------------------------------------------------------------------------------------

    def _count(self, event_name: str, **_: Any) -> None:
        with self._counting:
            self.requests[event_name.rpartition(".")[2]] += 1

    def _count_kms(self, operation: str, answer: Mapping[str, Any]) -> None:
        """S3 asks KMS for each GET and PUT where no bucket key is in use ("Reducing the cost of SSE-KMS")."""
        by_kms = str(answer.get("ServerSideEncryption", "")).startswith("aws:kms")
        if by_kms and not answer.get("BucketKeyEnabled") and operation in ("get_object", "put_object"):
            with self._counting:
                self.requests[KMS] += 1

    def _configuration(self, operation: str) -> Mapping[str, Any]:
        try:
            return self._request(operation)
        except ClientError as error:
            if error.response["Error"]["Code"] in _NOT_CONFIGURED:
                return {}
            raise

    def _request(self, operation: str, **parameters: Any) -> Mapping[str, Any]:
        try:
            method: Callable[..., Mapping[str, Any]] = getattr(self._client, operation)
            answer = method(Bucket=self.bucket, **parameters)
            self._count_kms(operation, answer)
            return answer
        except ClientError as error:
            raise _translated(error, self.bucket, parameters.get("Key")) from error
        except (NoCredentialsError, PartialCredentialsError) as error:
            raise StoreRefused(f"{error}: set AWS credentials in the environment or give the task a role") from error
        except (HTTPClientError, NotConnectedError, TransportError) as error:  # botocore lets some of the last through
            raise StoreUnavailable(f"{operation} on {self.bucket}: {error}") from error


class ReleasingStore(Store):
    """A bucket of which old versions may be deleted. Only the release of originals opens one."""

    def delete_version(self, key: str, version_id: str) -> datetime:
        """Delete exactly this version, for good; returns when, by S3's clock."""
        return _answered_at(self._request("delete_object", Key=key, VersionId=version_id))


def _translated(error: ClientError, bucket: str, key: str | None) -> Exception:
    code, operation = error.response["Error"]["Code"], error.operation_name
    if code in _NOT_CONFIGURED:
        return error
    where = f"s3://{bucket}/{key}" if key else f"bucket {bucket}"
    status = str(error.response["ResponseMetadata"].get("HTTPStatusCode", ""))
    if code == "NoSuchBucket" or (code == "404" and key is None):
        return StoreRefused(f"there is no bucket named {bucket!r}: check the name, the account and the region")
    if code in _CHANGED:
        return Changed("changed", f"{where} was {_CHANGED[code]}")
    if (operation, code) in _SKIPPED:
        reason, sentence = _SKIPPED[operation, code]
        return Skipped(reason, f"{where} {sentence}")
    if code in _UNAVAILABLE or status.startswith("5"):
        return StoreUnavailable(f"{operation} on {where}: {code}")
    if code in _REFUSED:
        return StoreRefused(f"{operation} on {where} was refused ({code}): {_REFUSED[code]}")
    if code in ("AccessDenied", "403") or status in ("401", "403"):
        return StoreRefused(f"{operation} on {where} was refused ({code}): the role needs {_action(operation)} there")
    return error


def _action(operation: str) -> str:
    """The IAM action an operation needs (Service Authorization Reference, Amazon S3)."""
    return {
        "ListObjectsV2": "s3:ListBucket",
        "ListObjectVersions": "s3:ListBucketVersions",
        "HeadObject": "s3:GetObject",
        "GetBucketLifecycleConfiguration": "s3:GetLifecycleConfiguration",
        "GetObjectLockConfiguration": "s3:GetBucketObjectLockConfiguration",
        "GetBucketNotificationConfiguration": "s3:GetBucketNotification",
        "GetBucketReplication": "s3:GetReplicationConfiguration",
    }.get(operation, f"s3:{operation}")


def _stored(key: str, answer: Mapping[str, Any]) -> StoredObject:
    sha256 = answer.get("ChecksumSHA256") if answer.get("ChecksumType", "FULL_OBJECT") == "FULL_OBJECT" else None
    return StoredObject(
        key=key,
        version_id=answer.get("VersionId"),
        etag=answer["ETag"],
        size_bytes=answer["ContentLength"],
        storage_class=answer.get("StorageClass", "STANDARD"),
        last_modified=answer["LastModified"],
        content_type=answer.get("ContentType", "binary/octet-stream"),
        metadata=answer["Metadata"],
        tag_count=int(answer["ResponseMetadata"]["HTTPHeaders"].get("x-amz-tagging-count", 0)),
        held=answer.get("ObjectLockLegalHoldStatus") == "ON",
        locked_until=answer.get("ObjectLockRetainUntilDate"),
        sha256=_hex(sha256),
        carried={name: answer[name] for name in (*_CARRIED, *_PROTECTION) if name in answer},
        answered_at=_answered_at(answer),
        attempts=_attempts(answer),
    )


def _version(line: Mapping[str, Any]) -> Version:
    return Version(
        key=line["Key"],
        version_id=line["VersionId"],
        etag=line.get("ETag", ""),
        size_bytes=line.get("Size", 0),
        storage_class=line.get("StorageClass", "STANDARD"),
        is_current=line["IsLatest"],
        last_modified=line["LastModified"],
    )


def _of(version_id: str | None) -> dict[str, str]:
    return {"VersionId": version_id} if version_id else {}


def _hex(checksum: str | None) -> str | None:
    return base64.b64decode(checksum).hex() if checksum else None


def _answered_at(answer: Mapping[str, Any]) -> datetime:
    return parsedate_to_datetime(answer["ResponseMetadata"]["HTTPHeaders"]["date"])


def _attempts(answer: Mapping[str, Any]) -> int:
    return 1 + int(answer["ResponseMetadata"].get("RetryAttempts", 0))


def _still_valid(carried: Mapping[str, Any]) -> dict[str, Any]:
    """Without a retention that has run out: S3 refuses to lock until a date in the past."""
    until = carried.get("ObjectLockRetainUntilDate")
    if until is None or until > datetime.now(UTC):
        return dict(carried)
    run_out = ("ObjectLockMode", "ObjectLockRetainUntilDate")
    return {name: value for name, value in carried.items() if name not in run_out}
