"""What an expiry or an erasure destroyed, by which rule, and what proves it; what a case holds."""

from recordings.formatting import human_bytes, plural, usd
from recordings.jobs.engine.job import Job
from recordings.jobs.engine.result import JobSums
from recordings.jobs.engine.summary import JobSummary
from recordings.reports.markdown import as_code, plain
from recordings.table.records import Kind
from recordings.table.rows import DESTROYED, EVENTS


def destroyed_report(job: Job, summary: JobSummary, sums: JobSums) -> str:
    """What the deletion frees, by rule, and where its proof lies; empty if nothing was deleted."""
    if job.traits.done not in DESTROYED or not summary.counts.get(job.traits.done):
        return ""
    freed = (
        f"This {'would free' if job.dry_run else 'freed'} **{human_bytes(summary.original_bytes)}** "
        f"({summary.original_bytes:,} bytes), all versions counted. S3 {'charges' if job.dry_run else 'charged'} "
        f"**{usd(summary.usd_month)} per month** for these versions at list prices."
    )
    return "\n\n".join(section for section in (freed, _by_rule(sums), _proof(job)) if section)


def _by_rule(sums: JobSums) -> str:
    lines = [f"| {plain(rule)} | {count:,} |" for rule, count in sums.rules.most_common()]
    return "\n".join(["| rule: how long to keep | recordings |", "|---|--:|", *lines]) if lines else ""


def _proof(job: Job) -> str:
    if job.dry_run:
        return ""
    rows = f"The rows of run `{job.run_id}` in the audit table certify"
    if job.kind is Kind.EXPIRE:
        return (
            f"{rows} the destruction. They give, for each recording, the SHA-256 and the size of original and "
            "replacement, the rule and the time."
        )
    return (
        f"{rows} the erasure for {as_code(job.case or 'earlier requests')}. They give the key, version, contact, day "
        "and time of each object, and nothing of what was said. Copies at replication targets and in backups are not "
        "erased."
    )


def held_report(job: Job, sums: JobSums) -> str:
    """Each object that the case holds now, or no longer holds."""
    if job.traits.done not in EVENTS or not sums.done or job.case is None:
        return ""
    count, listed = sums.counts[str(job.traits.done)], sums.done
    would = "would be " if job.dry_run else ""
    more = count - len(listed)
    return "\n".join(
        [
            f"## {plural(count, job.traits.noun)} {would}{job.traits.participle}: {plain(job.case)}",
            "",
            *(f"- {as_code(row.key)}{_still(row.reason)}" for row in listed),
            *([f"- and {more:,} more{'' if job.dry_run else ', in the audit table'}"] if more > 0 else []),
        ]
    )


def _still(reason: str | None) -> str:
    """What the reason says beside the case, such as which other cases hold the object still."""
    said = (reason or "").partition("; ")[2]
    return f": {plain(said)}" if said else ""
