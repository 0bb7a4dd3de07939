"""``python -m deployments.lifecycle BUCKET RULE.json``: add a lifecycle rule to those that a bucket has.

S3 replaces a bucket's whole configuration, so what is there is read first and put again.
"""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import boto3
from botocore.exceptions import ClientError


def install(bucket: str, rule: Mapping[str, Any]) -> list[str]:
    """Put the rule beside the others; returns the IDs of all rules that the bucket then has."""
    s3: Any = boto3.client("s3")
    rules = [each for each in _present(s3, bucket) if each.get("ID") != rule["ID"]]
    s3.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration={"Rules": [*rules, rule]})
    return [each["ID"] for each in _present(s3, bucket)]


def _present(s3: Any, bucket: str) -> list[Mapping[str, Any]]:
    try:
        return list(s3.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"])
    except ClientError as error:
        if error.response["Error"]["Code"] != "NoSuchLifecycleConfiguration":
            raise
        return []


if __name__ == "__main__":
    _, name, path = sys.argv
    print("\n".join(install(name, json.loads(Path(path).read_text()))))
