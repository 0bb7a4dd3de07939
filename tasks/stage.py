"""A task as most flows use it: its results stay in memory, it is tried again for passing errors, and it can end red."""

from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.states import Failed
from prefect.tasks import Task

from recordings.errors import StoreUnavailable

P = ParamSpec("P")
R = TypeVar("R")


def stage(task_run_name: str) -> Callable[[Callable[P, R]], Task[P, R]]:
    """A task whose results stay in memory: a cache key or a result file would cost more than the work."""
    return task(
        task_run_name=task_run_name,
        cache_policy=NO_CACHE,
        persist_result=False,
        retries=2,
        retry_delay_seconds=[5, 30],
        retry_jitter_factor=0.5,
        retry_condition_fn=is_transient,
    )


def is_transient(_: Task[..., Any], __: Any, state: State[Any]) -> bool:
    """Whether another attempt may help: only for passing errors. Each recording of a batch has had its own."""
    return isinstance(state.result(raise_on_failure=False), StoreUnavailable)


def shown(result: R, trouble: str) -> R:
    """The result of a task run that is red in the UI where there was trouble. It counts all the same."""
    return Failed(message=trouble, data=result) if trouble else result  # type: ignore[return-value]
