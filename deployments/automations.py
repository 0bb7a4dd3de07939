"""``python -m deployments.automations``: create or update the automations of automations.yaml on the Prefect server."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from uuid import UUID

import yaml  # type: ignore[import-untyped]
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.events.schemas.automations import AutomationCore

FILE = Path(__file__).parent / "automations.yaml"
NOTIFY = "ARCHIVE_NOTIFY_BLOCK"


def automations(block: UUID | None) -> list[AutomationCore]:
    """The automations of automations.yaml. Those that notify use this block, and are left out without one."""
    declared = yaml.safe_load(FILE.read_text())
    return [AutomationCore.model_validate(_through(each, block)) for each in declared if block or not _notifies(each)]


def _notifies(declared: Mapping[str, Any]) -> bool:
    return any(action["type"] == "send-notification" for action in declared["actions"])


def _through(declared: Mapping[str, Any], block: UUID | None) -> dict[str, Any]:
    if not _notifies(declared):
        return dict(declared)
    return {**declared, "actions": [{**action, "block_document_id": str(block)} for action in declared["actions"]]}


def install(client: SyncPrefectClient, block_name: str) -> list[str]:
    """Make the server's automations equal to the file's; returns a line for each."""
    wanted = automations(_block(client, block_name))
    lines = []
    for automation in wanted:
        _forget(client, automation.name)
        body = automation.model_dump(mode="json")
        client.request("POST", "/automations/", json=body).raise_for_status()
        lines.append(f"automation {automation.name!r} installed")
    names = {automation.name for automation in wanted}
    for each in yaml.safe_load(FILE.read_text()):
        if each["name"] not in names:
            _forget(client, each["name"])
            lines.append(f"automation {each['name']!r} is off: {NOTIFY} names no block")
    return lines


def _forget(client: SyncPrefectClient, name: str) -> None:
    filters = {"automations": {"name": {"any_": [name]}}}
    found = client.request("POST", "/automations/filter", json=filters)
    for each in found.raise_for_status().json():
        client.request("DELETE", "/automations/{id}", path_params={"id": each["id"]}).raise_for_status()


def _block(client: SyncPrefectClient, name: str) -> UUID | None:
    """The id of the block with this name, such as slack-webhook/archive."""
    if not name:
        return None
    kind, _, own = name.partition("/")
    document = client.read_block_document_by_name(own, kind)
    return UUID(str(document.id))


def main() -> None:
    with get_client(sync_client=True) as client:
        print("\n".join(install(client, os.environ.get(NOTIFY, ""))))


if __name__ == "__main__":
    main()
