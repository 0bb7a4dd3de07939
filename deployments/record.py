"""What the last deploy wrote to a thing in Prefect, kept there as a Variable: so the next one knows what people set."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import VariableCreate, VariableUpdate

from deployments.comparison import Digests

PREFIX = "recording_archive_deployed"
NOTHING: Digests = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What deploys wrote to one thing: one state, or two if a deploy began to write and did not finish."""

    client: SyncPrefectClient
    variable: str
    exists: bool
    states: Sequence[Digests]

    @property
    def is_empty(self) -> bool:
        """No deploy that keeps a record has finished here."""
        return not self.states or NOTHING in self.states

    def around(self, written: Sequence[Digests], state: Digests, act: Callable[[], None]) -> None:
        """Note the state beside what was written before, act, and note that the state is all there is.

        So what a deploy died over is not taken for people's.
        """
        if self.states == [state]:
            act()
            return
        both = [*written[-2:], state]
        if self.exists:
            self._write(both)
        else:
            value = [dict(each) for each in both]
            self.client.create_variable(VariableCreate(name=self.variable, value=value, tags=["recording-archive"]))
        act()
        self._write([state])

    def _write(self, states: Sequence[Digests]) -> None:
        value = [dict(each) for each in states]
        self.client.update_variable(VariableUpdate(name=self.variable, value=value))


def read(client: SyncPrefectClient, thing: str) -> Record:
    """The record of a thing, such as "deployment archive-recordings/archive-daily"."""
    name = f"{PREFIX}_{re.sub('[^a-z0-9]+', '_', thing.lower())}"
    found = client.read_variable_by_name(name)
    value = found.value if found else None
    states = [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []
    return Record(client=client, variable=name, exists=bool(found), states=states)
