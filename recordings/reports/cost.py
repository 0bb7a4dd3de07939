"""What a run cost, and what it saves, as sections of its page."""

from recordings.formatting import paid_for, rate_usd, usd
from recordings.pricing import Cost, break_even_months, prices
from recordings.run import Run
from recordings.summary import RunSummary, Tally


def storage_report(summary: RunSummary, sums: Tally, retention_years: float) -> str:
    """What storage costs now, cost before and will cost, of what the run archived; empty if it archived nothing."""
    if not sums.minutes:
        return ""
    released = sums.usd_per_month_before - sums.usd_per_month_after - sums.usd_per_month_tags
    now = released - sums.usd_per_month_originals
    retained = retention_years * 12
    break_even = break_even_months(summary.cost.marginal_usd, released)
    lines = [
        f"| storage of what this run archived | per month | over {retention_years:g} years |",
        "|---|--:|--:|",
        f"| as it was | {usd(sums.usd_per_month_before)} | {usd(sums.usd_per_month_before * retained)} |",
        f"| replacements | {usd(sums.usd_per_month_after)} | {usd(sums.usd_per_month_after * retained)} |",
        f"| tags | {usd(sums.usd_per_month_tags)} | {usd(sums.usd_per_month_tags * retained)} |",
        f"| originals still kept | {usd(sums.usd_per_month_originals)} | until released |",
        f"| **saved now, net of the originals** | **{usd(now)}** | |",
        f"| **saved once the originals are released** | **{usd(released)}** | **{usd(released * retained)}** |",
        "",
        f"The run's own cost is {paid_for(break_even, retention_years)} once the originals are released.",
    ]
    return "\n".join(lines)


def cost_report(run: Run, summary: RunSummary) -> str:
    """The run's cost, its CPU time and its requests."""
    less = prices().tags_read_for_less(summary.requests, run.storage_class)
    requests = ", ".join(f"{count:,} {operation}" for operation, count in sorted(summary.requests.items()))
    return f"""## What it cost

{cost_table(summary.cost, summary.minutes_after)}

{summary.cpu_s:.1f} s of CPU in {summary.wall_s:.1f} s; {requests or "no requests"}.{_or_less(less)}"""


def _or_less(less: float) -> str:
    """The possible difference that the price list leaves open, where it matters."""
    if not less:
        return ""
    return (
        " AWS does not say clearly what reading the tags of an object in this storage class costs. The higher price is "
        f"counted; at the lower price, the run costs {usd(less)} less."
    )


def cost_table(cost: Cost, minutes: float) -> str:
    """A cost by kind, and per 1,000 archived minutes."""
    lines = [
        ("requests to S3", cost.requests_usd),
        ("requests to KMS", cost.kms_usd),
        ("retrieval", cost.retrieval_usd),
        ("CPU time", cost.compute_usd),
        ("**the run's own cost: all of the above**", cost.marginal_usd),
        ("the task's time without CPU work", cost.waiting_usd),
        ("a day of worker and server", cost.standing_usd),
        ("**all in, if this was the day's only run**", cost.all_in_usd),
    ]
    rows = [
        f"| {name} | {usd(amount)} | {rate_usd(amount / minutes * 1000) if minutes else '-'} |"
        for name, amount in lines
        if amount or name.startswith("*")
    ]
    return "\n".join(["| | this run | per 1,000 minutes |", "|---|--:|--:|", *rows])
