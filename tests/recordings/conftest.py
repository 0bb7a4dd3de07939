"""The domain on a real S3 server, without Prefect."""

from pathlib import Path

import pytest

from demo.calls import demo_calls
from recordings.plan import Plan, list_day
from recordings.pool import Budget, Pool
from recordings.recording import Day, Recording
from recordings.run import Run
from recordings.s3.store import Store
from recordings.settings import Settings
from recordings.table.files import AuditFiles, LocalFiles, open_table
from recordings.table.rows import AuditRow
from tests.bucket import Bucket
from tests.fixtures import Listed, Stages


@pytest.fixture
def store(bucket: Bucket) -> Store:
    return Store(bucket.name, Settings())


@pytest.fixture(scope="session")
def pool() -> Pool:
    return Pool(4, Budget(64 * 1024 * 1024))


@pytest.fixture
def files(tmp_path: Path) -> AuditFiles:
    return LocalFiles(tmp_path / "audit")


@pytest.fixture
def listed(store: Store) -> Listed:
    """What the run's days hold, in key order."""

    def listing(run: Run) -> list[Recording]:
        days = [Day(prefix=prefix, date=run.start_date) for prefix in run.prefixes]
        plan = Plan(days, [list_day(store, open_table(run.audit_uri), day, run) for day in days], run)
        return [recording for wave in plan.waves for batch in wave for recording in batch.recordings]

    return listing


@pytest.fixture
def run_stages(store: Store, pool: Pool, listed: Listed) -> Stages:
    """All stages but the audit, over one day."""
    from recordings.recording import Batch
    from recordings.resample import resample_batch
    from recordings.tag import tag_batch
    from recordings.verify import verify_batch

    def rows_of(run: Run) -> list[AuditRow]:
        batch = Batch(run.start_date, 1, listed(run))
        resampled = resample_batch(store, batch, run, pool)
        return tag_batch(store, verify_batch(store, resampled, pool, run.readback_percent), pool)

    return rows_of


@pytest.fixture(scope="session")
def converted_by_others() -> bytes:
    """A recording that another tool has made A-law mono."""
    return next(call.body for call in demo_calls() if "convert-batch" in call.tags)
