"""CPU per minute of audio, for our conversion and for its alternatives: ``python -m benchmarks.convert``.

``python -m benchmarks.convert profiles`` compares only the profiles with each other: the best and the worst of three
rounds, since other work on the same cores makes CPU time longer.

Every way converts a WAV file in Connect's format to a mono A-law WAV file. CPU is user and system time of the process
and its children; the best of three rounds counts. For comparison: the CPU that boto3 needs to GET and PUT the same
call.
"""

import hashlib
import os
import resource
import sys
import tempfile
import warnings
import wave
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

import boto3
import numpy as np
import soundfile
from rich.console import Console
from rich.table import Table

from benchmarks import ffmpeg
from demo.calls import call
from demo.servers import s3_server
from recordings.conversion import audio
from recordings.conversion.pcm import BLOCK_BYTES
from recordings.profiles import PROFILES
from recordings.s3.store import Store
from recordings.settings import Settings

with warnings.catch_warnings():  # of the deprecated audioop, and of ffmpeg if it is not on PATH
    warnings.simplefilter("ignore")
    from pydub import AudioSegment

Way = Callable[[Path, Path], None]
CALLS = {"10 s": 10, "1 min": 60, "5 min": 300, "60 min": 3600}  # seconds
ROUNDS, CALLS_A_ROUND = 5, {"10 s": 30, "1 min": 10, "5 min": 4, "60 min": 1}


def ffmpeg_once(source: Path, result: Path) -> None:
    ffmpeg.run("-i", source, "-ac", "1", "-ar", "8000", "-c:a", "pcm_alaw", result)


def ffmpeg_twice(source: Path, result: Path) -> None:
    between = result.with_suffix(".between.wav")
    ffmpeg.run("-i", source, "-ac", "1", "-ar", "8000", between)
    ffmpeg.run("-i", between, "-c:a", "pcm_alaw", result)


def pydub_export(source: Path, result: Path) -> None:
    AudioSegment.converter = ffmpeg.executable()
    with source.open("rb") as stream:  # pydub leaves a file open that it opened itself
        call = AudioSegment.from_wav(stream)
    call.set_channels(1).export(result, format="wav", codec="pcm_alaw").close()


def soundfile_blocks(source: Path, result: Path) -> None:
    with soundfile.SoundFile(result, "w", 8_000, 1, "ALAW", format="WAV") as output:
        for block in soundfile.blocks(source, blocksize=32_768, dtype="int16"):
            output.write(((block.sum(axis=1, dtype=np.int32) + 1) >> 1).astype(np.int16))


def ours(source: Path, result: Path) -> None:
    with source.open("rb") as stream:
        conversion = audio.convert(stream, source.stat().st_size, PROFILES["alaw-mono"])
    result.write_bytes(conversion.body)


class Nothing:
    """Stands in for a hash or a judge, and does nothing."""

    def __init__(self, *_: object, **__: object) -> None: ...
    def update(self, _: bytes) -> None: ...
    def hexdigest(self) -> str:
        return ""

    def look(self, _: object, __: object) -> None: ...
    def verdict(self, _: object, **__: object) -> None: ...


def ours_without_hashes(source: Path, result: Path) -> None:
    with patch.object(hashlib, "sha256", Nothing):
        ours(source, result)


def ours_without_hashes_and_judge(source: Path, result: Path) -> None:
    with patch.object(audio, "Judge", Nothing):
        ours_without_hashes(source, result)


WAYS: dict[str, Way] = {
    "ffmpeg twice, through files": ffmpeg_twice,
    "ffmpeg once": ffmpeg_once,
    "pydub export (spawns ffmpeg)": pydub_export,
    "soundfile, by blocks": soundfile_blocks,
    "ours: engine": ours_without_hashes_and_judge,
    "ours: engine and judge": ours_without_hashes,
    "ours: engine, judge, SHA-256 of both": ours,
}


@contextmanager
def get_and_put(sources: list[Path]) -> Iterator[Way]:
    """GET the source and PUT the result as a run does, against an S3 server whose own CPU is not counted."""
    with tempfile.TemporaryDirectory() as folder, s3_server(Path(folder)) as server:
        os.environ.update(server.env)
        client = boto3.client("s3")
        client.create_bucket(Bucket="calls")
        for source in sources:
            client.put_object(Bucket="calls", Key=source.name, Body=source.read_bytes(), ChecksumAlgorithm="SHA256")
        store = Store("calls", Settings())

        def transfer(source: Path, result: Path) -> None:
            with store.read(source.name) as (_, body):
                while body.read(BLOCK_BYTES):
                    pass
            data = result.read_bytes()
            client.put_object(Bucket="calls", Key=result.name, Body=data, ChecksumAlgorithm="SHA256")

        yield transfer


