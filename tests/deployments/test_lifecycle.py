"""A lifecycle rule is added to a bucket's configuration, and nothing else of it changes."""

from typing import Any

import pytest

from deployments.lifecycle import install
from tests.bucket import ON_BOTH, Bucket


def rule(name: str, days: int = 7) -> dict[str, Any]:
    abort = {"DaysAfterInitiation": days}
    return {"ID": name, "Status": "Enabled", "Filter": {"Prefix": ""}, "AbortIncompleteMultipartUpload": abort}


def configuration(bucket: Bucket) -> dict[str, Any]:
    answer = bucket.client.get_bucket_lifecycle_configuration(Bucket=bucket.name)
    return {name: value for name, value in answer.items() if name != "ResponseMetadata"}


@ON_BOTH
def test_the_first_rule_of_a_bucket_and_a_newer_one_of_its_name(bucket: Bucket) -> None:
    assert install(bucket.name, rule("abort")) == ["abort"]
    assert install(bucket.name, rule("abort", 3)) == ["abort"]
    assert configuration(bucket)["Rules"] == [rule("abort", 3)]


@pytest.mark.s3_servers("seaweed")  # ministack forgets the size
@pytest.mark.parametrize("smallest", ["varies_by_storage_class", "all_storage_classes_128K"])
def test_other_rules_and_the_smallest_size_of_transitions_stay(bucket: Bucket, smallest: str) -> None:
    bucket.client.put_bucket_lifecycle_configuration(
        Bucket=bucket.name,
        LifecycleConfiguration={"Rules": [rule("theirs")]},
        TransitionDefaultMinimumObjectSize=smallest,
    )
    assert install(bucket.name, rule("abort")) == ["theirs", "abort"]
    assert configuration(bucket) == {
        "Rules": [rule("theirs"), rule("abort")],
        "TransitionDefaultMinimumObjectSize": smallest,
    }
