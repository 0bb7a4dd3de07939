"""Each run has one workplace, from its beginning to its end, and each process is prepared once."""

import gc
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tasks import workplace as module
from tasks.workplace import at_work, workplace
from tests.bucket import PREFIX, Bucket, key_of
from tests.fixtures import PlanRun


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


def test_what_is_loaded_is_not_searched_for_garbage_again(bucket: Bucket, plan: PlanRun) -> None:
    gc.unfreeze()
    module._prepare_process.cache_clear()
    with at_work(plan(bucket.name)):
        assert gc.get_freeze_count() > len(gc.get_objects())
