"""The audit notebook: opened for a person by ``make notebook``, or executed over a table as an analyst would do it."""

import argparse
import os
import sys
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from traitlets.config import Config

from demo.servers import HOST, free_port

AUDIT = Path(".demo/audit")
NOTEBOOK = Path(__file__).parents[1] / "notebooks" / "audit_report.ipynb"


def executed(audit_uri: str) -> nbformat.NotebookNode:
    """The notebook with its outputs. Raises CellExecutionError where a cell fails."""
    node: nbformat.NotebookNode = nbformat.read(NOTEBOOK, as_version=4)  # type: ignore[no-untyped-call]
    with tempfile.TemporaryDirectory() as folder:
        sockets = {"transport": "ipc", "connection_file": f"{folder}/kernel.json"}  # needs no port
        config = Config({"AsyncKernelManager": sockets})
        where = {"metadata": {"path": str(NOTEBOOK.parent)}}
        NotebookClient(node, kernel_name="python3", config=config, timeout=300, resources=where).execute(
            env={**os.environ, "ARCHIVE_AUDIT_URI": audit_uri}
        )
    return node


def main() -> None:
    """Become a Jupyter Lab that shows the notebook over the table at ARCHIVE_AUDIT_URI, by default the demo's."""
    argparse.ArgumentParser(usage="make notebook", description=main.__doc__).parse_args()
    audit_uri = os.environ.get("ARCHIVE_AUDIT_URI") or str(AUDIT.absolute())
    if audit_uri == str(AUDIT.absolute()) and not AUDIT.is_dir():
        sys.exit(f"There is no audit table in {AUDIT} yet: make demo writes one. Or set ARCHIVE_AUDIT_URI to your own.")
    here_only = (f"--ip={HOST}", f"--port={free_port()}", "--ServerApp.answer_yes=True")  # one Ctrl-C ends it
    as_root = ("--allow-root",) if os.geteuid() == 0 else ()
    page = (f"--ServerApp.root_dir={NOTEBOOK.parent}", f"--LabApp.default_url=/lab/tree/{NOTEBOOK.name}")
    kernel = ("--KernelManager.transport=ipc",)  # no ports that another program may take meanwhile
    lab = [sys.executable, "-m", "jupyterlab", *here_only, *as_root, *page, *kernel]
    os.execve(sys.executable, lab, {**os.environ, "ARCHIVE_AUDIT_URI": audit_uri})  # noqa: S606 (our own command)


if __name__ == "__main__":
    main()
