"""The work pool: its job template is the release's; defaults of variables, the pause and the limit are people's."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import WorkPoolCreate, WorkPoolUpdate
from prefect.client.schemas.filters import WorkPoolFilter, WorkPoolFilterName

from deployments import record
from deployments.comparison import Key, Settings, under
from deployments.plan import Plan, plan
from deployments.refused import Refused

OF_PEOPLE = ("paused", "concurrency_limit", "defaults")


def plan_pool(
    client: SyncPrefectClient,
    name: str,
    kind: str,
    template: Mapping[str, Any],
    *,
    unsaid: Sequence[str] = (),
    reset: bool,
) -> Plan:
    """What a deploy does to the pool.

    Args:
        client: of the Prefect server
        name: of the pool
        kind: its type, as ecs
        template: the base job template of the release
        unsaid: variables whose defaults stay as they are, unless they are given back to the release
        reset: whether to give everything back to the release
    """
    by_name = WorkPoolFilter(name=WorkPoolFilterName(any_=[name]))
    found = next(iter(client.read_work_pools(work_pool_filter=by_name)), None)
    if found and found.type != kind:
        raise Refused(
            f"the work pool {name!r} is of type {found.type}, not {kind}: give ARCHIVE_WORK_POOL another name"
        )
    wants = _settings(paused=False, limit=None, template=template)
    has = None
    if found:
        has = _settings(paused=found.is_paused, limit=found.concurrency_limit, template=found.base_job_template)
    if has and not reset:
        wants |= {key: has[key] for key in (("defaults", each) for each in unsaid) if key in has}

    def put(settings: Settings) -> None:
        fields = _fields(settings)
        if has is None:
            client.create_work_pool(WorkPoolCreate(name=name, type=kind, **fields))
        else:
            before = _fields(has)
            changed = {field: value for field, value in fields.items() if value != before[field]}
            client.update_work_pool(name, WorkPoolUpdate(**changed))

    return plan(
        f"work pool {name}",
        record=record.read(client, f"work pool {name}"),
        has=has,
        wants=wants,
        of_release=lambda key: key[0] not in OF_PEOPLE or (key[0] == "defaults" and ("variables", key[1]) not in wants),
        reset=reset,
        put=put,
        needed=True,
    )


def _settings(*, paused: bool, limit: int | None, template: Mapping[str, Any]) -> dict[Key, Any]:
    variables = template.get("variables", {})
    properties = variables.get("properties", {})
    defaults = {name: each["default"] for name, each in properties.items() if "default" in each}
    return {
        ("paused",): paused,
        ("concurrency_limit",): limit,
        **{("job_configuration", name): value for name, value in template.get("job_configuration", {}).items()},
        **{("variables", name): _without_default(each) for name, each in properties.items()},
        **{("schema", name): value for name, value in variables.items() if name != "properties"},
        **{("defaults", *key): value for key, value in variables_of(defaults)},
    }


def _fields(settings: Settings) -> dict[str, Any]:
    """The settings as the fields of a work pool."""
    defaults = under(settings, "defaults")
    properties = {
        name: each | ({"default": defaults[name]} if name in defaults else {})
        for name, each in under(settings, "variables").items()
    }
    schema = {**under(settings, "schema"), "properties": properties}
    return {
        "is_paused": settings[("paused",)],
        "concurrency_limit": settings[("concurrency_limit",)],
        "base_job_template": {"job_configuration": under(settings, "job_configuration"), "variables": schema},
    }


def _without_default(variable: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in variable.items() if name != "default"}


def variables_of(values: Mapping[str, Any]) -> Iterator[tuple[Key, Any]]:
    """Values of job variables, each environment variable by itself."""
    for name, value in values.items():
        if name == "env" and isinstance(value, Mapping):
            yield from (((name, each), own) for each, own in value.items())
        else:
            yield (name,), value
