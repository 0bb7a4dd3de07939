"""What keeping a contact centre's recordings for years costs, one way or another: an honest comparison.

``python -m recordings.scenarios > docs/costs.md`` writes the page that this repository shows.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from recordings.audio import PROFILES
from recordings.gate import CPU_S_BY_MINUTE, CPU_S_BY_RECORDING
from recordings.pricing import GB, MONTH_DAYS, Cost, PriceList, prices, run_cost
from recordings.settings import settings

_BATCH = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """What comes in each month, and for how long it is kept."""

    minutes_month: float
    gb_month: float  # as Connect writes it
    minutes_by_call: float
    months: int
    days_before: float = 7  # in Standard, until analytics are done

    @property
    def calls_month(self) -> float:
        """Recordings that come in each month."""
        return self.minutes_month / self.minutes_by_call

    @property
    def bytes_by_call(self) -> float:
        """Size of an average recording."""
        return self.gb_month * GB / self.calls_month


# "Optimize Amazon Connect call recording storage", the published example: 6 TB a month for six years. The length of a
# call is our assumption.
PUBLISHED = Workload(minutes_month=3_000_000, gb_month=6 * 1024, minutes_by_call=5, months=72)
PUBLISHED_PROCESSING_BY_1000_MINUTES = 0.11
PUBLISHED_TOTALS = {"everything in S3 Standard": 356_664, "A-law mono in GLACIER_IR": 41_838}


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """A way of keeping recordings: in which class, how small, and whether they are rewritten for it."""

    name: str
    storage_class: str
    size_ratio: float
    converts: bool
    opens: str = "at once"
    releases_originals: bool = True
    grace_days: int = settings().grace_days  # after which the original is released


def _converting(profile: str, storage_class: str, *, releases_originals: bool = True) -> Way:
    return Way(
        name=f"`{profile}` in {storage_class}" + ("" if releases_originals else ", originals kept for ever"),
        storage_class=storage_class,
        size_ratio=PROFILES[profile].size_ratio,
        converts=True,
        releases_originals=releases_originals,
    )


def _moving(storage_class: str, opens: str = "at once") -> Way:
    return Way(
        name=f"no resampling, lifecycle rule to {storage_class}",
        storage_class=storage_class,
        size_ratio=1,
        converts=False,
        opens=opens,
    )


WAYS = (
    Way(name="nothing: stays in STANDARD", storage_class="STANDARD", size_ratio=1, converts=False),
    _moving("STANDARD_IA"),
    _moving("GLACIER_IR"),
    _moving("GLACIER", "after hours"),
    _moving("DEEP_ARCHIVE", "after 12 hours"),
    _converting("alaw-mono", "STANDARD"),
    _converting("alaw-mono", "STANDARD_IA"),
    _converting("alaw-mono", "GLACIER_IR"),
    _converting("alaw-stereo", "GLACIER_IR"),
    _converting("flac-stereo", "GLACIER_IR"),
    _converting("alaw-mono", "GLACIER_IR", releases_originals=False),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bill:
    """What a way costs over all the months of a workload, in dollars."""

    way: Way
    storage_usd: float  # where the recordings end
    waiting_usd: float  # in Standard, before they get there
    originals_usd: float  # in Standard, until they are released
    work_usd: float  # requests, CPU time, worker and server; or lifecycle transitions
    tags_usd: float  # one for each recording that was converted, for as long as it is kept

    @property
    def total_usd(self) -> float:
        """The sum."""
        return self.storage_usd + self.waiting_usd + self.originals_usd + self.work_usd + self.tags_usd


def compare(workload: Workload, price_list: PriceList, ways: Iterable[Way] = WAYS) -> list[Bill]:
    """The bill of each way, dearest first."""
    bills = [bill(way, workload, price_list) for way in ways]
    return sorted(bills, key=lambda each: each.total_usd, reverse=True)


def bill(way: Way, workload: Workload, price_list: PriceList) -> Bill:
    """Month n stores what came in during the n-1 months before it, as the published example counts."""
    billed = price_list.billed_bytes(round(workload.bytes_by_call * way.size_ratio), way.storage_class)
    gb_month = billed * workload.calls_month / GB
    work_month = (
        archiving_cost(workload.calls_month, workload.minutes_month, way.storage_class, price_list).all_in_usd
        if way.converts
        else workload.calls_month / 1000 * price_list.of_class(way.storage_class).transition_per_1000
    )
    return Bill(
        way=way,
        storage_usd=_stored(gb_month, way.storage_class, workload, price_list),
        waiting_usd=_in_standard(workload, workload.days_before, price_list),
        originals_usd=_originals(way, workload, price_list),
        work_usd=work_month * workload.months,
        tags_usd=price_list.tags_month(workload.calls_month) * sum(range(workload.months)) if way.converts else 0,
    )


def _stored(gb_month: float, storage_class: str, workload: Workload, price_list: PriceList) -> float:
    return sum(price_list.volume_month(gb_month * month, storage_class) for month in range(workload.months))


def _in_standard(workload: Workload, days: float, price_list: PriceList) -> float:
    """So many days in Standard for all that comes in."""
    return price_list.volume_month(workload.gb_month * days / 30, "STANDARD") * workload.months


def _originals(way: Way, workload: Workload, price_list: PriceList) -> float:
    if not way.converts:
        return 0
    if not way.releases_originals:
        return _stored(workload.gb_month, "STANDARD", workload, price_list)
    return _in_standard(workload, way.grace_days, price_list)


def archiving_cost(recordings: float, minutes: float, storage_class: str, price_list: PriceList) -> Cost:
    """What archiving so many recordings within a month costs, by the requests that the design makes for one."""
    each = round(recordings)
    lists = round(recordings / _BATCH)
    counts = {
        "GetObject": each,
        "PutObject": each,
        "GetObjectTagging": each,
        "PutObjectTagging": each,
        "ListObjectVersions": lists,
        "ListObjectsV2": lists,
    }
    cpu_s = recordings * CPU_S_BY_RECORDING + minutes * CPU_S_BY_MINUTE
    return run_cost(
        price_list,
        counts,
        write_class=storage_class,
        retrieval_usd=0,
        cpu_s=cpu_s,
        wall_s=cpu_s,
        standing_days=MONTH_DAYS,
    )


def published_total(price_list: PriceList, workload: Workload = PUBLISHED) -> float:
    """The published figure for A-law mono in GLACIER_IR, from its ingredients."""
    kept = _stored(workload.gb_month / 4, "GLACIER_IR", workload, price_list)
    waiting = _in_standard(workload, workload.days_before, price_list)
    processing = PUBLISHED_PROCESSING_BY_1000_MINUTES * workload.minutes_month / 1000 * workload.months
    return kept + waiting + processing


def comparison_table(workload: Workload, price_list: PriceList) -> str:
    """The comparison as Markdown, dearest first."""
    bills = compare(workload, price_list)
    minutes = workload.minutes_month * workload.months
    lines = [
        "| way | where it ends | in Standard before | originals | work | tags | **total** | 1,000 minutes | opens |",
        "|---|--:|--:|--:|--:|--:|--:|--:|---|",
    ]
    for each in bills:
        figures = (each.storage_usd, each.waiting_usd, each.originals_usd, each.work_usd, each.tags_usd)
        cells = " | ".join(f"${amount:,.0f}" for amount in figures)
        by_1000 = each.total_usd / minutes * 1000
        lines.append(f"| {each.way.name} | {cells} | **${each.total_usd:,.0f}** | ${by_1000:.3f} | {each.way.opens} |")
    return "\n".join(lines)


def document(price_list: PriceList) -> str:
    """The whole of docs/costs.md."""
    month = archiving_cost(PUBLISHED.calls_month, PUBLISHED.minutes_month, "GLACIER_IR", price_list)
    less = price_list.tags_read_for_less({"GetObjectTagging": PUBLISHED.calls_month}, "GLACIER_IR")
    thousands = PUBLISHED.minutes_month / 1000
    everything, alaw = PUBLISHED_TOTALS.values()
    return _DOCUMENT.format(
        source=price_list.source,
        as_of=price_list.as_of,
        region=price_list.region,
        table=comparison_table(PUBLISHED, price_list),
        published=published_total(price_list),
        everything=everything,
        alaw=alaw,
        nothing=bill(WAYS[0], PUBLISHED, price_list).total_usd,
        requests=month.requests_usd / thousands,
        compute=month.compute_usd / thousands,
        standing=month.standing_usd / thousands,
        all_in=month.all_in_usd / thousands,
        less=less / thousands,
        kms=price_list.kms({"KMS": round(2 * PUBLISHED.calls_month)}) / thousands,
    )


_DOCUMENT = """\
# What it costs

