"""A-law and mu-law by table, and the mean of channels: how one block of samples is encoded.

The codes and their values are those of ITU-T G.711. Each sample gets the code that ffmpeg chooses, so that our bytes
equal ffmpeg's: the code of the nearest value, by the sample's upper 14 bits. G.711 chooses another code for 964 of the
65,536 samples: among negative ones, for the last four before a decision level; and where two segments meet, for those
between the decision level and the midpoint of the two neighbouring values.
"""

from collections.abc import Callable
from functools import cache

import numpy as np
from numba import njit
from numpy.typing import NDArray

Int16s = NDArray[np.int16]
Codes = NDArray[np.uint8]


def _alaw_values() -> Int16s:
    """The 16-bit value of each A-law code: sign, three bits of segment, four of step, every other bit inverted."""
    code = np.arange(256) ^ 0x55
    segment, step = code >> 4 & 7, code & 15
    size = np.where(segment == 0, step * 16 + 8, (step * 16 + 264) << np.maximum(segment - 1, 0))
    return np.where(code & 0x80, size, -size).astype(np.int16)


def _mulaw_values() -> Int16s:
    """The 16-bit value of each mu-law code: the same fields, all bits inverted, and a bias of 33 (132 in 16 bits)."""
    code = np.arange(256) ^ 0xFF
    size = ((code & 15) * 8 + 132 << (code >> 4 & 7)) - 132
    return np.where(code & 0x80, -size, size).astype(np.int16)


def _nearest_codes(values: Int16s) -> Codes:
    """The A-law code of each 16-bit sample, indexed as unsigned: 0 to 32767, then -32768 to -1."""
    upward = np.argsort(values)  # 128 negative codes, then 128 positive ones
    sizes = values[upward[128:]].astype(np.int64)
    limits = sizes[:-1] + sizes[1:] + 4 >> 3  # ffmpeg's midpoints, in steps of four
    quarter = np.arange(65536, dtype=np.uint16).view(np.int16) >> 2
    rank = np.searchsorted(limits, np.abs(quarter), side="right")
    codes: Codes = upward[np.where(quarter < 0, 127 - rank, 128 + rank)].astype(np.uint8)
    return codes


ALAW_VALUES = _alaw_values()
MULAW_VALUES = _mulaw_values()
ALAW_CODES = _nearest_codes(ALAW_VALUES)
for _table in (ALAW_VALUES, MULAW_VALUES, ALAW_CODES):
    _table.setflags(write=False)


def decode(codes: bytes, values: Int16s) -> Int16s:
    """The 16-bit samples of A-law (``ALAW_VALUES``) or mu-law (``MULAW_VALUES``) codes."""
    return values.take(np.frombuffer(codes, np.uint8))


def encode(frames: Int16s, place: bytearray | memoryview) -> None:
    """Fill ``place`` with one code per sample of ``frames (n, channels)``, or, if ``place`` has ``n`` bytes, per
    frame's mean.

    Halves of a mean are rounded up: for two channels the mean is ``(L+R+1)>>1``, as in ffmpeg.
    """
    mixed = frames.shape[1] if len(place) == len(frames) else 1
    if len(place) * mixed != frames.size:
        raise ValueError(f"{frames.shape} samples do not make {len(place)} codes")
    _encoder(mixed)(frames.reshape(-1), ALAW_CODES, np.frombuffer(place, np.uint8))


@cache
def _encoder(mixed: int) -> Callable[[Int16s, Codes, Codes], None]:
    """A compiled loop that makes one code of every ``mixed`` samples; its unsigned index needs no sign check."""
    width, half = np.uintp(mixed), mixed // 2

    @njit(nogil=True)
    def encode_all(samples: Int16s, table: Codes, codes: Codes) -> None:
        for at in range(np.uintp(len(codes))):
            total = half
            for channel in range(mixed):
                total += int(samples[at * width + np.uintp(channel)])
            codes[at] = table[total // mixed & 0xFFFF]

    return encode_all
