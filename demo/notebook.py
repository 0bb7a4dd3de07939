"""The audit notebook, run over a table as an analyst would run it."""

import os
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from traitlets.config import Config

NOTEBOOK = Path(__file__).parents[1] / "notebooks" / "audit_report.ipynb"


def executed(audit_uri: str) -> nbformat.NotebookNode:
    """The notebook with its outputs. Raises CellExecutionError where a cell fails."""
    node: nbformat.NotebookNode = nbformat.read(NOTEBOOK, as_version=4)  # type: ignore[no-untyped-call]
    with tempfile.TemporaryDirectory() as folder:
        sockets = {"transport": "ipc", "connection_file": f"{folder}/kernel.json"}  # no port that another may have
        config = Config({"AsyncKernelManager": sockets})
        where = {"metadata": {"path": str(NOTEBOOK.parent)}}
        NotebookClient(node, kernel_name="python3", config=config, timeout=300, resources=where).execute(
            env={**os.environ, "ARCHIVE_AUDIT_URI": audit_uri}
        )
    return node
