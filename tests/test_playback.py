"""Who can open what each profile makes, under a key that ends in ``.wav``: docs/playback.md says what is so here."""

import functools
import io
import json
import os
import shutil
import subprocess
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from recordings.conversion.audio import convert
from recordings.profiles import PROFILES
from tests.bucket import Bucket
from tests.recordings.clips import wav

with warnings.catch_warnings():  # of the deprecated audioop, and of ffmpeg if it is not on PATH
    warnings.simplefilter("ignore")
    from pydub import AudioSegment

PAGE = Path(__file__).parents[1] / "docs" / "playback.md"
SECONDS, LEFT_HZ, RIGHT_HZ = 30, 440, 1_000
CLOSE_S = {"VLC": 0.1}  # its file output loses the end, of A-law as well; all others are right to 20 ms
Samples = NDArray[np.float64]


@functools.cache
def body(profile: str) -> bytes:
    """A call whose speakers are tones: 440 Hz at the left, 1,000 Hz at the right."""
    time_s = np.arange(8_000 * SECONDS) / 8_000
    tones = [8_000 * np.sin(2 * np.pi * hz * time_s) for hz in (LEFT_HZ, RIGHT_HZ)]
    source = wav(np.rint(np.stack(tones, axis=1)).astype(np.int16))
    return bytes(convert(io.BytesIO(source), len(source), PROFILES[profile]).body)


def is_the_call(samples: Samples, rate_hz: int, profile: str, close_s: float = 0.02) -> bool:
    """Whether the length is right to ``close_s``, and each tone is in its own channel; in a mono file, both in one."""
    if abs(len(samples) / rate_hz - SECONDS) > close_s:
        return False
    middle = samples[len(samples) // 2 :][:rate_hz]
    tones = [
        {hz for hz in (LEFT_HZ, RIGHT_HZ) if _share(channel, hz, rate_hz) > 0.2} for channel in middle.T.astype(float)
    ]
    if PROFILES[profile].max_channels == 1:
        return all(each == {LEFT_HZ, RIGHT_HZ} for each in tones)
    return tones == [{LEFT_HZ}, {RIGHT_HZ}]


def _share(channel: Samples, hz: int, rate_hz: int) -> float:
    """The share of a channel's energy within 3 Hz of ``hz``; ``channel`` is one second."""
    powers = np.abs(np.fft.rfft(channel)) ** 2
    return float(powers[hz - 3 : hz + 4].sum() / max(powers.sum(), 1e-9))


def by_program(*command: str) -> Callable[[Path, Path], tuple[Samples, int]]:
    """Decode by a program that writes a WAV file, whose name stands as ``OUT`` in its command; ``IN`` is the call."""

    def decode(source: Path, result: Path) -> tuple[Samples, int]:
        program = imageio_ffmpeg.get_ffmpeg_exe() if command[0] == "ffmpeg" else shutil.which(command[0])
        if program is None:
            pytest.skip(f"{command[0]} is not installed")
        names = {"IN": str(source), "OUT": str(result)}
        rest = [functools.reduce(lambda word, name: word.replace(*name), names.items(), each) for each in command[1:]]
        user = "nobody" if command[0] == "cvlc" and os.geteuid() == 0 else None  # VLC refuses to run as root
        subprocess.run([program, *rest], check=True, capture_output=True, timeout=120, user=user, cwd=source.parent)
        return soundfile.read(result, always_2d=True)  # type: ignore[no-any-return]

    return decode


def by_libsndfile(source: Path, result: Path) -> tuple[Samples, int]:
    return soundfile.read(source, always_2d=True)  # type: ignore[no-any-return]


def by_pydub(source: Path, result: Path) -> tuple[Samples, int]:
    if shutil.which("ffprobe") is None:
        pytest.skip("ffprobe, without which pydub opens nothing, is not installed")
    with source.open("rb") as file:
        segment = AudioSegment.from_file(file)
    samples = np.array(segment.get_array_of_samples(), float).reshape(-1, segment.channels)
    return samples, segment.frame_rate


PLAYERS: dict[str, Callable[[Path, Path], tuple[Samples, int]]] = {
    "ffmpeg": by_program("ffmpeg", "-v", "error", "-i", "IN", "-f", "wav", "-c:a", "pcm_s16le", "OUT"),
    "libsndfile": by_libsndfile,
    "pydub": by_pydub,
    "SoX": by_program("sox", "IN", "-t", "wav", "-e", "signed-integer", "-b", "16", "OUT"),
    "mpv": by_program(
        "mpv", "--no-config", "--no-video", "--audio-display=no", "--ao=pcm", "--ao-pcm-file=OUT", "--untimed", "IN"
    ),
    "GStreamer": by_program(
        *("gst-launch-1.0", "-q", "filesrc", "location=IN", "!", "decodebin", "!", "audioconvert", "!"),
        *("audio/x-raw,format=S16LE", "!", "wavenc", "!", "filesink", "location=OUT"),
    ),
    "VLC": by_program(
        *("cvlc", "-q", "--no-repeat", "--play-and-exit", "-I", "dummy", "--no-sout-video"),
        *("--sout=#transcode{acodec=s16l}:std{access=file,mux=wav,dst=OUT}", "IN", "vlc://quit"),
    ),
    "opusdec": by_program("opusdec", "--quiet", "IN", "OUT"),
}


def said(player: str) -> dict[str, str]:
    """The page's row about a player: a word per profile."""
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in PAGE.read_text().splitlines()]
    heading = next(line for line in lines if line[0] == "opens with")
    row = next(line for line in lines if line[0] == player)
    return {name.strip("`"): word for name, word in zip(heading[1:], row[1:], strict=True)}


