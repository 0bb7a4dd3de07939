"""What keeping a contact centre's recordings for years costs, one way or another: an honest comparison.

``python -m recordings.savings.scenarios > docs/costs.md`` writes the page that this repository shows.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from recordings.conversion.pcm import TELEPHONE_HZ
from recordings.conversion.wav import alaw_wav_bytes
from recordings.formatting import plural
from recordings.gate import (
    CPU_S_PER_MINUTE,
    CPU_S_PER_RECORDING,
    Kept,
    Terms,
    archiving_usd,
    moving_usd,
    pays,
    reading_back_usd,
    reconciling_usd,
    releasing_usd,
)
from recordings.pricing import GB, MONTH_DAYS, Cost, PriceList, prices, run_cost
from recordings.profiles import PROFILES
from recordings.request import BATCH_SIZE
from recordings.settings import Settings

SHIPPED_GRACE_DAYS: int = Settings.model_fields["grace_days"].default  # whatever this machine is set to


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """What comes in each month, and for how long it is kept."""

    minutes_month: float
    gb_month: float  # as Connect writes it
    minutes_per_call: float
    months: int
    days_before: float = 7  # in Standard, until analytics are done

    @property
    def calls_month(self) -> float:
        """Recordings that come in each month."""
        return self.minutes_month / self.minutes_per_call

    @property
    def bytes_per_call(self) -> float:
        """Size of an average recording."""
        return self.gb_month * GB / self.calls_month


# "Optimize Amazon Connect call recording storage", the published example: 6 TB a month for six years. The length of a
# call is our assumption.
PUBLISHED = Workload(minutes_month=3_000_000, gb_month=6 * 1024, minutes_per_call=5, months=72)
PUBLISHED_PROCESSING_PER_1000_MINUTES = 0.11
PUBLISHED_TOTALS = {"everything in S3 Standard": 356_664, "A-law mono in GLACIER_IR": 41_838}


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """A way of keeping recordings: in which class, how small, and whether they are rewritten for it."""

    name: str
    storage_class: str
    size_ratio: float
    converts: bool
    opens: str = "at once"
    releases_originals: bool = True
    grace_days: int = SHIPPED_GRACE_DAYS  # after which the original is released
    cpu_s_per_minute: float = CPU_S_PER_MINUTE


def _converting(profile: str, storage_class: str, *, releases_originals: bool = True) -> Scenario:
    return Scenario(
        name=f"`{profile}` in {storage_class}" + ("" if releases_originals else ", originals kept for ever"),
        storage_class=storage_class,
        size_ratio=PROFILES[profile].size_ratio,
        converts=True,
        releases_originals=releases_originals,
        cpu_s_per_minute=PROFILES[profile].cpu_s_per_minute,
    )


def _moving(storage_class: str, opens: str = "at once") -> Scenario:
    return Scenario(
        name=f"no resampling, lifecycle rule to {storage_class}",
        storage_class=storage_class,
        size_ratio=1,
        converts=False,
        opens=opens,
    )


SCENARIOS = (
    Scenario(name="nothing: stays in STANDARD", storage_class="STANDARD", size_ratio=1, converts=False),
    _moving("STANDARD_IA"),
    _moving("GLACIER_IR"),
    _moving("GLACIER", "after hours"),
    _moving("DEEP_ARCHIVE", "after 12 hours"),
    _converting("alaw-mono", "STANDARD"),
    _converting("alaw-mono", "STANDARD_IA"),
    _converting("alaw-mono", "GLACIER_IR"),
    _converting("alaw-stereo", "GLACIER_IR"),
    _converting("flac-stereo", "GLACIER_IR"),
    _converting("opus-dual", "GLACIER_IR"),
    _converting("alaw-mono", "GLACIER_IR", releases_originals=False),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bill:
    """What a scenario costs over all the months of a workload, in dollars."""

    scenario: Scenario
    storage_usd: float  # where the recordings end
    waiting_usd: float  # in Standard, before they get there
    originals_usd: float  # in Standard, until they are released
    work_usd: float  # requests, CPU time, worker and server, until originals are released; or lifecycle transitions
    tags_usd: float  # one for each recording that was converted, for as long as it is kept

    @property
    def total_usd(self) -> float:
        """The sum."""
        return self.storage_usd + self.waiting_usd + self.originals_usd + self.work_usd + self.tags_usd


def compare(workload: Workload, price_list: PriceList, scenarios: Iterable[Scenario] = SCENARIOS) -> list[Bill]:
    """The bill of each scenario, dearest first."""
    bills = [bill(scenario, workload, price_list) for scenario in scenarios]
    return sorted(bills, key=lambda each: each.total_usd, reverse=True)


def bill(scenario: Scenario, workload: Workload, price_list: PriceList) -> Bill:
    """Month n stores what came in during the n-1 months before it, as the published example counts."""
    billed = price_list.billed_bytes(round(workload.bytes_per_call * scenario.size_ratio), scenario.storage_class)
    gb_month = billed * workload.calls_month / GB
    return Bill(
        scenario=scenario,
        storage_usd=_stored(gb_month, scenario.storage_class, workload, price_list),
        waiting_usd=_in_standard(workload, workload.days_before, price_list),
        originals_usd=_originals(scenario, workload, price_list),
        work_usd=_work_month(scenario, workload, price_list) * workload.months,
        tags_usd=price_list.tags_month(workload.calls_month) * sum(range(workload.months)) if scenario.converts else 0,
    )


def _work_month(scenario: Scenario, workload: Workload, price_list: PriceList) -> float:
    """Transitions by a lifecycle rule; or archiving, releasing, and comparing with the table."""
    calls = workload.calls_month
    if not scenario.converts:
        return calls / 1000 * price_list.of_class(scenario.storage_class).transition_per_1000
    archiving = archiving_cost(
        calls, workload.minutes_month, scenario.storage_class, price_list, scenario.cpu_s_per_minute
    ).all_in_usd
    releasing = releasing_usd("STANDARD", scenario.storage_class, price_list) if scenario.releases_originals else 0
    return archiving + calls * (releasing + reconciling_usd(scenario.storage_class, price_list))


def _stored(gb_month: float, storage_class: str, workload: Workload, price_list: PriceList) -> float:
    return sum(price_list.volume_month(gb_month * month, storage_class) for month in range(workload.months))


def _in_standard(workload: Workload, days: float, price_list: PriceList) -> float:
    """So many days in Standard for all that comes in."""
    return price_list.volume_month(workload.gb_month * days / 30, "STANDARD") * workload.months


def _originals(scenario: Scenario, workload: Workload, price_list: PriceList) -> float:
    if not scenario.converts:
        return 0
    if not scenario.releases_originals:
        return _stored(workload.gb_month, "STANDARD", workload, price_list)
    return _in_standard(workload, scenario.grace_days, price_list)


def archiving_cost(
    recordings: float,
    minutes: float,
    storage_class: str,
    price_list: PriceList,
    cpu_s_per_minute: float = CPU_S_PER_MINUTE,
) -> Cost:
    """What archiving so many recordings within a month costs, by the requests that the design makes for one."""
    each = round(recordings)
    lists = round(recordings / BATCH_SIZE)
    counts = {
        "GetObject": each,
        "PutObject": each,
        "GetObjectTagging": each,
        "PutObjectTagging": each,
        "ListObjectVersions": lists,
        "ListObjectsV2": lists,
    }
    cpu_s = recordings * CPU_S_PER_RECORDING + minutes * cpu_s_per_minute
    return run_cost(
        price_list,
        counts,
        write_class=storage_class,
        retrieval_usd=0,
        cpu_s=cpu_s,
        wall_s=cpu_s,
        standing_days=MONTH_DAYS,
    )


def published_total(price_list: PriceList) -> float:
    """The published figure for A-law mono in GLACIER_IR, from its ingredients."""
    kept = _stored(PUBLISHED.gb_month / 4, "GLACIER_IR", PUBLISHED, price_list)
    waiting = _in_standard(PUBLISHED, PUBLISHED.days_before, price_list)
    processing = PUBLISHED_PROCESSING_PER_1000_MINUTES * PUBLISHED.minutes_month / 1000 * PUBLISHED.months
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
        lines.append(
            f"| {each.scenario.name} | {cells} | **${each.total_usd:,.0f}** | ${by_1000:.3f} | {each.scenario.opens} |"
        )
    return "\n".join(lines)


GRACES_DAYS, LENGTHS_MINUTES, KEPT_MONTHS = (30, 7, 1), (1 / 6, 1, 5, 30), (6, 12, 24, 72)
_LONGEST_S = 3600
_BY_RULE, _BY_GRACE = _moving("GLACIER_IR"), _converting("alaw-mono", "GLACIER_IR")
# Eight ways of which a picture can be made: doing nothing, and keeping originals for ever, would dwarf all others.
DRAWN = (
    ("lifecycle rule to GLACIER_IR", _BY_RULE),
    ("alaw-stereo, originals 7 days", replace(_converting("alaw-stereo", "GLACIER_IR"), grace_days=7)),
    ("flac-stereo, originals 7 days", replace(_converting("flac-stereo", "GLACIER_IR"), grace_days=7)),
    ("opus-dual, originals 7 days", replace(_converting("opus-dual", "GLACIER_IR"), grace_days=7)),
    ("alaw-mono, originals 30 days", replace(_BY_GRACE, grace_days=30)),
    ("alaw-mono, originals 7 days", replace(_BY_GRACE, grace_days=7)),
    ("alaw-mono, originals 1 day", replace(_BY_GRACE, grace_days=1)),
    ("lifecycle rule to DEEP_ARCHIVE", _moving("DEEP_ARCHIVE", "after 12 hours")),
)


def graces_table(workload: Workload, price_list: PriceList) -> str:
    """Totals of each profile by how long originals stay, as Markdown."""
    heading = " | ".join(plural(days, "day") for days in GRACES_DAYS)
    rows = (
        [profile, *(bill(replace(scenario, grace_days=days), workload, price_list).total_usd for days in GRACES_DAYS)]
        for profile, scenario in ((name, _converting(name, "GLACIER_IR")) for name in PROFILES)
    )
    lines = [f"| `{profile}` | {' | '.join(f'${total:,.0f}' for total in totals)} |" for profile, *totals in rows]
    return "\n".join([f"| originals stay | {heading} |", "|---|--:|--:|--:|", *lines])


def lengths_table(workload: Workload, price_list: PriceList) -> str:
    """Totals for the same minutes in calls of other lengths, as Markdown; and what of them is for tags."""
    lines = [f"| calls of | lifecycle rule to GLACIER_IR | {_BY_GRACE.name} | of it, tags |", "|---|--:|--:|--:|"]
    for minutes in LENGTHS_MINUTES:
        calls = replace(workload, minutes_per_call=minutes)
        rule, archived = bill(_BY_RULE, calls, price_list), bill(_BY_GRACE, calls, price_list)
        length = f"{minutes:g} min" if minutes >= 1 else f"{minutes * 60:.0f} s"
        lines.append(f"| {length} | ${rule.total_usd:,.0f} | ${archived.total_usd:,.0f} | ${archived.tags_usd:,.0f} |")
    return "\n".join(lines)


def gate_table(price_list: PriceList) -> str:
    """From which length on converting pays, by how long a recording is still kept, as Markdown."""
    lines = [
        f"| originals stay | {' | '.join(f'kept {months} months' for months in KEPT_MONTHS)} |",
        f"|---|{'--:|' * len(KEPT_MONTHS)}",
    ]
    for days in GRACES_DAYS:
        terms = Terms(storage_class="GLACIER_IR", grace_days=days)
        found = (shortest_s(months, terms, price_list) for months in KEPT_MONTHS)
        lines.append(f"| {plural(days, 'day')} | {' | '.join('never' if s is None else f'{s} s' for s in found)} |")
    return "\n".join(lines)


def months_table(price_list: PriceList) -> str:
    """What a thousand calls of five minutes cost until they are deleted, by how long they are still kept, as Markdown.

    At the price of the first gigabyte; worker and server are not counted.
    """
    terms = Terms(storage_class="GLACIER_IR", grace_days=SHIPPED_GRACE_DAYS)
    lines = ["| kept for | lifecycle rule to GLACIER_IR | `alaw-mono` in GLACIER_IR | saved |", "|---|--:|--:|--:|"]
    for months in KEPT_MONTHS:
        call, bytes_after = _a_call(5 * 60, months)
        moved = 1000 * moving_usd(call, terms.storage_class, price_list)
        archived = 1000 * archiving_usd(call, bytes_after, terms, price_list)
        lines.append(f"| {months} months | ${moved:.2f} | ${archived:.2f} | {(1 - archived / moved):.0%} |")
    return "\n".join(lines)


def _a_call(seconds: int, months: float) -> tuple[Kept, int]:
    """A call as Connect writes it, and its bytes as A-law mono."""
    frames = seconds * TELEPHONE_HZ
    call = Kept(
        storage_class="STANDARD",
        size_bytes=4 * frames,
        minutes=seconds / 60,
        tags=0,
        age_days=PUBLISHED.days_before,
        months_left=months,
        months_left_archived=months,
    )
    return call, alaw_wav_bytes(channels=1, frames=frames)


def shortest_s(months: float, terms: Terms, price_list: PriceList) -> int | None:
    """The first whole second from which on converting such a call to A-law mono pays; None below an hour."""
    lengths = range(1, _LONGEST_S + 1)
    return next((each for each in lengths if pays(*_a_call(each, months), terms, price_list)), None)


def checks_table(size_bytes: int, price_list: PriceList) -> str:
    """A row per share of the recordings that a check reads: the cost of one check of all recordings of this size."""
    recordings = PUBLISHED.calls_month * PUBLISHED.months
    looks = recordings * price_list.requests({"HeadObject": 1}, "GLACIER_IR")
    request = price_list.requests({"GetObject": 1}, "GLACIER_IR") + price_list.reading(size_bytes, "GLACIER_IR")
    reading = {percent: recordings * percent / 100 * request for percent in (0, 20, 100)}
    return "\n".join(
        f"| `sample_percent={percent}` | ${looks:,.0f} | ${usd:,.0f} | **${looks + usd:,.0f}** |"
        for percent, usd in reading.items()
    )


def document(price_list: PriceList) -> str:
    """The whole of docs/costs.md."""
    month = archiving_cost(PUBLISHED.calls_month, PUBLISHED.minutes_month, "GLACIER_IR", price_list)
    releasing = PUBLISHED.calls_month * releasing_usd("STANDARD", "GLACIER_IR", price_list)
    reconciling = PUBLISHED.calls_month * reconciling_usd("GLACIER_IR", price_list)
    less = price_list.tags_read_for_less({"GetObjectTagging": 3 * PUBLISHED.calls_month}, "GLACIER_IR")
    thousands = PUBLISHED.minutes_month / 1000
    small = round(PUBLISHED.bytes_per_call * PROFILES["alaw-mono"].size_ratio)
    read_back = (
        PUBLISHED.calls_month
        * PUBLISHED.months
        * reading_back_usd(small, PUBLISHED.minutes_per_call, "GLACIER_IR", price_list)
    )
    everything, alaw = PUBLISHED_TOTALS.values()
    return _DOCUMENT.format(
        source=price_list.source,
        as_of=price_list.as_of,
        region=price_list.region,
        table=comparison_table(PUBLISHED, price_list),
        published=published_total(price_list),
        everything=everything,
        alaw=alaw,
        nothing=bill(SCENARIOS[0], PUBLISHED, price_list).total_usd,
        requests=month.requests_usd / thousands,
        compute=month.compute_usd / thousands,
        standing=month.standing_usd / thousands,
        all_in=month.all_in_usd / thousands,
        releasing=releasing / thousands,
        reconciling=reconciling / thousands,
        together=(month.all_in_usd + releasing + reconciling) / thousands,
        less=less / thousands,
        graces=graces_table(PUBLISHED, price_list),
        day=_in_standard(PUBLISHED, 1, price_list),
        grace_days=SHIPPED_GRACE_DAYS,
        lengths=lengths_table(PUBLISHED, price_list),
        by_months=months_table(price_list),
        gate=gate_table(price_list),
        tag=price_list.tags_month(1_000_000) * PUBLISHED.months,
        read_back=read_back,
        recordings=PUBLISHED.calls_month * PUBLISHED.months,
        small_gb=PUBLISHED.calls_month * PUBLISHED.months * small / GB,
        checks=checks_table(small, price_list),
        days_of_grace=read_back / _in_standard(PUBLISHED, 1, price_list),
        opus_cpu=PROFILES["opus-dual"].cpu_s_per_minute,
        alaw_cpu=PROFILES["alaw-mono"].cpu_s_per_minute,
        opus=100 * PROFILES["opus-dual"].size_ratio,
        opus_least=100 * PROFILES["opus-dual"].size_ratios[0],
        opus_most=100 * PROFILES["opus-dual"].size_ratios[1],
        kms=price_list.kms({"KMS": round(2 * PUBLISHED.calls_month)}) / thousands,
    )


_DOCUMENT = """\
# What it costs

