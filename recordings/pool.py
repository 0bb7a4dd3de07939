"""Threads, and a budget of bytes, shared by all batches of the process."""

import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from functools import cache
from typing import TypeVar

from recordings.settings import settings

Item = TypeVar("Item")
Result = TypeVar("Result")


class Budget:
    """Bytes that may be in use at once. First come, first served: a large request is never overtaken forever."""

    def __init__(self, size_bytes: int) -> None:
        self.size_bytes = size_bytes
        self._free = size_bytes
        self._queue = threading.Lock()
        self._returned = threading.Condition()

    @contextmanager
    def spend(self, size_bytes: int) -> Iterator[None]:
        """Hold ``size_bytes`` for a block, once they are free; a request above the budget waits for all of it."""
        share = min(size_bytes, self.size_bytes)
        with self._queue, self._returned:
            self._returned.wait_for(lambda: self._free >= share)
            self._free -= share
        try:
            yield
        finally:
            with self._returned:
                self._free += share
                self._returned.notify()


class Pool:
    """Maps work over items in threads; the number of threads and the budget of bytes limit what runs at once."""

    def __init__(self, threads: int, budget: Budget) -> None:
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="recordings")
        self._budget = budget

    def map(
        self, work: Callable[[Item], Result], items: Iterable[Item], cost_bytes: Callable[[Item], int] = lambda _: 0
    ) -> list[Result]:
        """Results in the order of the items. The first exception is raised, after all work has ended."""

        def run(item: Item) -> Result:
            with self._budget.spend(cost_bytes(item)):
                return work(item)

        futures: list[Future[Result]] = [self._threads.submit(run, item) for item in items]
        try:
            return [future.result() for future in futures]
        finally:
            for future in futures:
                future.cancel()
            wait(futures)


@cache
def shared_pool() -> Pool:
    """The process's one pool."""
    return Pool(settings().threads, Budget(settings().bytes_in_flight))
