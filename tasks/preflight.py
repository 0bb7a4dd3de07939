"""Preflight on its own, as a report: the flow inspect-bucket. The preflight of an archiving run is in ``tasks.run``."""

from collections.abc import Sequence

from prefect import task
from prefect.artifacts import create_table_artifact
from prefect.cache_policies import NO_CACHE

from recordings.finding import Finding
from recordings.formatting import plural
from recordings.preflight.checks import all_findings
from recordings.reports.findings import findings_table
from recordings.request import check_bucket_name, normal_prefixes
from recordings.s3.store import Store
from recordings.settings import settings
from tasks.workplace import session


@task(task_run_name="inspect {bucket}", cache_policy=NO_CACHE, persist_result=False)
def findings_on(bucket: str, prefixes: Sequence[str], oldest_days: int) -> list[Finding]:
    """All findings of preflight, most serious first. Raises InvalidRequest for an impossible bucket or prefix."""
    check_bucket_name(bucket)
    store = Store(bucket, settings(), session())
    return all_findings(store, normal_prefixes(prefixes), oldest_days=oldest_days)


def publish_findings(bucket: str, findings: Sequence[Finding]) -> None:
    """Publish the findings as a table."""
    rows = findings_table(findings)
    create_table_artifact(rows, key="inspect-bucket", description=f"{plural(len(rows), 'finding')} on {bucket}")
