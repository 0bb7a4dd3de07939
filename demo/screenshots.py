"""``python -m demo.screenshots``: the pictures in docs/images, by Chromium, of what real runs publish."""

import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from pathlib import Path

import boto3
import numpy as np
from nbconvert import HTMLExporter

from demo.bucket import BUCKET, fill_bucket
from demo.calls import PREFIX, StoredCall, call
from demo.notebook import executed
from demo.servers import prefect_server, run_to_end, s3_server, tell_the_rest

IMAGES = Path("docs/images")
AUDIT_BUCKET, AUDIT_URI = "demo-audit", "s3://demo-audit/calls"
FIRST_DAY, DAYS = date(2026, 1, 5), 12
WEEKDAY_CALLS, WEEKEND_CALLS = 24, 7
CHROMIUM_FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)


def chromium() -> str | None:
    """Where Chromium is; None if it is not installed."""
    return shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


def screenshot(url: str, image: Path, *, width: int, height: int, settle_ms: int = 0) -> None:
    """A picture of a page as a browser without a window shows it. ``settle_ms`` lets scripts draw it first."""
    browser = chromium()
    if browser is None:
        raise RuntimeError("chromium is not installed: apt-get install chromium")
    image.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as profile:
        size = (f"--window-size={width},{height}", f"--screenshot={image.absolute()}")
        settle = (f"--virtual-time-budget={settle_ms}",) if settle_ms else ()
        run_to_end([browser, *CHROMIUM_FLAGS, f"--user-data-dir={profile}", *settle, *size, url], {})


def demo_days() -> Iterator[StoredCall]:
    """Short calls, fewer at weekends, and now and then one that cannot be archived."""
    random = np.random.default_rng(14)
    for number in range(DAYS):
        day = FIRST_DAY + timedelta(days=number)
        for _ in range(WEEKDAY_CALLS if day.weekday() < 5 else WEEKEND_CALLS):
            body = call(random, float(np.clip(random.lognormal(2.5, 0.7), 3, 60)))
            yield StoredCall(key=_key(random, day), body=body[:-999] if random.random() < 0.03 else body)
        if day.weekday() == 0:
            yield StoredCall(
                key=f"{PREFIX}{day:%Y/%m/%d}/shift-notes.txt", body=b"not a call", content_type="text/plain"
            )


def _key(random: np.random.Generator, day: date) -> str:
    contact_id = uuid.UUID(bytes=random.bytes(16), version=4)
    began = datetime(day.year, day.month, day.day) + timedelta(minutes=int(random.integers(24 * 60)))  # noqa: DTZ001 (UTC)
    return f"{PREFIX}{day:%Y/%m/%d}/{contact_id}_{began:%Y%m%dT%H:%M}_UTC.wav"


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, s3_server(Path(folder) / "s3") as s3:
        os.environ.update(s3.env)
        with prefect_server(Path(folder) / "prefect") as prefect:
            os.environ.update({**prefect.env, "PREFECT_LOGGING_LEVEL": "WARNING"})
            _archive()
            tell_the_rest()
            for key in ("savings-forecast", "archive-report", "savings-report"):
                url = f"{prefect.url}/artifacts/artifact/{_newest_artifact(key)}"
                screenshot(url, IMAGES / f"artifact-{key}.png", width=1280, height=1400, settle_ms=15000)
        page, _ = HTMLExporter(exclude_input=True).from_notebook_node(executed(AUDIT_URI))  # type: ignore[no-untyped-call]
        for name, html in (("report", _report()), ("notebook", page)):
            path = Path(folder) / f"{name}.html"
            path.write_text(html, encoding="utf-8")
            screenshot(f"file://{path}", IMAGES / f"{name}.png", width=1000, height=2100, settle_ms=5000)


def _report() -> str:
    """The newest page beside the audit table."""
    s3 = boto3.client("s3")
    listed = s3.list_objects_v2(Bucket=AUDIT_BUCKET, Prefix="calls/_reports/")["Contents"]
    key = max(each["Key"] for each in listed if each["Key"].endswith(".html"))
    return s3.get_object(Bucket=AUDIT_BUCKET, Key=key)["Body"].read().decode()


def _archive() -> None:
    """A forecast, then a run for each day, as a schedule would have them, then a report."""
    from flows.archive import archive_recordings  # only now: Prefect reads its address on import
    from flows.estimate import estimate_savings
    from flows.report import report_savings

    boto3.client("s3").create_bucket(Bucket=AUDIT_BUCKET)
    fill_bucket(calls=demo_days())
    last_day = FIRST_DAY + timedelta(days=DAYS - 1)
    estimate_savings(BUCKET, [PREFIX], AUDIT_URI, FIRST_DAY, last_day)
    for number in range(DAYS):
        day = FIRST_DAY + timedelta(days=number)
        archive_recordings(bucket=BUCKET, prefixes=[PREFIX], audit_uri=AUDIT_URI, start_date=day, end_date=day)
    report_savings(AUDIT_URI)


def _newest_artifact(key: str) -> str:
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey
    from prefect.client.schemas.sorting import ArtifactSort

    with get_client(sync_client=True) as client:
        wanted = ArtifactFilter(key=ArtifactFilterKey(any_=[key]))
        (newest,) = client.read_artifacts(artifact_filter=wanted, sort=ArtifactSort.CREATED_DESC, limit=1)
    return str(newest.id)


if __name__ == "__main__":
    main()
