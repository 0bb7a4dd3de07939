"""Every recording ends as a row: a passing error is retried, any other error becomes the row's reason."""

import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

from recordings.errors import Changed, RecordingError, Rejected, Skipped, StoreRefused, StoreUnavailable, Unproven
from recordings.retrying import retrying
from recordings.table.rows import AuditRow, Status

_STATUS = {Rejected: Status.REJECTED, Changed: Status.CHANGED, Skipped: Status.SKIPPED, Unproven: Status.FAILED}
_log = logging.getLogger(__name__)


def accounted(row: AuditRow, work: Callable[[], AuditRow]) -> AuditRow:
    """The row that ``work`` returns; where ``work`` raises, ``row`` with the error as its reason.

    StoreUnavailable is retried until a deadline (``retrying``). Any exception that is neither of ``recordings.errors``
    nor an OSError, which is a fault of the machine, is a bug: it is logged with its traceback, and the row has failed,
    so that the run fails after all other work is done.
    """
    attempts = retrying()
    try:
        done = attempts(work)
    except Exception as error:
        done = ended(row, *_end_by(error, row))
    return replace(done, attempts=done.attempts + attempts.statistics["attempt_number"] - 1)


def _end_by(error: Exception, row: AuditRow) -> tuple[Status, str]:
    """The status and reason that a row gets from an exception."""
    if isinstance(error, RecordingError):
        return _STATUS[type(error)], str(error)
    if isinstance(error, (StoreUnavailable, StoreRefused)):
        return Status.FAILED, f"{error.code}: {error}"
    if isinstance(error, OSError):  # of this machine: a full disk, too many open files
        return Status.FAILED, f"machine: {error}"
    _log.error("a bug, met at s3://%s/%s", row.bucket, row.key, exc_info=error)
    return Status.FAILED, f"bug: {type(error).__name__}: {error}"


def ended(row: AuditRow, status: Status, reason: str) -> AuditRow:
    """The row with its final status, the reason, and the time."""
    return replace(row, status=status, reason=reason, finished_at=datetime.now(UTC))


def unfinished(row: AuditRow, stage_error: str) -> AuditRow:
    """A row of a batch whose later stage failed as a whole: a replacement without a proof counts as failed."""
    return ended(row, Status.FAILED, f"stage-failed: {stage_error}") if row.holds_replacement else row
