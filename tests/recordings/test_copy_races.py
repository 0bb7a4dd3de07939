"""A restore's copy loses against whoever wrote in between. On SeaweedFS, since ministack copies all the same."""

from typing import Any

import pytest

from recordings.errors import Changed
from recordings.s3.store import Store
from tests.bucket import Bucket, key_of

pytestmark = [pytest.mark.slow, pytest.mark.s3_servers("seaweed")]
KEY = key_of(1)


def test_what_somebody_wrote_since_our_look_stays(bucket: Bucket, store: Store) -> None:
    bucket.put(KEY, b"the original")
    original = store.head(KEY)
    bucket.put(KEY, b"the replacement")
    replacement = store.head(KEY)
    bucket.put(KEY, b"theirs")
    with pytest.raises(Changed):
        store.bring_back(original, over=replacement, tags={})
    assert bucket.body(KEY) == b"theirs"
    assert len(bucket.versions(KEY)) == 3


def test_nobody_in_between_and_the_original_comes_back(bucket: Bucket, store: Store) -> None:
    bucket.put(KEY, b"the original", Metadata={"agent": "ida"})
    original = store.head(KEY)
    bucket.put(KEY, b"the replacement")
    written: Any = store.bring_back(original, over=store.head(KEY), tags={"archive": "exempt"})
    assert bucket.body(KEY) == b"the original"
    assert bucket.get(KEY)["VersionId"] == written.version_id
    assert bucket.tags(KEY) == {"archive": "exempt"}
