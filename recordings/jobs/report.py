"""A restore, release or reconciliation in words for people: the run's name, and its report in Markdown."""

import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from recordings.formatting import human_bytes, usd
from recordings.glossary import DIFFERENCES, label, meaning, plural, way_out
from recordings.jobs.fixity import LOSSES as FIXITY_LOSSES
from recordings.jobs.job import Job
from recordings.jobs.kinds import TRAITS
from recordings.jobs.reconcile import LOSSES, Drift
from recordings.jobs.result import JobSummary, JobSums
from recordings.recording import open_span
from recordings.table.rows import AuditRow, Status

_MAX_LISTED = 100  # recordings in the report; the audit table has all
_MAX_SAID = 100  # problems, and notes
_MAX_FILES = 20  # files named on a page
_TITLES = {kind: traits.title for kind, traits in TRAITS.items()}


def run_name(kind: str, parameters: Mapping[str, Any]) -> str:
    """The name of a run, with its action and its subject: ``dry run: restore 3 contacts``."""
    bucket, window = parameters["bucket"], open_span(parameters["start_date"], parameters["end_date"])
    if kind == "reconcile":
        return f"{'repair' if parameters['repair'] else 'compare'} table and {bucket}, {window}"
    dry = "dry run: " if parameters["dry_run"] else ""
    if kind == "check":
        return ", ".join(filter(None, (f"{dry}check {bucket}", window, _below(parameters))))
    if kind == "release":
        return ", ".join(filter(None, (f"{dry}release originals of {bucket}", window, _below(parameters))))
    contacts, run_id = parameters["contact_ids"] or [], (parameters["run_id"] or "").strip()
    named = f"contact {contacts[0]}" if len(contacts) == 1 else plural(len(contacts), "contact") if contacts else ""
    parts = [named, f"run {run_id}" if run_id else "", window, _below(parameters)]
    said = ", ".join(filter(None, parts)) or ("everything" if parameters["everything"] else "nothing selected")
    return f"{dry}restore {said}"


def _below(parameters: Mapping[str, Any]) -> str:
    return f"below {', '.join(parameters['prefixes'])}" if parameters["prefixes"] else ""


def report_of(job: Job, summary: JobSummary, sums: JobSums) -> str:
    """The job's page, most important content first."""
    sections = [
        f"# {_TITLES[job.kind]} in {job.bucket}{_dry(job)}: {_verdict(job, summary)}",
        _sentence(summary.next_step),
        _freed(job, summary) if job.kind == "release" else "",
        _read(job, summary),
        _differences(summary.drifts),  # the meaning and what to do, before a hundred keys
        _reasons(summary),
        _listed("What went wrong", summary.problems),
        _listed("What to know", summary.notes),
        _restored(job, sums) if job.kind == "restore" else "",
        _due(job, sums),
        _counts(summary),
        _written_for_others(summary),
        f"Run `{summary.run_id}`, audit table `{job.audit_uri}`{_calls(job)}.",
    ]
    return "\n\n".join(section for section in sections if section)


def _sentence(said: str) -> str:
    return f"{said[0].upper()}{said[1:]}." if said else ""


def _dry(job: Job) -> str:
    return ", a dry run" if job.dry_run and job.kind != "reconcile" else ""


def _calls(job: Job) -> str:
    said = open_span(job.start_date, job.end_date)
    return f", calls {said}" if said else ""


def _verdict(job: Job, summary: JobSummary) -> str:
    if any(code in LOSSES for code in summary.drifts) or any(code in FIXITY_LOSSES for code in summary.reasons):
        return "**something is lost**"
    if not summary.succeeded:
        return "**not everything went well**"
    if job.kind == "reconcile":
        differences = sum(summary.drifts.values())
        return plural(differences, "difference") if differences else "they agree"
    done = summary.counts.get(job.traits.done or "", 0)
    if not done:
        return job.traits.nothing_to_do
    if job.kind == "check" and job.dry_run:
        return f"{plural(done, 'recording')} would be checked"
    would = "would be " if job.dry_run else ""
    return f"{plural(done, 'recording')} {would}{job.traits.participle}"


