"""One S3 bucket, and every request we make to it.

Each method is one request kind; failures come out as the classes of ``recordings.errors`` with the cause kept.
A ``Store`` cannot delete.
"""

import base64
import hashlib
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError, NoCredentialsError, PartialCredentialsError
from botocore.exceptions import ConnectionError as NotConnectedError
from urllib3.exceptions import HTTPError as TransportError

from recordings.errors import Changed, StoreRefused, StoreUnavailable
from recordings.pricing import KMS
from recordings.s3.errors import NOT_CONFIGURED, translated
from recordings.s3.objects import (
    PROTECTION,
    StoredObject,
    Version,
    Written,
    answered_at,
    attempts,
    hex_of,
    of_version,
    still_valid,
    stored_object,
    version_of,
)
from recordings.s3.session import USER_AGENT, own_session, sign_by_checksum
from recordings.settings import Settings

_BLOCK_BYTES = 256 * 1024


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
            user_agent=USER_AGENT,
        )
        self._client = (session or own_session()).client("s3", config=config)
        sign_by_checksum(self._client)
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
            yield [version_of(line) for line in (*page.get("Versions", ()), *page.get("DeleteMarkers", ()))]
            if not page.get("IsTruncated"):
                return
            following = {"KeyMarker": page["NextKeyMarker"], "VersionIdMarker": page["NextVersionIdMarker"]}

    # -- one object -------------------------------------------------------------------------------------------------

    def head(self, key: str, version_id: str | None = None) -> StoredObject:
        """The headers of the current version, or of a given one. Raises Changed where it is gone."""
        return stored_object(
            key, self._request("head_object", Key=key, ChecksumMode="ENABLED", **of_version(version_id))
        )

    @contextmanager
    def read(
        self, key: str, *, if_match: str | None = None, version_id: str | None = None
    ) -> Iterator[tuple[StoredObject, Body]]:
        """Headers first, then the body as a stream; the connection is dropped if the body is not read to its end."""
        condition = {"IfMatch": if_match} if if_match else {}
        answer = self._request("get_object", Key=key, ChecksumMode="ENABLED", **condition, **of_version(version_id))
        try:
            yield stored_object(key, answer), Body(answer["Body"])
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
            **still_valid(current.carried),
        )
        return Written(version_id=answer.get("VersionId"), etag=answer["ETag"], attempts=attempts(answer))

    def bring_back(
        self,
        original: StoredObject,
        *,
        over: StoredObject,
        tags: Mapping[str, str],
        metadata: Mapping[str, str] | None = None,
    ) -> Written:
        """Make a copy of an older version current, over exactly the version that ``over`` describes.

        Headers and metadata come along by themselves, unless there is other ``metadata``, when the headers are sent as
        they were; class, encryption and lock are asked for. S3 computes a SHA-256.
        """
        headers = {name: value for name, value in original.carried.items() if name not in PROTECTION}
        described = {"ContentType": original.content_type, **headers, "Metadata": dict(metadata or {})}
        answer = self._request(
            "copy_object",
            Key=original.key,
            CopySource={"Bucket": self.bucket, "Key": original.key, **of_version(original.version_id)},
            IfMatch=over.etag,
            StorageClass=original.storage_class,
            TaggingDirective="REPLACE",
            Tagging=urlencode(tags),
            ChecksumAlgorithm="SHA256",
            **({"MetadataDirective": "REPLACE", **described} if metadata is not None else {}),
            **still_valid({name: value for name, value in original.carried.items() if name in PROTECTION}),
        )
        result = answer["CopyObjectResult"]
        return Written(
            version_id=answer.get("VersionId"),
            etag=result["ETag"],
            attempts=attempts(answer),
            sha256=hex_of(result.get("ChecksumSHA256")),
        )

    def tags(self, key: str, version_id: str | None) -> dict[str, str]:
        """The tags of one version."""
        answer = self._request("get_object_tagging", Key=key, **of_version(version_id))
        return {tag["Key"]: tag["Value"] for tag in answer["TagSet"]}

    def put_tags(self, key: str, version_id: str | None, tags: Mapping[str, str]) -> None:
        """Replace the whole tag set of one version: S3 knows no other way, so merge first."""
        tag_set = [{"Key": name, "Value": value} for name, value in tags.items()]
        self._request("put_object_tagging", Key=key, Tagging={"TagSet": tag_set}, **of_version(version_id))

    def put_hold(self, key: str, version_id: str | None, *, held: bool) -> None:
        """Set or lift the legal hold of one version."""
        status = "ON" if held else "OFF"
        self._request("put_object_legal_hold", Key=key, LegalHold={"Status": status}, **of_version(version_id))

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
            if error.response["Error"]["Code"] in NOT_CONFIGURED:
                return {}
            raise

    def _request(self, operation: str, **parameters: Any) -> Mapping[str, Any]:
        try:
            method: Callable[..., Mapping[str, Any]] = getattr(self._client, operation)
            answer = method(Bucket=self.bucket, **parameters)
            self._count_kms(operation, answer)
            return answer
        except ClientError as error:
            raise translated(error, self.bucket, parameters.get("Key")) from error
        except (NoCredentialsError, PartialCredentialsError) as error:
            raise StoreRefused(f"{error}: set AWS credentials in the environment or give the task a role") from error
        except (HTTPClientError, NotConnectedError, TransportError) as error:  # botocore lets some of the last through
            raise StoreUnavailable(f"{operation} on {self.bucket}: {error}") from error


class ReleasingStore(Store):
    """A bucket of which old versions may be deleted. Only the release of originals opens one."""

    def needs_mfa(self) -> bool:
        """Whether versions can be deleted only with the root user's device (MFA Delete)."""
        return self._request("get_bucket_versioning").get("MFADelete") == "Enabled"

    def delete_version(self, key: str, version_id: str) -> datetime:
        """Delete exactly this version, for good; returns when, by S3's clock."""
        return answered_at(self._request("delete_object", Key=key, VersionId=version_id))
