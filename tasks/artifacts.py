"""The pages and progress bars that people see in Prefect. The audit table has it all: no run depends on an artifact.

Only a forecast and ``inspect_bucket`` publish theirs by themselves: the artifact is all that they are for.
"""

from collections.abc import Callable
from typing import TypeVar, cast
from uuid import UUID

from prefect.artifacts import create_markdown_artifact, create_progress_artifact, update_progress_artifact
from prefect.logging import get_run_logger

T = TypeVar("T")


def publish(page: str, *, key: str, description: str) -> None:
    """Publish a Markdown page as an artifact."""
    _sent(key, lambda: create_markdown_artifact(page, key=key, description=description))


class Bar:
    """A progress bar, in percent."""

    def __init__(self, percent: float, *, key: str, description: str) -> None:
        self._key = key
        self._artifact = _sent(key, lambda: create_progress_artifact(percent, key=key, description=description))

    def show(self, percent: float) -> None:
        """Move the bar."""
        artifact = self._artifact
        if artifact is not None:
            _sent(self._key, lambda: update_progress_artifact(cast(UUID, artifact), progress=percent))


def _sent(key: str, send: Callable[[], T]) -> T | None:
    """Prefect's answer; if Prefect refuses the artifact, the log says so and the run goes on."""
    try:
        return send()
    except Exception:
        get_run_logger().exception("the artifact %s could not be published", key)
        return None
