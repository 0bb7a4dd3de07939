"""Every target of the Makefile, as a newcomer runs it: in a copy of the committed files."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3
import pytest

from demo.bucket import fill_bucket
from demo.calls import DAYS, calls_of
from demo.program import STOPS
from demo.servers import Server, child
from tests.checkout import ROOT, copy_checkout, interrupt, make, making, read_until


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    return copy_checkout(tmp_path / "checkout")


def test_help_is_the_default_and_lists_every_target() -> None:
    declared = re.search(r"^\.PHONY: (.+)$", (ROOT / "Makefile").read_text(), re.M)
    assert declared
    shown = make(ROOT)
    assert shown == make(ROOT, "help")
    assert re.findall(r"^  make (\S+)", shown, re.M) == declared[1].split()


def test_test_runs_pytest_after_the_set_up() -> None:
    assert ".venv/bin/python -m pytest" in make(ROOT, "-n", "test")


def test_lint_is_clean() -> None:
    make(ROOT, "lint")


@pytest.mark.parametrize("program", ["demo", "demo.ui", "demo.program"])
def test_the_demos_programs_say_what_they_do(program: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", program, "--help"]
    shown = subprocess.run(command, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True)
    assert re.match(rb"usage: make \S+\n\n.{20}", shown.stdout), shown
    assert not list(tmp_path.iterdir())


def an_audit_record(checkout: Path) -> bool:
    return any(checkout.glob(".demo/audit/_runs/*"))


@pytest.mark.parametrize(
    ("target", "phrase", "moment"),
    [
        ("demo", "Starting an S3 server", None),
        ("demo", "Filling", None),
        ("demo", "Archiving", None),
        ("demo", "Archiving", an_audit_record),
        ("ui", "Registering", None),
    ],
)
def test_ctrl_c_ends_it_quietly_at_any_moment(
    checkout: Path, target: str, phrase: str, moment: Callable[[Path], bool] | None
) -> None:
    with making(checkout, target) as process:
        shown = read_until(process, phrase)
        while moment and not moment(checkout):
            time.sleep(0.05)
        shown += interrupt(process)
    assert shown.endswith(f"{target}] Error 130\n"), shown
    assert "Stopped, with all servers." in shown
    assert "Traceback" not in shown
    assert "rror logging" not in shown
    while processes_of(checkout):  # the signal reached each of them: on a busy machine, one may take a moment to end
        time.sleep(0.05)


@pytest.mark.parametrize("number", STOPS)
def test_a_signal_while_a_server_is_being_started_leaves_no_server(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[subprocess.Popen[bytes]] = []

    class Interrupted(subprocess.Popen[bytes]):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            started.append(self)
            signal.raise_signal(number)

    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    former = signal.signal(number, stop)
    monkeypatch.setattr(subprocess, "Popen", Interrupted)
    try:
        with pytest.raises(KeyboardInterrupt), child(["sleep", "600"], {}, tmp_path / "log"):
            raise AssertionError("the signal came too late")
    finally:
        signal.signal(number, former)
    assert started[0].returncode == -signal.SIGTERM


def processes_of(checkout: Path) -> list[str]:
    """The commands of the processes that work in this checkout."""
    listed = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    return [line for line in listed.splitlines() if str(checkout) in line]


def test_a_bucket_whose_filling_was_interrupted_is_filled_the_next_time(s3: Server) -> None:
    calls = list(calls_of(DAYS[0]))
    assert fill_bucket("half-filled", calls[:5])
    assert fill_bucket("half-filled", calls)
    assert not fill_bucket("half-filled", calls)
    versions = boto3.client("s3").list_object_versions(Bucket="half-filled")["Versions"]
    assert sorted(each["Key"] for each in versions) == sorted(each.key for each in calls)


def test_clean_leaves_only_what_is_committed(checkout: Path) -> None:
    before = {path for path in checkout.rglob("*") if ".venv" not in path.parts}
    for made in (".demo/audit", ".pytest_cache", "flows/__pycache__", ".mypy_cache"):
        (checkout / made).mkdir(parents=True)
    make(checkout, "clean")
    assert set(checkout.rglob("*")) == before
    assert (ROOT / ".venv").is_dir()
