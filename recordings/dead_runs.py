"""Which runs died, by their records: a start without an end is a run that died, unless it is young."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta

from recordings.recording import Window
from recordings.run import Run
from recordings.table.records import Kind, StartRecord, began_at

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


def is_like(start: StartRecord, run: Run) -> bool:
    """The same conversion of recordings that this run may touch, too."""
    ours = (run.bucket, run.profile_name, run.storage_class)
    theirs = (start.bucket, start.profile_name, start.storage_class)
    return ours == theirs and set(start.prefixes) <= set(run.prefixes)
