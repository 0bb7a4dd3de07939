"""Which runs died, by their records: a start without an end is a run that died, unless it is young."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta

from recordings.recording import Window
from recordings.run import Run
from recordings.table.records import Kind, StartRecord, began_at

Asked = Run | StartRecord  # what an archiving run was asked for, by itself or by its record
DeadRuns = Mapping[str, Sequence[Window]]  # by run id: the windows it left undone


def dead_runs(opened: Iterable[StartRecord], run: Run, *, abandoned_after: timedelta) -> DeadRuns:
    """Windows of those of the open runs that are like this one and started long ago; none if dates were given."""
    if not run.catches_up:
        return {}
    alike = (start for start in opened if start.kind is Kind.ARCHIVE and is_like(start, run))
    return {start.run_id: start.windows for start in alike if is_old(start, run, abandoned_after)}


def is_old(start: StartRecord, run: Run, age: timedelta) -> bool:
    """Whether a run began longer than ``age`` before this one."""
    return run.started_at - began_at(start.run_id) > age


def is_like(run: Asked, other: Asked) -> bool:
    """Whether ``run`` was asked for the same conversion, of recordings that ``other`` may touch, too.

    ``other`` finishes whatever such a run began. What only the options of ``run`` would have archived stays as it is,
    and its rows say why.
    """
    ours = (run.bucket, run.profile_name, run.storage_class)
    theirs = (other.bucket, other.profile_name, other.storage_class)
    return ours == theirs and set(run.prefixes) <= set(other.prefixes)


def does_no_more(run: Asked, other: Asked) -> bool:
    """Whether ``run``, on the same days, would archive nothing that ``other`` does not."""
    has_no_more_options = (
        run.include_held <= other.include_held and run.archive_unprofitable <= other.archive_unprofitable
    )
    return is_like(run, other) and has_no_more_options
