"""The table for the person who pays: its sums are the gate's and the forecast's, by hand, and so is its advice."""

import pytest

from recordings.estimate import Survey, forecast, look_at
from recordings.formatting import usd
from recordings.gate import Kept, Terms
from recordings.keeping import Convertible, KeepingCost, recommended, ways_of_keeping
from recordings.plan import list_day
from recordings.pool import Pool
from recordings.profiles import PROFILES
from recordings.recording import Day
from recordings.reports.forecast import forecast_report
from recordings.reports.keeping import keeping_table
from recordings.s3.store import Store
from recordings.table.files import open_table
from tests.bucket import DAY, PREFIX, Bucket, key_of
from tests.fixtures import MakeCall, PlanRun
from tests.recordings.prices import PRICES, a_call_of, costs_by_hand, gated, mono

TERMS = Terms(storage_class="GLACIER_IR", grace_days=30)


def convertible(kept: Kept) -> Convertible:
    size = kept.size_bytes
    return Convertible(
        kept=kept,
        bytes_by_profile={
            "alaw-mono": mono(kept),
            "alaw-stereo": size // 2,
            "flac-stereo": size * 2 // 5,
            "opus-dual": size // 10,
        },
    )


def costs_of(*recordings: Convertible, terms: Terms = TERMS) -> dict[str, KeepingCost]:
    found = [
        KeepingCost(way=way, usd=sum(way.cost_usd(each, PRICES) for each in recordings))
        for way in ways_of_keeping(terms)
    ]
    return {str(each.way): each for each in found}


def test_each_row_by_hand() -> None:
    """Five minutes and five seconds for six years: the one is converted where that pays, the other one never."""
    long, short = a_call_of(300, months=72), a_call_of(5, months=72)
    found = costs_of(convertible(long), convertible(short))
    gb = (long.size_bytes + short.size_bytes) / 1024**3
    assert found["do nothing"].usd == pytest.approx(gb * 0.023 * 72)
    assert found["lifecycle rule to GLACIER_IR, no conversion"].usd == pytest.approx(gb * 0.004 * 72 + 2 * 0.00002)
    for grace_days, words in ((1, "1 day"), (7, "7 days"), (30, "30 days")):
        terms = Terms(storage_class="GLACIER_IR", grace_days=grace_days)
        archived = costs_by_hand(long, mono(long), terms)[1]
        moved = costs_by_hand(short, mono(short), terms)[0]
        assert found[f"`alaw-mono` in GLACIER_IR, originals kept {words}"].usd == pytest.approx(archived + moved)
    assert len(found) == 2 + 4 * 3


def in_thousandths(amount: float) -> str:
    return f"${amount * 1000:.4f}"


def test_it_recommends_the_profile_and_the_grace_that_were_set_and_says_what_that_gives_up() -> None:
    """opus-dual costs less, but nobody knows yet whether the operator's players open it."""
    by_name = costs_of(convertible(a_call_of(300, months=72)))
    found = list(by_name.values())
    table = keeping_table(found, TERMS, in_thousandths)
    mono, stereo, opus = (
        by_name[f"`{name}` in GLACIER_IR, originals kept 30 days"].usd
        for name in ("alaw-mono", "alaw-stereo", "opus-dual")
    )
    assert "| **`alaw-mono` in GLACIER_IR, originals kept 30 days** | $" in table
    assert "| mixed | at once | for 30 days |" in table
    assert "| do nothing | $14.8" in table
    assert table.endswith(
        "Recommended: `alaw-mono` in GLACIER_IR, originals kept 30 days. Of doing nothing, a lifecycle rule "
        "and `alaw-mono`, this costs the least. It mixes the two speakers; the cheapest way that keeps them apart in "
        f"WAV files is `alaw-stereo` in GLACIER_IR, originals kept 30 days, for {in_thousandths(stereo - mono)} more. "
        f"`opus-dual` in GLACIER_IR, originals kept 30 days would cost {in_thousandths(mono - opus)} less; its files "
        "are not WAV, so first try each of your players with them (docs/playback.md)."
    )


