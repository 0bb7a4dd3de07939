"""The commit tag: on the verified version, among the tags that are there."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from recordings.pool import Pool
from recordings.preflight.canary import check_sight
from recordings.run import Run
from recordings.s3.store import Store
from recordings.table.parquet import write_rows
from recordings.table.rows import Status
from recordings.tag import tag_batch
from tests.bucket import Bucket, key_of

KEY = key_of(1)
Plan = Callable[..., Run]


def test_joins_the_tags_that_are_there(bucket: Bucket, plan: Plan, archive: Any, a_call: Any) -> None:
    bucket.put(KEY, a_call(), Tagging="queue=sales&case=7")
    (row,) = archive(plan(bucket.name))
    assert (row.status, row.verified, row.tagged) == (Status.ARCHIVED, True, True)
    assert bucket.tags(KEY) == {"queue": "sales", "case": "7", "converted": "True"}
    assert row.finished_at is not None


def test_leaves_the_original_untagged(bucket: Bucket, plan: Plan, archive: Any, a_call: Any) -> None:
    original = bucket.put(KEY, a_call())
    archive(plan(bucket.name))
    tags = bucket.client.get_object_tagging(Bucket=bucket.name, Key=KEY, VersionId=original["VersionId"])["TagSet"]
    assert tags == []


def test_tags_nothing_that_is_not_verified(
    bucket: Bucket, plan: Plan, archive: Any, store: Store, pool: Pool, a_call: Any
) -> None:
    bucket.put(KEY, a_call())
    (row,) = archive(plan(bucket.name))
    unproven = replace(row, verified=False, tagged=False)
    before = len(bucket.requests())
    assert tag_batch(store, [unproven], pool) == [unproven]
    assert not bucket.requests_by_kind(before)


def test_says_so_where_ten_tags_leave_no_room(bucket: Bucket, plan: Plan, archive: Any, a_call: Any) -> None:
    ten = {f"tag{number}": "x" for number in range(10)}
    bucket.put(KEY, a_call(), Tagging="&".join(f"{name}=x" for name in ten))
    (row,) = archive(plan(bucket.name))
    assert (row.status, row.verified, row.tagged) == (Status.ARCHIVED, True, False)
    assert row.reason.startswith("tag-limit")
    assert bucket.tags(KEY) == ten


def test_what_has_no_room_for_the_tag_is_settled_all_the_same(
    bucket: Bucket, plan: Plan, archive: Any, listed: Any, a_call: Any, files: Any
) -> None:
    bucket.put(KEY, a_call(), Tagging="&".join(f"tag{number}=x" for number in range(10)))
    run = plan(bucket.name)
    write_rows(files, archive(run), run_id=run.run_id, wave=1)
    assert listed(run) == []


def test_sends_two_requests(bucket: Bucket, plan: Plan, store: Store, archive: Any, a_call: Any) -> None:
    for number in range(5):
        bucket.put(key_of(number), a_call(number))
    run = plan(bucket.name)
    check_sight(store, run)
    before = len(bucket.requests())
    archive(run)
    expected = {
        "LIST": 2,
        "GET": 5 + 1,
        "PUT": 5,
        "LIST versions": 1,
        "GET tags": 5,
        "PUT tags": 5,
    }  # one for the lifecycle rules
    assert bucket.requests_by_kind(before) == expected
