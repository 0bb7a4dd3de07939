"""A run in words and figures that people read: Markdown, and rows of tables."""

import math
from collections.abc import Callable, Iterable, Sequence

from recordings.estimate import Forecast, Interval
from recordings.finding import Finding, Severity
from recordings.manifest import ManifestRow
from recordings.pricing import MONTH_DAYS, Cost, break_even_months
from recordings.run import Run
from recordings.summary import RunSummary, Tally


def human_bytes(size_bytes: float) -> str:
    """Decimal units, three significant figures: ``1.23 GB``."""
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if abs(size_bytes) < 1000 or unit == "TB":
            return f"{size_bytes:.3g} {unit}" if size_bytes < 1000 else f"{size_bytes:,.0f} {unit}"
        size_bytes /= 1000
    raise AssertionError("unreachable")


def usd(amount: float) -> str:
    """Dollars and cents; amounts below ten cents with three significant figures."""
    size = abs(amount)
    decimals = 2 if size >= 0.1 or size == 0 else 2 - math.floor(math.log10(size))
    return f"{'-' if amount < 0 else ''}${size:,.{decimals}f}"


def tick_usd(amount: float) -> str:
    """Dollars on an axis: no more decimals than the tick has."""
    return f"{'-' if amount < 0 else ''}${abs(amount):,.8f}".rstrip("0").rstrip(".")


def months(count: float | None) -> str:
    """A span in days, months or years, whichever suits it; None is never."""
    if count is None:
        return "never"
    if count < 1:
        return f"{count * MONTH_DAYS:.1f} days"
    return f"{count:.1f} months" if count < 24 else f"{count / 12:.1f} years"


def percent_saved(before: float, after: float) -> str:
    """How much smaller ``after`` is."""
    return f"{100 * (1 - after / before):.1f} %" if before else "-"


def run_report(
    run: Run,
    summary: RunSummary,
    sums: Tally,
    findings: Iterable[Finding],
    *,
    retention_years: float,
    forecast: Forecast | None = None,
) -> str:
    """The run's page, the numbers that matter first. A dry run has a ``forecast`` instead of sums."""
    sections = [
        _headline(run, summary, sums),
        forecast_report(forecast, retention_years) if forecast else "",
        _savings(summary, sums, retention_years),
        _statuses(summary),
        _reasons(sums),
        _findings(findings),
        _cost(summary),
        _whereabouts(run, summary),
    ]
    return "\n\n".join(section for section in sections if section)


def _headline(run: Run, summary: RunSummary, sums: Tally) -> str:
    title = f"# {run.bucket}, {run.start_date} to {run.end_date}: "
    if run.dry_run:
        return title + "a dry run, nothing was written"
    verdict = "all accounted for" if summary.succeeded else "**not everything went well**"
    return (
        f"{title}{verdict}\n\n"
        f"**{summary.counts.get('archived', 0):,}** recordings archived, **{sums.minutes:,.1f}** minutes, "
        f"**{human_bytes(sums.bytes_before)} → {human_bytes(sums.bytes_after)}** "
        f"({sums.bytes_before:,} → {sums.bytes_after:,} bytes), "
        f"{percent_saved(sums.bytes_before, sums.bytes_after)} smaller, as {run.profile_name} in {run.storage_class}."
    )


def _savings(summary: RunSummary, sums: Tally, retention_years: float) -> str:
    if not sums.minutes:
        return ""
    released = sums.usd_per_month_before - sums.usd_per_month_after - sums.usd_per_month_tags
    now = released - sums.usd_per_month_originals
    retained = retention_years * 12
    break_even = break_even_months(summary.cost.marginal_usd, released)
    lines = [
        f"| storage of what this run archived | a month | over {retention_years:g} years |",
        "|---|--:|--:|",
        f"| as it was | {usd(sums.usd_per_month_before)} | {usd(sums.usd_per_month_before * retained)} |",
        f"| replacements | {usd(sums.usd_per_month_after)} | {usd(sums.usd_per_month_after * retained)} |",
        f"| tags | {usd(sums.usd_per_month_tags)} | {usd(sums.usd_per_month_tags * retained)} |",
        f"| originals still kept | {usd(sums.usd_per_month_originals)} | until released |",
        f"| **saved now, net of the originals** | **{usd(now)}** | |",
        f"| **saved once the originals are released** | **{usd(released)}** | **{usd(released * retained)}** |",
        "",
        f"The run's marginal cost is paid for in {months(break_even)} once the originals are released.",
    ]
    return "\n".join(lines)


def _statuses(summary: RunSummary) -> str:
    rows = [f"| {status.replace('_', ' ')} | {count:,} |" for status, count in sorted(summary.counts.items())]
    rows.append(f"| settled by earlier runs | {summary.settled:,} |")
    if summary.unrecorded:
        rows.append(f"| **no row written** | **{summary.unrecorded:,}** |")
    return "\n".join(["| recordings | |", "|---|--:|", *rows])


