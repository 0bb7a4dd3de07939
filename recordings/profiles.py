"""The formats that recordings can be converted to: one row of ``PROFILES`` each."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True, slots=True, kw_only=True)
class AudioFormat:
    """What an audio file holds; ``codec`` is ffmpeg's name: ``pcm_s16le``, ``pcm_alaw``, ``flac``, ``opus``."""

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
    size_ratio: float  # bytes of result per byte of source in Connect's own format, on average
    size_ratios: tuple[float, float]  # the 5th and 95th percentile of calls: a quiet bucket, and a busy one
    held_ratio: float  # bytes that a conversion holds in memory, per byte of source
    cpu_s_per_minute: float  # to move, convert, judge and hash a minute: docs/performance.md
    decoding_cpu_s_per_minute: float  # to read a minute of the result back


OPUS_RATIO = 0.11  # of calls made up of real voices: docs/performance.md

_ROWS = (
    Profile(
        name="alaw-mono",
        description="A-law WAV, 8 kHz, all channels mixed into one: a quarter of the size",
        codec="pcm_alaw",
        max_channels=1,
        content_type="audio/wav",
        size_ratio=0.25,
        size_ratios=(0.25, 0.25),
        held_ratio=0.25,
        cpu_s_per_minute=0.0048,
        decoding_cpu_s_per_minute=0.0048,
    ),
    Profile(
        name="alaw-stereo",
        description="A-law WAV, 8 kHz, agent and customer kept apart: half the size",
        codec="pcm_alaw",
        max_channels=2,
        content_type="audio/wav",
        size_ratio=0.5,
        size_ratios=(0.5, 0.5),
        held_ratio=0.5,
        cpu_s_per_minute=0.0068,
        decoding_cpu_s_per_minute=0.0048,
    ),
    Profile(
        name="flac-stereo",
        description="lossless FLAC, every channel: 25 to 60 % of the size; not WAV, though the key ends in .wav",
        codec="flac",
        max_channels=8,
        content_type="audio/flac",
        size_ratio=0.4,
        size_ratios=(0.25, 0.6),
        held_ratio=0.6,
        cpu_s_per_minute=0.034,
        decoding_cpu_s_per_minute=0.015,
    ),
    Profile(
        name="opus-dual",
        description="Opus, 8 kHz, both speakers apart: a ninth of the size; not WAV, though the key ends in .wav",
        codec="opus",
        max_channels=2,
        content_type="audio/ogg",
        size_ratio=OPUS_RATIO,
        size_ratios=(0.08, 0.12),
        held_ratio=0.9,
        cpu_s_per_minute=1.05,
        decoding_cpu_s_per_minute=0.1,
    ),
)
PROFILES: Mapping[str, Profile] = MappingProxyType({row.name: row for row in _ROWS})
DEFAULT = PROFILES["alaw-mono"]
