"""What KMS charges for is counted beside the requests to S3."""

from typing import Any

import pytest

from recordings.pricing import prices
from recordings.s3.objects import KMS
from recordings.s3.store import Store
from tests.bucket import Bucket, key_of
from tests.fixtures import MakeCall, PlanRun, Stages

KEY = "arn:aws:kms:us-east-1:000000000000:key/01507b3f-1022-4cbf-97c7-58ea71d26648"


SEALED = {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": KEY}


@pytest.mark.parametrize(("sealed", "expected"), [(SEALED, 2), ({}, 0)])
def test_a_recording_sealed_by_kms_takes_two_requests(
    bucket: Bucket,
    store: Store,
    run_stages: Stages,
    plan: PlanRun,
    a_call: MakeCall,
    sealed: dict[str, Any],
    expected: int,
) -> None:
    bucket.put(key_of(1), a_call(), **sealed)
    run_stages(plan(bucket.name))
    assert store.requests[KMS] == expected
    assert prices().kms(store.requests) == pytest.approx(expected * 0.000003)


def test_a_bucket_key_spares_them(store: Store) -> None:
    """Without a server: the one for tests does not tell of bucket keys."""
    for operation in ("get_object", "put_object", "head_object"):
        store._count_kms(operation, {**SEALED, "BucketKeyEnabled": True})
    store._count_kms("head_object", SEALED)
    assert store.requests[KMS] == 0
    store._count_kms("get_object", SEALED)
    assert store.requests[KMS] == 1
