"""The deployments of prefect.yaml on the Prefect server: what this release says of them, and what people set."""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any, TypeVar

import yaml  # type: ignore[import-untyped]
from prefect import Flow
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import DeploymentScheduleCreate, DeploymentUpdate
from prefect.client.schemas.filters import WorkPoolFilter, WorkPoolFilterName
from prefect.client.schemas.responses import DeploymentResponse
from prefect.client.schemas.schedules import CronSchedule
from prefect.exceptions import ObjectNotFound
from prefect.flows import load_flow_from_entrypoint
from prefect.utilities.callables import parameter_schema
from prefect.utilities.schema_tools import validate

from deployments import record
from deployments.comparison import Key, Settings, digests, under, word
from deployments.estate import ASSUMED, Estate, Place, bucket_of, place_of_report, places, prefixes_of
from deployments.forms import plain
from deployments.plan import Plan, plan
from deployments.pools import variables_of
from deployments.refused import Refused

T = TypeVar("T")
FILE = Path(__file__).parents[1] / "prefect.yaml"
OF_PEOPLE = ("paused", "concurrency_limit", "concurrency_options", "parameters", "job_variables", "schedules")
OF_RELEASE = (  # what runs, and whom it acts as
    ("job_variables", "image"),
    ("job_variables", "task_role_arn"),
    ("job_variables", "env", ASSUMED),
)
_PAGE = 200  # as many as Prefect answers at once
_VARIABLE = re.compile(r"{{ \$(\w+) }}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Declared:
    """A deployment of prefect.yaml, filled in from the environment, with the form of its flow."""

    name: str
    flow: str
    settings: Settings

    @property
    def full_name(self) -> str:
        return f"{self.flow}/{self.name}"

    def of_release(self, key: Key) -> bool:
        """Whether the release decides about this setting, whatever people set."""
        if key[0] == "parameters" and ("form", key[1]) not in self.settings:
            return True  # the flow no longer takes it
        return key[0] not in OF_PEOPLE or key in OF_RELEASE or (key[0], key[-1]) == ("schedules", "slug")


def declared(estate: Estate | None, shell: Mapping[str, str]) -> list[Declared]:
    """What prefect.yaml declares, for each instance of the estate. Raises Refused."""
    file = yaml.safe_load(FILE.read_text())
    pairs = [(place, each) for place in places(estate, shell) for each in file["deployments"]]
    for place in {place.name: place for place, _ in pairs}.values():
        _check_schedules(place, file["deployments"])
    if estate:
        pairs += [(place_of_report(estate, shell), each) for each in file["definitions"]["estate"]]
    wanted = [_declared(each, file["pull"], place) for place, each in pairs]
    if twice := [name for name, count in Counter(each.name for each in wanted).items() if count > 1]:
        raise Refused(f"two deployments would be called {', '.join(twice)}: give an instance another name")
    return wanted


def _check_schedules(place: Place, deployments: Sequence[Mapping[str, Any]]) -> None:
    scheduled = [each["name"] for each in deployments if "schedules" in each]
    if unknown := place.schedules.keys() - {*scheduled}:
        raise Refused(
            f"instance {place.name}, schedules: {', '.join(sorted(unknown))} is no deployment with a schedule; "
            f"these are: {', '.join(scheduled)}"
        )


def _filled(node: Any, variables: Mapping[str, str]) -> Any:
    """The node with its variables filled in. Those that are not set are empty, as for Prefect itself."""
    if isinstance(node, Mapping):
        return {name: _filled(value, variables) for name, value in node.items()}
    if isinstance(node, list):
        return [_filled(each, variables) for each in node]
    return _VARIABLE.sub(lambda found: variables.get(found[1], ""), node) if isinstance(node, str) else node


def _declared(deployment: Mapping[str, Any], pull: Any, place: Place) -> Declared:
    filled = _filled({"pull": pull, **deployment}, place.variables)
    flow, form = flow_of(filled["entrypoint"])
    limit = filled.get("concurrency_limit", {})
    options = {"collision_strategy": limit["collision_strategy"]} if limit else None
    own = {name: value for name, value in place.parameters.items() if name in form["properties"]}
    parameters = {**filled["parameters"], **own}
    if "bucket" in parameters:
        parameters["bucket"] = bucket_of(parameters["bucket"])
    if "prefixes" in parameters:  # one variable may hold several
        parameters["prefixes"] = [part for each in parameters["prefixes"] for part in prefixes_of(each)]
    settings: dict[Key, Any] = {
        ("entrypoint",): filled["entrypoint"],
        ("description",): filled["description"],
        ("tags",): sorted([*filled["tags"], *place.tags]),
        ("pull_steps",): filled["pull"],
        ("work_pool",): filled["work_pool"]["name"],
        ("version",): place.variables.get("ARCHIVE_IMAGE", "").rpartition(":")[2] or None,
        ("parameters_are_checked",): True,
        **_form(form),
        ("paused",): False,
        ("concurrency_limit",): limit.get("limit"),
        ("concurrency_options",): options,
        **{("parameters", name): value for name, value in parameters.items()},
        **{("job_variables", *key): value for key, value in variables_of(filled["work_pool"]["job_variables"])},
        **{("job_variables", "env", name): value for name, value in place.settings.items()},
    }
    if place.assumed_prefix:
        role = filled["work_pool"]["job_variables"]["task_role_arn"]
        policy = role.removeprefix(place.variables["ARCHIVE_ROLE_PREFIX"])
        settings[("job_variables", "env", ASSUMED)] = place.assumed_prefix + policy
    for each in filled.get("schedules", []):
        changed = place.schedules.get(filled["name"])
        said = {"active": True, **each, **(changed.model_dump(exclude_none=True) if changed else {})}
        schedule = CronSchedule(cron=said["cron"], timezone=said["timezone"])
        settings |= _schedule(said["slug"], schedule.model_dump(mode="json"), said["active"])
    if flaws := list(_flaws(own, settings)):
        raise Refused(f"instance {place.name}: {'; '.join(flaws)}")
    return Declared(name=f"{filled['name']}{place.suffix}", flow=flow, settings=settings)


@cache
def flow_of(entrypoint: str) -> tuple[str, Mapping[str, Any]]:
    """The flow's name, and the form of its parameters."""
    flow: Flow[..., Any] = load_flow_from_entrypoint(entrypoint)
    return flow.name, plain(parameter_schema(flow.fn).model_dump(mode="json"))


def _flaws(parameters: Mapping[str, Any], settings: Settings) -> Iterator[str]:
    """What the form refuses of these parameters, a line for each."""
    errors = validate(dict(parameters), form_of(settings), ignore_required=True)
    yield from (f"{error.json_path.removeprefix('$.')}: {error.message}" for error in errors)


def _form(schema: Mapping[str, Any]) -> dict[Key, Any]:
    """The form of runs, each field by itself."""
    fields: dict[Key, Any] = {("form", name): field for name, field in schema.get("properties", {}).items()}
    return {**fields, ("form_requires",): schema.get("required", []), ("form_types",): schema.get("definitions", {})}


def _schedule(name: str, when: Mapping[str, Any], active: bool) -> dict[Key, Any]:
    return {("schedules", name, "when"): when, ("schedules", name, "active"): active}


def plan_deployment(client: SyncPrefectClient, wanted: Declared, *, reset: bool) -> Plan:
    """What a deploy does to the deployment."""
    known = _without_other_schedules(record.read(client, f"deployment {wanted.full_name}"), wanted)
    try:
        found: DeploymentResponse | None = client.read_deployment_by_name(wanted.full_name)
    except ObjectNotFound:
        found = None
    names = _names_of_schedules(found, wanted) if found else {}
    without_slug: list[Key] = [
        ("schedules", name, "slug") for name, each in names.items() if not each.slug and name != str(each.id)
    ]
    has: Settings | None = _settings(found, names, without_slug) if found else None

    def put(settings: Settings) -> None:
        fields = _fields(settings)
        if not found or has is None:
            schedules = [
                DeploymentScheduleCreate(schedule=each["when"], active=each["active"], slug=name)
                for name, each in under(settings, "schedules").items()
            ]
            flow_id = client.create_flow_from_name(wanted.flow)
            client.create_deployment(flow_id, wanted.name, schedules=schedules, **fields)
            return
        before = _fields(has)
        if changed := {name: value for name, value in fields.items() if value != before[name]}:
            client.update_deployment(found.id, DeploymentUpdate(**changed))
        _put_schedules(client, found, names, under(has, "schedules"), under(settings, "schedules"))

    return plan(
        f"deployment {wanted.full_name}",
        record=known,
        has=has,
        wants={**wanted.settings, **{key: key[1] for key in without_slug}},
        of_release=wanted.of_release,
        reset=reset,
        put=put,
        # So that a schedule that people deleted stays deleted.
        before_records=digests({key: value for key, value in wanted.settings.items() if key[0] == "schedules"}),
    )


def _without_other_schedules(known: record.Record, wanted: Declared) -> record.Record:
    """The record without schedules that this release no longer has: they stay, since people may count on them."""
    own = {word(key) for key in wanted.settings}
    return replace(
        known,
        states=[
            {name: each for name, each in state.items() if name in own or not name.startswith("schedules.")}
            for state in known.states
        ],
    )


def _names_of_schedules(found: DeploymentResponse, wanted: Declared) -> dict[str, Any]:
    """The deployment's schedules by their slugs. Those that people added may have none, and are known by their ids.

    An only schedule without a slug, as of releases that kept no record, is the one that this release has.
    """
    declared = under(wanted.settings, "schedules")
    if len(declared) == len(found.schedules) == 1 and not found.schedules[0].slug:
        return dict(zip(declared, found.schedules, strict=True))
    return {each.slug or str(each.id): each for each in found.schedules}


def _settings(found: DeploymentResponse, schedules: Mapping[str, Any], without_slug: Sequence[Key]) -> Settings:
    limit, options = found.global_concurrency_limit, found.concurrency_options
    settings: dict[Key, Any] = {
        ("entrypoint",): found.entrypoint,
        ("description",): found.description,
        ("tags",): sorted(found.tags),
        ("pull_steps",): found.pull_steps,
        ("work_pool",): found.work_pool_name,
        ("version",): found.version,
        ("parameters_are_checked",): found.enforce_parameter_schema,
        **_form(found.parameter_openapi_schema or {}),
        ("paused",): found.paused,
        ("concurrency_limit",): limit.limit if limit else None,
        ("concurrency_options",): options.model_dump(mode="json", exclude_none=True) if options else None,
        **{("parameters", name): value for name, value in found.parameters.items()},
        **{("job_variables", *key): value for key, value in variables_of(found.job_variables)},
    }
    for name, each in schedules.items():
        settings |= _schedule(name, each.schedule.model_dump(mode="json"), each.active)
    return settings | dict.fromkeys(without_slug)


def _fields(settings: Settings) -> dict[str, Any]:
    """The settings as the fields of a deployment."""
    return {
        "entrypoint": settings[("entrypoint",)],
        "description": settings[("description",)],
        "tags": settings[("tags",)],
        "pull_steps": settings[("pull_steps",)],
        "work_pool_name": settings[("work_pool",)],
        "version": settings[("version",)],
        "enforce_parameter_schema": settings[("parameters_are_checked",)],
        "parameter_openapi_schema": form_of(settings),
        "paused": settings[("paused",)],
        "concurrency_limit": settings[("concurrency_limit",)],
        "concurrency_options": settings[("concurrency_options",)],
        "parameters": under(settings, "parameters"),
        "job_variables": under(settings, "job_variables"),
    }


def form_of(settings: Settings) -> dict[str, Any]:
    """The schema of the parameters."""
    requires, types = settings[("form_requires",)], settings[("form_types",)]
    fields = {"properties": under(settings, "form"), "required": requires, "definitions": types}
    return {"title": "Parameters", "type": "object", **fields}


def _put_schedules(
    client: SyncPrefectClient,
    found: DeploymentResponse,
    there: Mapping[str, Any],
    before: Mapping[str, Any],
    after: Mapping[str, Any],
) -> None:
    for name in before.keys() | after.keys():
        was, becomes = before.get(name), after.get(name)
        if was == becomes:
            continue
        if not was and becomes and "when" in becomes:
            new = DeploymentScheduleCreate(schedule=becomes["when"], active=becomes["active"], slug=name)
            client.create_deployment_schedules(found.id, [new])
        elif was and (not becomes or "when" not in becomes):
            client.delete_deployment_schedule(found.id, there[name].id)
        elif was and becomes:
            # Prefect resets parameters that are not sent.
            client.update_deployment_schedule(
                found.id,
                there[name].id,
                active=becomes["active"],
                schedule=becomes["when"],
                parameters=there[name].parameters,
                slug=becomes.get("slug"),
            )


def refused_parameters(plans: Mapping[str, Plan]) -> Iterator[str]:
    """A line for each deployment whose parameters, as people set them, this release's flow does not take."""
    for name, each in plans.items():
        if each.result:
            yield from (f"  {name}: {flaw}" for flaw in _flaws(under(each.result, "parameters"), each.result))


def left_over(client: SyncPrefectClient, pool: str, wanted: list[Declared]) -> Iterator[str]:
    """A line for each deployment of the archive in the pool that is not one of these."""
    names = {each.full_name for each in wanted}
    in_pool = partial(client.read_deployments, work_pool_filter=WorkPoolFilter(name=WorkPoolFilterName(any_=[pool])))
    for each in all_pages(in_pool):
        full_name = f"{client.read_flow(each.flow_id).name}/{each.name}"
        if "archive" in each.tags and full_name not in names:
            way_out = f"`prefect deployment delete {full_name}` removes it"
            yield f"deployment {full_name} is not of this release, and stays as it is; {way_out}"


def all_pages(read: Callable[..., list[T]]) -> Iterator[T]:
    """All that Prefect has of something, which it answers by the page."""
    offset = 0
    while page := read(limit=_PAGE, offset=offset):
        yield from page
        offset += len(page)