<!-- Generated: python -m recordings.savings.scenarios > docs/costs.md -->

{source}; {region}, {as_of}. `recordings/prices/{region}.json` holds these prices; `ARCHIVE_PRICE_LIST` can name another
file.

## Ways to keep six years of calls

3 million minutes a month for 72 months, 6 TB a month as Connect writes it, calls of 5 minutes. Everything spends its
first 7 days in Standard; the original of each converted recording is deleted after {grace_days} more. Volume discounts
of Standard are counted. Month n stores what came in during the n-1 months before it, as the published example counts.

{table}

![What eight of these ways cost over six years](images/costs.svg)

What the table says:

- Storage class is the greater lever: a lifecycle rule to GLACIER_IR, without any of this software, saves four fifths.
  `alaw-mono` takes off three fifths of what is left, and no longer shows which speaker said what; `flac-stereo` gives
  up nothing. `opus-dual` keeps both speakers and is smaller than any other profile, for {opus_cpu:.2f} s of CPU per
  minute of audio, where A-law takes {alaw_cpu:.4f} s.
- Without conversion, DEEP_ARCHIVE is the cheapest way, for recordings that may take half a day to open.
- Each further day of `grace_days` adds ${day:,.0f} to the total of six years. If nobody releases the originals,
  archiving costs more than doing nothing.
