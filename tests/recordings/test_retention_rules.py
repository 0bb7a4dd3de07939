"""How long recordings are kept: the first rule that covers one decides, in whole UTC days after the day of the call."""

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from recordings.errors import InvalidRequest
from recordings.retention_rules import EXAMPLE, RetentionRule, checked_rules, may_have_ended, rule_for
from recordings.settings import Settings, settings
from tests.fixtures import Setting

CALL = date(2026, 1, 12)
SHORT = RetentionRule(tag="retention=short", keep_days=90)
TRAINING = RetentionRule(prefix="connect/training/", keep_days=1)
DEFAULT = RetentionRule(keep_days=2190)
RULES = (SHORT, TRAINING, DEFAULT)


@pytest.mark.parametrize(
    ("key", "tags", "rule"),
    [
        ("connect/acme/a.wav", {}, DEFAULT),
        ("connect/acme/a.wav", {"retention": "short"}, SHORT),
        ("connect/acme/a.wav", {"retention": "shorter"}, DEFAULT),
        ("connect/acme/a.wav", {"Retention": "short"}, DEFAULT),
        ("connect/training/a.wav", {}, TRAINING),
        ("connect/training/a.wav", {"retention": "short"}, SHORT),
        ("a/connect/training/a.wav", {}, DEFAULT),
    ],
)
def test_the_first_rule_that_covers_decides(key: str, tags: dict[str, str], rule: RetentionRule) -> None:
    assert rule_for(RULES, key, tags) == rule


@pytest.mark.parametrize("keep_days", [0, 1, 30, 36500])
def test_days_count_from_the_day_after_the_call(keep_days: int) -> None:
    rule, last_kept = RetentionRule(keep_days=keep_days), CALL + timedelta(days=keep_days)
    assert not rule.has_ended(CALL, last_kept)
    assert rule.has_ended(CALL, last_kept + timedelta(days=1))
    assert rule.last_ended(last_kept + timedelta(days=1)) == CALL


def test_without_a_number_it_is_kept_for_ever() -> None:
    assert not RetentionRule(keep_days=None).has_ended(date.min, date.max)


_DAYS = st.none() | st.integers(0, 100)
_TAGS = st.sampled_from(["", "a=1", "a=2", "b=1"])
_LISTS = st.lists(st.builds(RetentionRule, prefix=st.sampled_from(["", "x/", "x/y/"]), tag=_TAGS, keep_days=_DAYS))


@given(_LISTS, _DAYS, st.sampled_from(["x/k", "x/y/k", "k"]), st.integers(0, 101), st.data())
def test_only_what_may_have_ended_ends(
    rules: list[RetentionRule], last: int | None, key: str, age_days: int, data: st.DataObject
) -> None:
    """Without the tags it is known exactly whether some tags would let it end."""
    rules, today = [*rules, RetentionRule(keep_days=last)], CALL + timedelta(days=age_days)
    each = [{}, {"a": "1"}, {"a": "2"}, {"b": "1"}, {"a": "1", "b": "1"}, {"a": "2", "b": "1"}]
    ended = [rule_for(rules, key, tags).has_ended(CALL, today) for tags in each]
    may = may_have_ended(rules, key, CALL, today)
    assert may or not any(ended)


