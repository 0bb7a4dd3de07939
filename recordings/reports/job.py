"""The page of a job, in Markdown."""

from collections.abc import Iterable, Iterator, Sequence

from recordings.formatting import human_bytes, label, plural, usd
from recordings.glossary import meaning, way_out
from recordings.holds import CASE
from recordings.jobs.drifts import LOSSES
from recordings.jobs.engine.job import Job
from recordings.jobs.engine.result import JobSums
from recordings.jobs.engine.summary import JobSummary
from recordings.recording import open_span
from recordings.reports.differences import differences_table
from recordings.reports.endings import destroyed_report, held_report
from recordings.reports.originals import due_report, freed, restored_report
from recordings.retention_rules import RETENTION
from recordings.table.records import Kind
from recordings.table.rows import Status

_MAX_SAID = 100  # problems, and notes
_REASONS_TO_ACT = (CASE, RETENTION)  # why something was done; the table is of what to look into


def job_report(job: Job, summary: JobSummary, sums: JobSums) -> str:
    """The job's page, most important content first."""
    sections = [
        f"# {job.traits.title} in {job.bucket}{_dry(job)}: {_verdict(job, summary)}",
        _sentence(summary.next_step),
        freed(job, summary) if job.traits.deletes_versions else "",
        destroyed_report(job, summary, sums),
        _read(job, summary),
        differences_table(summary.drifts),  # the meaning and what to do, before a hundred keys
        _reasons(job, summary),
        _listed("What went wrong", summary.problems),
        _listed("What to know", summary.notes),
        restored_report(job, sums) if job.traits.brings_back else "",
        due_report(job, sums),
        held_report(job, sums),
        _counts(job, summary),
        _written_for_others(summary),
        f"Run `{summary.run_id}`, audit table `{job.audit_uri}`{_calls(job)}.",
    ]
    return "\n\n".join(section for section in sections if section)


def _sentence(said: str) -> str:
    return f"{said[0].upper()}{said[1:]}." if said else ""


def _dry(job: Job) -> str:
    return ", a dry run" if job.dry_run and not job.traits.looks_only else ""


def _calls(job: Job) -> str:
    said = open_span(job.start_date, job.end_date)
    return f", calls {said}" if said else ""


def _verdict(job: Job, summary: JobSummary) -> str:
    if summary.drifts.keys() & set(LOSSES) or summary.reasons.keys() & set(job.traits.losses):
        return "**something is lost**"
    if not summary.succeeded:
        return "**not everything went well**"
    if job.traits.looks_only:
        differences = sum(summary.drifts.values())
        return plural(differences, "difference") if differences else "they agree"
    done = summary.counts.get(job.traits.done or "", 0)
    if not done:
        return job.traits.nothing_to_do
    if job.kind is Kind.FIXITY and job.dry_run:
        return f"{plural(done, 'recording')} would be checked"
    would = "would be " if job.dry_run else ""
    return f"{plural(done, job.traits.noun)} {would}{job.traits.participle}"


def _read(job: Job, summary: JobSummary) -> str:
    """What a check has read, or would read, and what S3 charges for it."""
    if not summary.counts.get(Status.CHECKED):
        return ""
    would, reading = "would read" if job.dry_run else "read", summary.reading
    return (
        f"The check {would} {plural(reading.recordings, 'recording')} in full, "
        f"**{human_bytes(reading.size_bytes)}**, and "
        f"{'ask' if job.dry_run else 'asked'} S3 for the stored checksum of each. At list prices, S3 charges "
        f"**{usd(reading.usd)}** for these requests and for retrieval."
    )


def _counts(job: Job, summary: JobSummary) -> str:
    would = "would be " if summary.dry_run else ""
    ends = [f"| {would}{label(status)} | {count:,} |" for status, count in sorted(summary.counts.items())]
    return "\n".join([f"| {job.traits.noun}s | |", "|---|--:|", *ends]) if ends else ""


def _reasons(job: Job, summary: JobSummary) -> str:
    reasons = [
        f"| {code} | {count:,} | {meaning(code)} | {way_out(code)} |"
        for code, count in sorted(summary.reasons.items())
        if code not in _REASONS_TO_ACT
    ]
    heading = [f"| reason | {job.traits.noun}s | what it means | what to do |", "|---|--:|---|---|"]
    return "\n".join([*heading, *reasons]) if reasons else ""


def _written_for_others(summary: JobSummary) -> str:
    return f"{plural(summary.settled, 'row')} written for earlier runs that died." if summary.settled else ""


def _listed(heading: str, sentences: Sequence[str]) -> str:
    if not sentences:
        return ""
    return "\n".join([f"## {heading}", "", *_bullets(sentences)])


def _bullets(sentences: Iterable[str]) -> Iterator[str]:
    said = list(sentences)
    yield from (f"- {sentence}" for sentence in said[:_MAX_SAID])
    if len(said) > _MAX_SAID:
        yield f"- and {len(said) - _MAX_SAID:,} more"
