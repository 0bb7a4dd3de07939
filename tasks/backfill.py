"""A backfill as Prefect carries it out: a run for each portion, a few at a time, by a deployment or in this process.

A portion is a day, or a shard of a large day, that one run archives.
"""

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import date
from itertools import chain
from typing import Any, cast
from uuid import UUID

from prefect import unmapped
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterId,
    FlowRunFilterParentFlowRunId,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import TERMINAL_STATES, FlowRun, State, StateType
from prefect.deployments import run_deployment
from prefect.exceptions import ObjectNotFound
from prefect.logging import get_run_logger
from prefect.runtime import flow_run
from prefect.states import Cancelled, Cancelling
from prefect.utilities.urls import url_for

from recordings.backfill.finished import finished_since
from recordings.backfill.portions import (
    Backfill,
    Portion,
    Portions,
    days_to_cut,
    days_to_sample,
    find_portions,
    parameters_of,
    plan_backfill,
)
from recordings.backfill.records import record_backfill, record_backfill_end
from recordings.backfill.standing import damage_found, stand
from recordings.backfill.summary import BackfillFailed, BackfillSummary, Ended, summarize_backfill, summarize_dry_run
from recordings.backfill.weeks import Weeks
from recordings.errors import Changed, InvalidRequest, StoreRefused, StoreUnavailable
from recordings.estimate import Survey, look_at, worth_it
from recordings.formatting import plural
from recordings.plan import list_day, survey_of
from recordings.pool import shared_pool
from recordings.pricing import prices
from recordings.recording import Day
from recordings.reports.backfill import backfill_report
from recordings.reports.names import portion_name
from recordings.run import Run
from tasks.artifacts import Bar, publish
from tasks.circumstances import circumstances
from tasks.estimate import publish_forecast
from tasks.run import preflight
from tasks.runner import Chunk, chunks_of
from tasks.stage import stage
from tasks.workplace import workplace

_POLL_S = 2.0
_COMPLETED = "Completed"
_PREFECTS_WORDS = "Flow run encountered an exception: "
_CANCELLED_WITHIN_S = 20.0  # a cancelled run is killed after 30 seconds
Archive = Callable[..., State[Any]]  # the archiving flow, called so that it returns its state


def begin_backfill(archives: str, run: Run, *, deployment: str, max_parallel: int, shard_above: int) -> Backfill:
    """Record the start of a backfill of this run's window; ``archives`` names the flow that archives a day.

    Raises InvalidRequest before anything is touched.
    """
    backfill = plan_backfill(run, deployment=deployment, max_parallel=max_parallel, shard_above=shard_above)
    _check_deployment(backfill.deployment, archives)
    backfill = replace(backfill, findings=tuple(preflight(run)))
    if not run.dry_run:
        record_backfill(workplace(run).files, backfill, circumstances=circumstances())
    return backfill


def _check_deployment(name: str, archives: str) -> None:
    if not name:
        return
    way_out = f"give one of the flow {archives}, as {archives}/archive-day, or leave it out: then this run archives"
    with get_client(sync_client=True) as client:
        try:
            found = client.read_deployment_by_name(name)
        except (ObjectNotFound, ValueError) as error:  # ValueError for a name without a slash
            raise InvalidRequest(f"deployment {name!r} does not exist: {way_out}") from error
        flow = client.read_flow(found.flow_id).name
    if flow != archives:
        raise InvalidRequest(f"deployment {name!r} starts {flow}, which does not archive: {way_out}")


def cut_into_portions(backfill: Backfill) -> Portions:
    """The window's portions, and those of them that no run has finished."""
    finished = finished_since(workplace(backfill.run).files, backfill.run)
    days, whole = days_to_cut(backfill.run, finished)
    cut = cut_days.map(chunks_of(days), unmapped(backfill)).result()
    return Portions([*whole, *chain.from_iterable(cut)], finished)


