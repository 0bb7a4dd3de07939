"""A run in words and figures that people read: Markdown, and rows of tables."""

from collections.abc import Iterable, Sequence

from recordings.manifest import ManifestRow
from recordings.preflight import Finding, Severity
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
    """Dollars, with as many decimals as small amounts need."""
    return f"${amount:,.2f}" if abs(amount) >= 1 or amount == 0 else f"${amount:.3g}"


def percent_saved(before: float, after: float) -> str:
    """How much smaller ``after`` is."""
    return f"{100 * (1 - after / before):.1f} %" if before else "-"


def run_report(
    run: Run, summary: RunSummary, sums: Tally, findings: Iterable[Finding], *, retention_years: float
) -> str:
    """The run's page, the numbers that matter first."""
    sections = [
        _headline(run, summary, sums),
        _savings(sums, retention_years),
        _statuses(summary),
        _reasons(sums),
        _findings(findings),
        _cost(summary),
        _whereabouts(run, summary),
    ]
    return "\n\n".join(section for section in sections if section)


def _headline(run: Run, summary: RunSummary, sums: Tally) -> str:
    verdict = "all accounted for" if summary.succeeded else "**not everything went well**"
    if run.dry_run:
        verdict = "a dry run, nothing was written"
    return (
        f"# {run.bucket}, {run.start_date} to {run.end_date}: {verdict}\n\n"
        f"**{summary.counts.get('archived', 0):,}** recordings archived, **{sums.minutes:,.1f}** minutes, "
        f"**{human_bytes(sums.bytes_before)} → {human_bytes(sums.bytes_after)}** "
        f"({percent_saved(sums.bytes_before, sums.bytes_after)} smaller), as {run.profile_name} in {run.storage_class}."
    )


def _savings(sums: Tally, retention_years: float) -> str:
    if not sums.minutes:
        return ""
    released = sums.usd_per_month_before - sums.usd_per_month_after
    now = released - sums.usd_per_month_originals
    months = retention_years * 12
    lines = [
        f"| storage of what this run archived | a month | over {retention_years:g} years |",
        "|---|--:|--:|",
        f"| as it was | {usd(sums.usd_per_month_before)} | {usd(sums.usd_per_month_before * months)} |",
        f"| replacements | {usd(sums.usd_per_month_after)} | {usd(sums.usd_per_month_after * months)} |",
        f"| originals still kept | {usd(sums.usd_per_month_originals)} | until released |",
        f"| **saved now, net of the originals** | **{usd(now)}** | |",
        f"| **saved once the originals are released** | **{usd(released)}** | **{usd(released * months)}** |",
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
    per_1000 = summary.cost_per_1000_minutes_usd
    rate = f", **{usd(per_1000)} per 1,000 minutes**" if per_1000 is not None else ""
    requests = ", ".join(f"{count:,} {operation}" for operation, count in sorted(summary.requests.items()))
    return (
        f"## What it cost\n\n{usd(summary.cost_usd)} in requests and Fargate time{rate}: "
        f"{summary.cpu_s:.1f} s of CPU in {summary.wall_s:.1f} s; {requests}."
    )


def _whereabouts(run: Run, summary: RunSummary) -> str:
    return f"Run `{summary.run_id}`, audit table `{run.audit_uri}`, {len(summary.manifest_files)} files."


def failure_rows(failures: Sequence[ManifestRow]) -> list[dict[str, str]]:
    """What did not become small, and why, as a table."""
    return [{"status": row.status.value, "key": row.key, "reason": row.reason or ""} for row in failures]
