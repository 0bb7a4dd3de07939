"""Who runs the code, and with which versions: stored in a run's start record, so that audit rows lead to it."""

import os
import platform
import shutil
import subprocess
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TypeVar
from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun
from prefect.runtime import deployment, flow_run
from prefect.utilities.urls import url_for

from recordings import __version__
from recordings.table.records import Circumstances

T = TypeVar("T")
_CHECKOUT = Path(__file__).parents[1]
_LIBRARIES = ("prefect", "boto3", "numpy", "soxr", "pyarrow", "numba")


def circumstances() -> Circumstances:
    """The flow run, its deployment, who started it, and the code and libraries that it runs. Never raises.

    A value that is not known is None: outside a flow run, or where the server does not provide it.
    """
    run_id = flow_run.id
    return Circumstances(
        flow_run_id=run_id,
        flow_run_name=_learned(lambda: flow_run.name),
        flow_run_url=_learned(lambda: url_for("flow-run", obj_id=run_id)) if run_id else None,
        parent_flow_run_id=_learned(lambda: flow_run.parent_flow_run_id),
        deployment_id=_learned(lambda: deployment.id),
        deployment_name=_learned(lambda: deployment.name),
        started_by=_learned(lambda: _starter(_read(run_id))) if run_id else None,
        commit=os.environ.get("ARCHIVE_COMMIT") or _learned(_commit),
        image=os.environ.get("ARCHIVE_IMAGE") or None,
        versions={
            "connect-recording-archive": __version__,
            "python": platform.python_version(),
            **{name: _learned(partial(version, name)) for name in _LIBRARIES},
        },
    )


def _learned(look: Callable[[], T]) -> T | None:
    try:
        return look()
    except Exception:  # no run may fail because its starter is not known
        return None


def _read(run_id: str) -> FlowRun:
    with get_client(sync_client=True) as client:
        return client.read_flow_run(UUID(run_id))


def _starter(run: FlowRun) -> str | None:
    """The starter as ``USER ada`` or ``AUTOMATION nightly``; a server without accounts knows no users."""
    if run.created_by is None:
        return "SCHEDULE" if run.auto_scheduled else None
    return " ".join(filter(None, (run.created_by.type, run.created_by.display_value))) or None


def _commit() -> str | None:
    """The commit of the checkout of this code, with ``-dirty`` where files differ from it."""
    git = shutil.which("git")
    if git is None or not (_CHECKOUT / ".git").exists():
        return None
    describe = [git, "-C", str(_CHECKOUT), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    return subprocess.run(describe, capture_output=True, text=True, check=True, timeout=10).stdout.strip()  # noqa: S603