def _read(job: Job, summary: JobSummary) -> str:
    """What a check has read, or would read, and what S3 charges for it."""
    if not summary.counts.get(Status.CHECKED):
        return ""
    would, reading = "would read" if job.dry_run else "read", summary.reading
    return (
        f"It {would} {plural(reading.recordings, 'recording')} in full, **{human_bytes(reading.size_bytes)}**, and "
        f"{'ask' if job.dry_run else 'asked'} S3 for the stored checksum of each. At list prices, S3 charges "
        f"**{usd(reading.usd)}** for these requests and for retrieval."
    )


def _restored(job: Job, sums: JobSums) -> str:
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
            "\n".join(["| recording | version | size |", "|---|---|--:|", *map(_line, rows[:_MAX_LISTED])]),
            _more(count - len(rows[:_MAX_LISTED]), job),
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


def _freed(job: Job, summary: JobSummary) -> str:
    if not summary.counts.get("released"):
        return ""
    would = "would free" if job.dry_run else "freed"
    return (
        f"It {would} **{human_bytes(summary.original_bytes)}** of originals "
        f"({summary.original_bytes:,} bytes), for which S3 charges **{usd(summary.usd_month)} a month** at list prices."
    )


def _due(job: Job, sums: JobSums) -> str:
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
            f"Archived less than {_grace(job)} ago, so their originals stay for now.",
            "",
            "| may be released on (UTC) | recordings | frees | a month |",
            "|---|--:|--:|--:|",
            *lines,
        ]
    )


def _grace(job: Job) -> str:
    if job.grace_days_read_back == job.grace_days:
        return plural(job.grace_days, "day")
    return f"{plural(job.grace_days, 'day')} ({job.grace_days_read_back} for those read back)"


def _differences(drifts: Mapping[str, int]) -> str:
    if not drifts:
        return ""
    lines = [
        f"| {code} | {count:,} | {DIFFERENCES[code].meaning} | {DIFFERENCES[code].way_out} |"
        for code, count in sorted(drifts.items(), key=lambda item: (item[0] not in LOSSES, item[0]))
    ]
    return "\n".join(["| difference | recordings | what it means | what to do |", "|---|--:|---|---|", *lines])


def differences_report(examples: Mapping[str, Sequence[Drift]], counts: Mapping[str, int], files: Sequence[str]) -> str:
    """The differences by code: how many, the first keys of each and the finding, and where all are listed."""
    codes = sorted(counts, key=lambda code: (code not in LOSSES, code))
    sections = [
        "\n".join(
            [f"## {code}: {counts[code]:,}", "", DIFFERENCES[code].meaning, "", *_keys(examples[code], counts[code])]
        )
        for code in codes
    ]
    named = [f"`{name}`" for name in files[:_MAX_FILES]]
    more = [f"and {plural(len(files) - len(named), 'more file')} of this run"] if len(files) > len(named) else []
    all_of_them = f"All of them: {', '.join([*named, *more])}, in the folder of the audit table."
    title = f"# {plural(sum(counts.values()), 'difference')} between table and bucket"
    return "\n\n".join([title, *sections, all_of_them])


def _keys(examples: Sequence[Drift], count: int) -> Iterator[str]:
    yield from (f"- {drift.sentence}: `{drift.key}`" for drift in examples)
    if count > len(examples):
        yield f"- and {count - len(examples):,} more"


def _counts(summary: JobSummary) -> str:
    would = "would be " if summary.dry_run else ""
    ends = [f"| {would}{label(status)} | {count:,} |" for status, count in sorted(summary.counts.items())]
    return "\n".join(["| recordings | |", "|---|--:|", *ends]) if ends else ""


def _reasons(summary: JobSummary) -> str:
    reasons = [
        f"| {code} | {count:,} | {meaning(code)} | {way_out(code)} |" for code, count in sorted(summary.reasons.items())
    ]
    heading = ["| reason | recordings | what it means | what to do |", "|---|--:|---|---|"]
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
