"""The instances of Amazon Connect that one Prefect server archives, as deployments/estate.yaml lists them.

Without the file there is one instance, and the ARCHIVE_* variables of the shell describe it:
docs/decisions/0073-an-estate-is-several-environments.md. ``python -m deployments.estate`` prints a JSON schema of the
file.
"""

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from difflib import get_close_matches
from itertools import combinations
from pathlib import Path
from typing import Annotated, Any

import botocore
import botocore.loaders
import yaml  # type: ignore[import-untyped]
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from deployments.environment import listed
from deployments.refused import Refused
from recordings.errors import InvalidRequest
from recordings.pricing import load_prices
from recordings.request import check_bucket_name, normal_prefixes

FILE = Path(__file__).parent / "estate.yaml"
SCHEMA = Path(__file__).parent / "estate.schema.json"
ROOT = Path(__file__).parents[1]
EXECUTION_ROLE = "ARCHIVE_EXECUTION_ROLE_ARN"
NOTIFY = "ARCHIVE_NOTIFY_BLOCK"
ASSUMED = "ARCHIVE_ASSUME_ROLE_ARN"
OF_INSTANCE = ("ARCHIVE_BUCKET", "ARCHIVE_PREFIX", "ARCHIVE_AUDIT_URI", "ARCHIVE_ROLE_PREFIX")  # the file has them
_ROLE = re.compile(
    r"arn:(?P<partition>[a-z-]+):iam::(?P<account>[0-9]{12}):role(?P<path>/(?:.+/)?)(?P<stack>[^/]+)-execution"
)


def _prefix(prefix: str) -> str:
    if prefix != prefix.strip() or "," in prefix or prefix.startswith("/") or (prefix and not prefix.endswith("/")):
        raise ValueError("begin it without a slash, end it with one, as connect/emea/CallRecordings/; no commas")
    return prefix


def _name(name: str) -> str:
    if name == "worker":
        raise ValueError("the worker's stack has this ending: choose another name")
    return name


def _price_list(path: str) -> str:
    file = (ROOT / path).resolve()
    if not file.is_relative_to(ROOT / "recordings"):
        raise ValueError("give a file of this checkout that the image has, as recordings/prices/us-east-1.json")
    try:
        load_prices(file)
    except InvalidRequest as error:
        raise ValueError(str(error)) from None
    return path


def _region(region: str) -> str:
    partitions = botocore.loaders.Loader().load_data("endpoints")["partitions"]
    known = [each for partition in partitions for each in partition["regions"]]
    if region not in known:
        close = " or ".join(get_close_matches(region, known, n=2))
        meant = f": did you mean {close}?" if close else ""
        raise ValueError(f"botocore {botocore.__version__} knows no region {region}{meant}")
    return region


def _bucket(name: str) -> str:
    try:
        check_bucket_name(name)
    except InvalidRequest as error:
        raise ValueError(str(error)) from None
    return name


def _prefixes(prefixes: list[str]) -> list[str]:
    try:
        normal = normal_prefixes(prefixes)
    except InvalidRequest as error:
        raise ValueError(str(error)) from None
    if len(normal) < len(prefixes):
        raise ValueError("a prefix stands twice, or with its ivr/ folder, which belongs to it")
    for one, other in combinations(normal, 2):
        if one.startswith(other) or other.startswith(one):
            raise ValueError(f"{one} and {other}: one lies below the other; leave the inner one out")
    return prefixes


def prefixes_of(text: str) -> list[str]:
    """The prefixes in ARCHIVE_PREFIX, with commas between. Raises Refused."""
    try:
        return list(normal_prefixes(listed(text) or [""]))
    except InvalidRequest as error:
        raise Refused(f"ARCHIVE_PREFIX is {text!r}: {error}") from None


