"""The commit tag: on the verified version, among the tags that are there."""

from dataclasses import replace

import pytest

from recordings.pool import Pool
from recordings.preflight.canary import check_sight
from recordings.recording import Batch
from recordings.resample import resample_batch
from recordings.s3.store import Store
from recordings.table.files import AuditFiles
from recordings.table.parquet import write_rows
from recordings.table.rows import Status
from recordings.tag import tag_batch
from tests.bucket import Bucket, key_of
from tests.fixtures import Listed, MakeCall, PlanRun, Stages

KEY = key_of(1)


def test_joins_the_tags_that_are_there(bucket: Bucket, plan: PlanRun, run_stages: Stages, a_call: MakeCall) -> None:
    bucket.put(KEY, a_call(), Tagging="queue=sales&case=7")
    (row,) = run_stages(plan(bucket.name))
    assert (row.status, row.verified, row.tagged) == (Status.ARCHIVED, True, True)
    assert bucket.tags(KEY) == {"queue": "sales", "case": "7", "converted": "True"}
    assert row.finished_at is not None


def test_leaves_the_original_untagged(bucket: Bucket, plan: PlanRun, run_stages: Stages, a_call: MakeCall) -> None:
    original = bucket.put(KEY, a_call())
    run_stages(plan(bucket.name))
    tags = bucket.client.get_object_tagging(Bucket=bucket.name, Key=KEY, VersionId=original["VersionId"])["TagSet"]
    assert tags == []


def test_tags_nothing_that_is_not_verified(
    bucket: Bucket, plan: PlanRun, run_stages: Stages, store: Store, pool: Pool, a_call: MakeCall
) -> None:
    bucket.put(KEY, a_call())
    (row,) = run_stages(plan(bucket.name))
    unproven = replace(row, verified=False, tagged=False)
    before = len(bucket.requests())
    assert tag_batch(store, [unproven], pool) == [unproven]
    assert not bucket.requests_by_kind(before)


def test_says_so_where_ten_tags_leave_no_room(
    bucket: Bucket, plan: PlanRun, run_stages: Stages, a_call: MakeCall
) -> None:
    ten = {f"tag{number}": "x" for number in range(10)}
    bucket.put(KEY, a_call(), Tagging="&".join(f"{name}=x" for name in ten))
    (row,) = run_stages(plan(bucket.name))
    assert (row.status, row.verified, row.tagged) == (Status.ARCHIVED, True, False)
    assert str(row.reason).startswith("tag-limit")
    assert bucket.tags(KEY) == ten


def test_what_has_no_room_for_the_tag_is_final_all_the_same(
    bucket: Bucket, plan: PlanRun, run_stages: Stages, listed: Listed, a_call: MakeCall, files: AuditFiles
) -> None:
    bucket.put(KEY, a_call(), Tagging="&".join(f"tag{number}=x" for number in range(10)))
    run = plan(bucket.name)
    write_rows(files, run_stages(run), run_id=run.run_id, number=1)
    assert listed(run) == []


@pytest.mark.parametrize("profile", ["alaw-mono", "flac-stereo", "opus-dual"])
@pytest.mark.parametrize("next_profile", ["alaw-mono", "opus-dual"])
def test_what_a_run_wrote_and_did_not_tag_is_verified_and_tagged_under_any_profile(
    bucket: Bucket,
    plan: PlanRun,
    store: Store,
    pool: Pool,
    listed: Listed,
    run_stages: Stages,
    a_call: MakeCall,
    profile: str,
    next_profile: str,
) -> None:
    bucket.put(KEY, a_call())
    died = plan(bucket.name, profile=profile)
    resample_batch(store, Batch(died.start_date, 1, listed(died)), died, pool)
    result = bucket.body(KEY)
    assert bucket.tags(KEY) == {}
    (row,) = run_stages(plan(bucket.name, profile=next_profile, readback_percent=100))
    assert (row.status, row.verified, row.tagged) == (Status.ALREADY_ARCHIVED, True, True)
    assert bucket.body(KEY) == result
    assert bucket.tags(KEY) == {"converted": "True"}


def test_sends_two_requests(bucket: Bucket, plan: PlanRun, store: Store, run_stages: Stages, a_call: MakeCall) -> None:
    for number in range(5):
        bucket.put(key_of(number), a_call(number))
    run = plan(bucket.name)
    store.sight = check_sight(store, run)
    before = len(bucket.requests())
    run_stages(run)
    expected = {
        "LIST": 2,
        "GET": 5 + 1,
        "PUT": 5,
        "LIST versions": 1,
        "GET tags": 5,
        "PUT tags": 5,
    }  # one for the lifecycle rules
    assert bucket.requests_by_kind(before) == expected
