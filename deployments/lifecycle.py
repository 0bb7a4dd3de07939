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

# What PutBucketLifecycleConfiguration sets anew if it is not given, beside the rules.
_BESIDE_THE_RULES = ("TransitionDefaultMinimumObjectSize",)


def install(bucket: str, rule: Mapping[str, Any]) -> list[str]:
    """Put the rule beside the others; returns the IDs of all rules that the bucket then has."""
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
