"""How long a recording is kept: by rules as S3 answers them, by hand, and on a real bucket."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from recordings.decision import weighed_by
from recordings.estimate import look_at
from recordings.lifecycle_rules import Rule, Stored
from recordings.pool import Pool
from recordings.retention import Retention, retention_of
from recordings.retention_rules import RetentionRule
from recordings.s3.store import Store
from recordings.settings import Settings
from tests.bucket import ON_BOTH, PREFIX, Bucket, key_of
from tests.fixtures import Listed, MakeCall, PlanRun, Setting
from tests.recordings.prices import gated

CALL = datetime(2026, 1, 12, tzinfo=UTC)
WRITTEN = CALL + timedelta(days=8)
GONE = {"NoncurrentVersionExpiration": {"NoncurrentDays": 10}}


def a_rule(**changes: Any) -> Rule:
    return {"ID": "r", "Status": "Enabled", "Filter": {"Prefix": ""}, "Expiration": {"Days": 100}, **GONE, **changes}


def days_kept(*rules: Rule, size_bytes: int = 1000, tags: dict[str, str] | None = None) -> float:
    """From the day of the call on."""
    stored = Stored(key="connect/call.wav", size_bytes=size_bytes, tags=tags or {}, written_at=WRITTEN)
    return (Retention(rules=rules, otherwise_years=2).ends_at(stored, CALL) - CALL) / timedelta(days=1)


@pytest.mark.parametrize(
    "covering",
    [
        {},
        {"Filter": {"Prefix": "connect/"}},
        {"Filter": {}, "Prefix": "connect/"},  # as before filters
        {"Filter": {"Tag": {"Key": "queue", "Value": "sales"}}},
        {"Filter": {"ObjectSizeGreaterThan": 999}},
        {"Filter": {"And": {"Prefix": "connect/", "Tags": [{"Key": "queue", "Value": "sales"}]}}},
        {"Filter": {"And": {"ObjectSizeGreaterThan": 999, "ObjectSizeLessThan": 1001}}},
    ],
)
def test_a_rule_counts_from_the_writing_and_its_noncurrent_days_on_top(covering: Rule) -> None:
    assert days_kept(a_rule(**covering), tags={"queue": "sales", "other": "tag"}) == 8 + 100 + 10


@pytest.mark.parametrize(
    "elsewhere",
    [
        {"Filter": {"Prefix": "other/"}},
        {"Filter": {"Tag": {"Key": "queue", "Value": "help"}}},
        {"Filter": {"And": {"Tags": [{"Key": "queue", "Value": "sales"}, {"Key": "agent", "Value": ""}]}}},
        {"Filter": {"ObjectSizeGreaterThan": 1000}},
        {"Filter": {"And": {"Prefix": "connect/", "ObjectSizeLessThan": 1000}}},
        {"Expiration": {"ExpiredObjectDeleteMarker": True}},
        {"NoncurrentVersionExpiration": {}},  # hidden, but paid for
        {"NoncurrentVersionExpiration": {"NoncurrentDays": 10, "NewerNoncurrentVersions": 1}},
    ],
)
def test_what_no_rule_deletes_is_kept_as_the_setting_says(elsewhere: Rule) -> None:
    assert days_kept(a_rule(**elsewhere), tags={"queue": "sales"}) == 2 * 365.25


def test_of_several_rules_the_earliest_counts_and_two_may_do_it_together() -> None:
    hides = a_rule(Expiration={"Days": 50}, NoncurrentVersionExpiration={})
    assert days_kept(a_rule(), hides) == 8 + 50 + 10
    assert days_kept(hides, a_rule(Expiration={}, NoncurrentVersionExpiration={"NoncurrentDays": 3})) == 8 + 50 + 3
    assert days_kept(a_rule(Expiration={"Date": CALL + timedelta(days=20)})) == 20 + 10


OWN = (
    RetentionRule(tag="queue=sales", keep_days=30),
    RetentionRule(prefix="other/", keep_days=0),
    RetentionRule(tag="queue=legal", keep_days=None),
    RetentionRule(keep_days=365),
)


@pytest.mark.parametrize(
    ("rules", "queue", "days"),
    [
        ((), "sales", 31),  # whole days after that of the call, which ends at midnight
        ((), "help", 366),
        ((), "legal", 2 * 365.25),
        ((a_rule(),), "sales", 31),  # of a lifecycle rule and the operator's own, the earlier counts
        ((a_rule(),), "help", 8 + 100 + 10),
        ((a_rule(),), "legal", 8 + 100 + 10),
    ],
)
def test_the_operators_own_rules_count_from_the_day_of_the_call(
    rules: tuple[Rule, ...], queue: str, days: float
) -> None:
    stored = Stored(key="connect/call.wav", size_bytes=1000, tags={"queue": queue}, written_at=WRITTEN)
    retention = Retention(rules=rules, otherwise_years=2, own_rules=OWN)
    end = CALL + timedelta(days=days)
    assert retention.ends_at(stored, CALL) == end
    if queue != "legal":
        assert retention.ends_at(stored, CALL + timedelta(hours=23)) == end


def test_the_operators_own_rules_decide_what_is_worth_it_and_are_part_of_the_digest(
    bucket: Bucket, plan: PlanRun, setting: Setting
) -> None:
    """So that a run looks at recordings again once the rules have changed."""
    run, store = plan(bucket.name), Store(bucket.name, Settings())
    digests = {weighed_by(run, retention_of(store))}
    for rules in ('[{"keep_days": 90}]', '[{"tag": "a=b", "keep_days": null}, {"keep_days": 90}]'):
        setting(RETENTION_RULES=rules)
        digests.add(weighed_by(run, retention_of(store)))
        said = retention_of(store).sentence([PREFIX])
    assert len(digests) == 3
    assert said == (
        "No lifecycle rule deletes recordings: they count as kept for ever (rule for what is tagged a=b); for 90 days "
        "after the call (rule for all other recordings), as ARCHIVE_RETENTION_RULES says (for ever counts as "
        "for 6 years)."
    )


def test_rules_in_the_environment_are_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ARCHIVE_RETENTION_RULES", '[{"tag": "retention=short", "keep_days": 90}]')
    with pytest.raises(ValueError, match="add a rule with keep_days alone"):
        Settings()


def lifecycle(bucket: Bucket, *rules: dict[str, Any]) -> Store:
    """The rules set, and a store that has not seen others."""
    bucket.client.put_bucket_lifecycle_configuration(Bucket=bucket.name, LifecycleConfiguration={"Rules": [*rules]})
    return Store(bucket.name, Settings())


def expiring(days: int, **where: Any) -> dict[str, Any]:
    return {"ID": f"{days} days", "Status": "Enabled", "Filter": where, "Expiration": {"Days": days}, **GONE}


@ON_BOTH
def test_a_run_weighs_each_recording_by_the_rule_that_covers_it(
    bucket: Bucket, pool: Pool, plan: PlanRun, listed: Listed, a_call: MakeCall
) -> None:
    """A minute is worth it for six years, and not for the months until sales calls are deleted."""
    bucket.put(key_of(1), a_call(1, 60.0))
    bucket.put(key_of(2), a_call(2, 60.0), Tagging="queue=sales")
    run = gated(plan(bucket.name))
    of_sales = {**expiring(0, Tag={"Key": "queue", "Value": "sales"}), "Expiration": {"Date": datetime(2026, 7, 1)}}  # noqa: DTZ001
    looks = {each.recording.key: each for each in look_at(lifecycle(bucket, of_sales), listed(run), run, pool)}
    assert {key: look.reason for key, look in looks.items()} == {key_of(1): None, key_of(2): "not-worth-it"}
    months = {key: look.kept.months_left for key, look in looks.items() if look.kept}
    until_july = datetime(2026, 7, 11, tzinfo=UTC) - run.scheduled_at
    assert months[key_of(2)] == pytest.approx(until_july / timedelta(days=30.4375))
    assert months[key_of(1)] == pytest.approx(72 - 20 / 30.4375, abs=0.1)


@ON_BOTH
def test_a_rule_on_what_is_converted_counts_from_the_rewriting(
    bucket: Bucket, pool: Pool, plan: PlanRun, listed: Listed, a_call: MakeCall
) -> None:
    """It does not cover the original, which is not tagged yet."""
    bucket.put(key_of(1), a_call(1, 60.0))
    run = gated(plan(bucket.name))
    converted = expiring(170, Tag={"Key": "converted", "Value": "True"})
    (look,) = look_at(lifecycle(bucket, converted), listed(run), run, pool)
    assert look.kept
    assert look.kept.months_left_archived == pytest.approx(180 / 30.4375)
    assert look.kept.months_left == pytest.approx(72 - 20 / 30.4375, abs=0.1)


def test_it_says_what_it_went_by(bucket: Bucket) -> None:
    def said(store: Store) -> str:
        return retention_of(store).sentence([PREFIX])

    assert said(Store(bucket.name, Settings())) == (
        "No lifecycle rule deletes recordings: they count as kept for 6 years after the call, as "
        "ARCHIVE_RETENTION_YEARS says."
    )
    assert said(lifecycle(bucket, expiring(2555, Prefix="connect/"))) == (
        "Lifecycle rule 2555 days hides recordings 2,555 days after they were written. Their bytes are deleted by "
        "Lifecycle rule 2555 days: 10 days later. What no rule deletes counts as kept for 6 years after the call, as "
        "ARCHIVE_RETENTION_YEARS says."
    )
    hiding = {name: value for name, value in expiring(2555, Prefix="connect/").items() if name not in GONE}
    assert "no rule deletes noncurrent versions, so you still pay for hidden recordings" in said(
        lifecycle(bucket, hiding)
    )
