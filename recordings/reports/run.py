"""An archiving run's page, in Markdown."""

from collections.abc import Iterable, Sequence

from recordings.estimate import Forecast
from recordings.finding import NOTHING_BELOW, Finding
from recordings.formatting import human_bytes, label, percent_saved, plural
from recordings.glossary import EXPLAINED, STATUSES, meaning
from recordings.recording import span
from recordings.reports.cost import cost_report, storage_report
from recordings.reports.failures import first_red
from recordings.reports.findings import findings_report
from recordings.reports.forecast import forecast_report
from recordings.reports.markdown import plain
from recordings.run import Run
from recordings.summary import RunSummary, Tally
from recordings.table.rows import AuditRow

_DAYS_SHOWN = 20  # of those that could not be listed


def run_report(
    run: Run,
    summary: RunSummary,
    sums: Tally,
    findings: Iterable[Finding],
    *,
    retention_years: float,
    forecast: Forecast | None = None,
    failures: Sequence[AuditRow] = (),
) -> str:
    """The run's page, the most important numbers first. A dry run has a ``forecast`` instead of sums.

    ``failures`` are the rows that ``failures_report`` shows on a page of its own.
    """
    findings = list(findings)
    sections = [
        _headline(run, summary, sums, findings),
        _trouble(summary, failures),
        forecast_report(forecast, retention_years) if forecast else "",
        storage_report(summary, sums, retention_years),
        _statuses(summary),
        _reasons(sums),
        findings_report(findings),
        cost_report(run, summary),
        _whereabouts(run, summary),
    ]
    return "\n\n".join(section for section in sections if section)


def _headline(run: Run, summary: RunSummary, sums: Tally, findings: Sequence[Finding]) -> str:
    title = f"# {run.bucket}, {span(run.start_date, run.end_date)}: {_verdict(run, summary, findings)}"
    archived = summary.counts.get("archived", 0)
    if not archived:
        return title
    return (
        f"{title}\n\n"
        f"**{archived:,}** recordings archived, **{sums.minutes:,.1f}** minutes, "
        f"**{human_bytes(sums.bytes_before)} → {human_bytes(sums.bytes_after)}** "
        f"({sums.bytes_before:,} → {sums.bytes_after:,} bytes), "
        f"{percent_saved(sums.bytes_before, sums.bytes_after)} smaller, as {run.profile_name} in {run.storage_class}."
    )


def _verdict(run: Run, summary: RunSummary, findings: Iterable[Finding]) -> str:
    if run.dry_run:
        return "a dry run, nothing was written"
    if not summary.succeeded:
        return "**not everything went well**"
    if any(finding.code == NOTHING_BELOW for finding in findings):
        return "**nothing at all lies below a prefix**"
    return "all accounted for" if summary.recordings else "nothing to archive"


def _trouble(summary: RunSummary, failures: Sequence[AuditRow]) -> str:
    """Why the run failed, and where the recordings that were not archived are listed."""
    days = [f"- could not list {plain(each)}" for each in summary.unlisted[:_DAYS_SHOWN]]
    more = len(summary.unlisted) - len(days)
    days += [f"- and {plural(more, 'more day')}"] if more > 0 else []
    first = [] if summary.succeeded else first_red(failures)
    where = (
        ["", "The artifact `archive-failures` groups what was not archived by reason; the audit table lists each."]
        if failures
        else []
    )
    return "\n".join([*first, *days, *where]).strip()


def _statuses(summary: RunSummary) -> str:
    meanings = {code: term.meaning for code, term in STATUSES.items()}
    meanings["planned"] = "The run would look at these."
    rows = [
        f"| {label(code)} | {count:,} | {meanings.get(code, '')} |" for code, count in sorted(summary.counts.items())
    ]
    rows.append(f"| accounted for by earlier runs | {summary.final:,} | Not looked at again. |")
    if summary.unprofitable:
        again = "Looked at again once prices, retention, settings or this software change."
        rows.append(f"| of these, not worth archiving | {summary.unprofitable:,} | {again} |")
    if summary.unrecorded:
        way_out = "The audit table does not know of these: run the same dates again."
        rows.append(f"| **no row written** | **{summary.unrecorded:,}** | **{way_out}** |")
    return "\n".join(["| recordings | | what it means |", "|---|--:|---|", *rows])


def _reasons(sums: Tally) -> str:
    if not sums.reasons:
        return ""
    rows = [f"| {code} | {n:,} | {meaning(code)} |" for code, n in sums.reasons.most_common()]
    return "\n".join(["| reason | recordings | what it means |", "|---|--:|---|", *rows])


def _whereabouts(run: Run, summary: RunSummary) -> str:
    files = plural(len(summary.manifest_files), "file")
    return f"Run `{summary.run_id}`, audit table `{run.audit_uri}`, {files}. {EXPLAINED}"
