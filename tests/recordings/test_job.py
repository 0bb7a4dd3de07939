"""What may be asked of a restore, release or reconciliation, and how people are told of it."""

import csv
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

from recordings.errors import InvalidRequest
from recordings.glossary import DIFFERENCES
from recordings.jobs.drifts import Drift, Drifts
from recordings.jobs.engine.job import Job, batches_of, plan_job
from recordings.jobs.engine.kinds import DONE, TRACES, TRAITS
from recordings.jobs.engine.result import JobResult, JobSums
from recordings.jobs.engine.summary import JobFailed, JobSummary, summarize
from recordings.reports.differences import differences_report
from recordings.reports.job import job_report
from recordings.table.files import LocalFiles, digest_of
from recordings.table.records import Kind
from recordings.table.rows import AuditRow, Status
from tests.bucket import DAY, key_of
from tests.recordings.tables import ROW

END = date(2026, 1, 18)
AT = datetime(2026, 1, 20, 12, tzinfo=UTC)
PLACE: dict[str, Any] = {"bucket": "calls", "audit_uri": "audit"}


def planned(kind: Kind, **changes: Any) -> Job:
    return plan_job(kind, **{**PLACE, "everything": True, **changes})


@pytest.mark.parametrize("kind", [Kind.RESTORE, Kind.RELEASE])
@pytest.mark.parametrize(
    "blank",
    [
        {},
        {"of_run": ""},
        {"of_run": " "},
        {"contact_ids": None, "prefixes": None},
    ],
)
def test_what_a_form_sends_for_a_field_left_out_never_means_all(kind: Kind, blank: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest, match=r"nothing is selected, so nothing was touched.*everything=True"):
        plan_job(kind, **PLACE, **blank)
    wanted = plan_job(kind, **PLACE, **blank, start_date=DAY)
    assert (wanted.narrows, wanted.contact_ids, wanted.of_run, wanted.prefixes) == (True, (), None, ("",))


@pytest.mark.parametrize("kind", [Kind.RESTORE, Kind.RELEASE])
@pytest.mark.parametrize("entries", [[], [""], [" "], ["", ""]])
@pytest.mark.parametrize("parameter", ["contact_ids", "prefixes"])
def test_an_empty_list_or_entry_is_refused(kind: Kind, parameter: str, entries: list[str]) -> None:
    """As a program sends that found nobody, or as somebody adds and forgets to fill in."""
    with pytest.raises(InvalidRequest, match=f"{parameter} {'has' if entries else 'is an empty list'}"):
        plan_job(kind, **{**PLACE, parameter: entries}, start_date=DAY)


@pytest.mark.parametrize(
    ("parameter", "value"), [("prefixes", ["s3://x/"]), ("prefixes", ["/x/"]), ("bucket", "s3://calls")]
)
def test_what_cannot_be_meant_is_refused(parameter: str, value: object) -> None:
    with pytest.raises(InvalidRequest, match=parameter):
        planned(Kind.RESTORE, **{parameter: value})


def test_what_changes_nothing_needs_no_selection() -> None:
    assert not plan_job(Kind.RELEASE, **PLACE, dry_run=True).narrows
    assert plan_job(Kind.RECONCILE, **PLACE, prefixes=[""]).prefixes == ("",)


@pytest.mark.parametrize(
    "selection",
    [{"contact_ids": ["a"]}, {"of_run": "r"}, {"end_date": DAY}, {"prefixes": ["connect/"]}, {"everything": True}],
)
def test_each_way_to_select_is_one(selection: dict[str, Any]) -> None:
    assert plan_job(Kind.RESTORE, **PLACE, **selection)


def test_the_run_id_leads_to_the_flow_run() -> None:
    assert planned(Kind.RESTORE, flow_run_id="8f14e45f-ceea-467f-ab3c-0123456789ab").run_id.endswith("Z-456789ab")


def test_each_kind_of_job_has_its_traits_and_each_deed_its_own_status() -> None:
    assert set(TRAITS) == set(Kind) - {Kind.ARCHIVE, Kind.BACKFILL, Kind.EXPORT}
    assert len(DONE) == len(set(DONE))
    assert set(TRACES) == {kind for kind, traits in TRAITS.items() if traits.done} - {Kind.FIXITY}


def row(number: int, status: Status, reason: str | None = None, **changes: Any) -> AuditRow:
    sizes = {"bytes_before": 4_000_000, "bytes_after": 1_000_000}
    named = {"key": key_of(number), "contact_id": f"contact-{number}", "state_at": AT}
    return replace(
        ROW, **{**named, **sizes, "storage_class_before": "STANDARD", **changes}, status=status, reason=reason
    )


