"""``python -m demo.screenshots``: take the pictures in docs/images with Chromium.

They show what a real run publishes, and the real report over a synthetic year of 600,000 recordings a month.
"""

import os
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from io import BytesIO
from pathlib import Path
from typing import Any

import boto3
import numpy as np
from PIL import Image

from demo.browser import Scheme, new_page
from demo.browser import chromium as chromium
from demo.bucket import BUCKET, fill_bucket
from demo.calls import PREFIX, StoredCall, call
from demo.servers import prefect_server, s3_server, tell_the_rest

IMAGES = Path("docs/images")
AUDIT_BUCKET, AUDIT_URI = "demo-audit", "s3://demo-audit/calls"
FIRST_DAY, DAYS = date(2026, 1, 5), 12
WEEKDAY_CALLS, WEEKEND_CALLS = 24, 7
CHROMIUM_FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)


def screenshot(url: str, image: Path, *, shows: str, width: int, height: int, scheme: Scheme = "light") -> None:
    """A picture of a page, ``width`` by ``height`` pixels, once it shows the text ``shows``; in 256 colours: small."""
    with new_page(width=width, height=height, scheme=scheme) as page:
        page.goto(url)
        page.get_by_text(shows).first.wait_for()
        page.wait_for_timeout(2000)  # until charts and fonts are drawn
        taken = page.screenshot()
    image.parent.mkdir(parents=True, exist_ok=True)
    Image.open(BytesIO(taken)).quantize(256).save(image, optimize=True)


def demo_days() -> Iterator[StoredCall]:
    """Short calls, fewer at weekends, and some that cannot be archived."""
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
            url = f"{prefect.url}/v2/artifacts/artifact/{_newest_artifact('archive-report')}"
            picture = IMAGES / "artifact-archive-report.png"
            screenshot(url, picture, shows="recordings archived", width=1280, height=1100)
        page = Path(folder) / "report.html"
        year = [sys.executable, "-m", "benchmarks.report", "--page", str(page)]
        subprocess.run(year, check=True)  # noqa: S603 (ourselves; a process of its own for its gigabytes)
        _picture_of(page, "report", width=1000, height=1100)
        _picture_of(page, "report-narrow", width=400, height=900)
        _picture_of(page, "report-dark", width=400, height=900, scheme="dark")


def _picture_of(page: Path, name: str, *, width: int, height: int, scheme: Scheme = "light") -> None:
    image = IMAGES / f"{name}.png"
    screenshot(page.as_uri(), image, shows="recordings", width=width, height=height, scheme=scheme)


def _archive() -> None:
    """Archive each day by a run of its own, as a schedule would."""
    from flows.archive import archive_recordings  # only now: Prefect reads its address on import

    boto3.client("s3").create_bucket(Bucket=AUDIT_BUCKET)
    fill_bucket(calls=demo_days())
    for number in range(DAYS):
        day = FIRST_DAY + timedelta(days=number)
        where: dict[str, Any] = {"bucket": BUCKET, "prefixes": [PREFIX], "audit_uri": AUDIT_URI}
        archive_recordings(**where, start_date=day, end_date=day, archive_unprofitable=True)  # the calls are short


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