def main() -> None:
    table = Table("", *CALLS, "bytes unlike ffmpeg's", title="CPU, ms per minute of audio", title_justify="left")
    with tempfile.TemporaryDirectory() as folder:
        sources = {name: write_call(Path(folder) / f"{name}.wav", seconds) for name, seconds in CALLS.items()}
        costs = {}
        for name, way in WAYS.items():
            costs[name] = _costs(way, sources)
            table.add_row(name, *_formatted(costs[name]), _unlike_ffmpeg(sources["5 min"]))
        with get_and_put(list(sources.values())) as transfer:
            transferring = _costs(transfer, sources)
    twice, engine, judged, hashed = (costs[name] for name in (*WAYS,) if name.startswith(("ours", "ffmpeg twice")))
    table.add_section()
    table.add_row("the judge alone", *_formatted(judged - engine))
    table.add_row("GET and PUT by boto3, checksums and all", *_formatted(transferring))
    table.add_section()
    table.add_row("ffmpeg twice / engine and judge", *_formatted(twice / judged))
    table.add_row("ffmpeg twice / engine, judge, SHA-256", *_formatted(twice / hashed))
    Console(width=120).print(table, f"by {ffmpeg.version()}")


def write_call(path: Path, seconds: int) -> Path:
    """A call of speech-like sound: ten seconds of it, repeated."""
    ten_seconds = call(np.random.default_rng(1), 10)[44:]
    with wave.open(str(path), "wb") as file:
        file.setparams((2, 2, 8_000, 0, "NONE", ""))
        for _ in range(seconds // 10):
            file.writeframes(ten_seconds)
    return path


def by_profile() -> Table:
    """CPU and size of every profile in one run: convert, judge and hash ten seconds and five minutes, and read back.

    The sound is that of the real calls in ``../shared/calls``, if they are there; otherwise it is synthetic.
    """
    lengths = {name: CALLS[name] for name in ("10 s", "5 min")}
    columns = (*lengths, "5 min, to read back", "size")
    table = Table("", *columns, title="Profiles: CPU, ms per minute of audio", title_justify="left")
    with tempfile.TemporaryDirectory() as folder:
        sources = {name: write_voices(Path(folder) / f"{name}.wav", seconds) for name, seconds in lengths.items()}
        result = Path(folder) / "5 min.result.wav"
        for name in PROFILES:
            costs = [_costs_of_rounds(_converting(name), sources[each], 60 // lengths[each] + 1) for each in lengths]
            costs.append(_costs_of_rounds(_reading_back, result, 1))
            minutes = np.array([lengths["10 s"], lengths["5 min"], lengths["5 min"]]) / 60
            least, most = (_formatted(1_000 * np.array([*map(of, costs)]) / minutes) for of in (min, max))
            share = result.stat().st_size / sources["5 min"].stat().st_size
            table.add_row(name, *(f"{low} to {high}" for low, high in zip(least, most, strict=True)), f"{share:.1%}")
    table.caption = "load average {:.1f}, {:.1f}, {:.1f}".format(*os.getloadavg())
    return table


def _reading_back(source: Path, _: Path) -> None:
    with source.open("rb") as stream:
        audio.inspect(stream, source.stat().st_size)


def _converting(profile: str) -> Way:
    def convert(source: Path, result: Path) -> None:
        with source.open("rb") as stream:
            result.write_bytes(audio.convert(stream, source.stat().st_size, PROFILES[profile]).body)

    return convert


def write_voices(path: Path, seconds: int) -> Path:
    """A call made of real voices, one call after the other, from the first again where they end."""
    voices = sorted((Path(__file__).parents[1] / ".." / "shared" / "calls").rglob("*.wav"))
    if not voices:
        return write_call(path, seconds)
    frames = np.resize(
        np.concatenate([soundfile.read(each, dtype="int16")[0] for each in voices]), (8_000 * seconds, 2)
    )
    soundfile.write(path, frames, 8_000, "PCM_16")
    return path


def _costs(way: Way, sources: dict[str, Path]) -> np.ndarray:
    costs_s = [_cost(way, source, CALLS_A_ROUND[name]) for name, source in sources.items()]
    ms_a_minute: np.ndarray = 60_000 * np.array(costs_s) / np.array(list(CALLS.values()))
    return ms_a_minute


def _formatted(numbers: np.ndarray) -> list[str]:
    return [f"{number:.1f}" if number < 10 else f"{number:.0f}" for number in numbers]


def _cost(way: Way, source: Path, calls: int) -> float:
    """CPU seconds per call, in the best round."""
    return min(_costs_of_rounds(way, source, calls, ROUNDS))


def _costs_of_rounds(way: Way, source: Path, calls: int, rounds: int = 3) -> list[float]:
    """CPU seconds per call, of each round; the first call is not counted."""
    result, costs_s = source.with_suffix(".result.wav"), []
    way(source, result)
    for _ in range(rounds):
        before = _cpu_s()
        for _ in range(calls):
            way(source, result)
        costs_s.append((_cpu_s() - before) / calls)
    return costs_s


def _cpu_s() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def _unlike_ffmpeg(source: Path) -> str:
    """The share of bytes of audio in which the last result differs from ffmpeg's."""
    result, theirs = source.with_suffix(".result.wav"), source.with_suffix(".ffmpeg.wav")
    if not theirs.exists():
        ffmpeg_once(source, theirs)
    unlike = np.mean(codes(result) != codes(theirs))
    return f"{unlike:.1%}" if unlike else "0"


def codes(path: Path) -> np.ndarray:
    """The A-law codes in a WAV file: ``(samples,)``."""
    data = path.read_bytes()
    return np.frombuffer(data, np.uint8, offset=data.index(b"data") + 8)


if __name__ == "__main__":
    if "profiles" not in sys.argv:
        main()
    Console(width=120).print(by_profile())
