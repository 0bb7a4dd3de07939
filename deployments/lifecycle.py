"""``python -m deployments.lifecycle BUCKET RULE.json``: add a lifecycle rule to the bucket's existing rules.

S3 can only replace a bucket's whole configuration, so the existing one is read first and written again.
"""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import boto3
from botocore.exceptions import ClientError

# Settings beside the rules that PutBucketLifecycleConfiguration resets if they are not given.
_BESIDE_THE_RULES = ("TransitionDefaultMinimumObjectSize",)


def install(bucket: str, rule: Mapping[str, Any]) -> list[str]:
    """Add the rule to the others; returns the IDs of all rules that the bucket then has."""
    s3: Any = boto3.client("s3")
    present = _present(s3, bucket)
    rules = [each for each in present["Rules"] if each.get("ID") != rule["ID"]]
    kept = {name: present[name] for name in _BESIDE_THE_RULES if name in present}
    s3.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration={"Rules": [*rules, rule]}, **kept)
    return [each["ID"] for each in _present(s3, bucket)["Rules"]]


def _present(s3: Any, bucket: str) -> Mapping[str, Any]:
    try:
        configuration: Mapping[str, Any] = s3.get_bucket_lifecycle_configuration(Bucket=bucket)
        return configuration
    except ClientError as error:
        if error.response["Error"]["Code"] != "NoSuchLifecycleConfiguration":
            raise
        return {"Rules": []}


if __name__ == "__main__":
    _, name, path = sys.argv
    print("\n".join(install(name, json.loads(Path(path).read_text()))))
