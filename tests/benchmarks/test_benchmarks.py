"""Each benchmark runs, at its smallest, and shows what docs/performance.md quotes."""

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import convert, report
from recordings.pricing import prices
from recordings.savings.sums import savings
from recordings.table.files import LocalFiles
from recordings.table.records import end_records

ROOT = Path(__file__).parents[2]
SHOWN = {
    "pipeline": ("request and", "a good script", "ours", "recordings/s", "CPU ms each", "peak MB"),
    "floor": ("ours / boto3", "ours / frugal boto3", "ours / obstore", "ours / hashed and tagged"),
    "processes": ("threads of each", "recordings/s", "CPU ms each", "peak MB"),
    "scale": ("3,200", "1,600", "CPU s, all shards", "peak MB"),
    "growth": ("recordings of 10 s", "ms per recording", "ms per minute"),
    "upkeep": (
        "release, a month left",
        "5,886 30 days looked through",
        "restore 5,000 contacts",
        "to delete, 0 problems",
        "0 discrepancies",
        "680 days finished",
    ),
    "fixity": ("read in full", "50 checked: 50 GetObject, 50 HeadObject"),
    "releasing": ("a release of 1,470 originals", "task runs, events, log lines", "the longest artifact"),
    "orchestration": ("Prefect's share of CPU", "task runs, events, log lines", "all the work"),
}


def test_the_table_on_paper_is_in_the_document() -> None:
    command = [sys.executable, "-m", "benchmarks.paper"]
    shown = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    document = (ROOT / "docs" / "performance.md").read_text().splitlines()
    table = [line for line in shown.splitlines() if line.startswith("|")]
    assert len(table) == 6
    assert not [line for line in table if line not in document]


@pytest.mark.skipif(sys.platform != "linux", reason="the benchmarks read /proc and choose their cores: Linux only")
@pytest.mark.parametrize("name", SHOWN)
def test_it_runs(name: str) -> None:
    command = [sys.executable, "-W", "ignore", "-m", f"benchmarks.{name}", "--quick"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert not [phrase for phrase in SHOWN[name] if phrase not in " ".join(done.stdout.split())]


def test_a_synthetic_days_run_is_in_its_report(tmp_path: Path) -> None:
    report.write_day(tmp_path, 0, 100)
    (end,) = end_records(LocalFiles(tmp_path))
    assert end.cost is not None
    assert end.cost.requests_usd > 0
    assert len(savings(LocalFiles(tmp_path), prices()).runs) == 1


@pytest.mark.parametrize("name", convert.WAYS)
def test_each_way_to_convert_makes_ten_seconds_of_alaw(tmp_path: Path, name: str) -> None:
    """Ours, whatever is left out of it, and ffmpeg's are the same codes; the others round in their own ways."""
    source = convert.write_call(tmp_path / "call.wav", 10)
    result, theirs = tmp_path / "result.wav", tmp_path / "ffmpeg.wav"
    convert.WAYS[name](source, result)
    convert.ffmpeg_once(source, theirs)
    made, expected = (convert.codes(path) for path in (result, theirs))
    assert len(made) == len(expected) == 80_000
    assert (made == expected).all() == name.startswith(("ours", "ffmpeg"))
