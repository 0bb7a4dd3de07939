"""The limit on parallel work: the bounded task runner of all flows that map tasks, and lists cut to fit it."""

from collections.abc import Sequence
from typing import Any, Generic, TypeVar

from prefect.task_runners import ThreadPoolTaskRunner

from recordings.settings import settings
from recordings.waves import in_chunks

Item = TypeVar("Item")
_MAX_TASKS = 100


class Chunk(Generic[Item]):
    """A few days that one task goes through. A plain class: Prefect walks every field of a dataclass it is handed."""

    __slots__ = ("days",)

    def __init__(self, days: Sequence[Item]) -> None:
        self.days = tuple(days)

    def __str__(self) -> str:
        first, last = self.days[0], self.days[-1]
        return str(first) if first == last else f"{first} ... {last}"


class _Bounded(ThreadPoolTaskRunner[Any]):
    """Runs as many tasks at once as batches may be in flight; Prefect's own runner starts a thread for each task."""

    def duplicate(self) -> "_Bounded":
        """The runner of one flow run, with the settings at its start."""
        return _Bounded(max_workers=settings().batches_in_flight)


def bounded() -> Any:
    """The task runner for a flow."""
    return _Bounded()


def chunks_of(days: Sequence[Item]) -> list[Chunk[Item]]:
    """A task for each day, or where there are hundreds for several, so that six years are no thousands of task runs."""
    return [Chunk(some) for some in in_chunks(days, -(-len(days) // _MAX_TASKS))] if days else []
