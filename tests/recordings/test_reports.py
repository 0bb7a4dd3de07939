"""What people read."""

from collections import Counter
from dataclasses import replace

from recordings.finding import Finding, Severity
from recordings.glossary import meaning, way_out
from recordings.pricing import Cost
from recordings.reports.cost import cost_table
from recordings.reports.failures import failures_report, first_three
from recordings.reports.run import run_report
from recordings.summary import RunFailed, RunSummary, Tally
from recordings.table.rows import AuditRow, Status
from tests.bucket import key_of
from tests.fixtures import PlanRun
from tests.recordings.tables import ROW

SUMS = Tally(
    counts=Counter(archived=2, failed=1),
    reasons=Counter(unavailable=1),
    minutes=10,
    bytes_before=4_000_000,
    bytes_after=1_000_000,
    usd_per_month_before=10,
    usd_per_month_after=1,
    usd_per_month_originals=10,
)
SUMMARY = RunSummary(
    run_id="r1",
    counts={"archived": 2, "failed": 1},
    final=5,
    minutes_after=10,
    bytes_before=4_000_000,
    bytes_after=1_000_000,
    manifest_files=("f",),
    requests={"GetObject": 3},
    cpu_s=1,
    wall_s=2,
    cost_usd=0.0001,
    unrecorded=0,
    cost=Cost(requests_usd=0.0001, waiting_usd=0.0002, standing_usd=0.7),
)


def test_kinds_of_cost_that_did_not_occur_are_left_out() -> None:
    table = cost_table(Cost(requests_usd=1), minutes=0)
    assert "| requests to S3 | $1.00 | - |" in table
    assert "KMS" not in table


def test_savings_are_net_of_the_originals(plan: PlanRun) -> None:
    report = run_report(plan(), SUMMARY, SUMS, [], retention_years=6)
    assert "| **saved now, net of the originals** | **-$1.00** | |" in report
    assert "| **saved once the originals are released** | **$9.00** | **$648.00** |" in report


def test_the_report_says_what_matters(plan: PlanRun) -> None:
    finding = Finding(code="unversioned", severity=Severity.BLOCK, sentence="It is off.", way_out="Turn it on.")
    report = run_report(plan(), SUMMARY, SUMS, [finding], retention_years=6)
    for words in (
        "**2** recordings archived, **10.0** minutes, **4 MB → 1 MB** (4,000,000 → 1,000,000 bytes), 75.0 % smaller",
        "**not everything went well**",
        "| failed | 1 |",
        "| accounted for by earlier runs | 5 |",
        "| unavailable | 1 |",
        "**accepted risk, unversioned**: It is off. Turn it on.",
        "| requests to S3 | less than 1 cent | $0.0100 |",
        "| **all in, if this was the day's only run** | $0.70 | $70.03 |",
        "paid for in 0.0 days once the originals are released",
    ):
        assert words in report


def test_a_run_fails_for_failed_and_for_missing_rows() -> None:
    assert not SUMMARY.succeeded
    assert replace(SUMMARY, counts={"archived": 2, "rejected": 1}).succeeded
    assert not replace(SUMMARY, counts={"archived": 2}, unrecorded=1).succeeded
    assert str(RunFailed(SUMMARY)).startswith("run r1: 2 archived, 1 failed. The rows' reasons say why")


def rows(count: int, status: Status, reason: str | None, first: int = 0) -> list[AuditRow]:
    return [replace(ROW, key=key_of(first + n), status=status, reason=reason) for n in range(count)]


REJECTS = rows(25, Status.REJECTED, "truncated: 9 bytes <are> left")
FAILURE = rows(1, Status.FAILED, "refused: GetObject was refused (AccessDenied);\nthe role needs s3:GetObject", 99)


def test_failures_are_grouped_by_reason_with_what_to_do() -> None:
    report = failures_report([*REJECTS, *FAILURE], {"truncated": 1234})
    assert report.startswith("# What was not archived: 1,235 recordings")
    assert f"| truncated | 1,234 | {meaning('truncated')} | {way_out('truncated')} |" in report
    assert report.index("## refused (failed): 1") < report.index("## truncated (rejected): 1,234")
    assert f"- 9 bytes &lt;are> left: `{key_of(19)}`\n- and 1,214 more, in the audit table" in report
    assert key_of(20) not in report
    assert f"(AccessDenied); the role needs s3:GetObject: `{key_of(99)}`" in report
    tables = [line for line in report.splitlines() if line.startswith("|")]
    assert not any(".wav" in line for line in tables), "a table of keys has to be scrolled"


def test_a_row_without_a_reason_stands_under_its_status() -> None:
    assert "## changed (changed): 1" in failures_report(rows(1, Status.CHANGED, None))


def test_the_first_three_are_named_in_one_line() -> None:
    line = first_three([*REJECTS, *FAILURE])
    assert line.startswith(f"{key_of(99)}: refused: GetObject")
    assert line.endswith("; and 23 more")
    assert "\n" not in line
    assert first_three(FAILURE, 4).endswith("; and 3 more")
    assert first_three([]) == ""
