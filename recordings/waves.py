"""Cuts lists into waves: each wave has as many items as are worked on at once."""

from collections.abc import Iterator, Sequence
from typing import TypeVar

from recordings.settings import settings

Item = TypeVar("Item")


def in_waves(items: Sequence[Item]) -> Iterator[list[Item]]:
    """As many items at a time as can be worked on at once, so that later items occupy no memory yet."""
    return in_chunks(items, settings().batches_in_flight)


def in_chunks(items: Sequence[Item], size: int) -> Iterator[list[Item]]:
    """``size`` items at a time."""
    return (list(items[n : n + size]) for n in range(0, len(items), size))