- FLAC files have 25 to 60 % of the size of the original, depending on how noisy the line is; 40 % is assumed. Opus
  files have {opus_least:.1f} to {opus_most:.1f} %, depending on how much is spoken; {opus:.0f} % is assumed. Objects in
  DEEP_ARCHIVE and GLACIER are billed as if they were 40 KB larger, and reading a recording from GLACIER_IR costs $0.03
  per GB: neither is counted.

## How long originals stay

The total for three values of `grace_days`, which is {grace_days} unless you set `ARCHIVE_GRACE_DAYS` or give a release
another number ([why](decisions/0051-a-week-of-grace.md)):

{graces}

Reading every result back from S3 and decoding it (`readback_percent=100`) costs ${read_back:,.0f}, as much as
{days_of_grace:.0f} days of originals. A release may delete originals of such recordings sooner
(`grace_days_read_back`): this pays off only if you would otherwise keep originals that much longer.

## Checking the recordings at rest

A check (`check_fixity`) of six years of `alaw-mono` in GLACIER_IR, {recordings:,.0f} recordings and {small_gb:,.0f} GB:

| a check | stored checksums | reading | **total** |
|---|--:|--:|--:|
{checks}

One check a year with `sample_percent=20` reads every recording once in five years. S3 Batch Operations' *Compute
checksum* reads everything inside S3; the page "Amazon S3 pricing" has its price under "Management & Insights".

