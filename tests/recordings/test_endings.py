"""What people read of an expiry, an erasure and a hold."""

from dataclasses import replace
from typing import Any

import pytest

from recordings.holds import reason_of
from recordings.jobs.engine.job import Job, batches_of, plan_job
from recordings.jobs.engine.result import Freed, JobResult, JobSums
from recordings.jobs.engine.summary import summarize
from recordings.reports.job import job_report
from recordings.retention_rules import RetentionRule
from recordings.table.records import Kind
from recordings.table.rows import AuditRow, Status
from tests.bucket import PREFIX, key_of
from tests.recordings.tables import ROW

RULES = (RetentionRule(tag="retention=short", keep_days=90), RetentionRule(keep_days=2190))
FREED = Freed(size_bytes=5_000_000, usd_month=0.5)


def row(number: int, status: Status, reason: str) -> AuditRow:
    return replace(ROW, key=key_of(number), status=status, reason=reason)


def planned(kind: Kind, **changes: Any) -> Job:
    place: dict[str, Any] = {"bucket": "calls", "audit_uri": "audit", "prefixes": [PREFIX]}
    return plan_job(kind, **place, **changes)


def page(job: Job, rows: list[AuditRow], freed: Freed | None = FREED) -> str:
    sums = JobSums(job)
    sums.add(batches_of(rows), [JobResult(job, rows, [], freed=freed)])
    summary = summarize(job, sums, drifts={}, lost={}, settled=0, manifest=[], notes=[], problems=[])
    return job_report(job, summary, sums)


def expired() -> list[AuditRow]:
    ended = [row(n, Status.EXPIRED, f"retention: kept {RULES[n > 1].said}") for n in range(4)]
    return [*ended, row(4, Status.SKIPPED, "held: held for 2026-CV-1"), row(5, Status.SKIPPED, "in-retention: kept")]


def test_an_expirys_page_says_what_it_freed_by_rule_and_what_proves_it() -> None:
    job = planned(Kind.EXPIRE, rules=RULES)
    said = page(job, expired())
    assert said.startswith("# Expiry of recordings in calls: 4 recordings expired\n")
    assert (
        "This freed **5 MB** (5,000,000 bytes), all versions counted. S3 charged **$0.50 per month** for these versions"
        in said
    )
    assert "| 90 days after the call (rule for what is tagged retention=short) | 2 |" in said
    assert "| 2190 days after the call (rule for all other recordings) | 2 |" in said
    assert (
        f"The rows of run `{job.run_id}` in the audit table certify the destruction. They give, for each recording,"
        in said
    )
    assert "| held | 1 |" in said
    assert "| in-retention | 1 |" in said
    assert "| retention |" not in said  # why it was done is no reason to do anything


def test_what_a_deletion_left_as_it_is_is_no_loss() -> None:
    """A check calls it one: the kinds have losses of their own."""
    left = [*expired(), row(6, Status.SKIPPED, "changed-since: another version is current")]
    assert page(planned(Kind.EXPIRE, rules=RULES), left).startswith("# Expiry of recordings in calls: 4 recordings")
    overwritten = [row(6, Status.FAILED, "changed-since: another version is current")]
    assert "**something is lost**" in page(planned(Kind.FIXITY), overwritten, freed=None)


def test_a_dry_run_certifies_nothing() -> None:
    said = page(planned(Kind.EXPIRE, rules=RULES, dry_run=True), expired())
    assert said.startswith("# Expiry of recordings in calls, a dry run: 4 recordings would be expired\n")
    assert "Nothing was written: to expire 4 recordings, run it again with dry_run=False." in said
    assert "This would free **5 MB**" in said
    assert "certify" not in said


def test_an_expiry_with_nothing_to_do_says_so_and_frees_nothing() -> None:
    said = page(planned(Kind.EXPIRE, rules=RULES), expired()[4:], None)
    assert said.startswith("# Expiry of recordings in calls: no retention has ended\n")
    assert "freed" not in said


def test_an_erasures_page_names_the_request_and_no_key() -> None:
    job = planned(Kind.ERASE, keys=["a"], case="2026-GDPR-1")
    rows = [row(n, Status.ERASED, reason_of("2026-GDPR-1")) for n in range(2)]
    said = page(job, rows)
    assert said.startswith("# Erasure in calls: 2 objects erased\n")
    assert "certify the erasure for `2026-GDPR-1`" in said
    assert "Copies at replication targets and in backups are not erased." in said
    assert "| case |" not in said
    assert not [each.key for each in rows if each.key in said]


@pytest.mark.parametrize(
    ("kind", "status", "verdict", "heading"),
    [
        (Kind.HOLD, Status.HELD, "Legal hold in calls: 2 objects held", "## 2 objects held: 2026-CV-1"),
        (
            Kind.LIFT,
            Status.LIFTED,
            "End of a legal hold in calls: 2 objects freed from the case",
            "## 2 objects freed from the case: 2026-CV-1",
        ),
    ],
)
def test_a_holds_page_lists_each_object(kind: Kind, status: Status, verdict: str, heading: str) -> None:
    job = planned(kind, keys=["a"], case="2026-CV-1")
    rows = [row(0, status, reason_of("2026-CV-1")), row(1, status, f"{reason_of('2026-CV-1')}; still held for B")]
    said = page(job, rows, None)
    assert said.startswith(f"# {verdict}\n")
    assert f"{heading}\n\n- `{rows[0].key}`\n- `{rows[1].key}`: still held for B\n" in said


def test_a_dry_run_of_a_lift_says_how_to_lift() -> None:
    job = planned(Kind.LIFT, keys=["a"], case="2026-CV-1", dry_run=True)
    said = page(job, [row(0, Status.LIFTED, reason_of("2026-CV-1"))], None)
    assert "to free 1 object, run it again with dry_run=False" in said
    assert "## 1 object would be freed from the case: 2026-CV-1" in said
