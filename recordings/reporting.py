"""A run in words and figures for people: Markdown, and rows of tables."""

from collections.abc import Callable, Iterable, Mapping, Sequence

from recordings.choice import choice_table
from recordings.estimate import Forecast, Interval
from recordings.finding import NOTHING_BELOW, Finding, Severity
from recordings.formatting import human_bytes, paid_for, percent_saved, rate_usd, usd
from recordings.glossary import STATUSES, code_of, label, meaning, plural, way_out
from recordings.pricing import Cost, break_even_months, prices
from recordings.recording import span
from recordings.run import Run
from recordings.summary import RunSummary, Tally
from recordings.table.rows import AuditRow, Status, failed_first

_KEYS_SHOWN = 20  # for each reason
GLOSSARY = "docs/audit-table.md explains every word and code."


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
        _savings(summary, sums, retention_years),
        _statuses(summary),
        _reasons(sums),
        findings_report(findings),
        _cost(run, summary),
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
    days = [f"- could not list {_plain(each)}" for each in summary.unlisted[:_KEYS_SHOWN]]
    more = len(summary.unlisted) - len(days)
    days += [f"- and {plural(more, 'more day')}"] if more > 0 else []
    first = [] if summary.succeeded else [f"- {_plain(_reason(row))} {_as_code(row.key)}" for row in red(failures)[:3]]
    where = (
        ["", "The artifact `archive-failures` groups what did not become small by reason; the audit table lists each."]
        if failures
        else []
    )
    return "\n".join([*first, *days, *where]).strip()


def red(failures: Iterable[AuditRow]) -> list[AuditRow]:
    """The rows that make a run fail: the failed ones, or, if none failed, the others that were not archived."""
    rows = list(failures)
    return [row for row in rows if row.status is Status.FAILED] or rows


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
        f"The run's own cost is {paid_for(break_even, retention_years)} once the originals are released.",
    ]
    return "\n".join(lines)


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
        rows.append(
            f"| **no row written** | **{summary.unrecorded:,}** | **The audit table does not know of these.** |"
        )
    return "\n".join(["| recordings | | what it means |", "|---|--:|---|", *rows])


def _reasons(sums: Tally) -> str:
    if not sums.reasons:
        return ""
    rows = [f"| {code} | {n:,} | {meaning(code)} |" for code, n in sums.reasons.most_common()]
    return "\n".join(["| reason | recordings | what it means |", "|---|--:|---|", *rows])


def findings_report(findings: Iterable[Finding]) -> str:
    marks = {Severity.BLOCK: "accepted risk", Severity.WARN: "warning", Severity.INFO: "note"}
    lines = [f"- **{marks[each.severity]}, {each.code}**: {each.sentence} {each.way_out}" for each in findings]
    return "\n".join(["## What preflight found", *lines]) if lines else ""


def _cost(run: Run, summary: RunSummary) -> str:
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
        f"counted; by the other one, it is {usd(less)} less."
    )


def cost_table(cost: Cost, minutes: float) -> str:
    """A cost by kind, and per 1,000 archived minutes."""
    lines = [
        ("requests to S3", cost.requests_usd),
        ("requests to KMS", cost.kms_usd),
        ("retrieval", cost.retrieval_usd),
        ("CPU time", cost.compute_usd),
        ("**the run's own cost: all of the above**", cost.marginal_usd),
        ("the task's other time", cost.waiting_usd),
        ("a day of worker and server", cost.standing_usd),
        ("**all in, if this was the day's only run**", cost.all_in_usd),
    ]
    rows = [
        f"| {name} | {usd(amount)} | {rate_usd(amount / minutes * 1000) if minutes else '-'} |"
        for name, amount in lines
        if amount or name.startswith("*")
    ]
    return "\n".join(["| | this run | per 1,000 minutes |", "|---|--:|--:|", *rows])


def _whereabouts(run: Run, summary: RunSummary) -> str:
    files = plural(len(summary.manifest_files), "file")
    return f"Run `{summary.run_id}`, audit table `{run.audit_uri}`, {files}. {GLOSSARY}"


