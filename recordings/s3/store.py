"""One S3 bucket, and every request we make to it.

Each method is one kind of request; failures are raised as the classes of ``recordings.errors``, with their cause.
A ``Store`` cannot delete.
"""

import base64
import hashlib
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from botocore.config import Config

from recordings.errors import Changed, StoreRefused
from recordings.s3.errors import (
    Asked,
    asked,
    is_not_configured,
    is_not_implemented,
    is_not_locked,
    translating,
)
from recordings.s3.objects import (
    KMS,
    PROTECTION,
    Acl,
    Encryption,
    Sight,
    StoredObject,
    Version,
    Written,
    acl_of,
    attempts,
    carriable_names,
    hex_of,
    of_version,
    still_valid,
    stored_object,
    version_of,
)
from recordings.s3.session import USER_AGENT, Session, own_session, s3_client, sign_by_checksum
from recordings.settings import Settings

_BLOCK_BYTES = 256 * 1024


class Body:
    """An object's bytes as they arrive. A body that breaks off raises StoreUnavailable, a garbled one BodyDiffers."""

    def __init__(self, stream: Any, about: Asked) -> None:
        self._stream, self._about = stream, about

    def read(self, size_bytes: int) -> bytes:
        """At most ``size_bytes``; empty at the end, when S3's checksum has been confirmed."""
        with translating("GetObject", self._about, OSError):
            data: bytes = self._stream.read(size_bytes)
            return data

    def blocks(self) -> Iterator[bytes]:
        """All bytes that are left, in blocks."""
        while block := self.read(_BLOCK_BYTES):
            yield block