## How long the calls are

The same 3 million minutes a month, in calls of other lengths. Short calls are billed as at least 128 KiB in GLACIER_IR,
and requests and tags are paid per recording:

{lengths}

A tag costs $0.0065 per 10,000 per month: for a million recordings kept for six years, ${tag:,.0f}.

## How long they are still kept

1,000 calls of five minutes, from the day on which they are archived; worker and server are not counted:

{by_months}

## What is not worth converting

A run leaves a recording alone if converting it would cost more than moving it with a lifecycle rule
([how the run decides](decisions/0050-never-at-a-loss.md)). For calls as Connect writes them, `alaw-mono` in GLACIER_IR
pays off from this length on:

{gate}

## The published figures

We reproduce the published ${alaw:,} for A-law mono in GLACIER_IR to the dollar (${published:,.2f}) with 1,536 GB a
month in GLACIER_IR, where month n stores what came in during the n-1 months before it, 7/30 of a month in Standard, and
processing at $0.11 per 1,000 minutes. The published figure counts originals as deleted at once. We do not reproduce the
published ${everything:,} for everything in S3 Standard: we found no simple rule that gives this figure, and the rule
above gives ${nothing:,.0f}.

## What archiving costs per 1,000 minutes

Calls of 5 minutes into GLACIER_IR: requests ${requests:.4f}, CPU time ${compute:.5f}, worker and server ${standing:.4f}
at 3 million minutes a month: **${all_in:.4f}**, against $0.11 for the published system. Deleting the originals adds
${releasing:.4f}, because a release verifies each replacement once more before it deletes the original, and comparing
table and bucket once adds ${reconciling:.4f}: together **${together:.4f}**. SSE-KMS without a bucket key adds
${kms:.4f}. AWS's pages leave open whether reading the tags of an object in GLACIER_IR is a request to that class or to
Standard. These figures count the higher price; at the lower one, the total is ${less:.4f} less.
"""


if __name__ == "__main__":
    print(document(prices()), end="")
