"""Prices by hand: worked examples of public price pages, read in November 2026, and our own sums beside them."""

import json
from dataclasses import fields, replace
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from recordings.errors import InvalidRequest
from recordings.pricing import (
    GB,
    MONTH_DAYS,
    Cost,
    PriceList,
    Source,
    TaskSize,
    break_even_months,
    costs_more,
    load_prices,
    prices,
    run_cost,
)
from tests.fixtures import Setting
from tests.recordings.prices import PRICES, US_EAST_1

MILLION = {
    "GetObject": 1_000_000,
    "PutObject": 1_000_000,
    "GetObjectTagging": 1_000_000,
    "PutObjectTagging": 1_000_000,
    "ListObjectVersions": 5_000,
    "ListObjectsV2": 5_000,
}


def test_the_storage_example_of_the_s3_faqs() -> None:
    """ "Amazon S3 FAQs", billing, example 1: 52,900 GB-months in Standard are $1,177.60 + $37.40 = $1,215.00."""
    assert PRICES.volume_month(52_900, "STANDARD") == pytest.approx(1215.00)


def test_volumes_above_500_tb_are_at_the_third_price() -> None:
    """ "Amazon S3 pricing": first 50 TB $0.023, next 450 TB $0.022, over 500 TB $0.021."""
    assert PRICES.volume_month(512_001, "STANDARD") == pytest.approx(51_200 * 0.023 + 460_800 * 0.022 + 0.021)


def test_the_task_example_of_the_fargate_pricing_page() -> None:
    """ "AWS Fargate pricing", example 1: 5 tasks of 1 vCPU and 2 GB, 10 minutes a day for 30 days; on x86, $1.23."""
    x86 = {**json.loads(US_EAST_1.read_text()), "fargate_vcpu_hour": 0.04048, "fargate_gb_hour": 0.004445}
    seconds = 5 * 600 * 30
    x86_list = type(PRICES)(**{**x86, "classes": PRICES.classes})
    assert x86_list.task(seconds) == pytest.approx(1.01 + 0.22, abs=0.01)
    assert PRICES.task(seconds) == pytest.approx(seconds * (0.0000089944 + 2 * 0.0000009889), rel=1e-4)  # by the second


def test_the_requests_example_of_the_kms_pricing_page() -> None:
    """ "AWS Key Management Service pricing": $0.03 per 10,000 requests, so 2,000,000 of them are $6."""
    assert PRICES.kms({"KMS": 2_000_000}) == pytest.approx(6)


def test_a_small_object_is_billed_as_128_kib_in_glacier_ir() -> None:
    assert PRICES.billed_bytes(1, "GLACIER_IR") == 131072
    assert PRICES.billed_bytes(131073, "GLACIER_IR") == 131073
    assert PRICES.billed_bytes(1, "STANDARD") == 1


def test_storage_of_a_terabyte_for_a_month() -> None:
    assert PRICES.storage_month(1024 * GB, "STANDARD") == pytest.approx(23.552)
    assert PRICES.storage_month(1024 * GB, "GLACIER_IR") == pytest.approx(4.096)


def test_requests_of_a_million_recordings() -> None:
    """GET $0.40, PUT into GLACIER_IR $20, tags read $10 and put $5, 2 listings for each 200 recordings $0.05."""
    assert PRICES.requests(MILLION, "GLACIER_IR") == pytest.approx(35.45)


def test_reading_tags_may_cost_as_little_as_a_get_of_standard() -> None:
    """Requests-Tier2 is $0.0004 per 1,000 and Requests-GIR-Tier2 $0.01: AWS's words allow for both."""
    assert PRICES.tags_read_for_less(MILLION, "GLACIER_IR") == pytest.approx(10 - 0.40)
    assert PRICES.tags_read_for_less(MILLION, "STANDARD") == 0


def test_requests_to_kms_are_not_s3s() -> None:
    assert PRICES.requests({**MILLION, "KMS": 2_000_000}, "GLACIER_IR") == pytest.approx(35.45)


def test_a_head_is_priced_by_the_more_expensive_class() -> None:
    assert PRICES.requests({"HeadObject": 1000}, "GLACIER_IR") == pytest.approx(0.01)


def test_a_backlog_in_glacier_ir_charges_for_reading() -> None:
    """ "Amazon S3 pricing", Glacier Instant Retrieval: $0.03 per GB retrieved and $0.01 per 1,000 GETs."""
    assert 1000 * PRICES.reading(GB, "GLACIER_IR") == pytest.approx(1000 * 0.03 + 0.01 - 0.0004)
    assert PRICES.reading(GB, "STANDARD") == 0


