"""``python -m deployments.forms``: show each parameter that may be left out as an empty field of the run form.

For a type that may be null, ``prefect deploy`` declares both kinds, with null as the default. The UI then offers a
choice between the type and None, with None selected. Without null and default, the UI shows an empty field, and omits
the parameter if the field stays empty: docs/decisions/0037-forms-without-none.md.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import DeploymentUpdate
from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterName

FILE = Path(__file__).parents[1] / "prefect.yaml"


def plain(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The schema of a flow's parameters, without null and default for those that may be left out."""
    return {**schema, "properties": {name: _plain(field) for name, field in schema["properties"].items()}}


def _plain(field: Mapping[str, Any]) -> dict[str, Any]:
    kinds = field.get("anyOf", [])
    if field.get("default") is not None or {"type": "null"} not in kinds:
        return dict(field)
    (kind,) = (each for each in kinds if each != {"type": "null"})
    return {**{name: value for name, value in field.items() if name not in ("anyOf", "default")}, **kind}


def install(client: SyncPrefectClient) -> Iterator[str]:
    """Give the registered deployments of prefect.yaml plain forms; yields a line for each."""
    entrypoints = {each["name"]: each["entrypoint"] for each in yaml.safe_load(FILE.read_text())["deployments"]}
    named = DeploymentFilter(name=DeploymentFilterName(any_=[*entrypoints]))
    for found in client.read_deployments(deployment_filter=named):
        schema = found.parameter_openapi_schema
        if schema and found.entrypoint == entrypoints[found.name]:  # another project may use the same name
            client.update_deployment(found.id, DeploymentUpdate(parameter_openapi_schema=plain(schema)))
            yield f"run form of {found.name!r} installed"


def main() -> None:
    with get_client(sync_client=True) as client:
        print("\n".join(install(client)))


if __name__ == "__main__":
    main()
