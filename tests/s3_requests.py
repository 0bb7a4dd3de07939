"""What a request needs from S3: its operation, its IAM actions, and the parts of the answer that need other actions."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, unquote

# "Actions, resources, and condition keys for Amazon S3" in the Service Authorization Reference, with "Required
# permissions for Amazon S3 API operations" in the S3 User Guide. A pair: without a version id, and with one.
_ACTIONS = {
    "GetObject": ("s3:GetObject", "s3:GetObjectVersion"),
    "HeadObject": ("s3:GetObject", "s3:GetObjectVersion"),
    "GetObjectAcl": ("s3:GetObjectAcl", "s3:GetObjectVersionAcl"),
    "PutObjectAcl": ("s3:PutObjectAcl", "s3:PutObjectVersionAcl"),
    "GetObjectTagging": ("s3:GetObjectTagging", "s3:GetObjectVersionTagging"),
    "PutObjectTagging": ("s3:PutObjectTagging", "s3:PutObjectVersionTagging"),
    "DeleteObjectTagging": ("s3:DeleteObjectTagging", "s3:DeleteObjectVersionTagging"),
    "DeleteObject": ("s3:DeleteObject", "s3:DeleteObjectVersion"),
    "GetObjectAttributes": ("s3:GetObjectAttributes", "s3:GetObjectVersionAttributes"),
    "CopyObject": ("s3:PutObject", "s3:PutObject"),
    "HeadBucket": ("s3:ListBucket", "s3:ListBucket"),
    "ListObjects": ("s3:ListBucket", "s3:ListBucket"),
    "ListObjectsV2": ("s3:ListBucket", "s3:ListBucket"),
    "ListObjectVersions": ("s3:ListBucketVersions", "s3:ListBucketVersions"),
    "GetBucketLifecycleConfiguration": ("s3:GetLifecycleConfiguration",) * 2,
    "PutBucketLifecycleConfiguration": ("s3:PutLifecycleConfiguration",) * 2,
    "GetObjectLockConfiguration": ("s3:GetBucketObjectLockConfiguration",) * 2,
    "GetBucketNotificationConfiguration": ("s3:GetBucketNotification",) * 2,
    "GetBucketReplication": ("s3:GetReplicationConfiguration",) * 2,
    "GetBucketEncryption": ("s3:GetEncryptionConfiguration",) * 2,
}
# What a write carries needs an action of its own: by the beginning of the header's name.
_CARRIED = {
    "x-amz-tagging": "s3:PutObjectTagging",
    "x-amz-acl": "s3:PutObjectAcl",
    "x-amz-grant-": "s3:PutObjectAcl",
    "x-amz-object-lock-legal-hold": "s3:PutObjectLegalHold",
    "x-amz-object-lock-mode": "s3:PutObjectRetention",
    "x-amz-object-lock-retain-until-date": "s3:PutObjectRetention",
    "x-amz-object-lock-event-hold": "s3:PutObjectRetention",
}
# Headers that "GetObject" and "HeadObject" in the S3 API reference promise only to those who have the action.
_SHOWN = {
    "x-amz-tagging-count": ("s3:GetObjectTagging", "s3:GetObjectVersionTagging"),
    "x-amz-object-lock-legal-hold": ("s3:GetObjectLegalHold",) * 2,
    "x-amz-object-lock-mode": ("s3:GetObjectRetention",) * 2,
    "x-amz-object-lock-retain-until-date": ("s3:GetObjectRetention",) * 2,
    "x-amz-object-lock-event-hold": ("s3:GetObjectRetention",) * 2,
}
_OF_OBJECT = {"tagging": "Tagging", "acl": "Acl", "legal-hold": "LegalHold", "retention": "Retention"}
_OF_BUCKET = {
    "versioning": "BucketVersioning",
    "lifecycle": "BucketLifecycleConfiguration",
    "object-lock": "ObjectLockConfiguration",
    "notification": "BucketNotificationConfiguration",
    "replication": "BucketReplication",
    "encryption": "BucketEncryption",
    "ownershipControls": "BucketOwnershipControls",
    "acl": "BucketAcl",
    "policy": "BucketPolicy",
    "tagging": "BucketTagging",
    "location": "BucketLocation",
    "publicAccessBlock": "PublicAccessBlock",
}
_VERBS = {"GET": "Get", "HEAD": "Head", "PUT": "Put", "DELETE": "Delete"}


@dataclass(frozen=True, slots=True, kw_only=True)
class S3Request:
    """A request in the words of the S3 API. ``key`` and ``version_id`` are empty where it names none."""

    operation: str
    bucket: str
    key: str
    version_id: str
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)  # names in lower case

    @property
    def prefix(self) -> str:
        """Below what a listing looks."""
        return self.query.get("prefix", "")

    @property
    def resource(self) -> str:
        """Its ARN."""
        return f"arn:aws:s3:::{self.bucket}" + (f"/{self.key}" if self.key else "")

    def actions(self) -> Iterator[str]:
        """Every action without which IAM refuses it."""
        yield self._one_of(_ACTIONS.get(self.operation, (f"s3:{self.operation}",) * 2))
        if self.operation == "GetObjectAttributes":
            yield self._one_of(_ACTIONS["GetObject"])
        if self.operation == "CopyObject":
            yield from self._actions_on_source()
        if self.operation in ("PutObject", "CopyObject", "CreateMultipartUpload"):
            yield from {action for name in self.headers for start, action in _CARRIED.items() if name.startswith(start)}
            if self.headers.get("x-amz-server-side-encryption", "").startswith("aws:kms"):
                yield "kms:GenerateDataKey"

    def _actions_on_source(self) -> Iterator[str]:
        versioned = "?versionId=" in self.headers["x-amz-copy-source"]
        yield _ACTIONS["GetObject"][versioned]
        if self.headers.get("x-amz-tagging-directive", "COPY") == "COPY":
            yield _ACTIONS["GetObjectTagging"][versioned]

    def _one_of(self, pair: tuple[str, ...]) -> str:
        return pair[bool(self.version_id)]

    def action_that_shows(self, header: str) -> str | None:
        """The action without which S3 leaves this header out of the answer; None where everybody sees it."""
        if self.operation not in ("GetObject", "HeadObject"):
            return None
        name = header.lower()
        return next((self._one_of(pair) for start, pair in _SHOWN.items() if name.startswith(start)), None)


def s3_request(method: str, raw_path: str, headers: Mapping[str, str]) -> S3Request:
    """What a request, its bucket in the path, asks for. ``raw_path`` is as it was sent: encoded, with the query."""
    path, _, raw_query = raw_path.partition("?")
    bucket, _, key = unquote(path.lstrip("/")).partition("/")
    query = dict(parse_qsl(raw_query, keep_blank_values=True))
    names = {name.lower(): value for name, value in headers.items()}
    operation = _object_operation(method, query, names) if key else _bucket_operation(method, query)
    return S3Request(
        operation=operation,
        bucket=bucket,
        key=key,
        version_id=query.get("versionId", ""),
        query=query,
        headers=names,
    )


def _object_operation(method: str, query: Mapping[str, str], headers: Mapping[str, str]) -> str:
    part = next((name for word, name in _OF_OBJECT.items() if word in query), None)
    if part:
        return f"{_VERBS[method]}Object{part}"
    if "attributes" in query:
        return "GetObjectAttributes"
    if method == "POST":
        return "CreateMultipartUpload" if "uploads" in query else "CompleteMultipartUpload"
    if "uploadId" in query:
        return "AbortMultipartUpload" if method == "DELETE" else "UploadPart"
    return "CopyObject" if "x-amz-copy-source" in headers else f"{_VERBS[method]}Object"


def _bucket_operation(method: str, query: Mapping[str, str]) -> str:
    part = next((name for word, name in _OF_BUCKET.items() if word in query), None)
    if part:
        return f"{_VERBS[method]}{part}"
    if "versions" in query:
        return "ListObjectVersions"
    if method == "POST":
        return "DeleteObjects"
    if method == "GET":
        return "ListObjectsV2" if "list-type" in query else "ListObjects"
    return {"HEAD": "HeadBucket", "PUT": "CreateBucket", "DELETE": "DeleteBucket"}[method]
