"""Types of the fixtures that are functions."""

from collections.abc import Callable
from typing import Any, Protocol

from recordings.recording import Recording
from recordings.run import Run
from recordings.table.rows import AuditRow

Listed = Callable[[Run], list[Recording]]
Stages = Callable[[Run], list[AuditRow]]


class MakeCall(Protocol):
    """A synthetic call; another seed is another call."""

    def __call__(self, seed: int = ..., duration_s: float = ...) -> bytes: ...


class Setting(Protocol):
    """Change settings until the test ends; their names come without ``ARCHIVE_``."""

    def __call__(self, **values: object) -> None: ...


class PlanRun(Protocol):
    """A run's parameters, checked, as a flow would make them; ``changes`` replace those of ``tests/planned.py``."""

    def __call__(self, bucket: str = ..., **changes: Any) -> Run: ...
