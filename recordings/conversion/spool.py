"""Keep a source's samples in memory, lossless and small, to encode and to judge them one after the other.

Opus cannot be judged block by block as A-law can: its decoder reads whole files. A call of two hours takes 230 MB as
samples and 40 to 130 MB as FLAC, which costs 20 ms of CPU per minute, a thirtieth of what encoding Opus costs.
"""

import io
from collections.abc import Iterable, Iterator

import soundfile  # type: ignore[import-untyped]  # has no stubs

from recordings.conversion.alaw import Int16s
from recordings.conversion.pcm import TELEPHONE_HZ
from recordings.conversion.wav import MAX_WHOLE_BYTES
from recordings.errors import Rejected

BLOCK_FRAMES = 32_768


class Spool:
    """Blocks ``(n, channels)`` of 16 bits, written once while they pass, and read as often as needed."""

    def __init__(self, channels: int) -> None:
        self._channels = channels
        self._flac = io.BytesIO()

    def passing(self, blocks: Iterable[Int16s]) -> Iterator[Int16s]:
        """The same blocks; each is kept. Raises ``Rejected`` for more than a process can hold."""
        with soundfile.SoundFile(
            self._flac, "w", TELEPHONE_HZ, self._channels, "PCM_16", format="FLAC", compression_level=0.5
        ) as file:
            for block in blocks:
                if self._flac.tell() > MAX_WHOLE_BYTES:
                    raise Rejected("too-large", f"its samples take more than {MAX_WHOLE_BYTES:,} bytes as FLAC")
                file.write(block)
                yield block

    def blocks(self) -> Iterator[Int16s]:
        """All that has passed."""
        self._flac.seek(0)
        with soundfile.SoundFile(self._flac) as file:
            yield from file.blocks(BLOCK_FRAMES, dtype="int16", always_2d=True)
