"""Runs in processes of their own, preloaded by the fork server so that they start at once."""

import multiprocessing
import os
from datetime import date, timedelta
from typing import Any

from flows.archive import archive_recordings
from flows.erase import erase_recordings
from flows.expire import expire_recordings
from flows.release import release_originals
from flows.restore import restore_recordings
from recordings.jobs.engine import job
from recordings.retention_rules import RetentionRule
from tests.bucket import DAY, PREFIX


def archive_two_days(bucket: str, audit_uri: str) -> Any:
    """Two days, in small batches."""
    return archive_recordings(
        bucket=bucket,
        prefixes=[PREFIX],
        audit_uri=audit_uri,
        start_date=DAY,
        end_date=DAY + timedelta(days=1),
        batch_size=4,
    )


def archive_and_tell(env: dict[str, str], began: Any, counts: Any, bucket: str, audit_uri: str) -> None:
    """Say when the run begins, and what it came to. ``env``: the fork server still has that of its first use."""
    os.environ.update(env)
    began.set()
    counts.put(dict(archive_two_days(bucket, audit_uri).counts))


def operate_and_tell(
    env: dict[str, str], began: Any, counts: Any, bucket: str, audit_uri: str, kind: str, day: date
) -> None:
    """Release, restore or expire two days, in small batches: their limit is changed in this process alone."""
    os.environ.update(env)
    job.BATCH_SIZE = 4
    began.set()
    counts.put(dict(operate(bucket, audit_uri, kind, day).counts))


def operate(bucket: str, audit_uri: str, kind: str, day: date) -> Any:
    """Two days, from ``day`` on."""
    window: dict[str, Any] = {"bucket": bucket, "audit_uri": audit_uri, "dry_run": False}
    window |= {"start_date": day, "end_date": day + timedelta(days=1)}
    if kind == "release":
        return release_originals(**window, grace_days=0)
    if kind == "expire":
        rules = [RetentionRule(keep_days=1)]
        return expire_recordings(**window, prefixes=[PREFIX], rules=rules, stop_above_percent=0)
    return restore_recordings(**window)


class Running:
    """A run that has begun."""

    def __init__(self, bucket: str, audit_uri: str, *more: Any, target: Any = archive_and_tell) -> None:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["tests.runs"])
        began, self._counts = context.Event(), context.Queue()
        told = (dict(os.environ), began, self._counts, bucket, audit_uri, *more)
        self.process = context.Process(target=target, args=told)
        self.process.start()
        assert began.wait(60)

    def counts(self) -> dict[str, int]:
        """What it came to, once it has ended."""
        counts: dict[str, int] = self._counts.get(timeout=120)
        self.process.join()
        return counts


def erase_and_tell(env: dict[str, str], began: Any, counts: Any, bucket: str, audit_uri: str, contact: str) -> None:
    """Erase a contact; without one, take up the requests that are not finished."""
    os.environ.update(env)
    job.BATCH_SIZE = 4
    began.set()
    counts.put(dict(erase(bucket, audit_uri, contact).counts))


def erase(bucket: str, audit_uri: str, contact: str) -> Any:
    """The same in this process."""
    asked: dict[str, Any] = {"contact_ids": [contact], "case": "2026-GDPR-1"} if contact else {}
    asked |= {"dry_run": False, "new_table": True}
    return erase_recordings(bucket=bucket, audit_uri=audit_uri, prefixes=[PREFIX], **asked)
