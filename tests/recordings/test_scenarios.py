"""The comparison of ways to keep recordings: the published figure from its ingredients, and sums by hand."""

from dataclasses import replace
from pathlib import Path

import pytest

from recordings.pricing import prices
from recordings.savings.cost_chart import costs_chart
from recordings.savings.scenarios import (
    PUBLISHED,
    PUBLISHED_TOTALS,
    SCENARIOS,
    bill,
    compare,
    document,
    gate_table,
    graces_table,
    lengths_table,
    months_table,
    published_total,
)

BILLS = {each.scenario.name: each for each in compare(PUBLISHED, prices())}


def test_the_published_total_is_met_to_the_dollar() -> None:
    assert published_total(prices()) == pytest.approx(PUBLISHED_TOTALS["A-law mono in GLACIER_IR"], abs=1)


def test_the_other_published_total_is_met_by_no_simple_rule() -> None:
    """Neither flat nor with volume discounts, neither with nor without the current month."""
    months, gb = PUBLISHED.months, PUBLISHED.gb_month
    sums = [
        total + current
        for total in (BILLS["nothing: stays in STANDARD"].storage_usd, gb * months * (months - 1) / 2 * 0.023)
        for current in (0, gb * months * 0.023 / 2, gb * months * 0.023)
    ]
    assert all(abs(each - PUBLISHED_TOTALS["everything in S3 Standard"]) > 1000 for each in sums)


def test_a_bill_by_hand() -> None:
    """2,556 cohort months of 1,536 GB; twice 7 days of 6,144 GB in Standard; 600,000 recordings a month, tagged."""
    alaw = BILLS["`alaw-mono` in GLACIER_IR"]
    assert alaw.storage_usd == pytest.approx(2556 * 1536 * 0.004)
    assert alaw.waiting_usd == pytest.approx(72 * 6144 * 7 / 30 * 0.023)
    assert alaw.originals_usd == pytest.approx(72 * 6144 * 7 / 30 * 0.023)
    assert alaw.tags_usd == pytest.approx(2556 * 600_000 / 10_000 * 0.0065)
    requests = 0.6 * 35.45
    cpu = (600_000 * 0.005 + 3_000_000 * 0.0048) / 3600 * (0.03238 + 2 * 0.00356)
    afterwards = 600_000 * (4 * 0.00001 + 2 * 0.0000004 + 0.0042 / 3600 * 0.0395)
    assert alaw.work_usd == pytest.approx(72 * (requests + cpu + afterwards + prices().standing_month), rel=1e-4)


def test_a_lifecycle_rule_pays_by_transition() -> None:
    rule = BILLS["no resampling, lifecycle rule to GLACIER_IR"]
    assert (rule.storage_usd, rule.work_usd) == pytest.approx((2556 * 6144 * 0.004, 72 * 600 * 0.02))


def test_kept_originals_cost_more_than_doing_nothing() -> None:
    kept = BILLS["`alaw-mono` in GLACIER_IR, originals kept for ever"]
    assert kept.total_usd > BILLS["nothing: stays in STANDARD"].total_usd


def test_short_calls_are_billed_as_128_kib_in_glacier_ir() -> None:
    scenario = next(each for each in SCENARIOS if each.name == "`alaw-mono` in GLACIER_IR")
    short = replace(PUBLISHED, minutes_per_call=0.1)
    assert bill(scenario, short, prices()).storage_usd == pytest.approx(
        2556 * short.calls_month * 131072 / 1024**3 * 0.004, rel=1e-6
    )


def test_the_page_is_what_the_program_writes() -> None:
    assert (Path(__file__).parents[2] / "docs" / "costs.md").read_text() == document(prices())


def test_the_picture_is_what_the_program_draws() -> None:
    assert (Path(__file__).parents[2] / "docs" / "images" / "costs.svg").read_text() == costs_chart(prices())


def test_a_tag_costs_more_the_shorter_the_calls_are() -> None:
    """2,556 cohort months of 3 million recordings of a minute at $0.0065 per 10,000: $4,984."""
    minute = replace(PUBLISHED, minutes_per_call=1)
    assert bill(BILLS["`alaw-mono` in GLACIER_IR"].scenario, minute, prices()).tags_usd == pytest.approx(4984.2)
    assert "| 1 min | $69,510 | $43,498 | $4,984 |" in lengths_table(PUBLISHED, prices())


def test_a_day_of_originals_by_hand() -> None:
    """6,144 GB a month for a 30th of it, 72 times: $339; from 30 days to 7, $7,800."""
    table = graces_table(PUBLISHED, prices())
    assert "| originals stay | 30 days | 7 days | 1 day |" in table
    assert "| `alaw-mono` | $34,117 | $26,317 | $24,282 |" in table
    assert pytest.approx(23 * 72 * 6144 / 30 * 0.023, abs=1) == 34_117 - 26_317


def test_five_minutes_by_months_left_by_hand() -> None:
    """0.00894 GB in GLACIER_IR, a quarter of it as A-law; 7.6 cents of requests, a week in Standard, and the tag."""
    gb = 300 * 32_000 / 1024**3
    rule = 20 / 1000 + 1000 * gb * 0.004 * 6
    week = 1000 * gb * 0.023 * 7 / 30.4375
    archived = (35.43 + 40.8) / 1000 + 250 * gb * 0.004 * 6 + week + 6 * 0.00065
    assert f"| 6 months | ${rule:.2f} | ${archived:.2f} | {1 - archived / rule:.0%} |" in months_table(prices())


def test_the_table_of_what_pays_is_the_gates() -> None:
    table = gate_table(prices())
    assert "| 30 days | never | 162 s | 49 s | 18 s |" in table
    assert "| 1 day | 118 s | 62 s | 34 s | 17 s |" in table
