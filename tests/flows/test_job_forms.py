"""The run forms of restore, release, reconcile and check: no server is needed to read them."""

from typing import Any

import pytest
from prefect.utilities.callables import parameter_schema

from flows.export import export_recordings
from flows.fixity import check_fixity
from flows.reconcile import reconcile_audit
from flows.release import release_originals
from flows.restore import restore_recordings

FLOWS: dict[str, Any] = {
    "restore": restore_recordings,
    "release": release_originals,
    "reconcile": reconcile_audit,
    "check": check_fixity,
    "export": export_recordings,
}
SELECTION = ["start_date", "end_date", "prefixes", "everything", "dry_run"]


def shown(flow: Any) -> dict[str, Any]:
    """The form's fields in their order."""
    fields = parameter_schema(flow.fn).properties
    return dict(sorted(fields.items(), key=lambda item: item[1]["position"]))


def test_what_people_need_first_comes_first_and_what_is_filled_in_last() -> None:
    restore, release, reconcile, check, export = map(list, map(shown, FLOWS.values()))
    named = ["contact_ids", "keys", *SELECTION[:3], "run_id", *SELECTION[3:]]
    assert restore == [*named, "missing_ok", "bucket", "audit_uri"]
    assert release == [*SELECTION, "grace_days", "grace_days_read_back", "missing_ok", "bucket", "audit_uri"]
    assert check == [*SELECTION[:3], "sample_percent", "dry_run", "missing_ok", "bucket", "audit_uri"]
    assert export == [
        *("contact_ids", "keys", *SELECTION[:3], "run_id", "case", "version", "as_pcm", "dry_run"),
        *("destination_uri", "bucket", "audit_uri"),
    ]
    assert reconcile == ["start_date", "end_date", "repair", "prefixes", "bucket", "audit_uri"]


@pytest.mark.parametrize("name", FLOWS)
def test_a_form_submitted_as_it_opens_changes_nothing(name: str) -> None:
    """And each field that may be left empty says what that means."""
    fields = shown(FLOWS[name])
    defaults = {field: schema.get("default") for field, schema in fields.items()}
    assert (defaults.get("dry_run", True), defaults.get("everything", False)) == (True, False)
    assert not defaults.get("repair")
    optional = [field for field, schema in fields.items() if "default" in schema and schema["default"] is None]
    assert all("Empty:" in fields[field]["description"] for field in optional)
    assert {"start_date", "end_date"} <= set(optional)


@pytest.mark.parametrize("name", FLOWS)
def test_a_date_that_is_blank_is_left_out(name: str) -> None:
    place = {"bucket": "calls", "audit_uri": "audit", "prefixes": ["connect/"]}
    place |= {"destination_uri": "bag"} if name == "export" else {}
    blank = {"start_date": "", "end_date": " "}
    validated = FLOWS[name].validate_parameters({**place, **blank})
    assert (validated["start_date"], validated["end_date"]) == (None, None)
