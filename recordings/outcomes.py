"""Every recording ends as a row: what may pass is tried again, what does not becomes the row's reason."""

import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

from recordings.errors import Changed, RecordingError, Rejected, Skipped, StoreRefused, StoreUnavailable, Unproven
from recordings.retrying import patience
from recordings.table.rows import AuditRow, Status

_STATUS = {Rejected: Status.REJECTED, Changed: Status.CHANGED, Skipped: Status.SKIPPED, Unproven: Status.FAILED}
_log = logging.getLogger(__name__)


def accounted(row: AuditRow, work: Callable[[], AuditRow]) -> AuditRow:
    """The row that ``work`` returns, or ``row`` ended with the reason why it could not, whatever that is.

    StoreUnavailable is tried again with ``patience``. What is not an error of ours is a bug: logged with its traceback,
    and the row has failed, so that the run ends red when everything else is done.
    """
    retrying = patience()
    try:
        done = retrying(work)
    except Exception as error:
        done = ended(row, *_end_by(error, row))
    return replace(done, attempts=done.attempts + retrying.statistics["attempt_number"] - 1)


def _end_by(error: Exception, row: AuditRow) -> tuple[Status, str]:
    """What an exception makes of a row: its status and reason."""
    if isinstance(error, RecordingError):
        return _STATUS[type(error)], str(error)
    if isinstance(error, (StoreUnavailable, StoreRefused)):
        return Status.FAILED, f"{error.code}: {error}"
    if isinstance(error, OSError):  # of this machine: a disk that is full, an ffmpeg that does not start
        return Status.FAILED, f"machine: {error}"
    _log.error("a bug, met at s3://%s/%s", row.bucket, row.key, exc_info=error)
    return Status.FAILED, f"bug: {type(error).__name__}: {error}"


def ended(row: AuditRow, status: Status, reason: str) -> AuditRow:
    """The row with its end: a status, why, and when."""
    return replace(row, status=status, reason=reason, finished_at=datetime.now(UTC))


def unfinished(row: AuditRow, stage_error: str) -> AuditRow:
    """A row of a batch whose later stage failed as a whole: a claim that nobody proved counts as failed."""
    return ended(row, Status.FAILED, f"stage-failed: {stage_error}") if row.holds_replacement else row
