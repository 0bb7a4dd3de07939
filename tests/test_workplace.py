"""Each run has one workplace, from its beginning to its end, and each process is prepared once."""

import gc
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from recordings.recording import Day
from recordings.table.parquet import write_rows
from tasks import workplace as module
from tasks.runner import Chunk
from tasks.stages import list_recordings
from tasks.workplace import at_work, workplace
from tests.bucket import DAY, ON_MINISTACK, PREFIX, Bucket, key_of
from tests.fixtures import PlanRun
from tests.recordings.tables import ROW


def test_all_tasks_of_a_run_share_one_workplace(bucket: Bucket, plan: PlanRun) -> None:
    run: Any = plan(bucket.name)
    with at_work(run), ThreadPoolExecutor(16) as threads:
        workplaces = list(threads.map(lambda _: workplace(run), range(16)))
    assert len(set(map(id, workplaces))) == 1


def test_runs_inside_another_leave_it_its_workplace(bucket: Bucket, plan: PlanRun) -> None:
    """A backfill in one process: dozens of runs come and go, and what it has used itself stays counted."""
    backfill: Any = plan(bucket.name)
    with at_work(backfill):
        list(workplace(backfill).store.list_objects(PREFIX))
        for _ in range(12):
            run: Any = plan(bucket.name)
            with at_work(run):
                assert workplace(run).requests == {}
        assert sum(workplace(backfill).requests.values()) == 1


def test_a_run_that_fails_leaves_no_workplace(bucket: Bucket, plan: PlanRun) -> None:
    run: Any = plan(bucket.name)
    with pytest.raises(ZeroDivisionError), at_work(run):
        raise ZeroDivisionError
    with pytest.raises(KeyError):
        workplace(run)


def test_requests_that_release_are_counted(bucket: Bucket, plan: PlanRun) -> None:
    run: Any = plan(bucket.name)
    bucket.put(key_of(1), b"an original")
    with at_work(run):
        before = sum(workplace(run).requests.values())
        workplace(run).deleting_store.needs_mfa()
        assert sum(workplace(run).requests.values()) == before + 1


@ON_MINISTACK  # its access log
def test_every_request_of_a_listing_is_counted(bucket: Bucket, plan: PlanRun) -> None:
    """Those that read the audit table, too, for a day that has rows and for one that has none."""
    run: Any = plan(bucket.name, audit_uri=f"s3://{bucket.name}/audit")
    bucket.put(key_of(1), b"an original")
    with at_work(run):
        write_rows(workplace(run).files, [replace(ROW, bucket=bucket.name)], run_id="r", number=1)
        before, sent = sum(workplace(run).requests.values()), len(bucket.requests())
        days = [Day(prefix=PREFIX, date=day) for day in (DAY, DAY + timedelta(days=1))]
        listed: list[Any] = list_recordings.fn(Chunk(days), run)
        assert [len(each.open) for each in listed] == [1, 0]
        counted = sum(workplace(run).requests.values()) - before
        assert bucket.requests_by_kind(sent)["LIST"] == 6, "of agents, of the IVR, and of the table"
        assert counted == len(bucket.requests()) - sent


def test_what_is_loaded_is_not_searched_for_garbage_again(bucket: Bucket, plan: PlanRun) -> None:
    gc.unfreeze()
    module._prepare_process.cache_clear()
    with at_work(plan(bucket.name)):
        assert gc.get_freeze_count() > len(gc.get_objects())
