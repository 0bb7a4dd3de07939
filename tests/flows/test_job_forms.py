"""The run forms of the jobs, and the words of all forms: no server is needed to read them."""

from collections import defaultdict
from typing import Any

import pytest
from prefect.exceptions import ParameterTypeError
from prefect.utilities.callables import parameter_schema

from deployments.forms import plain
from flows.archive import archive_recordings
from flows.backfill import backfill_recordings
from flows.erase import erase_recordings
from flows.estimate import estimate_savings
from flows.expire import expire_recordings
from flows.export import export_recordings
from flows.fixity import check_fixity
from flows.hold import hold_recordings
from flows.preflight import inspect_bucket
from flows.reconcile import reconcile_audit
from flows.release import release_originals
from flows.report import report_estate, report_savings
from flows.restore import restore_recordings
from recordings.errors import InvalidRequest
from recordings.request import MAX_DAYS

FLOWS: dict[str, Any] = {
    "restore": restore_recordings,
    "release": release_originals,
    "reconcile": reconcile_audit,
    "check": check_fixity,
    "export": export_recordings,
    "expire": expire_recordings,
    "erase": erase_recordings,
    "hold": hold_recordings,
}
OTHERS: dict[str, Any] = {
    "archive": archive_recordings,
    "backfill": backfill_recordings,
    "estimate": estimate_savings,
    "inspect": inspect_bucket,
    "savings": report_savings,
    "estate": report_estate,
}
# Parameters that do not mean the same in all flows that have them: the flows that agree. In a flow that is in none of
# these sets, the parameter has a meaning of its own. All other parameters mean the same wherever they are.
AGREEING: dict[str, list[set[str]]] = {
    "prefixes": [
        {"archive", "backfill", "estimate"},
        {"expire", "inspect", "reconcile"},
        {"export", "check", "release", "restore"},
    ],
    "audit_uri": [{"archive", "backfill", "savings"}],
    "start_date": [{"archive", "estimate"}, {"expire", "export", "check", "release", "restore"}],
    "end_date": [{"archive", "estimate"}, {"expire", "export", "check", "hold", "release", "restore"}],
    "dry_run": [],
    "include_held": [{"archive", "backfill"}],
    "profile": [{"archive", "backfill"}],
    "min_age_days": [{"archive", "backfill"}],
    "contact_ids": [{"export", "restore"}],
    "keys": [{"export", "restore"}],
    "run_id": [],
    "case": [],
    "everything": [],
    "missing_ok": [{"check", "release"}],
    "new_table": [],
}
PLACE: dict[str, Any] = {"bucket": "calls", "audit_uri": "audit", "prefixes": ["connect/"]}
PLACES = ["prefixes", "bucket", "audit_uri"]
SELECTION = ["start_date", "end_date", "prefixes", "everything", "dry_run"]


def shown(flow: Any) -> dict[str, Any]:
    """The form's fields in their order."""
    fields = parameter_schema(flow.fn).properties
    return dict(sorted(fields.items(), key=lambda item: item[1]["position"]))


def test_what_people_need_first_comes_first_and_what_is_filled_in_last() -> None:
    restore, release, reconcile, check, export, expire, erase, hold = map(list, map(shown, FLOWS.values()))
    named = ["contact_ids", "keys", *SELECTION[:3], "run_id", *SELECTION[3:]]
    assert restore == [*named, "include_held", "missing_ok", "bucket", "audit_uri"]
    assert release == [*SELECTION, "grace_days", "grace_days_read_back", "missing_ok", "bucket", "audit_uri"]
    assert check == [*SELECTION[:3], "sample_percent", "dry_run", "missing_ok", "bucket", "audit_uri"]
    assert export == [
        *("contact_ids", "keys", *SELECTION[:3], "run_id", "case", "version", "as_pcm", "dry_run"),
        *("destination_uri", "bucket", "audit_uri"),
    ]
    assert expire == ["start_date", "end_date", "rules", "stop_above_percent", "dry_run", *PLACES]
    assert erase == [
        *("contact_ids", "keys", "case", "start_date", "end_date", "dry_run", "missing_ok", "new_table"),
        *PLACES,
    ]
    assert hold == [
        *("contact_ids", "keys", "start_date", "end_date", "run_id", "case", "lift", "dry_run", "missing_ok"),
        *("new_table", *PLACES),
    ]
    assert reconcile == ["start_date", "end_date", "repair", "prefixes", "bucket", "audit_uri"]


