"""What a refusal of S3's means: its error codes, translated to the classes of ``recordings.errors`` in one place."""

from botocore.exceptions import ClientError

from recordings.errors import Changed, Skipped, StoreRefused, StoreUnavailable

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
NOT_CONFIGURED = {
    "NoSuchLifecycleConfiguration",
    "ObjectLockConfigurationNotFoundError",
    "ReplicationConfigurationNotFoundError",
    "OwnershipControlsNotFoundError",
}


def translated(error: ClientError, bucket: str, key: str | None) -> Exception:
    code, operation = error.response["Error"]["Code"], error.operation_name
    if code in NOT_CONFIGURED:
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
    if code == "NotImplemented":  # a 501; some servers know not all of S3
        return StoreRefused(f"{operation} on {where} is not implemented by this server")
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
