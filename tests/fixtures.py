"""Types of the fixtures that are functions.

A fixture that stands for a flow gives the flow's parameters the values of the test's bucket and table; the changes
replace those, and are the flow's own parameters.
"""

from collections.abc import Callable
from datetime import date
from typing import TYPE_CHECKING, Any, Protocol, TypedDict, Unpack

from recordings.recording import Recording
from recordings.run import Run
from recordings.table.rows import AuditRow

if TYPE_CHECKING:  # the tests of the domain start at once
    from recordings.backfill.summary import BackfillSummary
    from recordings.handover.export import ExportSummary
    from recordings.jobs.engine.summary import JobSummary
    from recordings.summary import RunSummary

Listed = Callable[[Run], list[Recording]]
Stages = Callable[[Run], list[AuditRow]]
Resample = Callable[[Run], AuditRow]
ArchiveDay = Callable[[], "RunSummary"]


class MakeCall(Protocol):
    """A synthetic call; another seed is another call."""

    def __call__(self, seed: int = ..., duration_s: float = ...) -> bytes: ...


class Setting(Protocol):
    """Change settings until the test ends; their names come without ``ARCHIVE_``."""

    def __call__(self, **values: object) -> None: ...


class PlanRun(Protocol):
    """A run's parameters, checked, as a flow would make them; ``changes`` replace those of ``tests/planned.py``."""

    def __call__(self, bucket: str = ..., **changes: Any) -> Run: ...


class Days(TypedDict, total=False):
    """The parameters that all flows take."""

    bucket: str
    audit_uri: str
    prefixes: list[str]
    start_date: date | None
    end_date: date | None


class Trial(Days, total=False):
    dry_run: bool


class Chosen(Trial, total=False):
    """Those of flows that may be asked for single recordings."""

    contact_ids: list[str] | None
    keys: list[str] | None


class ArchiveChanges(Trial, total=False):
    accept: list[str]
    profile: str
    storage_class: str
    min_age_days: int
    readback_percent: float
    batch_size: int


class ArchiveDaysChanges(ArchiveChanges, total=False):
    lookback_days: int
    shard: str


class BackfillChanges(ArchiveChanges, total=False):
    shard_above: int
    deployment: str


class RestoreChanges(Chosen, total=False):
    run_id: str
    everything: bool
    include_held: bool
    missing_ok: bool


class ReleaseChanges(Trial, total=False):
    everything: bool
    grace_days: int | None
    missing_ok: bool


class ReconcileChanges(Days, total=False):
    repair: bool


class CheckChanges(Trial, total=False):
    sample_percent: float
    missing_ok: bool


class EraseChanges(Chosen, total=False):
    case: str
    missing_ok: bool
    new_table: bool


class HoldChanges(EraseChanges, total=False):
    run_id: str
    lift: bool


class ExportChanges(Chosen, total=False):
    run_id: str
    case: str
    version: str
    as_pcm: bool
    destination_uri: str


class ArchiveDays(Protocol):
    def __call__(self, **changes: Unpack[ArchiveDaysChanges]) -> "RunSummary": ...


class BackfillDays(Protocol):
    def __call__(self, **changes: Unpack[BackfillChanges]) -> "BackfillSummary": ...


class Restore(Protocol):
    def __call__(self, **changes: Unpack[RestoreChanges]) -> "JobSummary": ...


class Release(Protocol):
    def __call__(self, **changes: Unpack[ReleaseChanges]) -> "JobSummary": ...


class Reconcile(Protocol):
    def __call__(self, **changes: Unpack[ReconcileChanges]) -> "JobSummary": ...


class Check(Protocol):
    def __call__(self, **changes: Unpack[CheckChanges]) -> "JobSummary": ...


class Erase(Protocol):
    def __call__(self, **changes: Unpack[EraseChanges]) -> "JobSummary": ...


class Hold(Protocol):
    def __call__(self, **changes: Unpack[HoldChanges]) -> "JobSummary": ...


class Export(Protocol):
    def __call__(self, **changes: Unpack[ExportChanges]) -> "ExportSummary": ...
