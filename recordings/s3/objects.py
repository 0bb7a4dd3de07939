"""What S3 says about objects: value types, and how they are read from S3's answers."""

import base64
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

# Of the members that GetObject shows and PutObject takes, these belong to the bytes or are decided anew (and so are all
# checksums and SSE-C's keys). All others are carried over, also future ones, once botocore knows them.
OF_THE_BODY = {"Body", "ContentLength", "ContentType", "Metadata", "StorageClass"}
_ENCRYPTION = {"algorithm": "ServerSideEncryption", "key_id": "SSEKMSKeyId", "by_bucket_key": "BucketKeyEnabled"}
# Not copied by CopyObject itself.
PROTECTION = (
    *_ENCRYPTION.values(),
    "ObjectLockMode",
    "ObjectLockRetainUntilDate",
    "ObjectLockLegalHoldStatus",
    "ObjectLockEventHold",
    "ObjectLockEventHoldDurationDays",
    "ObjectLockEventHoldDurationYears",
    "WebsiteRedirectLocation",
)
UNVERSIONED = "null"  # S3's id for versions that are older than the bucket's versioning
# Not an S3 operation, but counted with them: requests to KMS, one for each GET and PUT where no bucket key is in use.
KMS = "KMS"
_KNOWN_LOCKS = {
    "x-amz-object-lock-mode",
    "x-amz-object-lock-retain-until-date",
    "x-amz-object-lock-legal-hold",
    "x-amz-object-lock-event-hold",
    "x-amz-object-lock-event-hold-duration-days",
    "x-amz-object-lock-event-hold-duration-years",
}


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
    tag_count: int | None  # None where S3 reports none: no tags, or no permission to see them
    legal_hold: bool
    event_hold: bool
    sha256: str | None  # hex, as stored by S3 with the object; None where the object has another checksum or none
    locked_until: datetime | None
    carried: Mapping[str, Any]  # by PutObject's names
    not_carried: str | None  # what a replacement would lose, in words
    answered_at: datetime  # by S3's clock
    attempts: int

    @property
    def held(self) -> bool:
        """Whether the object is under a hold of either kind."""
        return self.legal_hold or self.event_hold

    @property
    def encryption(self) -> "Encryption":
        """How S3 encrypts the object."""
        return Encryption(**{field: self.carried.get(name) for field, name in _ENCRYPTION.items()})


@dataclass(frozen=True, slots=True, kw_only=True)
class Encryption:
    """How S3 encrypts an object; the bucket's default where all fields are empty."""

    algorithm: str | None = None
    key_id: str | None = None
    by_bucket_key: bool | None = None

    @property
    def asks_kms(self) -> bool:
        """Whether S3 asks KMS for each GET and PUT ("Reducing the cost of SSE-KMS with Amazon S3 Bucket Keys")."""
        return (self.algorithm or "").startswith("aws:kms") and not self.by_bucket_key

    def as_parameters(self) -> dict[str, Any]:
        """The encryption as parameters of PutObject."""
        said = {name: getattr(self, field) for field, name in _ENCRYPTION.items()}
        return {name: value for name, value in said.items() if value is not None}


@dataclass(frozen=True, slots=True, kw_only=True)
class Acl:
    """Owner and grants of a version. Without effect where the bucket has ACLs disabled."""

    owner: str  # canonical user id
    grants: tuple[tuple[str, str], ...]  # (grantee, permission), the owner's own FULL_CONTROL left out


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """How the answers that a role gets may be read. What no canary has shown is not assumed."""

    shows_tag_counts: bool = False  # so that an answer without a tag count means no tags
    owner: str | None = None  # canonical id of the owner of what the role writes; None where ACLs are disabled


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """S3's answer to a write."""

    version_id: str | None
    etag: str
    attempts: int
    sha256: str | None = None  # hex; only where S3 was asked to compute it


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """One version in ListObjectVersions; a delete marker has neither ETag nor size."""

    key: str
    version_id: str
    etag: str
    size_bytes: int
    storage_class: str
    is_current: bool
    last_modified: datetime

    @property
    def is_marker(self) -> bool:
        """Whether it is a delete marker."""
        return not self.etag


def stored_object(key: str, answer: Mapping[str, Any], carriable: Collection[str]) -> StoredObject:
    """The object that an answer to GetObject or HeadObject describes; ``carriable`` is from ``carriable_names``."""
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
        tag_count=_tag_count(answer),
        legal_hold=answer.get("ObjectLockLegalHoldStatus") == "ON",
        event_hold=answer.get("ObjectLockEventHold") == "ON",
        locked_until=answer.get("ObjectLockRetainUntilDate"),
        sha256=hex_of(sha256),
        carried={name: answer[name] for name in carriable if name in answer},
        not_carried=_not_carried(answer),
        answered_at=answered_at(answer),
        attempts=attempts(answer),
    )


def carriable_names(shown: Iterable[str], taken: Iterable[str]) -> frozenset[str]:
    """The members that a replacement takes over: GetObject shows them, and PutObject takes them."""
    return frozenset(
        name
        for name in set(shown) & set(taken)
        if name not in OF_THE_BODY and not name.startswith(("Checksum", "SSECustomer"))
    )


def _tag_count(answer: Mapping[str, Any]) -> int | None:
    count = answer["ResponseMetadata"]["HTTPHeaders"].get("x-amz-tagging-count")
    return None if count is None else int(count)


def _not_carried(answer: Mapping[str, Any]) -> str | None:
    """What S3 stores and does not show, or shows in a form in which it cannot be written again; None if nothing."""
    headers = answer["ResponseMetadata"]["HTTPHeaders"]
    if answer.get("MissingMeta"):
        return f"{answer['MissingMeta']} entries of metadata that S3 counts and does not show"
    if "ExpiresString" in answer and "Expires" not in answer:
        return f"an Expires header that is no date: {answer['ExpiresString']!r}"
    texts = {**{name: value for name, value in answer.items() if isinstance(value, str)}, **answer["Metadata"]}
    unsendable = [name for name, value in texts.items() if not f"{name}{value}".isascii()]
    if unsendable:
        return f"headers or metadata that are not ASCII: {', '.join(unsendable)}"
    locks = sorted(name for name in headers if name.startswith("x-amz-object-lock-") and name not in _KNOWN_LOCKS)
    return f"a lock that this version does not know: {', '.join(locks)}" if locks else None


def acl_of(answer: Mapping[str, Any]) -> Acl:
    """Owner and grants from an answer to GetObjectAcl."""
    owner = answer["Owner"].get("ID", "")
    grants = ((_grantee(grant["Grantee"]), grant["Permission"]) for grant in answer.get("Grants", ()))
    return Acl(owner=owner, grants=tuple(grant for grant in grants if grant != (owner, "FULL_CONTROL")))


def _grantee(grantee: Mapping[str, str]) -> str:
    return grantee.get("ID") or grantee.get("URI") or grantee.get("EmailAddress", "")


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
    """The parameters without an expired retention: S3 refuses to lock until a date in the past."""
    until = carried.get("ObjectLockRetainUntilDate")
    if until is None or until > datetime.now(UTC):
        return dict(carried)
    run_out = ("ObjectLockMode", "ObjectLockRetainUntilDate")
    return {name: value for name, value in carried.items() if name not in run_out}
