"""What differs between the kinds of jobs: one entry per kind.

Other modules ask for a trait where several kinds may have it. They name a kind where only that one is meant, as in the
kind's own module, in sentences, names of runs and metrics, and where its intents or records are read.

CONTRIBUTING.md lists what a new kind of job takes.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from recordings.jobs.engine.traces import (
    trace_of_destruction,
    trace_of_hold,
    trace_of_lifting,
    trace_of_release,
    trace_of_restore,
)
from recordings.s3.store import Store
from recordings.table.records import Kind
from recordings.table.rows import HOLDS_REPLACEMENT, SMALL, AuditRow, Status


@dataclass(frozen=True, slots=True, kw_only=True)
class Traits:
    """What one kind of job is like: its words for people, its parameters, and what it does to the bucket."""

    title: str  # of the page that reports on it
    participle: str  # of what becomes of a recording: "was not released"
    nothing_to_do: str  # what the summary says if it has nothing else to say
    verb: str = ""  # what the job does; empty: the name of its kind
    noun: str = "recording"  # what it does that to
    ways_to_select: str = ""  # the parameters that select recordings; empty: the job needs no selection
    dry_run_must_select: bool = False
    asks_bucket: bool = False  # finds objects by listing them, not by the table: prefixes alone select nothing
    lists_days: bool = False  # lists the folders of days below its prefixes, whatever the table says
    wants_all: bool = False  # a selected recording that is not found or not done is a problem, unless missing_ok
    looks_only: bool = False  # without repair, too, the job is recorded, and people do not call it a dry run
    resumes: bool = False  # without contacts and keys, takes up the requests that earlier jobs had to leave open
    has_rules: bool = False  # looks at retention rules
    needs_rules: bool = False  # does nothing without them
    has_grace: bool = False  # originals stay for grace_days; a record says when the next job has to look again
    relies_on_table: bool = False  # refuses to start without an audit table, unless it repairs the table
    may_begin_table: bool = False  # may be the first to write to the table, if its parameter new_table says so
    deletes_versions: bool = False
    brings_back: bool = False  # needs the original, and finds it by provenance if the table does not know the bucket
    original_is_after: bool = False  # the columns *_after of a row that is done describe the original
    works_on: tuple[Status, ...] = HOLDS_REPLACEMENT  # the states of the recordings that it takes up
    needs_original: bool = True  # leaves out recordings whose row names no original
    losses: tuple[str, ...] = ()  # the codes of rows that say that a recording is lost
    done: Status | None = None  # of a row with which the job succeeded; None: it has no status of its own
    trace: Callable[[Store, AuditRow], AuditRow] | None = None  # looks in the bucket for a trace of the deed


TRAITS: Mapping[Kind, Traits] = {
    Kind.RESTORE: Traits(
        title="Restore",
        participle="restored",
        nothing_to_do="nothing to restore",
        ways_to_select="contact_ids, keys, start_date or end_date, prefixes, or run_id",
        dry_run_must_select=True,
        wants_all=True,
        brings_back=True,
        original_is_after=True,
        done=Status.RESTORED,
        trace=trace_of_restore,
    ),
    Kind.RELEASE: Traits(
        title="Release of originals",
        participle="released",
        nothing_to_do="nothing to release",
        ways_to_select="start_date or end_date, or prefixes",
        has_grace=True,
        relies_on_table=True,
        deletes_versions=True,
        done=Status.RELEASED,
        trace=trace_of_release,
    ),
    Kind.EXPIRE: Traits(
        title="Expiry of recordings",
        participle="expired",
        nothing_to_do="no retention has ended",
        lists_days=True,
        relies_on_table=True,
        deletes_versions=True,
        has_rules=True,
        needs_rules=True,
        done=Status.EXPIRED,
        trace=trace_of_destruction,
    ),
    Kind.ERASE: Traits(
        title="Erasure",
        participle="erased",
        nothing_to_do="nothing to erase",
        noun="object",
        ways_to_select="contact_ids or keys",
        dry_run_must_select=True,
        asks_bucket=True,
        relies_on_table=True,
        may_begin_table=True,
        deletes_versions=True,
        resumes=True,
        done=Status.ERASED,
        trace=trace_of_destruction,
    ),
    Kind.HOLD: Traits(
        title="Legal hold",
        participle="held",
        nothing_to_do="nothing to hold",
        noun="object",
        ways_to_select="contact_ids, keys, start_date or end_date, or run_id",
        dry_run_must_select=True,
        asks_bucket=True,
        wants_all=True,
        relies_on_table=True,
        may_begin_table=True,
        done=Status.HELD,
        trace=trace_of_hold,
    ),
    Kind.LIFT: Traits(
        title="End of a legal hold",
        participle="freed from the case",
        nothing_to_do="nothing to lift",
        verb="free",
        noun="object",
        ways_to_select="contact_ids, keys, start_date or end_date, or run_id",
        dry_run_must_select=True,
        asks_bucket=True,
        relies_on_table=True,
        done=Status.LIFTED,
        trace=trace_of_lifting,
    ),
    Kind.RECONCILE: Traits(
        title="Comparison of table and bucket",
        participle="mended",
        nothing_to_do="table and bucket agree",
        lists_days=True,
        looks_only=True,
        has_rules=True,
        relies_on_table=True,
    ),
    Kind.FIXITY: Traits(
        title="Check of the recordings at rest",
        participle="found intact",
        nothing_to_do="nothing to check",
        verb="check",
        relies_on_table=True,
        works_on=SMALL,
        needs_original=False,
        losses=("vanished", "changed-since", "checksum-differs"),
        done=Status.CHECKED,
    ),
}

TRACES = {kind: traits.trace for kind, traits in TRAITS.items() if traits.trace is not None}
DONE = tuple(traits.done for traits in TRAITS.values() if traits.done is not None)
_ORIGINAL_IS_AFTER = {traits.done for traits in TRAITS.values() if traits.original_is_after}


def original_is_after(status: str) -> bool:
    """Whether the columns ``*_after`` of a row with this status describe the original, and not ``*_before``."""
    return status in _ORIGINAL_IS_AFTER
