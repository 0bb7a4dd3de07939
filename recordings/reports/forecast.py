"""A forecast: what archiving would do, save and cost."""

from collections.abc import Callable, Iterable

from recordings.estimate import Forecast, Interval
from recordings.finding import Finding
from recordings.formatting import human_bytes, paid_for, plural, usd
from recordings.glossary import EXPLAINED, meaning
from recordings.pricing import break_even_months, prices
from recordings.recording import span
from recordings.reports.findings import findings_report
from recordings.reports.keeping import keeping_table
from recordings.run import Run


def forecast_page(run: Run, ahead: Forecast, findings: Iterable[Finding], retention_years: float) -> str:
    """The page of an estimate, or of a backfill's dry run."""
    sections = [
        f"# {run.bucket}, {span(run.start_date, run.end_date)}: {run.profile_name} in {run.storage_class}",
        forecast_report(ahead, retention_years),
        findings_report(findings),
    ]
    return "\n\n".join(filter(None, sections))


def forecast_report(forecast: Forecast, retention_years: float) -> str:
    """What archiving would do, with its uncertainty; nothing was written to find out."""
    earlier = f"{plural(forecast.final, 'recording')} accounted for by earlier runs"
    if not forecast.recordings:
        return f"Nothing to archive; {earlier}."
    is_census = forecast.looked_at == forecast.recordings
    basis = "the headers of each were read" if is_census else f"the headers of {forecast.looked_at:,} were read"
    saved = forecast.saved_month.expected
    cost = forecast.cost.expected + forecast.cost_afterwards.expected
    break_even = break_even_months(cost, saved)
    verdict = paid_for(break_even, retention_years)
    rows: list[tuple[str, Interval, Callable[[float], str]]] = [
        ("recordings archived", forecast.archived, lambda count: f"{count:,.0f}"),
        ("minutes", forecast.minutes, lambda minutes: f"{minutes:,.0f}" if minutes >= 10 else f"{minutes:.2g}"),
        ("bytes before", forecast.bytes_before, human_bytes),
        ("bytes after", forecast.bytes_after, human_bytes),
        ("originals, per month until released", forecast.originals_month, usd),
        ("**saved per month once released**", forecast.saved_month, usd),
    ]
    exact, about = ("exact", "an estimate") if is_census else (None, None)
    lines = [f"| {name} | {show(value.expected)} | {_range(value, show, exact)} |" for name, value, show in rows]
    lines.append(f"| cost, once | {usd(forecast.cost.expected)} | {_range(forecast.cost, usd, about)} |")
    afterwards = forecast.cost_afterwards
    lines.append(
        f"| cost of releasing the originals and reconciling once | {usd(afterwards.expected)} | "
        f"{_range(afterwards, usd, about)} |"
    )
    reasons = [f"| {code} | {count:,} | {meaning(code)} |" for code, count in sorted(forecast.reasons.items())]
    stays = ["| would not be archived | of those read | what it means |", "|---|--:|---|", *reasons] if reasons else []
    return f"""## What archiving would save and cost

**{usd(saved)} saved per month, {usd(forecast.saved_in_all.expected)} until the last recording is deleted**, after \
the originals are released, at a one-time cost of about {usd(cost)}; {verdict}.

{plural(forecast.recordings, "recording")} left to archive ({human_bytes(forecast.bytes_listed)}, \
now {usd(forecast.usd_month_listed)} per month), {earlier}; {basis}.

| | expected | 95 % interval |
|---|--:|--:|
{chr(10).join(lines)}

{chr(10).join(stays) or "All recordings whose headers were read would be archived."}

## Ways to keep the recordings

{_ways_of_keeping(forecast, retention_years)}

Archiving would take about {_hours(forecast.cpu_hours)} of one vCPU. List prices, first volume tier. The cost counts \
requests for recordings and for looking at the bucket, retrieval, CPU time as in our benchmark, KMS, and what S3 \
charges for originals deleted early; it leaves out waiting, retries, the audit table's own requests, worker and \
server. A damaged recording counts as archived if only its whole body shows the damage. {EXPLAINED}"""


def _ways_of_keeping(forecast: Forecast, retention_years: float) -> str:
    """The options of the person who pays."""
    return f"""The table counts all recordings that can be converted, each until it is deleted: by the bucket's \
lifecycle rules or, if these do not delete it, {retention_years:g} years after the call. Recordings that are not worth \
converting are counted as moved by a lifecycle rule.

{keeping_table(forecast.keeping_costs, forecast.terms, usd)}

Worker and server cost {usd(prices().standing_month)} per month while they run, and are not in the table."""


def _hours(hours: float) -> str:
    return f"{hours:,.1f} hours" if hours >= 1 else f"{hours * 3600:,.0f} seconds"


def _range(interval: Interval, show: Callable[[float], str], certain: str | None) -> str:
    """The interval; ``certain`` where each recording was looked at, and the profile leaves no doubt about sizes."""
    if certain and interval.low == interval.high:
        return certain
    return f"{show(max(0, interval.low))} to {show(interval.high)}"
