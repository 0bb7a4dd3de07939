"""Names of flow runs: the action and its subject, so that people can read a list of runs.

``scheduled_on`` is the UTC day for which a run is scheduled: it decides the dates that were left out.
"""

from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import date
from typing import Any

from recordings.backfill.portions import Portion
from recordings.formatting import plural
from recordings.jobs.engine.job import days_to_compare
from recordings.recording import open_span, span
from recordings.request import LOOKBACK_DAYS, MIN_AGE_DAYS
from recordings.run import window
from recordings.table.records import Kind


def run_name(verb: str, parameters: Mapping[str, Any], scheduled_on: date) -> str:
    """The name of an archiving run, a backfill or an estimate: ``archive 2026-01-17``, ``dry run: backfill 2026-01``.

    The name has no days if the dates are invalid; the run itself reports such dates.
    """
    try:
        first, last = window(
            scheduled_on,
            parameters.get("start_date"),
            parameters.get("end_date"),
            min_age_days=parameters.get("min_age_days", MIN_AGE_DAYS),
            lookback_days=parameters.get("lookback_days", LOOKBACK_DAYS),
        )
        days = span(first, last)
    except (ValueError, OverflowError):
        days = ""
    dry = "dry run: " if parameters.get("dry_run") else ""
    return f"{dry}{' '.join(filter(None, (verb, days, parameters.get('shard'))))}"


def portion_name(portion: Portion) -> str:
    """The name of the run that archives a portion of a backfill; the run gives itself the same name when it begins."""
    parameters = {"start_date": portion.date, "end_date": portion.date, "shard": portion.shard}
    return run_name("archive", parameters, portion.date)


def job_name(kind: Kind, parameters: Mapping[str, Any], scheduled_on: date) -> str:
    """The name of a job that follows archiving, or of an export: ``dry run: restore 3 contacts``."""
    if kind is Kind.RECONCILE:
        verb = "repair" if parameters["repair"] else "compare"
        return f"{verb} table and {parameters['bucket']}, {_days_compared(parameters, scheduled_on)}"
    dry = "dry run: " if parameters["dry_run"] else ""
    return f"{dry}{_SUBJECT[kind](parameters)}"


def _days_compared(parameters: Mapping[str, Any], scheduled_on: date) -> str:
    start, end = parameters["start_date"], parameters["end_date"]
    with suppress(ValueError, OverflowError):  # the run itself reports invalid dates
        start, end = days_to_compare(scheduled_on, start, end)
    return open_span(start, end)


def _release(parameters: Mapping[str, Any]) -> str:
    return ", ".join(filter(None, (f"release originals of {parameters['bucket']}", *_where(parameters))))


def _check(parameters: Mapping[str, Any]) -> str:
    return ", ".join(filter(None, (f"check {parameters['bucket']}", *_where(parameters))))


def _expiry(parameters: Mapping[str, Any]) -> str:
    return ", ".join(filter(None, (f"expire recordings of {parameters['bucket']}", *_where(parameters))))


def _restore(parameters: Mapping[str, Any]) -> str:
    said = _selected(parameters) or ("everything" if parameters["everything"] else "nothing selected")
    return f"restore {said}"


def _erasure(parameters: Mapping[str, Any]) -> str:
    case = f" for {parameters['case'].strip()}" if parameters["case"].strip() else ""
    return f"erase {_selected(parameters) or 'what was deferred'}{case}"


def _hold(parameters: Mapping[str, Any]) -> str:
    verb = "lift the hold on" if parameters["lift"] else "hold"
    return f"{verb} {_selected(parameters) or 'nothing selected'} for {parameters['case'].strip()}"


def _export(parameters: Mapping[str, Any]) -> str:
    case = f"case {parameters['case'].strip()}" if (parameters["case"] or "").strip() else ""
    selected = _selected(parameters)
    said = f"{selected} for {case}" if selected and case else selected or case or "nothing selected"
    return f"export {said}"


def _selected(parameters: Mapping[str, Any]) -> str:
    contacts, keys = parameters["contact_ids"] or [], parameters.get("keys") or []
    run_id = (parameters.get("run_id") or "").strip()
    several = plural(len(contacts), "contact") if contacts else ""
    parts = [
        f"contact {contacts[0]}" if len(contacts) == 1 else several,
        plural(len(keys), "key") if keys else "",
        f"run {run_id}" if run_id else "",
        *_where(parameters),
    ]
    return ", ".join(filter(None, parts))


def _where(parameters: Mapping[str, Any]) -> tuple[str, str]:
    """The days of calls, and the prefixes; each is empty if it was left out."""
    below = f"below {', '.join(parameters['prefixes'])}" if parameters["prefixes"] else ""
    return open_span(parameters["start_date"], parameters["end_date"]), below


def savings_name(parameters: Mapping[str, Any]) -> str:
    """The name of a savings report: ``savings report 2026-01``, ``savings report, all days``."""
    days = open_span(parameters["start_date"], parameters["end_date"])
    return f"savings report {days}" if days else "savings report, all days"


_SUBJECT: Mapping[Kind, Callable[[Mapping[str, Any]], str]] = {
    Kind.RESTORE: _restore,
    Kind.RELEASE: _release,
    Kind.FIXITY: _check,
    Kind.EXPIRE: _expiry,
    Kind.ERASE: _erasure,
    Kind.HOLD: _hold,
    Kind.EXPORT: _export,
}