def test_what_is_deleted_early_is_billed_to_its_90th_day() -> None:
    assert PRICES.early_deletion(GB, "GLACIER_IR", 30) == pytest.approx(0.004 * 60 / MONTH_DAYS)
    assert PRICES.early_deletion(GB, "GLACIER_IR", 91) == 0
    assert PRICES.early_deletion(GB, "STANDARD", 0) == 0


def test_tags_cost_two_thirds_of_a_cent_for_ten_thousand_a_month() -> None:
    """ "Amazon S3 pricing": $0.0065 per 10,000 tags per month; ten million are $6.50."""
    assert PRICES.tags_month(10_000_000) == pytest.approx(6.50)


@pytest.mark.parametrize("path", sorted(US_EAST_1.parent.glob("*.json")), ids=lambda path: path.stem)
def test_every_price_has_a_source_and_was_read_within_a_year(path: Path) -> None:
    """By the calendar, on purpose: a list that nobody has read again for a year must not pass."""
    shipped = load_prices(path)
    assert set(shipped.sources) == {each.name for each in fields(PriceList)} - {"region", "sources"}
    assert not shipped.is_old(datetime.now(UTC).date()), "read the price pages again and renew as_of"


def test_a_list_is_as_old_as_its_oldest_price() -> None:
    renewed = {name: Source(page="a page", as_of="2027-05") for name in PRICES.sources}
    mixed = replace(PRICES, sources={**renewed, "kms_per_10000": Source(page="another page", as_of="2026-11")})
    assert (mixed.as_of, mixed.source) == ("2026-11", "List prices in US dollars: a page; another page")
    assert [mixed.is_old(date(2027, month, 1)) for month in (11, 12)] == [False, True]


def test_worker_and_server_cost_some_20_dollars_a_month() -> None:
    """0.75 vCPU at $0.03238 and 1.5 GB at $0.00356 for 730.5 hours."""
    assert PRICES.standing_month == pytest.approx(730.5 * (0.75 * 0.03238 + 1.5 * 0.00356))


def test_a_run_by_kind() -> None:
    cost = run_cost(
        PRICES,
        {**MILLION, "KMS": 10_000},
        write_class="GLACIER_IR",
        retrieval_usd=2,
        cpu_s=3600,
        wall_s=7200,
        standing_days=MONTH_DAYS,
    )
    hour = 0.03238 + 2 * 0.00356
    assert cost.marginal_usd == pytest.approx(35.45 + 0.03 + 2 + hour)
    assert cost.all_in_usd == pytest.approx(cost.marginal_usd + hour + PRICES.standing_month)
    assert (cost + Cost(kms_usd=1)).kms_usd == pytest.approx(1.03)


def test_a_task_that_used_more_than_one_core_did_not_wait() -> None:
    cost = run_cost(PRICES, {}, write_class="STANDARD", retrieval_usd=0, cpu_s=9, wall_s=5, standing_days=0)
    assert cost.waiting_usd == 0


def test_break_even() -> None:
    assert break_even_months(10, 4) == 2.5
    assert break_even_months(10, 0) is None
    assert break_even_months(10, -1) is None


def test_more_expensive_is_meant_per_byte_kept() -> None:
    assert costs_more("STANDARD", "GLACIER_IR")
    assert not costs_more("GLACIER_IR", "GLACIER_IR")


def test_a_file_prices_another_region(tmp_path: Path, setting: Setting) -> None:
    elsewhere = json.loads(US_EAST_1.read_text())
    elsewhere["region"], elsewhere["classes"]["STANDARD"]["storage_gb_month"] = "eu-central-1", 0.0245
    path = tmp_path / "eu-central-1.json"
    path.write_text(json.dumps(elsewhere))
    setting(PRICE_LIST=path)
    assert prices().region == "eu-central-1"
    assert prices().storage_month(GB, "STANDARD") == 0.0245


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"classes": {"STANDARD": {}}}', '{"classes": {}, "colour": "red"}']
)
def test_a_price_list_of_another_form_is_named(tmp_path: Path, content: str) -> None:
    path = tmp_path / "prices.json"
    path.write_text(content)
    with pytest.raises(InvalidRequest, match=r"price list .*prices\.json: .*It must have the form of us-east-1\.json"):
        load_prices(path)


def test_a_task_costs_what_it_reserves() -> None:
    assert PRICES.task(3600, TaskSize(vcpu=4, memory_gb=8)) == pytest.approx(4 * PRICES.task(3600))