@stage(task_run_name="count recordings of {days}")
def cut_days(days: Chunk[date], backfill: Backfill) -> list[Portion]:
    """The portions of some days."""
    return find_portions(days.days, backfill, workplace(backfill.run).store, shared_pool())


def end_dry_run(backfill: Backfill, portions: Portions, surveys: Sequence[Survey]) -> BackfillSummary:
    """Publish the forecast for what is left, return what a backfill would have to do."""
    _, damaged = stand(backfill, portions, workplace(backfill.run).files)
    findings = [*backfill.findings, *damage_found(damaged)]
    ahead = publish_forecast(backfill.run, surveys, findings, runs=len(portions.left))
    summary = summarize_dry_run(portions, ahead.recordings, damaged)
    get_run_logger().log(logging.WARNING if damaged else logging.INFO, "%s", summary)
    return summary


@stage(task_run_name="sample what is left of {backfill.run.bucket}")
def say_what_is_worth_it(backfill: Backfill, portions: Portions) -> None:
    """Report, before the first run starts, how much is worth archiving, by a sample from some of the days left."""
    run = backfill.run
    chosen = days_to_sample(portions.left)
    if not chosen:
        return
    days = [Day(prefix=prefix, date=day) for day in chosen for prefix in run.prefixes]
    store, files = workplace(run).store, workplace(run).files
    try:
        survey = survey_of(shared_pool().map(lambda day: list_day(store, files, day, run), days))
    except (StoreUnavailable, StoreRefused, Changed) as error:
        get_run_logger().warning("nobody could see how much of this is worth archiving: %s", error)
        return
    said = worth_it(look_at(store, survey.sample, run, shared_pool()), run, prices())
    left = len({portion.date for portion in portions.left})
    get_run_logger().info("a sample of %d of the %s left: %s", len(chosen), plural(left, "day"), said)


def archive_portions(backfill: Backfill, portions: Portions, archive: Archive) -> Mapping[Portion, Ended]:
    """Archive the portions that are left; returns the end of each portion's run."""
    weeks = Weeks(workplace(backfill.run).files, backfill.run, portions.left)
    weeks.record_finished_before()
    progress = _Progress(weeks, portions)
    if backfill.deployment:
        return _by_deployment(backfill, portions, progress)
    ended = {}
    for portion in portions.left:
        state = archive(**parameters_of(portion, backfill.run), return_state=True)
        ended[portion] = _ended_as(state.state_details.flow_run_id, state)
        progress.ended(portion, ended[portion])
    return ended


def _ended_as(run_id: UUID | None, state: State[Any] | None) -> Ended:
    """The end of a run, for people; the run may also have vanished from the server."""
    message = (state.message or "").removeprefix(_PREFECTS_WORDS) if state else "somebody deleted the flow run"
    url = url_for("flow-run", obj_id=run_id) if run_id else None
    return Ended(
        state=str(state.name) if state else "Deleted", message=" ".join(message.split()), flow_run=str(run_id), url=url
    )


class _Progress:
    """The progress of a backfill: in its log, as an artifact, and in the records of its weeks."""

    def __init__(self, weeks: Weeks, portions: Portions) -> None:
        self._weeks = weeks
        self._left, self._done = len(portions.left), 0
        self._bar = Bar(0 if portions.left else 100, key="backfill-progress", description=str(portions))

    def ended(self, portion: Portion, ended: Ended) -> None:
        """Count this portion as ended."""
        self._done += 1
        if ended.state == _COMPLETED:
            self._weeks.record_finished(portion)
        self._bar.show(100 * self._done / self._left)
        said = get_run_logger().info if ended.state == _COMPLETED else get_run_logger().error
        said("day %d of %d, %s: %s", self._done, self._left, portion, ended)


