"""The demo's bucket: versioned, and filled once."""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlencode

import boto3

from demo.calls import StoredCall, demo_calls

BUCKET = "demo-recordings"


def fill_bucket(bucket: str = BUCKET, calls: Iterable[StoredCall] | None = None) -> bool:
    """Create the versioned bucket and put the calls into it; False if it is already there."""
    s3 = boto3.client("s3")
    if any(existing["Name"] == bucket for existing in s3.list_buckets()["Buckets"]):
        return False
    s3.create_bucket(Bucket=bucket)
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})

    def put(call: StoredCall) -> Any:
        return s3.put_object(
            Bucket=bucket,
            Key=call.key,
            Body=call.body,
            Tagging=urlencode(call.tags),
            Metadata=call.metadata,
            StorageClass=call.storage_class,  # type: ignore[arg-type]  # the stubs know the classes one by one
            ContentType=call.content_type,
        )

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(put, demo_calls() if calls is None else calls))
    return True
