"""A run's parameters, checked, as a flow would make them: those of one day, unless something else is said."""

import uuid
from datetime import UTC, datetime
from typing import Any

from recordings.run import Run, plan_run
from tests.bucket import DAY, PREFIX


def planned(bucket: str = "recordings", *, audit_uri: str = "audit", **changes: Any) -> Run:
    parameters = {
        "flow_run_id": str(uuid.uuid4()),
        "scheduled_at": datetime(2026, 2, 1, 3, tzinfo=UTC),
        "prefixes": [PREFIX],
        "start_date": DAY,
        "end_date": DAY,
        "min_age_days": 7,
        "lookback_days": 7,
        "profile": "alaw-mono",
        "storage_class": "GLACIER_IR",
        "dry_run": False,
        "overwrite_converted": False,
        "include_held": False,
        "accept": [],
        "batch_size": 200,
        "readback_percent": 0.0,
    }
    return plan_run(bucket=bucket, audit_uri=audit_uri, **{**parameters, **changes})
