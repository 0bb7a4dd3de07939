"""The page of an export, in Markdown."""

from recordings.handover.export import ExportSummary


def export_report(summary: ExportSummary) -> str:
    """What was handed over, and what was asked for and is not in the bag."""
    return "\n".join(["# Evidence handed over", "", str(summary), "", *(f"- {each}" for each in summary.problems)])