def test_flows_describe_a_parameter_in_the_same_words_if_they_mean_the_same() -> None:
    described: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for name, flow in (FLOWS | OTHERS).items():
        for parameter, schema in shown(flow).items():
            described[parameter][" ".join(schema["description"].split())].add(name)
    for parameter, flows in described.items():
        if parameter in AGREEING:
            agreeing = [names for names in flows.values() if len(names) > 1]
            assert sorted(map(sorted, agreeing)) == sorted(map(sorted, AGREEING[parameter])), parameter
        else:
            assert len(flows) == 1, (parameter, dict(flows))
    assert described.keys() >= AGREEING.keys()


@pytest.mark.parametrize(
    ("name", "parameter"), [("archive", "min_age_days"), ("archive", "lookback_days"), ("release", "grace_days")]
)
def test_a_form_refuses_as_many_days_as_the_code_does(name: str, parameter: str) -> None:
    flow = (FLOWS | OTHERS)[name]
    assert flow.validate_parameters({**PLACE, parameter: MAX_DAYS})[parameter] == MAX_DAYS
    with pytest.raises(ParameterTypeError, match=f"{parameter}(.|\n)*less than or equal to {MAX_DAYS}"):
        flow.validate_parameters({**PLACE, parameter: MAX_DAYS + 1})


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
    required: dict[str, dict[str, Any]] = {"export": {"destination_uri": "bag"}, "hold": {"case": "2026-CV-1"}}
    place = PLACE | required.get(name, {})
    blank = {"start_date": "", "end_date": " "}
    validated = FLOWS[name].validate_parameters({**place, **blank})
    assert (validated["start_date"], validated["end_date"]) == (None, None)


def test_an_expiry_without_rules_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ARCHIVE_RETENTION_RULES", raising=False)
    with pytest.raises(InvalidRequest, match="rules is empty, so everything is kept"):
        expire_recordings.fn(**PLACE)


def test_a_hold_without_a_case_or_a_selection_is_refused() -> None:
    with pytest.raises(Exception, match="case"):
        hold_recordings.validate_parameters(PLACE)
    with pytest.raises(InvalidRequest, match="case is empty"):
        hold_recordings.fn(**PLACE, case=" ", keys=["a"])
    with pytest.raises(InvalidRequest, match="nothing is selected, so nothing was touched: give contact_ids, keys"):
        hold_recordings.fn(**PLACE, case="2026-CV-1")


def test_the_form_of_rules_asks_for_prefix_tag_and_days_and_the_flow_takes_what_it_sends() -> None:
    schema = plain(parameter_schema(expire_recordings.fn).model_dump())
    rules = schema["properties"]["rules"]
    assert (rules["type"], rules["items"]) == ("array", {"$ref": "#/definitions/RetentionRule"})
    rule = schema["definitions"]["RetentionRule"]
    assert (list(rule["properties"]), rule["required"]) == (["prefix", "tag", "keep_days"], ["keep_days"])
    assert all(field["description"] for field in rule["properties"].values())
    assert rule["properties"]["keep_days"]["anyOf"][0]["type"] == "integer"  # the choice that is open first
    sent = [{"tag": "retention=short", "keep_days": 90}, {"keep_days": None}]
    validated = expire_recordings.validate_parameters({**PLACE, "rules": sent})
    assert [(each.prefix, each.tag, each.keep_days) for each in validated["rules"]] == [
        ("", "retention=short", 90),
        ("", "", None),
    ]
