"""Inspect a bucket before anything is started on it."""

from prefect import flow

from flows.parameters import AgeDays
from recordings.finding import Finding
from tasks.preflight import findings_on, publish_findings


@flow(name="inspect-bucket", flow_run_name="inspect {bucket}", persist_result=False)
def inspect_bucket(bucket: str, prefixes: list[str], oldest_days: AgeDays = 14) -> list[Finding]:
    """Publish, as an artifact, the findings that an operator should know about the bucket.

    No recording is touched. On a server that is not AWS, conditional writes are tried, which leaves one empty object.

    Args:
        bucket: The bucket that Amazon Connect writes to.
        prefixes: Where the recordings lie, like connect/my-instance/CallRecordings/.
        oldest_days: Age in days of the oldest calls that you mean to archive; 14 covers the scheduled runs.

    Returns:
        The findings, most serious first.

    Raises:
        InvalidRequest: The parameters make no sense.
        StoreRefused: No such bucket, or no permission to look at anything.
    """
    findings = findings_on(bucket, prefixes, oldest_days)
    publish_findings(bucket, findings)
    return findings
