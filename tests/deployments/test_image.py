"""The Dockerfile, as far as it can be tried without Docker: linted, its files there, its environment made anew."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
BIN = Path(sys.executable).parent


def test_hadolint_finds_nothing() -> None:
    done = subprocess.run([BIN / "hadolint", ROOT / "Dockerfile"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")


def test_the_script_that_builds_it_is_sound_shell() -> None:
    subprocess.run(["sh", "-n", ROOT / "deployments" / "image.sh"], check=True)


def test_the_image_is_told_its_name_and_commit(tmp_path: Path) -> None:
    """By a docker that has no such image yet and writes down what it is asked."""
    docker = tmp_path / "docker"
    docker.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/asked\n[ "$1" != manifest ]\n')
    docker.chmod(0o755)
    env = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "ARCHIVE_IMAGE": "registry/archive:1"}
    subprocess.run(["sh", ROOT / "deployments" / "image.sh"], cwd=ROOT, env=env, check=True)
    built = (tmp_path / "asked").read_text().splitlines()[-1]
    assert "--build-arg ARCHIVE_IMAGE=registry/archive:1" in built
    assert re.search(r"--build-arg ARCHIVE_COMMIT=\S*", built)
    for name in ("ARCHIVE_IMAGE", "ARCHIVE_COMMIT"):
        assert re.search(rf"^ENV .*\b{name}=\${name}\b", DOCKERFILE, re.M)


def test_what_it_copies_exists() -> None:
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, re.M)
    assert len(copied) == 4
    assert all((ROOT / name).exists() for names in copied for name in names.split())


def test_the_final_stage_has_no_build_tools_and_no_root() -> None:
    final = DOCKERFILE.split("\nFROM ")[-1]
    assert not re.search(r"\b(pip|uv|apt-get)\b", final)
    assert re.search(r"^USER 10001$", final, re.M)


@pytest.mark.timeout(600)
@pytest.mark.skipif(not os.environ.get("IMAGE"), reason="IMAGE is not set: installs the production set anew, 30 s")
def test_its_install_line_makes_an_environment_in_which_the_flows_import(tmp_path: Path) -> None:
    (line,) = re.findall(r"uv pip sync .+$", DOCKERFILE, re.M)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv"], check=True)
    sync = line.replace("/venv/", f"{tmp_path}/venv/").replace("/requirements/", f"{ROOT}/requirements/").split()
    subprocess.run([BIN / sync[0], *sync[1:]], check=True)
    bare = {"PATH": f"{tmp_path}/venv/bin", "PYTHONPATH": str(ROOT), "PREFECT_HOME": str(tmp_path)}
    imports = (
        "import flows.archive, flows.backfill, flows.report, flows.estimate, sys; sys.exit('pytest' in sys.modules)"
    )
    subprocess.run([tmp_path / "venv/bin/python", "-c", imports], env=bare, cwd=tmp_path, check=True)