def ended(job: Job, rows: list[AuditRow], **more: Any) -> tuple[JobSummary, str]:
    """The summary and the report of a job of one batch."""
    sums = JobSums(job)
    sums.add(batches_of(rows), [JobResult(job, rows, [])] if rows else [])
    said = {"drifts": {}, "lost": {}, "settled": 0, "manifest": [], "notes": [], "problems": [], **more}
    summary = summarize(job, sums, **said)
    return summary, job_report(job, summary, sums)


def test_a_restores_report_lists_keys_and_versions_and_how_to_listen() -> None:
    rows = [row(n, Status.RESTORED, bytes_after=4_000_000, version_after=f"v{n}") for n in range(3)]
    summary, report = ended(planned(Kind.RESTORE), rows)
    assert report.startswith("# Restore in calls: 3 recordings restored\n")
    for each in rows:
        assert f"| `{each.key}` | `{each.version_after}` | 4 MB |" in report
    assert f"aws s3api get-object --bucket calls --key {key_of(0)} --version-id v0 call.wav" in report
    assert str(summary) == f"restore {summary.run_id}: 3 restored"


def test_a_long_restore_is_listed_in_part_and_says_where_the_rest_is() -> None:
    job = planned(Kind.RESTORE)
    rows = [row(n, Status.RESTORED, bytes_after=1, version_after="v") for n in range(150)]
    _, report = ended(job, rows)
    assert report.count("| `v` |") == 100
    assert f"And 50 more. The audit table has them all: rows of run `{job.run_id}`." in report


@pytest.mark.parametrize(
    ("changes", "how"), [({}, "dry_run=False"), ({"everything": False}, "dry_run=False and everything=True, or")]
)
def test_a_dry_run_says_how_to_do_it_for_real(changes: dict[str, Any], how: str) -> None:
    summary, report = ended(planned(Kind.RELEASE, dry_run=True, **changes), [row(1, Status.RELEASED)])
    assert str(summary).startswith(f"dry run: release {summary.run_id}: 1 would be released; nothing was written")
    assert f"to release 1 recording, run it again with {how}" in str(summary)
    assert report.startswith(
        "# Release of originals in calls, a dry run: 1 recording would be released\n\nNothing was written: "
    )
    assert how in report


def test_a_releases_report_says_what_is_freed_and_what_falls_due_when_not_one_by_one() -> None:
    """What was gone before frees nothing now."""
    later = AT + timedelta(days=2)
    waiting = [
        row(n, Status.SKIPPED, f"in-grace: archived less than 30 days ago; due on {due}", state_at=at)
        for n, at, due in ((1, AT, "2026-02-19"), (2, AT, "2026-02-19"), (3, later, "2026-02-21"))
    ]
    gone = row(5, Status.RELEASED, "found-gone: the original no longer exists")
    held = row(6, Status.SKIPPED, "held: the original is under legal hold")
    job = planned(Kind.RELEASE, grace_days=30)
    summary, report = ended(job, [row(4, Status.RELEASED), gone, held, *waiting])
    assert (summary.original_bytes, summary.counts) == (4_000_000, {"released": 2, "skipped": 4})
    assert "The run freed **4 MB** of originals (4,000,000 bytes), for which S3 charges " in report
    assert "**less than 1 cent per month** at list prices" in report
    assert "| 2026-02-19 | 2 | 8 MB | less than 1 cent |\n| 2026-02-21 | 1 | 4 MB | less than 1 cent |" in report
    assert not [each.key for each in waiting if each.key in report]
    assert [each.key for each in JobResult(job, [held, *waiting], []).failures] == [held.key]


def test_a_failure_names_the_first_three_with_their_reasons_and_how_many_more() -> None:
    rows = [row(n, Status.FAILED, f"refused: no {n}") for n in range(5)]
    summary, report = ended(planned(Kind.RELEASE), rows)
    said = str(JobFailed(summary))
    assert [f"{key_of(n)} was not released: refused: no {n}" in said for n in range(5)] == [True] * 3 + [False] * 2
    assert "and 2 more problems" in said
    assert "release-report" in said
    assert all(f"- {key_of(n)} was not released: refused: no {n}" in report for n in range(5))


@pytest.mark.parametrize(
    ("kind", "reason", "missing_ok", "red"),
    [
        (Kind.RESTORE, "held: so it is", False, True),
        (Kind.RESTORE, "held: so it is", True, False),
        (Kind.RELEASE, "held: so it is", False, False),
    ],
)
def test_what_was_selected_and_is_not_restored_is_a_problem(
    kind: Kind, reason: str, missing_ok: bool, red: bool
) -> None:
    summary, _ = ended(planned(kind, missing_ok=missing_ok), [row(1, Status.SKIPPED, reason)])
    assert summary.succeeded is not red


