"""The demo's bucket: versioned, filled once, and given another day of calls each time all are archived."""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta
from urllib.parse import urlencode

import boto3

from demo.calls import DAYS, StoredCall, calls_of, demo_calls

BUCKET = "demo-recordings"


def fill_bucket(bucket: str = BUCKET, calls: Iterable[StoredCall] | None = None) -> bool:
    """Create the versioned bucket and put the missing calls into it; returns False if none is missing."""
    s3 = boto3.client("s3")
    if all(existing["Name"] != bucket for existing in s3.list_buckets()["Buckets"]):
        s3.create_bucket(Bucket=bucket)
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket)
    there = {each["Key"] for page in pages for each in page.get("Contents", [])}

    def put(call: StoredCall) -> None:
        s3.put_object(
            Bucket=bucket,
            Key=call.key,
            Body=call.body,
            Tagging=urlencode(call.tags),
            Metadata=call.metadata,
            StorageClass=call.storage_class,  # type: ignore[arg-type]  # the stubs know the classes one by one
            ContentType=call.content_type,
        )

    missing = [call for call in (demo_calls() if calls is None else calls) if call.key not in there]
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(put, missing))
    return bool(missing)


def days_to_archive(audit_uri: str) -> tuple[date, date]:
    """The first and the last day of calls after those in the audit table. There is always one."""
    from recordings.table.files import PARTITION, open_table

    days = [
        name.removeprefix(f"{PARTITION}=") for name in open_table(audit_uri).folders() if name.startswith(PARTITION)
    ]
    first = date.fromisoformat(max(days)) + timedelta(days=1) if days else DAYS[0]
    last = max(first, DAYS[-1] + timedelta(days=1))
    fill_bucket(calls=calls_of(last))
    return first, last
