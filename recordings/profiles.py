"""The formats that recordings can be converted to: one row of ``PROFILES`` each."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True, slots=True, kw_only=True)
class AudioFormat:
    """What an audio file holds; ``codec`` is ffmpeg's name: ``pcm_s16le``, ``pcm_alaw``, ``flac``."""

    codec: str
    sample_rate_hz: int
    channels: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """A format to convert recordings to. Mono sources stay mono under every profile."""

    name: str
    description: str
    codec: str
    max_channels: int  # if this is 1, more channels are mixed into one; otherwise more channels are refused
    content_type: str
    size_ratio: float  # approximate bytes of result per byte of source in Connect's own format


_ROWS = (
    Profile(
        name="alaw-mono",
        description="A-law WAV, 8 kHz, all channels mixed into one: a quarter of the size",
        codec="pcm_alaw",
        max_channels=1,
        content_type="audio/wav",
        size_ratio=0.25,
    ),
    Profile(
        name="alaw-stereo",
        description="A-law WAV, 8 kHz, agent and customer kept apart: half the size",
        codec="pcm_alaw",
        max_channels=2,
        content_type="audio/wav",
        size_ratio=0.5,
    ),
    Profile(
        name="flac-stereo",
        description="lossless FLAC, every channel: 25 to 60 % of the size; not WAV, though the key ends in .wav",
        codec="flac",
        max_channels=8,
        content_type="audio/flac",
        size_ratio=0.4,
    ),
)
PROFILES: Mapping[str, Profile] = MappingProxyType({row.name: row for row in _ROWS})