def _reasons(sums: Tally) -> str:
    if not sums.reasons:
        return ""
    return "\n".join(
        ["| reason | recordings |", "|---|--:|", *(f"| {code} | {n:,} |" for code, n in sums.reasons.most_common())]
    )


def _findings(findings: Iterable[Finding]) -> str:
    marks = {Severity.BLOCK: "accepted risk", Severity.WARN: "warning", Severity.INFO: "note"}
    lines = [f"- **{marks[each.severity]}, {each.code}**: {each.sentence} {each.way_out}" for each in findings]
    return "\n".join(["## What preflight found", *lines]) if lines else ""


def _cost(summary: RunSummary) -> str:
    requests = ", ".join(f"{count:,} {operation}" for operation, count in sorted(summary.requests.items()))
    return f"""## What it cost

{cost_table(summary.cost, summary.minutes_after)}

{summary.cpu_s:.1f} s of CPU in {summary.wall_s:.1f} s; {requests or "no requests"}."""


def cost_table(cost: Cost, minutes: float) -> str:
    """A cost by kind, and per 1,000 minutes archived."""
    lines = [
        ("requests to S3", cost.requests_usd),
        ("requests to KMS", cost.kms_usd),
        ("retrieval", cost.retrieval_usd),
        ("CPU time", cost.compute_usd),
        ("**marginal: one recording more costs this**", cost.marginal_usd),
        ("the task's other time", cost.waiting_usd),
        ("a day of worker and server", cost.standing_usd),
        ("**all in, if this was the day's only run**", cost.all_in_usd),
    ]
    rows = [
        f"| {name} | {usd(amount)} | {usd(amount / minutes * 1000) if minutes else '-'} |"
        for name, amount in lines
        if amount or name.startswith("*")
    ]
    return "\n".join(["| | this run | per 1,000 minutes |", "|---|--:|--:|", *rows])


def _whereabouts(run: Run, summary: RunSummary) -> str:
    return f"Run `{summary.run_id}`, audit table `{run.audit_uri}`, {len(summary.manifest_files)} files."


def failure_rows(failures: Sequence[ManifestRow]) -> list[dict[str, str]]:
    """What did not become small, and why, as a table."""
    return [{"status": row.status.value, "key": row.key, "reason": row.reason or ""} for row in failures]


def forecast_report(forecast: Forecast, retention_years: float) -> str:
    """What archiving would do, with its uncertainty; nothing was written to learn it."""
    if not forecast.recordings:
        return f"Nothing is left to archive; {forecast.settled:,} recordings are settled by earlier runs."
    exact = forecast.looked_at == forecast.recordings
    basis = "each of them was looked at" if exact else f"{forecast.looked_at:,} of them were looked at"
    saved = forecast.saved_month.expected
    break_even = break_even_months(forecast.cost.expected, saved)
    verdict = "it never pays" if break_even is None else f"paid for in {months(break_even)}"
    rows: list[tuple[str, Interval, Callable[[float], str]]] = [
        ("recordings archived", forecast.archived, lambda count: f"{count:,.0f}"),
        ("minutes", forecast.minutes, lambda minutes: f"{minutes:,.0f}"),
        ("bytes before", forecast.bytes_before, human_bytes),
        ("bytes after", forecast.bytes_after, human_bytes),
        ("cost, once", forecast.cost, usd),
        ("originals, a month until released", forecast.originals_month, usd),
        ("**saved a month once released**", forecast.saved_month, usd),
    ]
    lines = [f"| {name} | {show(value.expected)} | {_range(value, show)} |" for name, value, show in rows]
    reasons = ", ".join(f"{count:,} {code}" for code, count in sorted(forecast.reasons.items()))
    return f"""## What it would come to

**{usd(saved)} saved a month, {usd(saved * retention_years * 12)} over {retention_years:g} years**, once originals are \
released, for {usd(forecast.cost.expected)} once; {verdict}.

{forecast.recordings:,} recordings are open ({human_bytes(forecast.bytes_listed)}, \
now {usd(forecast.usd_month_listed)} a month), {forecast.settled:,} settled by earlier runs; {basis}.

| | expected | 95 % interval |
|---|--:|--:|
{chr(10).join(lines)}

Not archived, of those looked at: {reasons or "none"}. It would take {_hours(forecast.cpu_hours)} of one vCPU. \
List prices, first volume tier; recordings whose damage only the whole body shows are counted as archived."""


def _hours(hours: float) -> str:
    return f"{hours:,.1f} hours" if hours >= 1 else f"{hours * 3600:,.0f} seconds"


def _range(interval: Interval, show: Callable[[float], str]) -> str:
    if interval.low == interval.high:
        return "exact"
    return f"{show(max(0, interval.low))} to {show(interval.high)}"
