"""What this machine lacks is an OSError and leaves nothing behind: room on the disk, a sound ffmpeg, the source."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from recordings.conversion import ffmpeg
from recordings.conversion.audio import convert, inspect
from recordings.profiles import PROFILES
from tests.recordings.clips import Trickle, wav

FLAC = PROFILES["flac-stereo"]
NAMESPACES = (["unshare", "--mount"], ["unshare", "--map-root-user", "--mount"])  # as root, and as anybody
SIZES_KIB = [32, 300, 600, 660, 800, 1_200, 4_000]  # of the disk: the samples take 625, the FLAC nearly as much
ON_A_SMALL_DISK = """
import json, os, subprocess, sys, tempfile
from recordings.conversion.audio import convert, inspect
from recordings.profiles import PROFILES
from tests.recordings.test_full_disk import call, Trickle
flac = convert(Trickle(call()), len(call()), PROFILES["flac-stereo"]).body
tempfile.tempdir = sys.argv[1]
def outcome(work):
    try:
        work()
    except BaseException as error:
        return [type(error).__name__, str(error), os.listdir(tempfile.tempdir)]
    return ["done", "", os.listdir(tempfile.tempdir)]
for size_kib in map(int, sys.argv[2:]):
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size_kib}k", "small", tempfile.tempdir], check=True)
    made = outcome(lambda: convert(Trickle(call()), len(call()), PROFILES["flac-stereo"]))
    checked = outcome(lambda: inspect(Trickle(flac), len(flac)))
    print(json.dumps([size_kib, len(flac), made, checked]))
    subprocess.run(["umount", tempfile.tempdir], check=True)
"""


def call() -> bytes:
    """20 s of noise, which FLAC hardly makes smaller."""
    return wav(np.random.default_rng(3).integers(-20_000, 20_000, (160_000, 2)).astype(np.int16))


def in_a_namespace() -> list[str]:
    """What lets a program mount; skips where nothing does."""
    for command in NAMESPACES:
        if subprocess.run([*command, "true"], capture_output=True, check=False).returncode == 0:
            return command
    pytest.skip("no mount namespaces here")


def test_a_full_disk_is_an_os_error_and_leaves_nothing(tmp_path: Path) -> None:
    command = [*in_a_namespace(), sys.executable, "-c", ON_A_SMALL_DISK, str(tmp_path), *map(str, SIZES_KIB)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2])
    outcomes = [json.loads(line) for line in done.stdout.splitlines()]
    assert [size_kib for size_kib, *_ in outcomes] == SIZES_KIB
    for size_kib, flac_bytes, made, checked in outcomes:
        needed_kib = len(call()) / 1024 + flac_bytes / 1024
        assert made[2] == checked[2] == []
        assert (made[0] == "done") == (size_kib > needed_kib), made
        assert (checked[0] == "done") == (size_kib > flac_bytes / 1024), checked
        assert {made[0], checked[0]} <= {"done", "OSError"}
        assert all("No space left" in why for kind, why, _ in (made, checked) if kind != "done")


class Lost(Trickle):
    """A connection that is lost on the way."""

    def read(self, size: int) -> bytes:
        piece = super().read(size)
        if not piece:
            raise ConnectionResetError("lost")
        return piece


FFMPEGS = {
    "fails": "#!/bin/sh\necho sorry >&2\nexit 7\n",
    "is killed": "#!/bin/sh\nkill -9 $$\n",
    "is killed half way": "#!/bin/sh\nhead -c 1000 >/dev/null\nkill -9 $$\n",
    "is no program": "nothing\n",
}


@pytest.mark.parametrize("name", FFMPEGS)
def test_an_ffmpeg_that_fails_is_an_os_error_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    program, disk = tmp_path / "ffmpeg", tmp_path / "disk"
    program.write_text(FFMPEGS[name])
    program.chmod(0o755)
    disk.mkdir()
    flac = convert(Trickle(call()), len(call()), FLAC).body
    monkeypatch.setattr(tempfile, "tempdir", str(disk))
    monkeypatch.setattr(ffmpeg, "executable", lambda: str(program))
    attempts: list[Callable[[], object]] = [lambda: convert(Trickle(call()), len(call()), FLAC)]
    if name != "fails":  # a decoder that fails has found damage
        attempts.append(lambda: inspect(Trickle(flac), len(flac)))
    for attempt in attempts:
        with pytest.raises(OSError, match=r"sorry|signal|Exec format"):
            attempt()
        assert list(disk.iterdir()) == []


def test_a_source_that_is_lost_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with pytest.raises(ConnectionResetError, match="lost"):
        convert(Lost(call()[:-5_000]), len(call()), FLAC)
    assert list(tmp_path.iterdir()) == []
