"""The automations of automations.yaml on the Prefect server, unless people changed, paused or deleted them there."""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from string import Template
from typing import Any
from uuid import UUID

import yaml  # type: ignore[import-untyped]
from prefect.client.orchestration import SyncPrefectClient
from prefect.events.schemas.automations import AutomationCore
from prefect.exceptions import ObjectNotFound

from deployments import record
from deployments.comparison import Settings
from deployments.estate import NOTIFY, Place
from deployments.plan import Plan, plan
from deployments.record import NOTHING
from deployments.refused import Refused

FILE = Path(__file__).parent / "automations.yaml"
PREFIX = "recording archive"  # of all names
ALL = {"OF_INSTANCE": "", "TAG": "archive", "TABLE": "*"}  # of all instances


def automations(shell: Mapping[str, str], block: UUID | None) -> list[AutomationCore]:
    """The automations on all instances. Those that notify use this block, and are left out without one."""
    return _through({**shell, **ALL}, block)


def automations_of(place: Place, block: UUID | None) -> list[AutomationCore]:
    """The automations that notify of one instance alone."""
    of_instance = {"OF_INSTANCE": f" {place.name}", "TAG": place.tags[0], "TABLE": place.variables["ARCHIVE_AUDIT_URI"]}
    common = {each["name"] for each in _declared({**place.variables, **ALL})}
    return [each for each in _through({**place.variables, **of_instance}, block) if each.name not in common]


def _through(variables: Mapping[str, str], block: UUID | None) -> list[AutomationCore]:
    notifying_too = (each for each in _declared(variables) if block or not _notifies(each))
    return [AutomationCore.model_validate(_told(each, block)) for each in notifying_too]


def _declared(variables: Mapping[str, str]) -> list[dict[str, Any]]:
    """The file, with the variables that it names filled in."""
    declared: list[dict[str, Any]] = yaml.safe_load(Template(FILE.read_text()).safe_substitute(variables))
    return declared


def _notifies(declared: Mapping[str, Any]) -> bool:
    return any(action["type"] == "send-notification" for action in declared["actions"])


def _told(declared: Mapping[str, Any], block: UUID | None) -> dict[str, Any]:
    if not _notifies(declared):
        return dict(declared)
    return {**declared, "actions": [{**action, "block_document_id": str(block)} for action in declared["actions"]]}


def plan_automations(
    client: SyncPrefectClient, shell: Mapping[str, str], places: Sequence[Place], *, reset: bool
) -> Iterator[Plan]:
    """What a deploy does to each automation."""
    wanted = automations(shell, _block(client, shell.get(NOTIFY, "")))
    yield from (_plan(client, each, reset) for each in wanted)
    yield from (
        _plan_without_block(client, name, reset) for name in names() if name not in {each.name for each in wanted}
    )
    for place in places:
        if place.notify:
            of_instance = automations_of(place, _block(client, place.notify))
            yield from (_plan(client, each, reset) for each in of_instance)


def left_over_automations(client: SyncPrefectClient, planned: Sequence[Plan]) -> Iterator[str]:
    """A line for each automation of the archive that no plan is about."""
    things = {each.thing for each in planned}
    named = (f"automation {each.name!r}" for each in client.read_automations() if each.name.startswith(PREFIX))
    yield from (f"{each} is not of this release, and stays as it is" for each in named if each not in things)


def names() -> list[str]:
    """The names of all automations."""
    return [each["name"] for each in _declared(ALL)]


def _plan_without_block(client: SyncPrefectClient, name: str, reset: bool) -> Plan:
    """An automation that notifies, and no block to notify through: a shell without the variable silences nothing."""
    thing, found = f"automation {name!r}", next(iter(client.read_automations_by_name(name)), None)
    if not (found and reset):
        state = "stays as it is" if found else "is off"
        return Plan(thing=thing, kept=[f"  {state}: {NOTIFY} names no block"])
    known, delete = record.read(client, thing), partial(client.delete_automation, found.id)
    return Plan(
        thing=thing,
        changed=[f"  - is off: {NOTIFY} names no block"],
        carry_out=lambda: known.around(known.states, NOTHING, delete),
    )


def _plan(client: SyncPrefectClient, wanted: AutomationCore, reset: bool) -> Plan:
    found = next(iter(client.read_automations_by_name(wanted.name)), None)

    def put(settings: Settings) -> None:
        automation = AutomationCore(name=wanted.name, **{name: value for (name,), value in settings.items()})
        if found:
            client.update_automation(found.id, automation)
        else:
            client.create_automation(automation)

    thing = f"automation {wanted.name!r}"
    return plan(
        thing,
        record=record.read(client, thing),
        has=_settings(found) if found else None,
        wants=_settings(wanted),
        of_release=lambda key: False,
        reset=reset,
        put=put,
    )


def _settings(automation: AutomationCore) -> Settings:
    fields = automation.model_dump(mode="json", include={*AutomationCore.model_fields} - {"name", "owner_resource"})
    return {(name,): _sorted(value) for name, value in fields.items()}


def _sorted(node: Any) -> Any:
    """The same with words in order: Prefect keeps the names of events as sets."""
    if isinstance(node, dict):
        return {key: _sorted(value) for key, value in node.items()}
    if isinstance(node, list):
        return sorted(node) if all(isinstance(each, str) for each in node) else [_sorted(each) for each in node]
    return node


def _block(client: SyncPrefectClient, name: str) -> UUID | None:
    """The id of the block with this name, such as slack-webhook/archive."""
    if not name:
        return None
    kind, _, own = name.partition("/")
    try:
        document = client.read_block_document_by_name(own, kind)
    except ObjectNotFound:
        said = f"{name} ({NOTIFY}, or notify of an instance) names no block of Prefect"
        raise Refused(f"{said}: it is type/name, as slack-webhook/archive") from None
    return UUID(str(document.id))
