"""Every target of the Makefile, as a newcomer runs it: in a copy of what is committed."""

import os
import re
import shutil
import signal
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
INSTALLED = ["-o", ".venv/.ready"]  # this very environment: it is not installed anew


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """What git knows of this project, and this environment."""
    folder = tmp_path / "checkout"
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    for name in subprocess.run(listed, cwd=ROOT, capture_output=True, check=True).stdout.decode().split("\0"):
        if name and (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    (folder / ".venv").symlink_to(ROOT / ".venv")
    return folder


def environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "PREFECT_", "MAKE"))}


def make(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["make", *arguments], cwd=folder, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def test_help_is_the_default_and_lists_every_target() -> None:
    declared = re.search(r"^\.PHONY: (.+)$", (ROOT / "Makefile").read_text(), re.M)
    assert declared
    shown = make(ROOT)
    assert shown == make(ROOT, "help")
    assert re.findall(r"^  make (\S+)", shown, re.M) == declared[1].split()


def test_test_runs_pytest_after_the_set_up() -> None:
    assert ".venv/bin/python -m pytest" in make(ROOT, *INSTALLED, "-n", "test")


def test_lint_is_clean() -> None:
    make(ROOT, *INSTALLED, "lint")


@pytest.mark.timeout(300)
def test_demo_archives_and_the_second_time_finds_nothing_to_do(checkout: Path) -> None:
    first = make(checkout, *INSTALLED, "demo")
    promised = re.search(r"<!-- checked by tests/test_makefile.py -->\s+```\s(.+?)```", README, re.S)
    assert promised
    assert promised[1] in re.sub(" +$", "", first, flags=re.M), first
    assert re.search(r"\$[0-9.]+ per 1,000 minutes", first)
    assert "100%" in first
    (read,) = re.findall(r"^  (\.venv/bin/python -c .+)$", first, re.M)
    assert f"\n{read}\n" in README
    shown = subprocess.run(read, shell=True, cwd=checkout, capture_output=True, text=True, check=True)  # noqa: S602
    heading, *lines = shown.stdout.splitlines()
    assert heading.split() == ["recording_date", "status", "bytes_before", "bytes_after"]
    assert (len(lines), sum(" archived " in line for line in lines)) == (43, 40)
    assert "--- Logging error ---" not in first
    second = make(checkout, *INSTALLED, "demo")
    assert "Nothing left to archive: 42 recordings are settled" in second
    frame = pd.read_parquet(checkout / ".demo" / "audit")
    assert frame["status"].value_counts()["archived"] == 40


@pytest.fixture
def ui(checkout: Path) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        ["make", *INSTALLED, "ui"],
        cwd=checkout,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


@pytest.mark.timeout(300)
def test_ui_stays_up_until_interrupted_and_leaves_nothing_behind(ui: subprocess.Popen[str]) -> None:
    assert ui.stdout
    lines = iter(ui.stdout.readline, "")
    addresses = [
        re.search(r"^(?:Prefect UI|S3 endpoint): +(\S+)$", line) for line, _ in zip(lines, range(2), strict=False)
    ]
    prefect, s3 = (address[1] for address in addresses if address)
    count = urllib.request.Request(f"{prefect}/api/deployments/count", b"{}", {"Content-Type": "application/json"})
    assert int(urllib.request.urlopen(count).read()) >= 2
    assert b"<title>Prefect" in urllib.request.urlopen(prefect).read()
    os.killpg(ui.pid, signal.SIGINT)  # as Ctrl-C does
    ui.wait(60)
    for server in (prefect, s3):
        with pytest.raises(urllib.error.URLError):
            urllib.request.urlopen(server)


def test_clean_leaves_only_what_is_committed(checkout: Path) -> None:
    before = {path for path in checkout.rglob("*") if ".venv" not in path.parts}
    for made in (".demo/audit", ".pytest_cache", "flows/__pycache__", ".mypy_cache"):
        (checkout / made).mkdir(parents=True)
    make(checkout, "clean")
    assert set(checkout.rglob("*")) == before
    assert (ROOT / ".venv").is_dir()
