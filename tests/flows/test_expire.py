"""An expiry as an operator starts it: its form, its rules, and what it refuses to do."""

from typing import Any

import pytest
from prefect.exceptions import ParameterTypeError

from flows.archive import archive_recordings
from flows.expire import expire_recordings
from flows.restore import restore_recordings
from recordings.errors import InvalidRequest
from recordings.jobs.engine.summary import JobFailed
from recordings.retention_rules import RetentionRule
from recordings.table.reading import current, read_audit
from tests.bucket import DAY, PREFIX, Bucket, key_of
from tests.fixtures import Setting

pytestmark = pytest.mark.usefixtures("prefect")
RULES: Any = [{"tag": "retention=short", "keep_days": 90}, {"keep_days": 36500}]  # as the form sends them


@pytest.fixture
def where(bucket: Bucket, audit_uri: str) -> dict[str, Any]:
    return {"bucket": bucket.name, "audit_uri": audit_uri, "prefixes": [PREFIX], "dry_run": False}


def short(bucket: Bucket, number: int) -> None:
    tags = {**bucket.tags(key_of(number)), "retention": "short"}
    tag_set = [{"Key": name, "Value": value} for name, value in tags.items()]
    bucket.client.put_object_tagging(Bucket=bucket.name, Key=key_of(number), Tagging={"TagSet": tag_set})


def test_rules_as_the_form_sends_them(bucket: Bucket, originals: dict[str, str], where: dict[str, Any]) -> None:
    short(bucket, 1)
    before = bucket.snapshot()
    ahead = expire_recordings(**{**where, "dry_run": True}, rules=RULES)
    assert ahead.counts == {"expired": 1, "skipped": 2}
    assert bucket.snapshot() == before
    assert "run it again with dry_run=False" in str(ahead)
    summary = expire_recordings(**where, rules=RULES)
    assert (summary.counts, summary.reasons["in-retention"]) == ({"expired": 1, "skipped": 2}, 2)
    assert bucket.snapshot() == [line for line in before if line[0] != key_of(1)]


def test_rules_from_the_environment(
    bucket: Bucket, originals: dict[str, str], where: dict[str, Any], setting: Setting
) -> None:
    setting(RETENTION_RULES='[{"keep_days": 30}]')
    assert expire_recordings(**where).counts == {"expired": 3}


@pytest.mark.parametrize("rules", [None, []])
def test_without_rules_nothing_is_deleted(
    bucket: Bucket,
    originals: dict[str, str],
    where: dict[str, Any],
    rules: list[RetentionRule] | None,
    setting: Setting,
) -> None:
    """An empty list is a mistake of whoever computed it, and never means the rules of the environment."""
    if rules is not None:
        setting(RETENTION_RULES='[{"keep_days": 30}]')
    before = bucket.snapshot()
    with pytest.raises(InvalidRequest, match="rules is empty, so everything is kept: give rules here or in ARCHIVE_"):
        expire_recordings(**where, rules=rules)
    assert bucket.snapshot() == before


@pytest.mark.parametrize("rule", [{"keep_days": -1}, {"keep_days": True}, {"keep": 1}, {}])
def test_what_is_no_rule_is_refused(bucket: Bucket, where: dict[str, Any], rule: dict[str, object]) -> None:
    with pytest.raises(ParameterTypeError, match="keep"):
        expire_recordings(**where, rules=[rule])


def test_a_wrong_table_or_prefix_deletes_nothing(
    bucket: Bucket, originals: dict[str, str], where: dict[str, Any], audit_uri: str
) -> None:
    before, rules = bucket.snapshot(), [{"keep_days": 30}]
    with pytest.raises(InvalidRequest, match="holds no audit table"):
        expire_recordings(**{**where, "audit_uri": f"{audit_uri}-mistyped"}, rules=rules)
    with pytest.raises(JobFailed, match=r"No YYYY/MM/DD/ lies below prefix 'connect/other/'; ") as failed:
        expire_recordings(**{**where, "prefixes": ["connect/other/"]}, rules=rules)
    assert failed.value.summary.counts == {}
    assert bucket.snapshot() == before


def test_too_many_differences_end_it_red(
    bucket: Bucket, originals: dict[str, str], where: dict[str, Any], audit_uri: str
) -> None:
    bucket.put(key_of(1), b"theirs")
    before = bucket.snapshot()
    with pytest.raises(JobFailed, match="1 of 3 recordings") as failed:
        expire_recordings(**where, rules=[{"keep_days": 30}])
    assert failed.value.summary.counts == {}
    assert "Run reconcile_audit over this day" in str(failed.value)
    assert bucket.snapshot() == before


def test_beside_an_archiving_run(
    bucket: Bucket, originals: dict[str, str], where: dict[str, Any], audit_uri: str
) -> None:
    """What has expired is not archived again, does not come back, and a later run finds nothing to do."""
    rules: Any = [{"keep_days": 30}]
    assert expire_recordings(**where, rules=rules).counts == {"expired": 3}
    place: Any = {"bucket": bucket.name, "prefixes": [PREFIX], "audit_uri": audit_uri}
    archive_recordings(**place, start_date=DAY, end_date=DAY, accept=["nothing-below-prefix"])
    assert expire_recordings(**where, rules=rules).counts == {}
    with pytest.raises(JobFailed, match="expired"):
        restore_recordings(bucket=bucket.name, audit_uri=audit_uri, start_date=DAY, end_date=DAY, dry_run=False)
    assert current(read_audit(audit_uri))["status"].tolist() == ["expired"] * 3
    assert bucket.snapshot() == []
