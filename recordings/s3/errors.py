"""The meaning of refusals: S3's error codes and botocore's own exceptions, translated in one place.

Each becomes an exception of ``recordings.errors``, whose message contains S3's own sentence.
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    CredentialRetrievalError,
    FlexibleChecksumError,
    HTTPClientError,
    IncompleteReadError,
    MetadataRetrievalError,
    NoCredentialsError,
    PartialCredentialsError,
)
from botocore.exceptions import ConnectionError as NotConnectedError
from botocore.parsers import ResponseParserError
from urllib3.exceptions import HTTPError as TransportError

from recordings.errors import BodyDiffers, Changed, Skipped, StoreRefused, StoreUnavailable

# Exceptions that a request may raise, apart from bugs. botocore lets some of urllib3's through.
_RAISED = (ClientError, BotoCoreError, ResponseParserError, TransportError)
# botocore's RuntimeError for renewed credentials that have expired already; the next renewal may bring valid ones.
_STALE = "refreshed credentials are still expired"
# S3's error codes ("Error Responses" in the S3 API reference; a HEAD has no body and shows the bare HTTP status).
_CHANGED = {
    "PreconditionFailed": "replaced since it was listed",
    "412": "replaced since it was listed",
    "ConditionalRequestConflict": "written by somebody else at the same moment",
    "NoSuchKey": "deleted since it was listed",
    "NoSuchVersion": "deleted; this version no longer exists",
    "404": "deleted since it was listed",
}
# A GET or HEAD of a delete marker; other requests get these codes where a method is not supported at all.
_DELETED = {("GetObject", "MethodNotAllowed"), ("HeadObject", "405")}
_UNAVAILABLE = {
    "SlowDown",
    "RequestTimeout",
    "Throttling",
    "ThrottlingException",
    "KMS.ThrottlingException",
    "RequestLimitExceeded",
    "OperationAborted",
    "BadDigest",
    "XAmzContentChecksumMismatch",
    "XAmzContentSHA256Mismatch",
    "IncompleteBody",
}  # and every 429 and 5xx
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
    "OwnershipControlsNotFoundError",
}
# Object Lock was never set for the bucket or the version: AWS's codes, and SeaweedFS's.
_NOT_LOCKED = {"NoSuchObjectLockConfiguration", "ObjectLockConfigurationNotFoundError", "NoSuchObjectLegalHold"}
_MAY_PASS = (
    CredentialRetrievalError,
    HTTPClientError,
    IncompleteReadError,
    MetadataRetrievalError,
    NotConnectedError,
    OSError,
    ResponseParserError,
    TransportError,
)
# AWS's wording of a denial: "User: arn:... is not authorized to perform: kms:Decrypt on resource: arn:... because ..."
_DENIED_ACTION = re.compile(r"not authorized to perform: (\w[\w-]*:\w+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """The subject of a request, as far as an error's message needs it."""

    bucket: str
    key: str | None
    version_id: str | None

    def __str__(self) -> str:
        if self.key is None:
            return f"bucket {self.bucket}"
        return f"s3://{self.bucket}/{self.key}" + (f" (version {self.version_id})" if self.version_id else "")


def asked(bucket: str, parameters: Mapping[str, Any]) -> Asked:
    """The subject of a request with these parameters."""
    return Asked(bucket=bucket, key=parameters.get("Key"), version_id=parameters.get("VersionId"))


@contextmanager
def translating(operation: str, about: Asked, *more: type[Exception]) -> Iterator[None]:
    """Replace an exception of botocore's, or one of ``more``, by the exception of ``recordings.errors`` that it means.

    A bug passes through as it is.
    """
    raised: tuple[type[Exception], ...] = (*_RAISED, *more)
    try:
        yield
    except raised as error:
        raise translated(error, operation, about) from error
    except RuntimeError as error:
        if _STALE not in str(error):
            raise
        raise StoreUnavailable(f"{operation} on {about}: {error}") from error


@contextmanager
def translating_for_client() -> Iterator[None]:
    """The same where a client is made: a profile may be missing, an endpoint invalid, credentials out of reach."""
    try:
        yield
    except (BotoCoreError, ValueError) as error:  # ValueError for an invalid endpoint
        raise _kind_of(error)(f"no client for S3: {error}") from error


def translated(error: Exception, operation: str, about: Asked) -> Exception:
    """The exception of ``recordings.errors`` that this exception, raised by a request, means."""
    if isinstance(error, ClientError):
        return _answered(error, about)
    if isinstance(error, (NoCredentialsError, PartialCredentialsError)):
        return StoreRefused(f"{error}: set AWS credentials in the environment or give the task a role")
    return _kind_of(error)(f"{operation} on {about}: {error}")