def test_whoever_asks_for_a_profile_gets_it_recommended() -> None:
    for name, ending in (
        ("opus-dual", "and `opus-dual`, this costs the least."),
        ("alaw-stereo", "docs/playback.md)."),
    ):
        terms = Terms(storage_class="GLACIER_IR", grace_days=30, profile=PROFILES[name])
        found = list(costs_of(convertible(a_call_of(300, months=72)), terms=terms).values())
        assert str(recommended(found, terms).way) == f"`{name}` in GLACIER_IR, originals kept 30 days"
        assert keeping_table(found, terms, usd).endswith(ending)
    without_opus = [each for each in found if each.way.profile != "opus-dual"]
    assert "`alaw-mono` in GLACIER_IR, originals kept 30 days would cost" in keeping_table(without_opus, terms, usd)
    assert keeping_table(without_opus, terms, usd).endswith("less; the two speakers are mixed.")


def test_where_nothing_pays_it_says_so() -> None:
    """Two seconds are moved by a rule, which costs $0.00002; what lies in GLACIER_IR already stays there."""
    short = list(costs_of(convertible(a_call_of(2, months=72))).values())
    assert str(recommended(short, TERMS).way) == "lifecycle rule to GLACIER_IR, no conversion"
    assert keeping_table(short, TERMS, usd).endswith(
        "Of doing nothing, a lifecycle rule and `alaw-mono`, this costs the least."
    )
    there = list(costs_of(convertible(a_call_of(2, months=72, storage_class="GLACIER_IR"))).values())
    assert keeping_table(there, TERMS, usd).endswith("because neither a lifecycle rule nor `alaw-mono` costs less.")


def test_a_grace_of_its_own_has_its_rows() -> None:
    terms = Terms(storage_class="GLACIER_IR", grace_days=3)
    found = costs_of(convertible(a_call_of(300, months=72)), terms=terms)
    assert recommended(list(found.values()), terms) is found["`alaw-mono` in GLACIER_IR, originals kept 3 days"]


def test_the_forecast_has_the_same_sums(
    bucket: Bucket, store: Store, pool: Pool, plan: PlanRun, a_call: MakeCall, converted_by_others: bytes
) -> None:
    """On a real bucket: what cannot be converted is in no row, what is small already is in each."""
    for number, seconds in enumerate((4.0, 20.0, 60.0)):
        bucket.put(key_of(number), a_call(number, seconds))
    bucket.put(key_of(3), converted_by_others)
    bucket.put(key_of(4), a_call(4)[:-9])
    run = gated(plan(bucket.name))
    survey = Survey(list_day(store, open_table(run.audit_uri), Day(prefix=PREFIX, date=DAY), run).open, PRICES)
    looks = look_at(store, survey.sample, run, pool)
    ahead = forecast(survey, looks, run, PRICES)
    recordings = [look.convertible for look in looks if look.convertible]
    assert len(recordings) == 4
    assert sorted(len(each.bytes_by_profile) for each in recordings) == [3, 4, 4, 4]  # no Opus is made of A-law
    expected = costs_of(*recordings, terms=run.terms)
    assert {str(each.way): each.usd for each in ahead.keeping_costs} == {
        name: pytest.approx(each.usd) for name, each in expected.items()
    }
    archived = [look for look in looks if look.reason is None]
    kept = [look.kept for look in archived if look.kept]
    assert ahead.saved_month.expected == pytest.approx(
        sum(each.size_bytes / 1024**3 * 0.023 - max(131072, mono(each)) / 1024**3 * 0.004 - 0.00000065 for each in kept)
    )
    assert "Recommended: `alaw-mono` in GLACIER_IR" in forecast_report(ahead, 6)
