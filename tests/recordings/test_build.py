"""Rows and requests say which build of the software made them."""

import os
import subprocess
import sys

import pytest

from recordings import __version__
from recordings.build import version_of


@pytest.mark.parametrize(
    ("commit", "version"),
    [
        ("", __version__),
        ("3f2a9c41d0be77aa0000111122223333deadbeef", f"{__version__}+3f2a9c41d0be"),
        ("3f2a9c41d0be77aa0000111122223333deadbeef-dirty", f"{__version__}+3f2a9c41d0be.dirty"),
    ],
)
def test_a_version_names_the_commit_that_was_built(commit: str, version: str) -> None:
    assert version_of(commit) == version


def test_runs_jobs_and_requests_name_the_build_of_the_image() -> None:
    code = (
        "from recordings.jobs.engine.job import plan_job\n"
        "from recordings.s3.session import USER_AGENT\n"
        "from recordings.table.records import Kind\n"
        "job = plan_job(Kind.RECONCILE, bucket='calls', audit_uri='audit')\n"
        "print(job.software_version, USER_AGENT.split()[0].rpartition('/')[2])\n"
    )
    env = {**os.environ, "ARCHIVE_COMMIT": "3f2a9c41d0be77aa"}
    said = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], env=env, capture_output=True, text=True, check=True
    )
    assert said.stdout.split() == [f"{__version__}+3f2a9c41d0be"] * 2