def is_opened(player: str, profile: str, folder: Path) -> bool:
    source = folder / "call.wav"
    source.write_bytes(body(profile))
    try:
        samples, rate_hz = PLAYERS[player](source, folder / "out.wav")
    except (subprocess.CalledProcessError, soundfile.LibsndfileError, IndexError):
        return False
    return is_the_call(samples, rate_hz, profile, CLOSE_S.get(player, 0.02))


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("player", PLAYERS)
def test_the_page_says_who_opens_what(player: str, profile: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o777)
        assert said(player)[profile] == ("yes" if is_opened(player, profile, Path(folder)) else "no")


BROWSERS = {
    "Chromium": ("chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--user-data-dir=PROFILE"),
    "Firefox": ("firefox-esr", "--headless", "--no-remote", "--profile", "PROFILE"),
}
SCRIPT = """<!doctype html><meta charset=utf-8><script>
async function opened(file) {
  const found = {};
  try {
    const bytes = await (await fetch(file.url)).arrayBuffer();
    const audio = await new OfflineAudioContext(2, 8000, 8000).decodeAudioData(bytes);
    found.channels = [...Array(audio.numberOfChannels).keys()].map(
      (number) => [...audio.getChannelData(number).slice(80000, 88000)]);
    found.frames = audio.length;
    const player = new Audio(file.url), happens = (name) => new Promise((done, fail) => {
      player.addEventListener(name, done, {once: true});
      player.addEventListener("error", () => fail(player.error.message), {once: true});
    });
    await happens("loadedmetadata");
    found.duration_s = player.duration;
    const sought = happens("seeked");
    player.currentTime = 0.75 * file.seconds;
    await sought;
    found.sought_s = player.currentTime;
  } catch (error) { found.error = String(error); }
  return found;
}
(async () => {
  const found = {};
  for (const [profile, file] of Object.entries(FILES)) found[profile] = await opened(file);
  await fetch(ANSWER, {method: "PUT", body: JSON.stringify(found)});
})();
</script>"""


@pytest.mark.parametrize("browser", BROWSERS)
def test_browsers_decode_play_and_seek(browser: str, bucket: Bucket, tmp_path: Path) -> None:
    """From S3, by range requests; the page lies in the same bucket, and puts there what it found."""
    program = shutil.which(BROWSERS[browser][0])
    if program is None:
        pytest.skip(f"{BROWSERS[browser][0]} is not installed")

    def url_of(key: str, request: str = "get_object") -> str:
        return str(bucket.client.generate_presigned_url(request, Params={"Bucket": bucket.name, "Key": key}))

    files = {}
    for name, profile in PROFILES.items():
        bucket.put(f"{name}.wav", body(name), ContentType=profile.content_type)
        files[name] = {"url": url_of(f"{name}.wav"), "seconds": SECONDS}
    page = SCRIPT.replace("FILES", json.dumps(files)).replace("ANSWER", json.dumps(url_of("answer", "put_object")))
    bucket.put("page.html", page.encode(), ContentType="text/html")
    command = [word.replace("PROFILE", str(tmp_path)) for word in BROWSERS[browser][1:]]
    with subprocess.Popen(
        [program, *command, url_of("page.html")], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        try:
            answers = json.loads(_awaited(bucket, "answer"))
        finally:
            process.terminate()
    for name, found in answers.items():
        is_open = "error" not in found and _is_the_call_in(found, name)
        assert said(browser)[name] == ("yes" if is_open else "no"), {**found, "channels": None}


def _is_the_call_in(found: dict[str, object], profile: str) -> bool:
    middle = np.array(found["channels"]).T
    samples = np.concatenate([np.zeros((15 * 8_000, middle.shape[1])), middle, np.zeros((14 * 8_000, middle.shape[1]))])
    exact = (found["frames"], found["sought_s"]) == (8_000 * SECONDS, 0.75 * SECONDS)
    is_long_enough = abs(float(str(found["duration_s"])) - SECONDS) < 0.02  # Chromium counts Opus's pre-skip
    return exact and is_long_enough and is_the_call(samples, 8_000, profile)


def _awaited(bucket: Bucket, key: str, patience_s: float = 90) -> bytes:
    until = time.monotonic() + patience_s
    while time.monotonic() < until:
        if bucket.versions(key):
            return bucket.body(key)
        time.sleep(0.5)
    raise AssertionError(f"the page did not put {key!r} within {patience_s:.0f} s")