def _kind_of(error: Exception) -> type[StoreRefused | StoreUnavailable]:
    if isinstance(error, FlexibleChecksumError):
        return BodyDiffers
    return StoreUnavailable if isinstance(error, _MAY_PASS) else StoreRefused


def _answered(error: ClientError, about: Asked) -> Exception:
    answered, status, operation = error.response.get("Error", {}), _status(error), error.operation_name
    code, said = answered.get("Code") or str(status), (answered.get("Message") or "").strip()
    sentence = f"{operation} on {about} was refused ({code})" + (f": {said}" if said and said != code else "")
    if code == "NoSuchBucket" or (code == "404" and about.key is None):
        return StoreRefused(
            f"there is no bucket named {about.bucket!r}: check the name, the account and the region ({sentence})"
        )
    if about.key is not None and (code in _CHANGED or (operation, code) in _DELETED):
        return Changed("changed", f"{about} was {_CHANGED.get(code, 'deleted since it was listed')}")
    if code == "InvalidObjectState" and operation in ("GetObject", "CopyObject"):
        return Skipped("needs-thaw", f"{about} must be thawed before it can be read: its storage class requires this")
    if code == "InvalidRequest" and operation in ("GetObject", "CopyObject") and "ncryption" in said:
        return Skipped("needs-key", f"{about} is encrypted with a key that only its owner has (SSE-C)")
    if code in _UNAVAILABLE or status == 429 or (status >= 500 and status != HTTPStatus.NOT_IMPLEMENTED):
        return StoreUnavailable(sentence)
    if code in _REFUSED:
        return StoreRefused(f"{sentence}; {_REFUSED[code]}")
    if code in ("AccessDenied", "403", "401"):
        return StoreRefused(f"{sentence}; the role needs {_needed(operation, said, about)}")
    return StoreRefused(sentence)


def _status(error: ClientError) -> int:
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def _needed(operation: str, said: str, about: Asked) -> str:
    """The missing action: the one that S3 names, else the one that IAM checks for the operation."""
    denied = _DENIED_ACTION.search(said)
    if denied:
        return f"{denied[1]} there"
    action = action_of(operation, of_version=about.version_id is not None)
    or_key = ", or permission to use the KMS key" if operation in ("HeadObject", "GetObject", "PutObject") else ""
    return f"{action} there{or_key}"


def is_not_implemented(error: StoreRefused) -> bool:
    """Whether the server does not implement the request at all."""
    cause, unknown = error.__cause__, (HTTPStatus.NOT_IMPLEMENTED, HTTPStatus.METHOD_NOT_ALLOWED)
    return isinstance(cause, ClientError) and _status(cause) in unknown


def is_not_configured(error: StoreRefused) -> bool:
    """Whether S3 only said that this part of the bucket's configuration was never set."""
    cause = error.__cause__
    return isinstance(cause, ClientError) and cause.response.get("Error", {}).get("Code") in _NOT_CONFIGURED


def is_not_locked(error: StoreRefused) -> bool:
    """Whether S3 only said that there is no hold or lock."""
    cause = error.__cause__
    said = cause.response.get("Error", {}) if isinstance(cause, ClientError) else {}
    without_locks = said.get("Code") == "InvalidRequest" and "Object Lock Configuration" in said.get("Message", "")
    return without_locks or said.get("Code") in _NOT_LOCKED


def action_of(operation: str, *, of_version: bool = False) -> str:
    """The IAM action that an operation needs (Service Authorization Reference, "Amazon S3")."""
    action = {
        "ListObjectsV2": "s3:ListBucket",
        "ListObjectVersions": "s3:ListBucketVersions",
        "HeadObject": "s3:GetObject",
        "CopyObject": "s3:GetObjectVersion, s3:GetObjectVersionTagging and s3:PutObject",
        "GetBucketLifecycleConfiguration": "s3:GetLifecycleConfiguration",
        "GetObjectLockConfiguration": "s3:GetBucketObjectLockConfiguration",
        "GetBucketNotificationConfiguration": "s3:GetBucketNotification",
        "GetBucketReplication": "s3:GetReplicationConfiguration",
    }.get(operation, f"sts:{operation}" if operation.startswith("AssumeRole") else f"s3:{operation}")
    if not of_version:
        return action
    return {
        "s3:GetObject": "s3:GetObjectVersion",
        "s3:DeleteObject": "s3:DeleteObjectVersion",
        "s3:GetObjectAcl": "s3:GetObjectVersionAcl",
        "s3:GetObjectTagging": "s3:GetObjectVersionTagging",
        "s3:PutObjectTagging": "s3:PutObjectVersionTagging",
    }.get(action, action)
