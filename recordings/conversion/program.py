"""Where ffmpeg is, and whether a profile can do without. Loads no library, so that plans can ask."""

import importlib
import shutil

from recordings.errors import InvalidRequest
from recordings.profiles import Profile


def executable() -> str:
    """The path of ffmpeg; raises ``InvalidRequest`` if there is none."""
    found = shutil.which("ffmpeg")
    if found:
        return found
    try:
        return str(importlib.import_module("imageio_ffmpeg").get_ffmpeg_exe())
    except (ImportError, RuntimeError) as error:
        way_out = "put ffmpeg on PATH, install imageio-ffmpeg, or choose an A-law profile"
        raise InvalidRequest(f"this profile needs ffmpeg, which is not here: {way_out}") from error


def check_profile_available(profile: Profile) -> None:
    """Raise ``InvalidRequest`` with the way out if the profile needs ffmpeg and there is none."""
    if profile.needs_ffmpeg:
        executable()
