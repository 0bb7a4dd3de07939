"""One workplace per run, whoever asks for it first."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from recordings.run import Run
from tasks.workplace import workplace
from tests.bucket import Bucket


def test_all_tasks_of_a_run_share_one_workplace(bucket: Bucket, plan: Callable[..., Run]) -> None:
    run: Any = plan(bucket.name)
    with ThreadPoolExecutor(16) as threads:
        workplaces = list(threads.map(lambda _: workplace(run), range(16)))
    assert len(set(map(id, workplaces))) == 1
