"""The start record tells who ran which versions, as far as that is known; no run fails because it is not known."""

from pathlib import Path

import pytest

import tasks.circumstances
from tasks.circumstances import circumstances

pytestmark = pytest.mark.usefixtures("prefect")


def test_outside_a_flow_run_only_the_software_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ARCHIVE_IMAGE", "registry/archive@sha256:abc")
    monkeypatch.setenv("ARCHIVE_COMMIT", "abc")
    told = circumstances()
    assert (told.flow_run_id, told.flow_run_url, told.started_by) == (None, None, None)
    assert (told.image, told.commit) == ("registry/archive@sha256:abc", "abc")
    assert all(told.versions.values())


def test_what_cannot_be_learned_is_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A flow run that no server knows, and an installation without git or its checkout."""
    monkeypatch.setenv("PREFECT__FLOW_RUN_ID", "5f1ad1c6-7cd2-4e4e-9b5c-2a2a3a0f0000")
    monkeypatch.setattr(tasks.circumstances, "_CHECKOUT", tmp_path)
    told = circumstances()
    assert told.flow_run_id == "5f1ad1c6-7cd2-4e4e-9b5c-2a2a3a0f0000"
    assert (told.started_by, told.commit) == (None, None)