def _by_deployment(backfill: Backfill, portions: Portions, progress: _Progress) -> Mapping[Portion, Ended]:
    states: dict[Portion, Ended] = {}
    waiting, running = list(reversed(portions.left)), dict[Portion, UUID]()
    with _cancelled_with_us():
        while waiting or running:
            while waiting and len(running) < backfill.max_parallel:
                portion = waiting.pop()
                running[portion] = _start(portion, backfill)
            time.sleep(_POLL_S)
            for portion, state in _ended(running).items():
                states[portion] = state
                del running[portion]
                progress.ended(portion, state)
    return states


def _start(portion: Portion, backfill: Backfill) -> UUID:
    """Start the portion's run, or find the run of an earlier attempt of this backfill, if it still works."""
    key = f"{flow_run.id} {portion}"
    run = _run(portion, backfill, key)
    if run.state and run.state.is_final():
        run = _run(portion, backfill, f"{key} {flow_run.run_count}")
    return run.id


def _run(portion: Portion, backfill: Backfill, key: str) -> FlowRun:
    """The run with this key; a new one if there is none."""
    parameters = parameters_of(portion, backfill.run)
    run = run_deployment(
        backfill.deployment,
        parameters=parameters,
        timeout=0,
        idempotency_key=key,
        tags=["backfill"],
        flow_run_name=portion_name(portion),
    )
    return cast(FlowRun, run)


def _ended(running: Mapping[Portion, UUID]) -> dict[Portion, Ended]:
    """The portions whose runs have ended, and how they ended."""
    with get_client(sync_client=True) as client:
        runs = client.read_flow_runs(flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=list(running.values()))))
    states = {run.id: run.state for run in runs}
    working = {each for each, state in states.items() if state is None or not state.is_final()}
    return {portion: _ended_as(each, states.get(each)) for portion, each in running.items() if each not in working}


@contextmanager
def _cancelled_with_us() -> Iterator[None]:
    """Cancel the backfill's runs if it is cancelled; if it ends otherwise, they go on, and a retry finds them."""
    ours = UUID(flow_run.id)
    try:
        yield
    except BaseException:
        with get_client(sync_client=True) as client:
            state = client.read_flow_run(ours).state
            if state and state.type is StateType.CANCELLING:
                _cancel_runs_of(ours, client)
        raise


def _cancel_runs_of(parent: UUID, client: SyncPrefectClient) -> None:
    """Cancel the parent's runs. A run about to start may miss this and stay Cancelling: it is ended here."""
    for each in _working(parent, client):
        client.set_flow_run_state(each, Cancelling())
    deadline = time.monotonic() + _CANCELLED_WITHIN_S
    while (left := _working(parent, client)) and time.monotonic() < deadline:
        time.sleep(1)
    for each in left:
        client.set_flow_run_state(each, Cancelled(message="Cancelled with its backfill"), force=True)


def _working(parent: UUID, client: SyncPrefectClient) -> list[UUID]:
    """The parent's runs that have not ended."""
    not_ended = FlowRunFilterStateType(not_any_=list(TERMINAL_STATES))
    runs = client.read_flow_runs(
        flow_run_filter=FlowRunFilter(
            parent_flow_run_id=FlowRunFilterParentFlowRunId(any_=[parent]), state=FlowRunFilterState(type=not_ended)
        )
    )
    return [run.id for run in runs]


def end_backfill(backfill: Backfill, portions: Portions, ended: Mapping[Portion, Ended]) -> BackfillSummary:
    """Publish the report on all days, return the summary. Raises BackfillFailed unless all are finished."""
    place = workplace(backfill.run)
    finished = finished_since(place.files, backfill.run)
    stands, damaged = stand(backfill, portions, place.files)
    summary = summarize_backfill(portions, finished, stands, ended, damaged)
    report = backfill_report(backfill, portions, summary, finished, stands, ended)
    publish(report, key="backfill-report", description=str(summary))
    record_backfill_end(place.files, backfill.run, is_finished=not summary.failed)
    if summary.failed:
        failure = BackfillFailed(summary)
        get_run_logger().error("%s", failure)
        raise failure
    get_run_logger().info("%s", summary)
    return summary
