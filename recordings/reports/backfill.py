"""A backfill's page, in Markdown."""

from collections.abc import Mapping

from recordings.backfill.portions import Backfill, Portion, Portions
from recordings.backfill.standing import Standing
from recordings.backfill.summary import BackfillSummary, Ended
from recordings.formatting import human_bytes, label, percent_saved, plural
from recordings.recording import span
from recordings.reports.findings import findings_report
from recordings.table.rows import DESTROYED, SMALL

_LINES_SHOWN = 1000


def backfill_report(
    backfill: Backfill,
    portions: Portions,
    summary: BackfillSummary,
    finished: Mapping[Portion, str],
    stands: Mapping[Portion, Standing],
    ended: Mapping[Portion, Ended],
) -> str:
    """The backfill's page, in Markdown: what is not finished first."""
    run = backfill.run
    lines = [_line(each, finished.get(each), stands.get(each), ended.get(each)) for each in portions.all[:_LINES_SHOWN]]
    more = [f"And {plural(len(portions.all) - len(lines), 'more line')}."] if len(portions.all) > len(lines) else []
    sections = [
        f"# Backfill of {run.bucket}, {span(run.start_date, run.end_date)}: "
        f"{summary.days_finished} of {plural(summary.days, 'day')} finished",
        _not_finished(summary),
        _small_now(summary),
        "\n".join(["| day | state | recordings | saved | last run |", "|---|---|---|--:|---|", *lines]),
        *more,
        findings_report(backfill.findings),
    ]
    return "\n\n".join(filter(None, sections))


def _small_now(summary: BackfillSummary) -> str:
    """How many recordings are small now, and their sums; the savings report counts the same recordings."""
    small = sum(summary.counts.get(status, 0) for status in SMALL)
    gone = sum(summary.counts.get(status, 0) for status in DESTROYED)
    others = sum(summary.counts.values()) - small - gone
    return (
        f"**{plural(small, 'recording')}** of these days {'is' if small == 1 else 'are'} small now, whichever run "
        f"archived them: **{summary.minutes:,.1f}** minutes, "
        f"**{human_bytes(summary.bytes_before)} → {human_bytes(summary.bytes_after)}**, "
        f"{percent_saved(summary.bytes_before, summary.bytes_after)} smaller. "
        f"**{others:,}** {'is' if others == 1 else 'are'} not small."
        + (f" **{gone:,}** {'was' if gone == 1 else 'were'} expired or erased since." if gone else "")
    )


def _not_finished(summary: BackfillSummary) -> str:
    if not summary.reasons:
        return ""
    lines = [f"- {reason}" for reason in summary.reasons[:_LINES_SHOWN]]
    way_out = "Run the backfill again to finish these: it skips the days that are finished."
    return "\n".join(["## Not finished", "", *lines, "", way_out])


def _line(portion: Portion, run_id: str | None, stands: Standing | None, ended: Ended | None) -> str:
    """A portion for people: how it ended, and what its recordings are now."""
    state = ended.state if ended else "finished before"
    run = run_id or (ended.flow_run if ended else "")
    name = f"[{run}]({ended.url})" if ended and ended.url else run
    if stands is None:
        return f"| {portion} | not finished | audit table damaged | unknown | {name} |"
    counted = ", ".join(f"{count:,} {label(status)}" for status, count in sorted(stands.counts.items()))
    saved = human_bytes(stands.bytes_before - stands.bytes_after)
    return f"| {portion} | {state} | {counted or 'nothing to archive'} | {saved} | {name} |"
