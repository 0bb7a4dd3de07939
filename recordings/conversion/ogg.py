"""Read the Ogg Opus files that ``recordings.conversion.opus`` writes, byte by byte, and refuse any other.

The formats are those of RFC 3533 (Ogg), RFC 7845 (Opus in Ogg) and RFC 6716 (Opus packets, appendix B for the two
streams of one packet). This module shares no line with the encoder or the muxer.
"""

import hashlib
import struct
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from recordings.conversion.alaw import Codes
from recordings.conversion.wav import MAX_HOURS
from recordings.errors import Rejected

GRANULES_PER_FRAME = 6  # positions are counted at 48 kHz, frames at 8 kHz
PACKET_GRANULES = 480  # each packet holds 10 ms
PRE_SKIPS = (312, 120)  # what decoders drop at the beginning: with SILK 6.5 ms, with CELT alone 2.5 ms
TOCS = (0x00, 0x90)  # one frame of 10 ms, mono, narrow-band: SILK or CELT
MIN_FRAME_BYTES = 2  # less is a frame that was lost or left out
MAX_PACKETS = MAX_HOURS * 3600 * 100 + 1  # the pre-skip needs one more
HEAD_BYTES = 128  # that suffice to read ``OpusHead``
_PAGE_HEAD_BYTES = 27
_FIRST, _LAST = 2, 4  # flags of a page


@dataclass(frozen=True, slots=True, kw_only=True)
class OpusInfo:
    """What an Ogg Opus file holds. ``packets_sha256`` is of each packet's length (4 bytes, little-endian) and bytes."""

    channels: int
    frames: int  # of 8 kHz, after the pre-skip
    packets: int
    packets_sha256: str


@dataclass(frozen=True, slots=True)
class _Page:
    granule: int
    is_last: bool
    starts: NDArray[np.int64]  # of the packets
    sizes: NDArray[np.int64]


def opus_head(channels: int, pre_skip: int) -> bytes:
    """OpusHead (RFC 7845, section 5.1): one channel by family 0; two, each in a stream of its own, by family 1."""
    head = b"OpusHead" + struct.pack("<BBHIhB", 1, channels, pre_skip, 8_000, 0, channels - 1)
    return head if channels == 1 else head + bytes([2, 0, 0, 1])


def channels_of(beginning: bytes) -> int:
    """The channels by the first bytes of a file; raises ``Rejected`` if they are not of an Opus file of ours."""
    for channels in (1, 2):
        for pre_skip in PRE_SKIPS:
            head = opus_head(channels, pre_skip)
            if beginning[28 : 28 + len(head)] == head:
                return channels
    raise Rejected("bad-opus", "its head is not of an Opus file that this pipeline wrote")


def read_opus(body: bytes | bytearray) -> OpusInfo:
    """Check every page and packet; raises ``Rejected`` with the first thing that is wrong."""
    data = np.frombuffer(body, np.uint8)
    channels = channels_of(bytes(body[:HEAD_BYTES]))
    pre_skip = struct.unpack_from("<H", body, 38)[0]
    pages = _walk(data)
    _require(_only_packet(data, next(pages, None)) == opus_head(channels, pre_skip), "its head is odd")
    _check_comments(_only_packet(data, next(pages, None)))
    digest, packets, ends_at = hashlib.sha256(), 0, 0
    for number, page in enumerate(pages, start=2):
        packets += len(page.sizes)
        if packets > MAX_PACKETS:
            raise Rejected("too-long", f"more than {MAX_HOURS} hours")
        _check_packets(data, page, channels)
        for start, size in zip(page.starts.tolist(), page.sizes.tolist(), strict=True):
            digest.update(size.to_bytes(4, "little") + body[start : start + size])
        is_whole = page.granule == packets * PACKET_GRANULES
        _require(is_whole or page.is_last, f"page {number} ends at {page.granule}, with {packets} packets")
        ends_at = page.granule - pre_skip
    _require(packets > 0, "there is no audio")
    held = packets * PACKET_GRANULES
    _require(ends_at > 0 and not ends_at % GRANULES_PER_FRAME, f"it ends at {ends_at}, which is no whole frame")
    _require(0 <= held - ends_at - pre_skip < PACKET_GRANULES, f"{packets} packets are too many or too few")
    return OpusInfo(
        channels=channels, frames=ends_at // GRANULES_PER_FRAME, packets=packets, packets_sha256=digest.hexdigest()
    )