def bucket_of(text: str) -> str:
    """The bucket in ARCHIVE_BUCKET. Raises Refused."""
    try:
        return _bucket(text) if text else ""
    except ValueError as error:
        raise Refused(f"ARCHIVE_BUCKET: {error}") from None


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Schedule(_Strict):
    """When a deployment runs; what is left out is as in prefect.yaml."""

    cron: str | None = Field(None, description="Minute, hour, day of the month, month, day of the week")
    timezone: str | None = Field(None, description="Time zone of the cron, as Europe/Berlin; UTC by default")
    active: bool | None = Field(None, description="Whether the schedule starts runs")

    @model_validator(mode="after")
    def _is_known_to_prefect(self) -> "Schedule":
        from prefect.client.schemas.schedules import (
            CronSchedule,  # seconds, which the command for a stack need not wait
        )

        CronSchedule(cron=self.cron or "0 0 * * *", timezone=self.timezone)
        return self


class Instance(_Strict):
    """One instance of Amazon Connect: its recordings, its audit table, and how they are archived."""

    name: Annotated[str, AfterValidator(_name)] = Field(
        pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$", max_length=20, description="Ends the names of its deployments and stack"
    )
    default: bool = Field(
        False, description="For the instance that was there before the file: its deployments and stack have no ending"
    )
    bucket: Annotated[str, AfterValidator(_bucket)] = Field(description="The bucket that Amazon Connect writes to")
    prefixes: Annotated[list[Annotated[str, AfterValidator(_prefix)]], AfterValidator(_prefixes)] = Field(
        min_length=1, description="Where its recordings lie, as connect/<alias>/CallRecordings/"
    )
    audit_bucket: Annotated[str, AfterValidator(_bucket)] = Field(
        description="The bucket of its audit table, which is s3://<it>/recordings"
    )
    kms_keys: list[Annotated[str, Field(pattern=r"^arn:[a-z-]+:kms:.+$")]] | None = Field(
        None, description="ARNs of the KMS keys of its recordings; if left out, its stack keeps those that it has"
    )
    account: str | None = Field(
        None, pattern=r"^[0-9]{12}$", description="Account of its buckets, quoted; that of the tasks by default"
    )
    region: Annotated[str, AfterValidator(_region)] | None = Field(
        None, description="Region of its buckets; that of the shell by default"
    )
    price_list: Annotated[str, AfterValidator(_price_list)] | None = Field(
        None, description="JSON file of its region's or negotiated prices; us-east-1's by default"
    )
    profile: str | None = Field(None, description="The format to convert to")
    storage_class: str | None = Field(None, description="The S3 storage class of the converted recordings")
    grace_days: int | None = Field(None, ge=0, description="Days for which an original stays")
    schedules: dict[str, Schedule] = Field(
        {}, description="By deployment, as archive-daily; those of prefect.yaml else"
    )
    notify: str | None = Field(
        None,
        pattern=r"^[a-z0-9-]+/.+$",
        description="Prefect block that is told of this instance, as slack-webhook/emea",
    )

    @property
    def audit_uri(self) -> str:
        return f"s3://{self.audit_bucket}/recordings"

    @property
    def suffix(self) -> str:
        """What ends the names of its deployments and of its stack."""
        return "" if self.default else f"-{self.name}"


class Estate(_Strict):
    """All instances. None of them can be taken for another."""

    instances: list[Instance] = Field(min_length=1)

    @model_validator(mode="after")
    def _are_apart(self) -> "Estate":
        for what, values in {
            "name": [each.name for each in self.instances],
            "audit_bucket": [each.audit_bucket for each in self.instances],
            "default: true": ["it" for each in self.instances if each.default],
        }.items():
            if twice := [value for value, count in Counter(values).items() if count > 1]:
                raise ValueError(f"several instances have {what} {', '.join(twice)}: each needs its own")
        for one, other in combinations(self.instances, 2):
            if lines := [f"{a} and {b}" for a, b in _overlaps(one, other)]:
                raise ValueError(f"{one.name} and {other.name} overlap in bucket {one.bucket}: {', '.join(lines)}")
        buckets = {each.bucket for each in self.instances}
        if both := [each.name for each in self.instances if each.audit_bucket in buckets]:
            raise ValueError(f"the audit_bucket of {', '.join(both)} has recordings: a table needs a bucket of its own")
        return self


