"""The flows that follow archiving, on a table of two million rows, in a process limited to a task's memory."""

import os
import shutil
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from benchmarks import report
from recordings.keys import contact_of
from recordings.table.reading import current, read_audit
from tests.bucket import DAY, Bucket, key_of

pytestmark = [
    pytest.mark.usefixtures("prefect"),
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="only Linux keeps to this limit"),
]
ROWS, ROWS_A_DAY = 2_000_000, 40_000
LIMIT_MB = 2048
# Arrow's allocator reserves 1 GiB of addresses at once, and again when many threads are busy. The limit counts what is
# reserved, so in KiB: no more at once than is about to be used ("Environment Options" of mimalloc).
AS_USED = {"MIMALLOC_ARENA_RESERVE": "32768"}
RESTORE_AND_RELEASE = f"""
import resource, sys
resource.setrlimit(resource.RLIMIT_DATA, ({LIMIT_MB << 20}, {LIMIT_MB << 20}))
from flows.release import release_originals
from flows.restore import restore_recordings
bucket, audit_uri, contact = sys.argv[1:]
place = {{"bucket": bucket, "audit_uri": audit_uri, "dry_run": False}}
print(dict(restore_recordings(**place, contact_ids=[contact]).counts))
print(dict(release_originals(**place, everything=True, grace_days=0).counts))
peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))  # ru_maxrss knows the parent's
print(int(peak.split()[1]) // 1024)
"""


def two_million_rows(root: Path, bucket: str, monkeypatch: pytest.MonkeyPatch, scratch: Path) -> None:
    """One day of recordings that were archived and released, under as many days."""
    monkeypatch.setattr(report, "ROWS_A_FILE", 10_000)
    monkeypatch.setitem(report._CONSTANT, "bucket", bucket)
    report.write_day(scratch, 0, ROWS_A_DAY // 2)
    (day,) = scratch.glob("recording_date=*")
    for number in range(ROWS // ROWS_A_DAY):
        shutil.copytree(
            day, root / f"recording_date={report.FIRST_DAY + timedelta(days=number)}", copy_function=os.link
        )


def test_one_is_restored_and_the_rest_released_beside_two_million_rows(
    bucket: Bucket, originals: dict[str, str], audit_uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    two_million_rows(Path(audit_uri), bucket.name, monkeypatch, tmp_path / "scratch")
    contact = contact_of(key_of(1))
    command = [sys.executable, "-W", "ignore", "-c", RESTORE_AND_RELEASE, bucket.name, audit_uri, str(contact)]
    env = {**os.environ, **AS_USED}
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2], env=env)
    assert done.returncode == 0, done.stderr[-3000:]
    restored, released, peak_mb = done.stdout.splitlines()[-3:]
    assert (restored, released) == ("{'restored': 1}", "{'released': 2}")
    assert int(peak_mb) < 700
    now = current(read_audit(audit_uri, DAY, DAY)).set_index("key")["status"].to_dict()
    assert now == {key: "restored" if key == key_of(1) else "released" for key in originals}
