"""What S3 says of objects: the values, and how they are read from its answers."""

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

# What the body's rewrite must not change: the names are the same in GetObject's answer and in PutObject's request.
_CARRIED = (
    "CacheControl",
    "ContentDisposition",
    "ContentEncoding",
    "ContentLanguage",
)
# The same for what CopyObject does not copy by itself.
PROTECTION = (
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


def stored_object(key: str, answer: Mapping[str, Any]) -> StoredObject:
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
        sha256=hex_of(sha256),
        carried={name: answer[name] for name in (*_CARRIED, *PROTECTION) if name in answer},
        answered_at=answered_at(answer),
        attempts=attempts(answer),
    )


def version_of(line: Mapping[str, Any]) -> Version:
    return Version(
        key=line["Key"],
        version_id=line["VersionId"],
        etag=line.get("ETag", ""),
        size_bytes=line.get("Size", 0),
        storage_class=line.get("StorageClass", "STANDARD"),
        is_current=line["IsLatest"],
        last_modified=line["LastModified"],
    )


def of_version(version_id: str | None) -> dict[str, str]:
    return {"VersionId": version_id} if version_id else {}


def hex_of(checksum: str | None) -> str | None:
    return base64.b64decode(checksum).hex() if checksum else None


def answered_at(answer: Mapping[str, Any]) -> datetime:
    return parsedate_to_datetime(answer["ResponseMetadata"]["HTTPHeaders"]["date"])


def attempts(answer: Mapping[str, Any]) -> int:
    return 1 + int(answer["ResponseMetadata"].get("RetryAttempts", 0))


def still_valid(carried: Mapping[str, Any]) -> dict[str, Any]:
    """Without a retention that has run out: S3 refuses to lock until a date in the past."""
    until = carried.get("ObjectLockRetainUntilDate")
    if until is None or until > datetime.now(UTC):
        return dict(carried)
    run_out = ("ObjectLockMode", "ObjectLockRetainUntilDate")
    return {name: value for name, value in carried.items() if name not in run_out}
