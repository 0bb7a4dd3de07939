"""Conversions happen in memory: no profile writes a file or starts a process, so no full disk can stop one."""

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

WATCHED = """
import sys
from recordings.conversion.audio import convert, inspect
from recordings.profiles import PROFILES
from tests.recordings.clips import Trickle, synthetic, wav

def convert_and_inspect(call):
    for profile in PROFILES.values():
        body = convert(Trickle(call), len(call), profile).body
        inspect(Trickle(body), len(body))

def refuse(event, arguments):
    is_writing = event == "open" and isinstance(arguments[1], str) and set(arguments[1]) & set("wax+")
    if is_writing or event in ("os.mkdir", "tempfile.mkstemp", "os.posix_spawn", "subprocess.Popen", "os.fork"):
        raise RuntimeError(f"not in memory: {event} {arguments}")

call, other = (wav(frames) for _, frames in list(synthetic(4))[2:])
convert_and_inspect(call)  # whatever is loaded or compiled at first use
sys.addaudithook(refuse)
if sys.argv[1:]:
    open(sys.argv[1], "wb")
convert_and_inspect(other)
"""


def watched(*arguments: str) -> str:
    """What the program said on its standard error."""
    command = [sys.executable, "-W", "ignore", "-c", WATCHED, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2], check=False)
    return done.stderr


def test_conversions_write_no_file_and_start_no_process() -> None:
    assert watched() == ""


def test_a_file_would_be_noticed(tmp_path: Path) -> None:
    assert "not in memory: open" in watched(str(tmp_path / "file"))