def _overlaps(one: Instance, other: Instance) -> Iterator[tuple[str, str]]:
    if one.bucket == other.bucket:
        pairs = ((a, b) for a in one.prefixes for b in other.prefixes)
        yield from ((a, b) for a, b in pairs if a.startswith(b) or b.startswith(a))


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a set of deployments works: an instance of the estate, or the one that the shell's variables describe."""

    variables: Mapping[str, str]  # of prefect.yaml and automations.yaml
    name: str = ""  # of the instance, if there are several
    suffix: str = ""  # of the deployments' names
    parameters: Mapping[str, Any] = field(default_factory=dict)  # for the flows that take them
    settings: Mapping[str, str] = field(default_factory=dict)  # environment of its runs
    assumed_prefix: str = ""  # of the roles of another account, up to the policy's name
    schedules: Mapping[str, Schedule] = field(default_factory=dict)
    notify: str = ""  # the block that is told of this instance alone

    @property
    def tags(self) -> list[str]:
        return [f"instance:{self.name}"] if self.name else []


class _WithoutRepeatedKeys(yaml.SafeLoader):  # type: ignore[misc]
    """Refuses a key that a mapping has twice, of which YAML would keep the last, and a key that is no name."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.constructor.ConstructorError(None, None, "a list or mapping is no key", key.start_mark)
        names = Counter(each.value for each, _ in node.value if each.tag != "tag:yaml.org,2002:merge")
        if twice := [name for name, count in names.items() if count > 1]:
            raise yaml.constructor.ConstructorError(None, None, f"{', '.join(twice)} stands twice", node.start_mark)
        return dict(super().construct_mapping(node, deep))


def read_estate(path: Path = FILE) -> Estate | None:
    """The estate; None without a file. Raises Refused, which names the place in the file."""
    if not path.exists():
        return None
    try:
        document = yaml.load(path.read_text("utf-8"), _WithoutRepeatedKeys)  # noqa: S506 (a SafeLoader)
    except UnicodeDecodeError as error:
        raise Refused(f"{path.name} is not UTF-8 from byte {error.start} on: save it as UTF-8") from None
    except (yaml.YAMLError, ValueError) as error:  # ValueError: a date such as 2026-13-01
        raise Refused(f"{path.name} is not YAML: {error}") from None
    try:
        return Estate.model_validate(document)
    except ValidationError as error:
        lines = [
            f"  {_where(document, each['loc'])}{each['msg'].removeprefix('Value error, ')}" for each in error.errors()
        ]
        raise Refused("\n".join([f"{path.name} is not valid:", *lines])) from None


def _where(document: Any, loc: Sequence[int | str]) -> str:
    """The place in the file, with the instance's name: ``instances.1 (apac).prefixs: ``."""
    parts = [str(each) for each in loc]
    with suppress(IndexError, KeyError, TypeError):  # no instance, or one without a name
        parts[1] = f"{loc[1]} ({document[loc[0]][loc[1]]['name']})"
    return f"{'.'.join(parts)}: " if parts else ""


def places(estate: Estate | None, shell: Mapping[str, str]) -> list[Place]:
    """The place of each instance; the shell's own without an estate."""
    return [_place(each, shell) for each in estate.instances] if estate else [Place(variables=shell)]


def _place(instance: Instance, shell: Mapping[str, str]) -> Place:
    tasks = tasks_of(shell)
    elsewhere = instance.account not in (None, tasks.account)
    settings = {
        "AWS_DEFAULT_REGION": instance.region or (shell.get("AWS_DEFAULT_REGION") if elsewhere else None),  # for STS
        "ARCHIVE_PRICE_LIST": instance.price_list,
        "ARCHIVE_GRACE_DAYS": None if instance.grace_days is None else str(instance.grace_days),
    }
    parameters = {"profile": instance.profile, "storage_class": instance.storage_class}
    return Place(
        variables={
            **shell,
            "ARCHIVE_BUCKET": instance.bucket,
            "ARCHIVE_PREFIX": ",".join(instance.prefixes),
            "ARCHIVE_AUDIT_URI": instance.audit_uri,
            "ARCHIVE_ROLE_PREFIX": tasks.roles_of(instance),
            "ARCHIVE_SUFFIX": instance.suffix,
        },
        name=instance.name,
        suffix=instance.suffix,
        parameters={name: value for name, value in parameters.items() if value is not None},
        settings={name: value for name, value in settings.items() if value is not None},
        assumed_prefix=tasks.roles_of(instance, instance.account) if elsewhere else "",
        schedules=instance.schedules,
        notify=instance.notify or "",
    )


