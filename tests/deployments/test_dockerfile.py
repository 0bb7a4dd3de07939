"""The Dockerfile and what builds it, as far as no image is needed: tests/deployments/test_image.py builds it."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from deployments.materials import LOCK, PYTHON, installed
from tests.checkout import ROOT, copy_checkout, make

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
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    assert ignored[0] == "*"
    assert {line[1:] for line in ignored if line.startswith("!")} == {
        name.partition("/")[0] for names in copied for name in names.split()
    }
    assert all((ROOT / name).exists() for names in copied for name in names.split())


def test_its_base_is_pinned_to_the_digest_that_the_registry_names(tmp_path: Path) -> None:
    """By a docker that answers as the registry does."""
    folder, digest = copy_checkout(tmp_path / "checkout"), "sha256:" + 64 * "a"
    docker = tmp_path / "docker"
    docker.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/asked\necho {digest}\n')
    docker.chmod(0o755)
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    for _ in range(2):  # it replaces an older digest
        subprocess.run(["make", "base"], cwd=folder, env=environment, check=True)
    pinned = f"docker.io/library/python:3.13-slim-trixie@{digest}"
    assert (folder / "Dockerfile").read_text() == re.sub(r"(?m)^ARG BASE=.*$", f"ARG BASE={pinned}", DOCKERFILE)
    assert f"imagetools inspect {pinned.partition('@')[0]} " in (tmp_path / "asked").read_text()


def test_the_final_stage_has_no_build_tools_and_no_root() -> None:
    final = DOCKERFILE.split("\nFROM ")[-1]
    assert not re.search(r"\b(pip|uv|apt-get)\b", final)
    assert re.search(r"^USER 10001$", final, re.M)


def test_the_bill_of_materials_is_of_the_python_in_the_image() -> None:
    assert re.search(rf"^ARG BASE=\S*python:{re.escape(PYTHON)}-", DOCKERFILE, re.M)


@pytest.mark.skipif(not os.environ.get("IMAGE"), reason="IMAGE is not set: installs the tools of make sbom, 10 s")
def test_the_bill_of_materials_names_each_package_with_its_hashes(tmp_path: Path) -> None:
    folder = copy_checkout(tmp_path / "checkout")
    make(folder, "sbom")
    listed = json.loads((folder / "sbom.json").read_text())
    assert listed["metadata"]["component"]["name"] == "connect-recording-archive"
    pinned = re.findall(r"^([a-z0-9._-]+)(?:\[[a-z0-9, -]+\])?==(\S+)", installed(LOCK.read_text()), re.M)
    assert sorted((each["name"], each["version"]) for each in listed["components"]) == sorted(pinned)
    assert all(each["externalReferences"][0]["hashes"] for each in listed["components"])