class Store:
    """A bucket. One client serves all threads."""

    def __init__(self, bucket: str, settings: Settings, session: Session | None = None) -> None:
        self.bucket = bucket
        self.sight = Sight()  # until a canary has shown more
        self.requests: Counter[str] = Counter()  # requests sent so far, by operation, retries included
        self._counting = threading.Lock()
        config = Config(
            max_pool_connections=2 * settings.threads + settings.batches_in_flight,  # a half-read body, and one more
            retries={"mode": "standard", "max_attempts": settings.max_attempts},
            connect_timeout=settings.timeout_s,
            read_timeout=settings.timeout_s,
            request_checksum_calculation="when_required",
            user_agent=USER_AGENT,
        )
        self._client = s3_client(session or own_session(), config)
        sign_by_checksum(self._client)
        model: Any = self._client.meta.service_model.operation_model
        self._carriable = carriable_names(
            model("GetObject").output_shape.members, model("PutObject").input_shape.members
        )
        self._client.meta.events.register("before-send.s3", self._count)

    @property
    def is_aws(self) -> bool:
        """False when another endpoint than AWS's own is in use."""
        return "amazonaws.com" in self._client.meta.endpoint_url

    # -- listing ----------------------------------------------------------------------------------------------------

    def list_objects(self, prefix: str) -> Iterator[Mapping[str, Any]]:
        """Current objects under a prefix in key order (ListObjectsV2: Key, ETag, Size, StorageClass)."""
        for page in self._listed(Prefix=prefix):
            yield from page.get("Contents", ())

    def list_folders(self, prefix: str) -> Iterator[str]:
        """What lies under a prefix up to the next slash, in order."""
        for page in self._listed(Prefix=prefix, Delimiter="/"):
            yield from (each["Prefix"] for each in page.get("CommonPrefixes", ()))

    def _listed(self, **what: str) -> Iterator[Mapping[str, Any]]:
        following: dict[str, str] = {}
        while True:
            page = self._request("list_objects_v2", **what, **following)
            yield page
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
        """The headers of the current version, or of a given one. Raises Changed where the version is gone."""
        answer = self._request("head_object", Key=key, ChecksumMode="ENABLED", **of_version(version_id))
        return stored_object(key, answer, self._carriable)

    def check_locks_are_shown(self, key: str, version_id: str | None) -> None:
        """Raises StoreRefused where the role may not see a version's hold or lock: HEAD would omit them."""
        for request in ("get_object_legal_hold", "get_object_retention"):
            try:
                self._request(request, Key=key, **of_version(version_id))
            except StoreRefused as error:
                if not (is_not_locked(error) or is_not_implemented(error)):
                    raise

    @contextmanager
    def read(
        self, key: str, *, if_match: str | None = None, version_id: str | None = None
    ) -> Iterator[tuple[StoredObject, Body]]:
        """Headers first, then the body as a stream; the connection is closed if the body is not read to its end."""
        what = {"Key": key, **of_version(version_id)}
        condition = {"IfMatch": if_match} if if_match else {}
        answer = self._request("get_object", ChecksumMode="ENABLED", **condition, **what)
        try:
            yield stored_object(key, answer, self._carriable), Body(answer["Body"], asked(self.bucket, what))
        finally:
            answer["Body"].close()

    def sha256_of(self, stored: StoredObject) -> str:
        """The SHA-256 of a version, hex: from S3, or by reading the body where S3 has another checksum."""
        if stored.sha256:
            return stored.sha256
        digest = hashlib.sha256()
        with self.read(stored.key, version_id=stored.version_id) as (_, body):
            for block in body.blocks():
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
        """Overwrite exactly the version that ``current`` describes, carrying over its metadata, protection and headers.

        Raises Changed where another version is current; S3 refuses a body whose SHA-256 is not ``sha256``.
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
            **({"Tagging": tagging(tags)} if tags else {}),
            **still_valid(current.carried),
        )
        return Written(version_id=answer.get("VersionId"), etag=answer["ETag"], attempts=attempts(answer))

    def put_canary(
        self, key: str, *, tags: Mapping[str, str], encryption: Encryption, locked_for: timedelta | None
    ) -> Written:
        """Write a small object of our own; with ``locked_for``, it cannot be deleted for that time."""
        lock = {
            "ObjectLockMode": "GOVERNANCE",
            "ObjectLockRetainUntilDate": datetime.now(UTC) + (locked_for or timedelta()),
        }
        answer = self._request(
            "put_object",
            Key=key,
            Body=b"not a recording",
            ContentType="text/plain",
            ChecksumAlgorithm="SHA256",
            Tagging=tagging(tags),
            **encryption.as_parameters(),
            **(lock if locked_for else {}),
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

        S3 copies headers and metadata by itself, unless other ``metadata`` is given: then the headers are sent again,
        too. Class, encryption and lock are always sent. S3 computes a SHA-256.
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
            Tagging=tagging(tags),
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

    def acl(self, key: str, version_id: str | None) -> Acl | None:
        """Owner and grants of one version; None where the server does not implement ACLs."""
        try:
            return acl_of(self._request("get_object_acl", Key=key, **of_version(version_id)))
        except StoreRefused as error:
            if is_not_implemented(error):
                return None
            raise

    def tags(self, key: str, version_id: str | None) -> dict[str, str]:
        """The tags of one version."""
        answer = self._request("get_object_tagging", Key=key, **of_version(version_id))
        return {tag["Key"]: tag["Value"] for tag in answer["TagSet"]}

    def put_tags(self, key: str, version_id: str | None, tags: Mapping[str, str]) -> None:
        """Replace the whole tag set of one version: S3 cannot add a tag, so merge first."""
        tag_set = [{"Key": name, "Value": value} for name, value in tags.items()]
        self._request("put_object_tagging", Key=key, Tagging={"TagSet": tag_set}, **of_version(version_id))

    def put_hold(self, key: str, version_id: str | None, *, held: bool) -> None:
        """Set or lift the legal hold of one version."""
        status = "ON" if held else "OFF"
        self._request("put_object_legal_hold", Key=key, LegalHold={"Status": status}, **of_version(version_id))

    # -- the audit table's files --------------------------------------------------------------------------------------

    def get_bytes(self, key: str) -> bytes:
        """All bytes of a small object. Raises Changed where there is none."""
        with self.read(key) as (stored, body):
            return body.read(stored.size_bytes)

    def create(self, key: str, data: bytes) -> None:
        """Write a new object, once: an existing object of that name stays, and Changed is raised if it differs."""
        try:
            self._request("put_object", Key=key, Body=data, IfNoneMatch="*", ChecksumAlgorithm="SHA256")
        except Changed:
            if self.get_bytes(key) != data:  # equal: our own write, retried because its answer was lost
                raise

    def create_from(self, key: str, path: Path) -> None:
        """Write a new object from a file, once: an existing object stays, and Changed is raised if it differs."""
        try:
            with path.open("rb") as body:
                self._request("put_object", Key=key, Body=body, IfNoneMatch="*", ChecksumAlgorithm="SHA256")
        except Changed:
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            if self.sha256_of(self.head(key)) != digest:  # equal: our own write, retried because its answer was lost
                raise

    # -- the bucket's configuration -----------------------------------------------------------------------------------

    def names_below(self, prefix: str) -> tuple[list[str], bool]:
        """The folders (with their slash) and objects directly below a prefix, and whether one page showed them all."""
        page = self._request("list_objects_v2", Prefix=prefix, Delimiter="/")
        found = [each["Prefix"] for each in page.get("CommonPrefixes", ())]
        found += [each["Key"] for each in page.get("Contents", ())]
        return [name.removeprefix(prefix) for name in found], not page.get("IsTruncated", False)

    def versioning(self) -> Mapping[str, str]:
        """``Status`` is Enabled or Suspended, and missing where versioning was never set; ``MFADelete`` likewise."""
        answer = self._request("get_bucket_versioning")
        return {name: value for name, value in answer.items() if name != "ResponseMetadata"}

    @cached_property
    def lifecycle_rules(self) -> list[Mapping[str, Any]]:
        """The bucket's lifecycle rules as they were at the first request; empty if none are set."""
        return list(self._configuration("get_bucket_lifecycle_configuration").get("Rules", ()))

    @cached_property
    def locks(self) -> bool | None:
        """Whether versions can be locked or held in this bucket; None where an access point does not say it."""
        try:
            lock = self._configuration("get_object_lock_configuration").get("ObjectLockConfiguration", {})
        except StoreRefused as error:
            if is_not_implemented(error):
                return None if self.is_aws else False
            raise
        return bool(lock.get("ObjectLockEnabled") == "Enabled")

    @property
    def locks_enabled(self) -> bool:
        """The same; raises StoreRefused where it is not known, since it decides how a hold is set."""
        if self.locks is None:
            raise StoreRefused(
                f"{self.bucket} is an access point that hides whether the bucket has Object Lock: name the bucket"
            )
        return self.locks

    def default_retention(self) -> Mapping[str, Any]:
        """``Mode``, and ``Days`` or ``Years``, of the lock that new versions get; empty where they get none."""
        lock = self._configuration("get_object_lock_configuration").get("ObjectLockConfiguration", {})
        retention: Mapping[str, Any] = lock.get("Rule", {}).get("DefaultRetention", {})
        return retention

    def object_ownership(self) -> str:
        """BucketOwnerEnforced where ACLs are disabled; else the setting for new objects' owners, or an empty string."""
        controls = self._configuration("get_bucket_ownership_controls").get("OwnershipControls", {})
        return next((str(rule["ObjectOwnership"]) for rule in controls.get("Rules", ())), "")

    def notifications(self) -> Mapping[str, Any]:
        """The notifications on new objects, as GetBucketNotificationConfiguration answers."""
        answer = self._configuration("get_bucket_notification_configuration")
        return {kind: value for kind, value in answer.items() if kind != "ResponseMetadata"}

    def replication_rules(self) -> list[Mapping[str, Any]]:
        """The bucket's replication rules; empty if none are set."""
        return list(self._configuration("get_bucket_replication").get("ReplicationConfiguration", {}).get("Rules", ()))

    def put_probe(self, key: str) -> str:
        """Write an empty object; returns its ETag."""
        return str(self._request("put_object", Key=key, Body=b"")["ETag"])

    def takes_probe(self, key: str, *, if_match: str) -> bool:
        """Whether the server writes an empty object on the condition that ``if_match`` is the current ETag."""
        try:
            self._request("put_object", Key=key, Body=b"", IfMatch=if_match)
        except Changed:
            return False
        return True

    @cached_property
    def visible_lifecycle_rules(self) -> Sequence[Mapping[str, Any]] | None:
        """The bucket's lifecycle rules; None where S3 does not show them."""
        try:
            return self.lifecycle_rules
        except (StoreRefused, Changed):  # Changed: access points answer 405 to requests that they do not know
            return None

    @cached_property
    def acls_enabled(self) -> bool:
        """Whether objects in this bucket have owners and grants of their own ("Controlling ownership of objects")."""
        try:
            return self.object_ownership() != "BucketOwnerEnforced"
        except StoreRefused:  # unknown: each object is asked instead
            return True

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
        except StoreRefused as error:
            if is_not_configured(error):
                return {}
            raise

    def _request(self, operation: str, **parameters: Any) -> Mapping[str, Any]:
        with translating(operation.title().replace("_", ""), asked(self.bucket, parameters)):
            method: Callable[..., Mapping[str, Any]] = getattr(self._client, operation)
            answer = method(Bucket=self.bucket, **parameters)
        self._count_kms(operation, answer)
        return answer


def tagging(tags: Mapping[str, str]) -> str:
    """Tags as a header carries them: a space as ``%20``, since not every server reads ``+`` as one."""
    return urlencode(tags, quote_via=quote)
