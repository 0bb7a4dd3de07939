"""The findings of preflight, as a section of other pages and as a table."""

from collections.abc import Iterable

from recordings.finding import Finding, Severity


def findings_report(findings: Iterable[Finding]) -> str:
    marks = {Severity.BLOCK: "accepted risk", Severity.WARN: "warning", Severity.INFO: "note"}
    lines = [f"- **{marks[each.severity]}, {each.code}**: {each.sentence} {each.way_out}" for each in findings]
    return "\n".join(["## What preflight found", *lines]) if lines else ""


def findings_table(findings: Iterable[Finding]) -> list[dict[str, str]]:
    """A row for each finding, by column."""
    return [
        {"severity": each.severity.value, "code": each.code, "what": each.sentence, "what to do": each.way_out}
        for each in findings
    ]
