"""The price list, and a second sum by it: what keeping a call costs and what archiving it, from the JSON alone."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from recordings.gate import Kept, Terms
from recordings.pricing import load_prices
from recordings.run import Run

US_EAST_1 = Path(__file__).parents[2] / "recordings" / "prices" / "us-east-1.json"
PRICES = load_prices(US_EAST_1)
RAW = json.loads(US_EAST_1.read_text())


def a_call_of(seconds: float, *, months: float, storage_class: str = "STANDARD", tags: int = 0) -> Kept:
    """As Connect writes it: 32,000 bytes a second, a week old."""
    return Kept(
        storage_class=storage_class,
        size_bytes=round(32_000 * seconds) + 44,
        minutes=seconds / 60,
        tags=tags,
        age_days=7,
        months_left=months,
        months_left_archived=months,
    )


def mono(kept: Kept) -> int:
    """Bytes of the call as mono A-law."""
    return (kept.size_bytes - 44) // 4 + 58


def costs_by_hand(kept: Kept, bytes_after: int, terms: Terms) -> tuple[float, float]:
    """What leaving it to the lifecycle rule and what archiving it cost, from the price list's JSON alone."""
    here, there = RAW["classes"][kept.storage_class], RAW["classes"][terms.storage_class]
    standard, gib, month_days = RAW["classes"]["STANDARD"], 1024**3, 365.25 / 12

    def keeping(size: int, prices: Any, months: float) -> float:
        return float(max(size, prices.get("minimum_billable_bytes", 0)) / gib * prices["storage_gb_month"] * months)

    def early(days: float) -> float:
        return keeping(kept.size_bytes, here, max(0, here.get("minimum_storage_days", 0) - days) / month_days)

    minimum_months = there.get("minimum_storage_days", 0) / month_days
    months, months_archived = max(kept.months_left, minimum_months), max(kept.months_left_archived, minimum_months)
    rule = keeping(kept.size_bytes, here, kept.months_left)
    if kept.storage_class != terms.storage_class:
        transition = there.get("transition_per_1000", 0) / 1000
        rule = min(rule, transition + early(kept.age_days) + keeping(kept.size_bytes, there, months))

    def release_and_reconciliation() -> float:
        return float((2 + 1 + 1) * there["read_per_1000"] / 1000 + (1 + 1) * here["read_per_1000"] / 1000)

    heads = 1 if kept.storage_class in ("GLACIER_IR", "STANDARD_IA", "ONEZONE_IA") else 0
    requests = (
        here["read_per_1000"]
        + there["write_per_1000"]
        + (heads + (4 if kept.tags else 1)) * there["read_per_1000"]
        + standard["write_per_1000"] * (1 + 1 / 1000 + 1 / terms.batch_size)
    ) / 1000
    kms = (2 + terms.readback_share) * RAW["kms_per_10000"] / 10_000 if kept.by_kms else 0
    cpu_s = 0.005 + 0.0035 + 0.0007 + kept.minutes * 0.0048 * (1 + terms.readback_share)
    tag_month = RAW["tag_per_10000_months"] / 10_000
    archived = (
        requests
        + kms
        + release_and_reconciliation()
        + kept.size_bytes / gib * here.get("retrieval_gb", 0)
        + cpu_s / 3600 * (RAW["fargate_vcpu_hour"] + 2 * RAW["fargate_gb_hour"])
        + terms.readback_share * (bytes_after / gib * there.get("retrieval_gb", 0) + there["read_per_1000"] / 1000)
        + keeping(bytes_after, there, months_archived)
        + tag_month * kept.months_left_archived
        + (keeping(kept.size_bytes, here, 1) + kept.tags * tag_month) * terms.grace_days / month_days
        + early(kept.age_days + terms.grace_days)
    )
    return rule, archived


def gated(run: Run) -> Run:
    """The run as it is outside tests."""
    return replace(run, archive_unprofitable=False)