<!-- Generated: python -m recordings.scenarios > docs/costs.md -->

{source}; {region}, {as_of}. `recordings/prices/{region}.json` holds them; `ARCHIVE_PRICE_LIST` names another file.

## Ways to keep six years of calls

3 million minutes a month for 72 months, 6 TB a month as Connect writes it, calls of 5 minutes. Everything spends its
first 7 days in Standard; a converted original is released after 30 more. Volume discounts of Standard are counted.
Month n stores what came in during the n-1 months before it, as the published example counts.

{table}

What the table says:

- Storage class is the greater lever: a lifecycle rule to GLACIER_IR, without any of this software, saves four fifths.
  Resampling halves what is left, and `alaw-mono` gives up which speaker said what; `flac-stereo` gives up nothing.
- DEEP_ARCHIVE beats all of it for recordings that may take half a day to open.
- Originals are the third of the bill that `grace_days` decides, and all of it where nobody releases them.
- FLAC's ratio is 25 to 60 % by how noisy the line is; 40 % is assumed. Objects in DEEP_ARCHIVE and GLACIER are billed
  40 KB larger, and listening to any of them in GLACIER_IR costs $0.03 a GB: neither is counted.

## The published figures

${alaw:,} for A-law mono in GLACIER_IR is met to the dollar (${published:,.2f}) by: 1,536 GB a month in GLACIER_IR over
the n-1 months before each, 7/30 of a month in Standard, and processing at $0.11 per 1,000 minutes. It counts originals
as gone at once. ${everything:,} for everything in S3 Standard is met by no simple rule that we found; by the rule above
it is ${nothing:,.0f}. We claim the first and not the second.

## What archiving costs per 1,000 minutes

Calls of 5 minutes into GLACIER_IR: requests ${requests:.4f}, CPU time ${compute:.5f}, worker and server ${standing:.4f}
at 3 million minutes a month: **${all_in:.4f}**, where the published system has $0.11. SSE-KMS without a bucket key
adds ${kms:.4f}. AWS's pages leave open whether reading the tags of an object in GLACIER_IR is a request to that class
or to Standard. The dearer one is counted here; by the other one, it is ${less:.4f} less.
"""


if __name__ == "__main__":
    print(document(prices()), end="")
