"""The findings of preflight, as a section of other pages."""

from collections.abc import Iterable

from recordings.finding import Finding, Severity


def findings_report(findings: Iterable[Finding]) -> str:
    marks = {Severity.BLOCK: "accepted risk", Severity.WARN: "warning", Severity.INFO: "note"}
    lines = [f"- **{marks[each.severity]}, {each.code}**: {each.sentence} {each.way_out}" for each in findings]
    return "\n".join(["## What preflight found", *lines]) if lines else ""
