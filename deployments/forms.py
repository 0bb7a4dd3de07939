"""Show each parameter that may be left out as an empty field of the run form.

For a type that may be null, Prefect declares both kinds, with null as the default. The UI then offers a choice between
the type and None, with None selected. Without null and default, the UI shows an empty field, and omits the parameter if
the field stays empty: docs/decisions/0037-forms-without-none.md.
"""

from collections.abc import Mapping
from typing import Any


def plain(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The schema of a flow's parameters, without null and default for those that may be left out."""
    return {**schema, "properties": {name: _plain(field) for name, field in schema["properties"].items()}}


def _plain(field: Mapping[str, Any]) -> dict[str, Any]:
    kinds = field.get("anyOf", [])
    if field.get("default") is not None or {"type": "null"} not in kinds:
        return dict(field)
    (kind,) = (each for each in kinds if each != {"type": "null"})
    return {**{name: value for name, value in field.items() if name not in ("anyOf", "default")}, **kind}
