"""What a deploy is about to do to one thing in Prefect: a work pool, an automation or a deployment."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial

from deployments.comparison import Digests, Key, Settings, compare, digests
from deployments.record import NOTHING, Record


def nothing() -> None:
    """What is done where nothing is to be done."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The differences, a line for each, and how to make them go away."""

    thing: str
    changed: Sequence[str] = ()
    kept: Sequence[str] = ()
    result: Settings = field(default_factory=dict)  # what Prefect has afterwards
    carry_out: Callable[[], None] = nothing

    def lines(self) -> Iterator[str]:
        if self.changed or self.kept:
            yield from (self.thing, *self.changed, *self.kept)


def plan(
    thing: str,
    *,
    record: Record,
    has: Settings | None,
    wants: Settings,
    of_release: Callable[[Key], bool],
    reset: bool,
    put: Callable[[Settings], None],
    needed: bool = False,
    before_records: Digests = NOTHING,
) -> Plan:
    """Compare the thing with the release.

    Args:
        thing: what it is called
        record: what deploys wrote to it
        has: its settings in Prefect; None if it is not there
        wants: its settings in this release
        of_release: the settings about which the release always decides
        reset: whether the release decides about all of them
        put: creates or changes it, so that it has these settings
        needed: whether to create it again if somebody deleted it
        before_records: what is taken to have been written by a release that kept no record
    """
    state = digests({key: value for key, value in wants.items() if not of_release(key)})
    if has is None:
        if not (record.is_empty or reset or needed):
            return Plan(thing=thing, kept=["  = somebody deleted it, and it stays deleted"])
        return Plan(
            thing=thing,
            changed=["  + new"],
            result=wants,
            carry_out=lambda: record.around(record.states or [NOTHING], state, lambda: put(wants)),
        )
    written = record.states or [before_records]
    compared = compare(has=has, wants=wants, written=written, of_release=lambda key: reset or of_release(key))
    act = partial(put, compared.result) if compared.changed else nothing
    return Plan(
        thing=thing,
        changed=compared.changed,
        kept=compared.kept,
        result=compared.result,
        carry_out=lambda: record.around(written, state, act),
    )
