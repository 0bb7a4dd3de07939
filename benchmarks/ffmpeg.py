"""ffmpeg, which others convert with: Debian's or another on PATH, or else the one of the wheel imageio-ffmpeg."""

import shutil
import subprocess
from pathlib import Path

import imageio_ffmpeg


def executable() -> str:
    """The path of ffmpeg."""
    return shutil.which("ffmpeg") or str(imageio_ffmpeg.get_ffmpeg_exe())


def run(*arguments: str | Path) -> None:
    """Run ffmpeg quietly; an error raises."""
    command = [executable(), "-y", "-v", "error", "-nostdin", *map(str, arguments)]
    subprocess.run(command, check=True)  # noqa: S603 (ours)


def version() -> str:
    """As ``ffmpeg version 5.1.9``."""
    found = subprocess.run([executable(), "-version"], capture_output=True, text=True, check=True).stdout  # noqa: S603
    return " ".join(found.split()[:3])
