"""Somebody who has just cloned this: make demo, make ui, the hint that it prints, and the README's Python."""

import os
import re
import subprocess
import sys
import urllib.error
import urllib.request
from datetime import date, timedelta
from pathlib import Path

import pytest
from playwright.sync_api import Page

from demo.calls import DAYS
from recordings.table.reading import read_audit
from tests.bucket import PREFIX, Bucket, key_of
from tests.checkout import ROOT, copy_checkout, interrupt, make, making, read_until
from tests.fixtures import MakeCall
from tests.journeys.prefect_ui import open_run_form, pick, submit

README = (ROOT / "README.md").read_text()


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copy_checkout(tmp_path_factory.mktemp("newcomer") / "checkout")


@pytest.fixture(scope="module")
def first_demo(checkout: Path) -> str:
    """What the first make demo prints."""
    return make(checkout, "demo")


def test_demo_shows_what_the_readme_promises(checkout: Path, first_demo: str) -> None:
    promised = re.search(r"<!-- checked by tests/journeys/test_newcomer.py -->\s+```\s(.+?)```", README, re.S)
    assert promised
    assert promised[1] in re.sub(" +$", "", first_demo, flags=re.M), first_demo
    assert re.search(r"\$[0-9.]+ per 1,000 minutes", first_demo)
    assert "100%" in first_demo
    assert "--- Logging error ---" not in first_demo
    (read,) = re.findall(r"^  (\.venv/bin/python -c .+)$", first_demo, re.M)
    assert f"\n{read}\n" in README
    shown = subprocess.run(read, shell=True, cwd=checkout, capture_output=True, text=True, check=True)  # noqa: S602
    heading, *lines = shown.stdout.splitlines()
    assert heading.split() == ["recording_date", "status", "bytes_before", "bytes_after"]
    assert sum(" archived " in line for line in lines) >= 40


def test_the_second_demo_finds_nothing_to_do(checkout: Path, first_demo: str) -> None:
    assert "Nothing left to archive: 42 recordings are in the audit table already." in make(checkout, "demo")
    frame = read_audit(str(checkout / ".demo" / "audit"), end=DAYS[-1])
    assert frame["status"].value_counts()["archived"] == 40


def test_ui_has_a_day_to_archive_keeps_others_out_and_ends_quietly(checkout: Path, first_demo: str, page: Page) -> None:
    with making(checkout, "ui") as ui:
        shown = read_until(ui, "Ctrl-C here ends the servers.")
        prefect, s3 = re.findall(r"^(?:Prefect UI|S3 endpoint): +(\S+)$", shown, re.M)
        deployment, first, last = re.findall(
            r"choose Deployments, (\S+), Run,\s+Custom run;\s+set start_date to (\S+) and end_date to (\S+);", shown
        )[0]
        for target in ("demo", "ui", "clean-demo"):
            refusal = make(checkout, target, code=2)
            assert re.match(r"make ui \(process \d+\) is using .+\. End it .+, then start make " + target, refusal)
        open_run_form(page, prefect, deployment)
        pick(page, "start_date", date.fromisoformat(first))
        pick(page, "end_date", date.fromisoformat(last))
        assert submit(page) == "Completed"
        told = interrupt(ui)
    assert "Traceback" not in told
    assert "Stopped, with all servers." in told
    for server in (prefect, s3):
        with pytest.raises(urllib.error.URLError):
            urllib.request.urlopen(server)
    fresh = read_audit(str(checkout / ".demo" / "audit"), start=DAYS[-1] + timedelta(days=1))
    assert fresh["status"].tolist() == ["archived"] * 13


def test_the_readmes_python_runs_as_typed(bucket: Bucket, a_call: MakeCall, tmp_path: Path) -> None:
    """With the names of a bucket that is there, and without a Prefect server: Prefect starts one of its own."""
    (snippet,) = re.findall(r"```python\n(.+?)```", README, re.S)
    bucket.put(key_of(1), a_call())
    names = {
        "my-connect-bucket": bucket.name,
        "connect/my-instance/CallRecordings/": PREFIX,
        "s3://my-audit-bucket/recordings": f"s3://{bucket.name}/audit",
    }
    for name, ours in names.items():
        assert name in snippet
        snippet = snippet.replace(name, ours)
    env = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    env |= {"PREFECT_HOME": str(tmp_path), "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120"}  # a busy machine
    done = subprocess.run([sys.executable, "-"], input=snippet, env=env, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "1 planned" in done.stdout
    assert "Contents" not in bucket.client.list_objects_v2(Bucket=bucket.name, Prefix="audit/")
