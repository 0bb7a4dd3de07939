"""What a job did to originals: which came back, what their deletion frees, and which fall due later."""

import shlex

from recordings.formatting import human_bytes, plural, usd
from recordings.jobs.engine.job import Job
from recordings.jobs.engine.result import JobSums
from recordings.jobs.engine.summary import JobSummary
from recordings.table.rows import AuditRow


def restored_report(job: Job, sums: JobSums) -> str:
    """Each restored recording, with the version to listen to and how to open it."""
    rows = sums.done
    if not rows:
        return ""
    count = sums.counts["restored"]
    first, what = rows[0], "The version that is current now" if not job.dry_run else "The original's version"
    return "\n\n".join(
        [
            f"## {'To be restored' if job.dry_run else 'Restored'}",
            f"{what} is named beside each recording. To listen to it, fetch it and open the file in any player:",
            f"```\n{_fetch(job.bucket, first)}\n```",
            "\n".join(["| recording | version | size |", "|---|---|--:|", *map(_line, rows)]),
            _more(count - len(rows), job),
        ]
    ).rstrip()


def _fetch(bucket: str, row: AuditRow) -> str:
    version = ["--version-id", row.version_after] if row.version_after else []
    asked = ["aws", "s3api", "get-object", "--bucket", bucket, "--key", row.key, *version, "call.wav"]
    return shlex.join(asked)


def _line(row: AuditRow) -> str:
    return f"| `{row.key}` | `{row.version_after}` | {human_bytes(row.bytes_after or 0)} |"


def _more(count: int, job: Job) -> str:
    if count <= 0:
        return ""
    there = "" if job.dry_run else f" The audit table has them all: rows of run `{job.run_id}`."
    return f"And {count:,} more.{there}"


def freed(job: Job, summary: JobSummary) -> str:
    """What the deletion of originals frees, or would free; empty if none are deleted."""
    if not summary.counts.get("released"):
        return ""
    would = "would free" if job.dry_run else "freed"
    return (
        f"The run {would} **{human_bytes(summary.original_bytes)}** of originals "
        f"({summary.original_bytes:,} bytes), for which S3 charges **{usd(summary.usd_month)} per month** at list "
        "prices."
    )


def due_report(job: Job, sums: JobSums) -> str:
    """The originals that wait, counted by the day on which they may be released."""
    if not sums.due:
        return ""
    lines = [
        f"| {day} | {due.recordings:,} | {human_bytes(due.size_bytes)} | {usd(due.usd_month)} |"
        for day, due in sorted(sums.due.items())
    ]
    return "\n".join(
        [
            "## What falls due later",
            "",
            f"These recordings were archived less than {_grace(job)} ago, so their originals stay for now.",
            "",
            "| may be released on (UTC) | recordings | frees | per month |",
            "|---|--:|--:|--:|",
            *lines,
        ]
    )


def _grace(job: Job) -> str:
    if job.grace_days_read_back == job.grace_days:
        return plural(job.grace_days, "day")
    return f"{plural(job.grace_days, 'day')} ({job.grace_days_read_back} for those read back)"
