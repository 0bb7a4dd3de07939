"""Peak memory of conversions streamed from S3, above the idle process: ``python -m benchmarks.memory`` (Linux).

Each measurement is a process of its own that has first converted one short call, so that everything is loaded. The
calls come from an S3 server in another process, and the results are written to it.
"""

import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import cast

import boto3

from benchmarks.convert import write_call
from demo.servers import s3_server
from recordings.conversion.audio import convert
from recordings.profiles import PROFILES
from recordings.s3.store import Store
from recordings.settings import Settings

BUCKET = "calls"
CASES = {
    **{f"one call of two hours, {profile}": ("2h.wav", 1, profile) for profile in PROFILES},
    "eight calls of one hour at once, alaw-mono": ("1h.wav", 8, "alaw-mono"),
}
LENGTHS_S = {"short.wav": 10, "1h.wav": 3_600, "2h.wav": 7_200}


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, s3_server(Path(folder) / "s3") as server:
        os.environ.update(server.env)
        client = boto3.client("s3")
        client.create_bucket(Bucket=BUCKET)
        for key, seconds in LENGTHS_S.items():
            client.upload_file(str(write_call(Path(folder) / key, seconds)), BUCKET, key)
        for name, (key, count, profile) in CASES.items():
            measure = [sys.executable, "-m", "benchmarks.memory", key, str(count), profile]
            idle, peak = subprocess.run(measure, stdout=subprocess.PIPE, text=True, check=True).stdout.split()  # noqa: S603  # ours
            print(f"{name}: idle {idle} MB, at most {int(peak) - int(idle)} MB above it")


def measure(key: str, count: int, profile: str) -> None:
    """Convert ``count`` copies of a call at once, and print the resident MB before and at the peak."""
    store = Store(BUCKET, Settings())
    _convert(store, "short.wav", 0, profile)
    idle = _resident_mb("VmRSS")
    with ThreadPoolExecutor(count) as pool:
        list(pool.map(lambda number: _convert(store, key, number, profile), range(count)))
    print(idle, _resident_mb("VmHWM"))


def _convert(store: Store, key: str, number: int, profile: str) -> None:
    with store.read(key) as (stored, body):
        conversion = convert(body, stored.size_bytes, PROFILES[profile])
    store.create(f"{os.getpid()}-{number}-{key}", cast(bytes, conversion.body))  # a copy would count


def _resident_mb(field: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field)) * 1024 // 1_000_000


if __name__ == "__main__":
    if len(sys.argv) == 4:
        measure(sys.argv[1], int(sys.argv[2]), sys.argv[3])
    else:
        main()
