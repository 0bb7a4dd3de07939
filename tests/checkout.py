"""A copy of the files that git tracks, in a folder of its own, and make in it: the project as a newcomer has it."""

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

ROOT = Path(__file__).parents[1]
INSTALLED = ["-o", ".venv/.ready"]  # this very environment: it is not installed anew


def copy_checkout(folder: Path) -> Path:
    """A copy of what is or will be committed, with this environment."""
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    for name in subprocess.run(listed, cwd=ROOT, capture_output=True, check=True).stdout.decode().split("\0"):
        if name and (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    (folder / ".venv").symlink_to(ROOT / ".venv")
    return folder


def _environment() -> dict[str, str]:
    prefixes = ("AWS_", "PREFECT_", "ARCHIVE_", "MAKE", "MFLAGS")
    return {name: value for name, value in os.environ.items() if not name.startswith(prefixes)} | {"BROWSER": "true"}


def make(folder: Path, *arguments: str, code: int = 0) -> str:
    """Run make to its end, which must have this exit code; what it printed."""
    command = ["make", *INSTALLED, *arguments]
    done = subprocess.run(
        command, cwd=folder, env=_environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert done.returncode == code, done.stdout
    return done.stdout


@contextmanager
def making(folder: Path, target: str) -> Iterator[subprocess.Popen[str]]:
    """A target that goes on until it is interrupted: at the end of the block, if it is still there."""
    process = subprocess.Popen(
        ["make", *INSTALLED, target],
        cwd=folder,
        env=_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        if process.poll() is None:  # a test failed: Ctrl-C, which ends the servers, too
            with suppress(subprocess.TimeoutExpired):
                interrupt(process)
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def read_until(process: subprocess.Popen[str], phrase: str) -> str:
    """What the process prints, up to the line with this phrase."""
    assert process.stdout
    shown = ""
    for line in process.stdout:
        shown += line
        if phrase in line:
            return shown
    raise AssertionError(f"it ended without {phrase!r}:\n{shown}")


def interrupt(process: subprocess.Popen[str], by: signal.Signals = signal.SIGINT) -> str:
    """Ctrl-C, or another signal, to the terminal's whole process group. Returns what is still printed."""
    os.killpg(process.pid, by)
    return process.communicate(timeout=60)[0]