def _only_packet(data: Codes, page: _Page | None) -> bytes:
    """The packet of a page that has no other, and no audio."""
    if page is None or len(page.sizes) != 1 or page.granule:
        raise Rejected("bad-opus", "head and comments are no pages of their own")
    return bytes(data[page.starts[0] : page.starts[0] + page.sizes[0]])


def _check_comments(packet: bytes) -> None:
    """OpusTags (RFC 7845, section 5.2), of which some tell players to change the gain: R128_TRACK_GAIN."""
    _require(packet.startswith(b"OpusTags"), "there are no comments after the head")
    _require(b"_GAIN=" not in packet.upper(), "its comments tell players to change the gain")


def _walk(data: Codes) -> Iterator[_Page]:
    """All pages in order, each checked by itself and against its place."""
    at, serial, number = 0, -1, 0
    while at < len(data):
        head = bytes(data[at : at + _PAGE_HEAD_BYTES])
        _require(len(head) == _PAGE_HEAD_BYTES, f"page {number} has no whole head")
        magic, version, flags, granule, of, sequence, crc, segments = struct.unpack("<4sBBqIIIB", head)
        lacing = data[at + _PAGE_HEAD_BYTES : at + _PAGE_HEAD_BYTES + segments].astype(np.int64)
        start = at + _PAGE_HEAD_BYTES + segments
        end = start + int(lacing.sum())
        serial = of if serial < 0 else serial
        _require((magic, version, sequence, of) == (b"OggS", 0, number, serial), f"page {number} is out of order")
        is_last = end == len(data)
        _require(flags == _FIRST * (number == 0) + _LAST * is_last, f"page {number} has the flags {flags}")
        _require(end <= len(data) and segments == len(lacing) > 0, f"page {number} is cut short or empty")
        _require(lacing[-1] < 255, f"page {number} ends within a packet")
        _require(_crc(data[at:end], _CRC_TABLE) == crc, f"page {number} does not have its CRC")
        ends = start + np.cumsum(lacing)[lacing < 255]
        sizes = np.diff(ends, prepend=start)
        yield _Page(granule, is_last, ends - sizes, sizes)
        at, number = end, number + 1


def _check_packets(data: Codes, page: _Page, channels: int) -> None:
    """Each packet holds one frame of 10 ms per channel, none of them empty."""
    starts, sizes = page.starts, page.sizes
    _require(bool((sizes > MIN_FRAME_BYTES).all()), "a packet is empty")
    _require(bool(np.isin(data[starts], TOCS).all()), "a packet holds something else than 10 ms of narrow-band")
    frames = sizes - 1
    if channels == 2:  # the first stream says its length in one or two bytes
        first = data[starts + 1].astype(np.int64)
        is_long = first >= 252
        first = first + np.where(is_long, 4 * data[starts + 2].astype(np.int64), 0)
        second = 2 + is_long + first
        frames = sizes - second - 1
        _require(bool((first >= MIN_FRAME_BYTES).all() and (frames > 0).all()), "a packet lacks a channel")
        _require(bool((data[starts + second] == data[starts]).all()), "a packet's channels are of two kinds")
    _require(bool((frames >= MIN_FRAME_BYTES).all()), "a packet lacks a channel")


def _require(is_so: bool, words: str) -> None:
    if not is_so:
        raise Rejected("bad-opus", words)


def _crc_table() -> NDArray[np.uint32]:
    """Ogg's CRC-32: polynomial 0x04C11DB7, not reflected, without inversions (RFC 3533, section 6)."""
    table = np.arange(256, dtype=np.uint32) << np.uint32(24)
    for _ in range(8):
        table = np.where(table >> np.uint32(31), table << np.uint32(1) ^ np.uint32(0x04C11DB7), table << np.uint32(1))
    return table.astype(np.uint32)


_CRC_TABLE = _crc_table()


@njit(nogil=True)
def _crc(page: Codes, table: NDArray[np.uint32]) -> int:
    """The CRC of a page, whose own CRC field counts as zero."""
    crc = np.uint32(0)
    for at in range(len(page)):
        byte = np.uint32(0) if 22 <= at < 26 else np.uint32(page[at])
        crc = np.uint32(crc << np.uint32(8)) ^ table[np.uint32(crc >> np.uint32(24)) ^ byte]
    return int(crc)