def place_of_report(estate: Estate, shell: Mapping[str, str]) -> Place:
    """The place of the report on all instances, which acts as the report role of each."""
    tasks = tasks_of(shell)
    tables = [
        {
            "name": each.name,
            "audit_uri": each.audit_uri,
            "role_arn": f"{tasks.roles_of(each, each.account)}report",
            **({"price_list": each.price_list} if each.price_list else {}),
        }
        for each in estate.instances
    ]
    return Place(variables={**shell, "ARCHIVE_ROLE_PREFIX": tasks.roles}, parameters={"tables": tables})


@dataclass(frozen=True, slots=True, kw_only=True)
class Tasks:
    """The stack that has what all tasks need: image, logs, execution role."""

    partition: str
    account: str
    path: str  # of its roles
    stack: str

    @property
    def roles(self) -> str:
        """ARN of its roles up to the policy's name."""
        return f"arn:{self.partition}:iam::{self.account}:role{self.path}{self.stack}-"

    def roles_of(self, instance: Instance, account: str | None = None) -> str:
        """ARN of the instance's roles up to the policy's name, in this account or that of the tasks."""
        stack = f"{self.stack}{instance.suffix}"
        return f"arn:{self.partition}:iam::{account or self.account}:role{self.path}{stack}-"


def tasks_of(shell: Mapping[str, str]) -> Tasks:
    """What the execution role's ARN says of the stack that made it. Raises Refused."""
    arn = shell.get(EXECUTION_ROLE, "")
    found = _ROLE.fullmatch(arn)
    if not found:
        raise Refused(
            f"{EXECUTION_ROLE} is {arn or 'not set'}: give the ARN that deployments.stack prints for the tasks' stack; "
            "it says which account and stack the roles of the instances belong to"
        )
    return Tasks(**found.groupdict())


def stack_parameters(instance: Instance, stack: str, caller_account: str, shell: Mapping[str, str]) -> dict[str, str]:
    """The parameters of the instance's stack in the caller's account; ``stack`` is that of the tasks.

    An instance of another account has two stacks of one name: that account's has the table, and roles that the roles of
    the other, in the tasks' account, may assume. Raises Refused.
    """
    tasks = tasks_of(shell) if instance.account or shell.get(EXECUTION_ROLE) else None
    given = {
        "RecordingsBucket": instance.bucket,
        "AuditBucket": instance.audit_bucket,
        "TasksStack": stack,
        **({} if instance.default else {"VpcId": ""}),
        **({} if instance.kms_keys is None else {"RecordingsKeyArn": ",".join(instance.kms_keys)}),
        **({"RolePath": tasks.path} if tasks and tasks.path != "/" else {}),  # "/" is none, or what the stack has
    }
    if tasks is None:
        return given
    if tasks.stack != stack:
        raise Refused(f"{EXECUTION_ROLE} is of the stack {tasks.stack}: name that one, and not {stack}")
    of_recordings = instance.account or tasks.account
    if caller_account not in (of_recordings, tasks.account):
        belongs = " and ".join(sorted({of_recordings, tasks.account}))
        raise Refused(
            f"instance {instance.name} belongs into account {belongs}, and these credentials are of {caller_account}"
        )
    if of_recordings == tasks.account:
        return given
    if caller_account == tasks.account:
        return {**given, "RecordingsAccount": of_recordings}
    return {**given, "TasksAccount": tasks.account}


def schema(of_flow: Mapping[str, Any]) -> dict[str, Any]:
    """The JSON schema of the file, for editors; ``of_flow`` is the form of the flow that archives."""
    whole = Estate.model_json_schema()
    properties = whole["$defs"]["Instance"]["properties"]
    for name in ("profile", "storage_class"):
        (of_text,) = (each for each in properties[name]["anyOf"] if each.get("type") == "string")
        of_text["enum"] = of_flow[name]["enum"]
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **whole}


def main() -> None:
    """Print the schema."""
    from deployments.registration import flow_of  # which imports this module

    _, form = flow_of("flows.archive.archive_recordings")
    print(json.dumps(schema(form["properties"]), indent=2))


if __name__ == "__main__":
    main()