def failures_report(
    rows: Sequence[AuditRow], counts: Mapping[str, int] | None = None, *, title: str = "What did not become small"
) -> str:
    """Recordings by the code of their reason: how many, the meaning, what to do, and the first keys of each.

    ``rows`` may be a sample; then ``counts`` says how many there are of each code. Failed rows come first.
    """
    groups = _by_code(rows)
    counted = {code: max(len(group), (counts or {}).get(code, 0)) for code, group in groups.items()}
    codes = sorted(groups, key=lambda code: (groups[code][0].status is not Status.FAILED, -counted[code], code))
    overview = [f"| {code} | {counted[code]:,} | {meaning(code)} | {way_out(code)} |" for code in codes]
    total = plural(sum(counted.values()), "recording")
    return "\n\n".join(
        [
            f"# {title}: {total}",
            "\n".join(["| reason | recordings | what it means | what to do |", "|---|--:|---|---|", *overview]),
            *(_named(code, groups[code], counted[code]) for code in codes),
        ]
    )


def _by_code(rows: Sequence[AuditRow]) -> dict[str, list[AuditRow]]:
    """The rows by the code of their reason, or by their status where they have none; within a code, failures first."""
    groups: dict[str, list[AuditRow]] = {}
    for row in failed_first(rows):
        groups.setdefault(code_of(row.reason) or str(row.status), []).append(row)
    return groups


def _named(code: str, rows: Sequence[AuditRow], count: int) -> str:
    """The recordings with one reason, as a list: its lines wrap, whereas a table would have to be scrolled."""
    statuses = ", ".join(sorted({label(row.status) for row in rows}))
    lines = [f"- {_plain(_sentence(row))} {_as_code(row.key)}" for row in rows[:_KEYS_SHOWN]]
    more = [f"- and {count - len(lines):,} more, in the audit table"] if count > len(lines) else []
    return "\n".join([f"## {code} ({statuses}): {count:,}", "", *lines, *more])


def first_three(rows: Sequence[AuditRow], total: int | None = None) -> str:
    """One line that names the first three recordings, each with its reason: for exceptions and logs."""
    ordered, count = failed_first(rows), max(len(rows), total or 0)
    named = [f"{row.key}: {_one_line(row.reason or label(row.status))}" for row in ordered[:3]]
    more = [f"and {count - len(named):,} more"] if count > len(named) else []
    return "; ".join([*named, *more])


def _reason(row: AuditRow) -> str:
    return f"{row.reason or label(row.status)}:"


def _sentence(row: AuditRow) -> str:
    """A row's reason without its code, to be put before the key."""
    sentence = (row.reason or "").partition(":")[2].strip()
    return f"{sentence}:" if sentence else ""


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _plain(text: str) -> str:
    """Text, escaped so that Markdown does not take it for markup."""
    return _one_line(text).replace("<", "&lt;")


def _as_code(text: str) -> str:
    fence = "``" if "`" in text else "`"
    return f"{fence}{_one_line(text)}{fence}"


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
        ("originals, a month until released", forecast.originals_month, usd),
        ("**saved a month once released**", forecast.saved_month, usd),
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
    return f"""## What it would come to

**{usd(saved)} saved a month, {usd(forecast.saved_in_all.expected)} until the last of them is deleted**, once \
originals are released, for about {usd(cost)} once; {verdict}.

{plural(forecast.recordings, "recording")} left to archive ({human_bytes(forecast.bytes_listed)}, \
now {usd(forecast.usd_month_listed)} a month), {earlier}; {basis}.

| | expected | 95 % interval |
|---|--:|--:|
{chr(10).join(lines)}

{chr(10).join(stays) or "All of those read would be archived."}

## Ways to keep them

{_choices(forecast, retention_years)}

It would take about {_hours(forecast.cpu_hours)} of one vCPU. List prices, first volume tier. The cost counts \
requests for recordings and for looking at the bucket, retrieval, CPU time as in our benchmark, KMS, and what S3 \
charges for originals deleted early; it leaves out waiting, retries, the audit table's own requests, worker and \
server. Recordings count as archived if only the whole body shows their damage. {GLOSSARY}"""


def _choices(forecast: Forecast, retention_years: float) -> str:
    """The options of the person who pays."""
    return f"""All recordings that can be converted, each until it is deleted: by the bucket's lifecycle rules, or \
where they do not delete it, {retention_years:g} years after the call. What does not pay to be converted is counted as \
moved by a lifecycle rule.

{choice_table(forecast.choices, forecast.terms, usd)}

Worker and server cost {usd(prices().standing_month)} a month while they run, and are not in the table."""


def _hours(hours: float) -> str:
    return f"{hours:,.1f} hours" if hours >= 1 else f"{hours * 3600:,.0f} seconds"


def _range(interval: Interval, show: Callable[[float], str], certain: str | None) -> str:
    """The interval; ``certain`` where each recording was looked at, so that the total is exact."""
    if certain:
        return certain
    return f"{show(max(0, interval.low))} to {show(interval.high)}"
