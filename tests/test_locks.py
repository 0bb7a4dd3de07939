"""The locks: hashed, without addresses, and without the releases that break Prefect."""

import re
from collections import Counter
from pathlib import Path

import pytest
from packaging.version import Version

from deployments.materials import installed

REQUIREMENTS = Path(__file__).parents[1] / "requirements"
LOCKS = ["production.txt", "development.txt"]
ALL = [*LOCKS, "s3-server.txt", "audit.txt", "uv.txt"]


def pins(lock: str) -> dict[str, Version]:
    """The newest version that the lock names of each package, for any platform."""
    found: dict[str, Version] = {}
    for name, version in re.findall(
        r"^([a-z0-9._-]+)(?:\[[a-z0-9, -]+\])?==(\S+)", (REQUIREMENTS / lock).read_text(), re.M
    ):
        found[name] = max(Version(version), found.get(name, Version("0")))
    return found


def hashes(lock: str) -> set[str]:
    return set(re.findall(r"sha256:[0-9a-f]{64}", (REQUIREMENTS / lock).read_text()))


@pytest.mark.parametrize("lock", LOCKS)
@pytest.mark.parametrize(
    ("package", "broken"), [("fastapi", "0.151"), ("sqlalchemy", "2.1"), ("typer", "0.28"), ("prefect", "3.10")]
)
def test_a_release_that_breaks_prefect_is_not_in_it(lock: str, package: str, broken: str) -> None:
    assert pins(lock)[package] < Version(broken)


@pytest.mark.parametrize("lock", LOCKS)
def test_cron_schedules_work_on_every_python(lock: str) -> None:
    assert pins(lock)["whenever"] >= Version("0.11")


@pytest.mark.parametrize("lock", LOCKS)
def test_python_3_13_has_the_audioop_that_pydub_needs(lock: str) -> None:
    assert re.search(r"^audioop-lts==\S+ ; python_full_version >= '3\.13'", (REQUIREMENTS / lock).read_text(), re.M)


def test_the_embedded_s3_keeps_originals_and_is_no_part_of_production() -> None:
    assert pins("s3-server.txt")["ministack"] >= Version("1.5.33")
    assert not {"ministack", "hypercorn"} & (pins("production.txt").keys() | pins("development.txt").keys())


def test_what_is_tested_is_what_ships() -> None:
    """Each release of the image, at its version, is in the environment of the tests."""
    assert pins("production.txt").items() <= pins("development.txt").items()
    assert hashes("production.txt") <= hashes("development.txt")


def test_the_bill_of_materials_has_what_the_image_installs() -> None:
    """The lock has more: packages for Windows, and a second numpy for an older Python."""
    lock = (REQUIREMENTS / "production.txt").read_text()
    lines = installed(lock).splitlines()
    assert len(lines) == len(lock.splitlines())
    listed = Counter(re.split(r"[=[]", line)[0] for line in lines if line[:1].isalnum())
    assert set(listed.values()) == {1}
    assert pins("production.txt").keys() - listed.keys() == {"async-timeout", "pendulum", "pywin32", "tzdata"}
    assert f"numpy=={pins('production.txt')['numpy']}" in installed(lock)


@pytest.mark.parametrize("lock", ALL)
def test_every_package_has_its_hash_and_none_an_address(lock: str) -> None:
    text = (REQUIREMENTS / lock).read_text()
    assert "://" not in text
    blocks = re.split(r"^(?=[a-z0-9])", text, flags=re.M)[1:]
    assert blocks
    assert all("--hash=sha256:" in block for block in blocks)


@pytest.mark.parametrize("lock", LOCKS)
def test_no_grammar_is_built_whenever_prefect_is_imported(lock: str) -> None:
    assert "jsonschema" in pins(lock)
    assert "rfc3987-syntax" not in pins(lock)
