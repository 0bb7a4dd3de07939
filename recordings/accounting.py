"""Every recording ends as a row: what may pass is tried again, what does not becomes the row's reason."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

from recordings.errors import Changed, RecordingError, Rejected, Skipped, StoreRefused, StoreUnavailable, Unproven
from recordings.manifest import ManifestRow, Status
from recordings.patience import patience

_STATUS = {Rejected: Status.REJECTED, Changed: Status.CHANGED, Skipped: Status.SKIPPED, Unproven: Status.FAILED}


def accounted(row: ManifestRow, work: Callable[[], ManifestRow]) -> ManifestRow:
    """The row that ``work`` returns, or ``row`` ended with the reason why it could not.

    StoreUnavailable is tried again with ``patience``. What is not an error of ours is a bug, and raised.
    """
    retrying = patience()
    try:
        done = retrying(work)
    except RecordingError as error:
        done = ended(row, _STATUS[type(error)], str(error))
    except (StoreUnavailable, StoreRefused) as error:
        done = ended(row, Status.FAILED, f"{error.code}: {error}")
    except OSError as error:  # of this machine: a disk that is full, an ffmpeg that does not start
        done = ended(row, Status.FAILED, f"machine: {error}")
    return replace(done, attempts=done.attempts + retrying.statistics["attempt_number"] - 1)


def ended(row: ManifestRow, status: Status, reason: str) -> ManifestRow:
    """The row with its end: a status, why, and when."""
    return replace(row, status=status, reason=reason, finished_at=datetime.now(UTC))


def unfinished(row: ManifestRow, stage_error: str) -> ManifestRow:
    """A row of a batch whose later stage failed as a whole: a claim that nobody proved counts as failed."""
    return ended(row, Status.FAILED, f"stage-failed: {stage_error}") if row.holds_replacement else row