@given(_LISTS, _DAYS)
def test_each_rule_that_is_let_through_counts(rules: list[RetentionRule], last: int | None) -> None:
    rules = [*rules, RetentionRule(keep_days=last)]
    try:
        checked_rules(rules)
    except InvalidRequest:
        return
    for rule in rules:
        name, _, value = rule.tag.partition("=")
        assert rule_for(rules, rule.prefix + "k", {name: value}) is rule or any(
            rule_for(rules, key, tags) is rule
            for key in ("k", "x/k", "x/y/k", "x/yz")
            for tags in ({}, {"a": "1"}, {"a": "2"}, {"b": "1"})
        )


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        ([], "rules is empty, so everything is kept: give rules here or in ARCHIVE_RETENTION_RULES"),
        ([SHORT], "the last rule has a prefix or a tag"),
        ([DEFAULT, SHORT], "rule 2 never counts, since rule 1 comes first and covers all that rule 2 covers"),
        ([DEFAULT, DEFAULT], "rule 2 never counts"),
        ([TRAINING, RetentionRule(prefix="connect/training/legal/", keep_days=9), DEFAULT], "rule 2 never counts"),
        ([TRAINING, RetentionRule(prefix="connect/training/", tag="a=b", keep_days=9), DEFAULT], "rule 2 never counts"),
        ([SHORT, RetentionRule(prefix="x/", tag="retention=short", keep_days=9), DEFAULT], "rule 2 never counts"),
        ([RetentionRule(tag="retention", keep_days=1), DEFAULT], "rule 1 has the tag 'retention': give a name and"),
        ([RetentionRule(tag="=short", keep_days=1), DEFAULT], "give a name and a value"),
        ([RetentionRule(tag="retention=", keep_days=1), DEFAULT], "give a name and a value"),
        ([RetentionRule(tag="retention=long ", keep_days=1), DEFAULT], "take out the spaces around its name and its"),
        ([RetentionRule(tag="retention= long", keep_days=1), DEFAULT], "rule 1 has the tag 'retention= long'"),
        ([RetentionRule(tag=" retention=long", keep_days=1), DEFAULT], "take out the spaces"),
        ([RetentionRule(tag="retention =long", keep_days=1), DEFAULT], "take out the spaces"),
        ([RetentionRule(prefix="/connect/", keep_days=1), DEFAULT], "rule 1 has the prefix '/connect/'"),
        ([RetentionRule(prefix=" connect/", keep_days=1), DEFAULT], "give what keys begin with"),
        ([RetentionRule(prefix="s3://b/connect/", keep_days=1), DEFAULT], "give what keys begin with"),
    ],
)
def test_rules_that_make_no_sense_are_refused(rules: list[RetentionRule], said: str) -> None:
    with pytest.raises(InvalidRequest, match=said):
        checked_rules(rules)


@pytest.mark.parametrize(
    "rule",
    [
        {},
        {"keep_days": -1},
        {"keep_days": 36501},
        {"keep_days": 1.5},
        {"keep_days": True},
        {"keep_days": "90"},
        {"keep_days": 1, "tags": "retention=short"},
        {"keep_days": 1, "prefix": None},
        "90",
    ],
)
def test_what_is_no_rule_is_refused(rule: object) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(list[RetentionRule]).validate_python([rule])


def test_the_setting_takes_them_as_json(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ARCHIVE_RETENTION_RULES", '[{"tag": "retention=short", "keep_days": 90}, {"keep_days": null}]')
    assert Settings().retention_rules == (SHORT, RetentionRule(keep_days=None))
    assert checked_rules(Settings().retention_rules)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[{", " is not valid JSON (Expecting property name"),
        ("90", ": Input should be a list, found 90"),
        ('{"keep_days": 90}', ": Input should be a list, found {'keep_days': 90}"),
        ('[{"keep": 90}]', ": rule 1, keep_days: Field required; rule 1, keep: Unexpected keyword argument, found 90"),
        (
            '[{"tag": "a=b", "keep_days": "90"}, {"keep_days": 1}]',
            ": rule 1, keep_days: Input should be a valid integer",
        ),
        ('[{"keep_days": 90}, {"keep_days": -1}]', ": rule 2, keep_days: Input should be greater than or equal to 0, "),
        (
            '[{"keep_days": 90}, {"tag": "a=b", "keep_days": 1}]',
            ": rule 2 never counts, since rule 1 comes first and covers all",
        ),
    ],
)
def test_a_bad_setting_is_named_with_the_rule_and_the_way_out(setting: Setting, text: str, said: str) -> None:
    setting(RETENTION_RULES=text)
    with pytest.raises(InvalidRequest) as refused:
        settings()
    assert str(refused.value).startswith(f"ARCHIVE_RETENTION_RULES{said}")
    assert str(refused.value).endswith(f": give rules as {EXAMPLE}, or unset it")
    checked_rules(TypeAdapter(list[RetentionRule]).validate_json(EXAMPLE))


def test_other_bad_settings_are_named_alike(setting: Setting) -> None:
    setting(THREADS=0)
    with pytest.raises(InvalidRequest, match="ARCHIVE_THREADS: Input should be greater than or equal to 1, found '0'"):
        settings()
