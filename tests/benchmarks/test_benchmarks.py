"""Each benchmark runs, at its smallest, and shows what docs/performance.md quotes."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SHOWN = {
    "pipeline": ("request and", "a good script", "ours", "recordings/s", "CPU ms each", "peak MB"),
    "floor": ("GET + PUT by boto3", "GET + PUT by obstore", "ours / boto3"),
    "processes": ("threads of each", "recordings/s", "CPU ms each", "peak MB"),
    "scale": ("3,200", "1,600", "CPU s, all shards", "peak MB"),
    "growth": ("recordings of 10 s", "ms by recording", "ms by minute"),
    "orchestration": ("Prefect's share of CPU", "task runs, events, log lines"),
}


def test_the_figures_on_paper_are_those_of_the_document() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.paper"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    document = (ROOT / "docs" / "performance.md").read_text().partition("### On paper")[2]
    cells = [
        [each.strip() for each in line.split("│")[2:5]] for line in done.stdout.splitlines() if line.startswith("│")
    ]
    assert len(cells) == 4
    for cpu_h, compute, requests in cells:
        hours = cpu_h if float(cpu_h.replace(",", "")) < 100 else cpu_h.removesuffix(".0")
        dollars = compute if float(compute) < 1 else f"{float(compute):.0f}"
        assert f"| {hours} h | ${dollars} | ${requests} |" in document


@pytest.mark.parametrize("name", SHOWN)
def test_it_runs(name: str) -> None:
    command = [sys.executable, "-W", "ignore", "-m", f"benchmarks.{name}", "--quick"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert not [phrase for phrase in SHOWN[name] if phrase not in " ".join(done.stdout.split())]
