"""The recordings that were not archived, by reason: a page of their own, and a line for logs and errors."""

from collections.abc import Iterable, Mapping, Sequence

from recordings.formatting import label, plural
from recordings.glossary import code_of, meaning, way_out
from recordings.reports.markdown import as_code, one_line, plain
from recordings.table.rows import AuditRow, Status, failed_first

_KEYS_SHOWN = 20  # for each reason


def failures_report(
    rows: Sequence[AuditRow], counts: Mapping[str, int] | None = None, *, title: str = "What was not archived"
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
            *(_group(code, groups[code], counted[code]) for code in codes),
        ]
    )


def _by_code(rows: Sequence[AuditRow]) -> dict[str, list[AuditRow]]:
    """The rows by the code of their reason, or by their status where they have none; within a code, failures first."""
    groups: dict[str, list[AuditRow]] = {}
    for row in failed_first(rows):
        groups.setdefault(code_of(row.reason) or str(row.status), []).append(row)
    return groups


def _group(code: str, rows: Sequence[AuditRow], count: int) -> str:
    """The recordings with one reason, as a list: its lines wrap, whereas a table would have to be scrolled."""
    statuses = ", ".join(sorted({label(row.status) for row in rows}))
    lines = [f"- {plain(_sentence(row))} {as_code(row.key)}" for row in rows[:_KEYS_SHOWN]]
    more = [f"- and {count - len(lines):,} more, in the audit table"] if count > len(lines) else []
    return "\n".join([f"## {code} ({statuses}): {count:,}", "", *lines, *more])


def _sentence(row: AuditRow) -> str:
    """A row's reason without its code, to be put before the key."""
    sentence = (row.reason or "").partition(":")[2].strip()
    return f"{sentence}:" if sentence else ""


def red(failures: Iterable[AuditRow]) -> list[AuditRow]:
    """The rows that make a run fail: the failed ones, or, if none failed, the others that were not archived."""
    rows = list(failures)
    return [row for row in rows if row.status is Status.FAILED] or rows


def first_three(rows: Sequence[AuditRow], total: int | None = None) -> str:
    """One line that names the first three recordings, each with its reason: for exceptions and logs."""
    ordered, count = failed_first(rows), max(len(rows), total or 0)
    named = [f"{row.key}: {one_line(row.reason or label(row.status))}" for row in ordered[:3]]
    more = [f"and {count - len(named):,} more"] if count > len(named) else []
    return "; ".join([*named, *more])


def first_red(rows: Sequence[AuditRow]) -> list[str]:
    """The first three of the rows that make a run fail, as lines of a list: the reason, then the key."""
    reasons = ((f"{row.reason or label(row.status)}:", row.key) for row in red(rows)[:3])
    return [f"- {plain(reason)} {as_code(key)}" for reason, key in reasons]