def test_an_empty_run_says_why() -> None:
    summary, report = ended(planned(Kind.RELEASE), [], notes=["released before: 3 by run r"])
    assert str(summary) == f"release {summary.run_id}: nothing to release; released before: 3 by run r"
    assert report.startswith(
        "# Release of originals in calls: nothing to release\n\n## What to know\n\n- released before"
    )


def test_no_page_and_no_line_grows_with_the_table() -> None:
    """Six years, in which everything is wrong: Prefect keeps what is published, and people read it."""
    key = f"connect/{'long-instance-name/' * 5}CallRecordings/2026/01/12/{'c' * 36}_20260112T09:31_UTC.wav"
    drift = Drift(code="vanished", key=key, sentence="the table says archived, but the key has no current version")
    counts = dict.fromkeys(DIFFERENCES, 3_000_000)
    files = [f"_differences/20260201T030000Z-0123abcd-{n}.csv" for n in range(2_191)]
    assert len(differences_report(dict.fromkeys(DIFFERENCES, [drift] * 100), counts, files)) < 600_000
    rows = [row(n, Status.FAILED, key=f"{n}{key}", reason="denied: S3 refused it") for n in range(1000)]
    vain = [f"contact {n:036d}: the audit table has no archived recording for it" for n in range(20_000)]
    for said in ({"problems": vain}, {"notes": vain}):
        summary, page = ended(planned(Kind.RESTORE), rows, **said)
        assert (len(str(summary)) < 3_000, len(page) < 60_000) == (True, True)


def test_differences_are_written_for_a_spreadsheet_and_none_is_taken_for_a_formula(tmp_path: Path) -> None:
    """Many make several files; each is listed with its rows and its digest."""
    found = Drifts(planned(Kind.RECONCILE), LocalFiles(tmp_path))
    odd = 'calls/2026/01/12/=1+1,"a"_20260112T09:31_UTC.wav'
    found.add(Drift(code="vanished", key=odd, sentence="it is gone\nfor good") for _ in range(20_000))
    found.add([Drift(code="row-missing", key=odd, sentence="s")])
    found.write()
    assert [(file.name.rpartition("/")[2].count("-"), file.rows) for file in found.files] == [(1, 20_000), (2, 1)]
    for file in found.files:
        data = (tmp_path / file.name).read_bytes()
        assert digest_of(data) == file.sha256
        cells = [cell for line in csv.reader(StringIO(data.decode())) for cell in line]
        assert odd in cells
        assert not [cell for cell in cells if cell.startswith(("=", "+", "-", "@"))]


def test_what_differs_is_listed_by_code_with_its_meaning_losses_first(tmp_path: Path) -> None:
    found = Drifts(planned(Kind.RECONCILE), LocalFiles(tmp_path))
    found.add([Drift(code="class-differs", key="a", sentence="s1"), Drift(code="vanished", key="b", sentence="s2")])
    found.add(Drift(code="row-missing", key=f"k{n}", sentence="s") for n in range(102))
    report = differences_report(found.examples, found.counts, ["_differences/r.csv"])
    headings = [line for line in report.splitlines() if line.startswith("#")]
    assert headings == [
        "# 104 differences between table and bucket",
        "## vanished: 1",
        "## class-differs: 1",
        "## row-missing: 102",
    ]
    assert "- s2: `b`" in report
    assert "- and 2 more" in report
    assert report.endswith("All of them: `_differences/r.csv`, in the folder of the audit table.")
    summary, page = ended(planned(Kind.RECONCILE), [], drifts={"vanished": 1, "row-missing": 2})
    assert str(summary) == f"reconcile {summary.run_id}: table and bucket differ: 2 row-missing, 1 vanished"
    assert page.startswith("# Comparison of table and bucket in calls: **something is lost**\n")
    assert page.index("| vanished | 1 | The table says that there is a recording") < page.index("| row-missing | 2 |")


def test_reports_use_no_word_of_ours() -> None:
    """Words that only the code knows."""
    failed, more = [row(1, Status.FAILED, "refused: no")], {"settled": 2, "drifts": {"row-missing": 1}}
    kinds = [(kind, dry_run) for kind in (Kind.RESTORE, Kind.RELEASE, Kind.RECONCILE) for dry_run in (False, True)]
    shown = [ended(planned(kind, dry_run=dry_run), failed, **more) for kind, dry_run in kinds]
    said = " ".join(f"{summary} {report}" for summary, report in shown).lower()
    assert not [word for word in ("drift", "settled", "wave", "became", "untold", "already_archived") if word in said]
    assert "2 rows written for earlier runs that died" in said
