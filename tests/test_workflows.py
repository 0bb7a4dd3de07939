"""The workflows of GitHub: sound by their schemas and by a linter, though they cannot run here."""

import re
import subprocess
import sys
from datetime import date
from pathlib import Path

import pytest

from deployments.environment import NEEDED, OPTIONAL, SECRETS
from deployments.release_notes import release_notes
from tests.checkout import ROOT

GITHUB = ROOT / ".github"
WORKFLOWS = sorted((GITHUB / "workflows").glob("*.yaml"))
BIN = Path(sys.executable).parent


def found_by(*command: str | Path) -> str:
    done = subprocess.run([BIN / command[0], *command[1:]], capture_output=True, text=True, cwd=ROOT)
    return "" if done.returncode == 0 else done.stdout + done.stderr


def test_they_follow_their_schemas() -> None:
    assert not found_by("check-jsonschema", "--builtin-schema", "vendor.github-workflows", *WORKFLOWS)
    assert not found_by("check-jsonschema", "--builtin-schema", "vendor.dependabot", GITHUB / "dependabot.yml")


def test_the_linter_finds_no_way_in() -> None:
    assert not found_by("zizmor", "--offline", "--quiet", "--no-progress", GITHUB)


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_each_action_is_pinned_and_each_target_exists(path: Path) -> None:
    text = path.read_text()
    used = re.findall(r"uses: (.+)", text)
    assert used
    assert not [each for each in used if not re.fullmatch(r"[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", each)]
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))
    assert set(re.findall(r"\bmake ([a-z-]+)", text)) <= targets
    assert all((ROOT / name).exists() for name in re.findall(r"run: (\.\S+/run)\b", text))


def test_the_deployment_sets_each_variable_that_it_needs() -> None:
    text = (GITHUB / "workflows" / "deploy.yaml").read_text()
    by_the_action = {"AWS_DEFAULT_REGION"}
    assert set(re.findall(r"^\s+(\w+): \$\{\{ (?:vars|secrets)\.\1 \}\}$", text, re.M)) >= (
        (NEEDED.keys() | OPTIONAL.keys() | SECRETS.keys()) - by_the_action - {"ARCHIVE_IMAGE"}
    )
    assert 'ARCHIVE_IMAGE="' in text


@pytest.mark.parametrize(
    ("tag", "heading", "said"),
    [
        ("v1.2.3", "1.2.3, 2026-01-31", None),
        ("v1.2.4", "1.2.3, 2026-01-31", "the tag is v1.2.4, but pyproject.toml says 1.2.3"),
        ("v1.2.3", "1.2.30, 2026-01-31", "has no section ## 1.2.3"),
        ("v1.2.3", "1.2.3, unreleased", "give the date of the release"),
    ],
)
def test_a_release_is_a_tag_a_version_and_a_dated_section(
    tmp_path: Path, tag: str, heading: str, said: str | None
) -> None:
    (tmp_path / "pyproject.toml").write_text('[project]\nversion = "1.2.3"\n')
    (tmp_path / "CHANGELOG.md").write_text(
        f"# Changelog\n\n## {heading}\n\n- It works.\n\n## 1.0.0, 2025-01-01\n\n- Old.\n"
    )
    if said is None:
        assert release_notes(tag, tmp_path) == "- It works.\n"
        assert date.fromisoformat(heading.rpartition(" ")[2])
    else:
        with pytest.raises(ValueError, match=re.escape(said)):
            release_notes(tag, tmp_path)
