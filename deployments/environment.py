"""What the shell must say of the account, and the job template with these names filled in."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from string import Template
from typing import Any

TEMPLATE = Path(__file__).parent / "ecs-base-job-template.json"
NEEDED = {
    "PREFECT_API_URL": "the Prefect server, as https://prefect.example.com/api",
    "AWS_DEFAULT_REGION": "the region of the recordings",
    "ARCHIVE_WORK_POOL": "name of the ECS work pool, created if need be",
    "ARCHIVE_IMAGE": "the image, as <ARCHIVE_REPOSITORY>:<a tag never used before>",
    "ARCHIVE_BUCKET": "the bucket that Amazon Connect writes to",
    "ARCHIVE_PREFIX": "where its recordings lie, as connect/<alias>/CallRecordings/; several with commas between",
    "ARCHIVE_AUDIT_URI": "the audit table (printed by deployments.stack, as the next ones are)",
    "ARCHIVE_ROLE_PREFIX": "ARN of the task roles up to the policy's name",
    "ARCHIVE_EXECUTION_ROLE_ARN": "the role that ECS itself uses",
    "ARCHIVE_LOG_GROUP": "log group of the runs",
    "ARCHIVE_SECURITY_GROUPS": "security groups of the tasks, with commas between",
    "ARCHIVE_CLUSTER": "ECS cluster",
    "ARCHIVE_SUBNETS": "subnets of the tasks, with commas between",
}
OPTIONAL = {  # what a pool begins with; an existing pool keeps what it has where the shell says nothing
    "ARCHIVE_API_KEY_SECRET_ARN": "",  # of the secret with the Prefect API key
    "ARCHIVE_AUTH_STRING_SECRET_ARN": "",  # of the secret with user:password of a server with basic auth
    "ARCHIVE_ARCHITECTURE": "ARM64",  # or X86_64, with ARCHIVE_PLATFORM=linux/amd64
}
# The job variables with the secrets that hold these credentials, and the environment's names for them.
SECRETS = {
    "PREFECT_API_KEY": ("prefect_api_key_secret_arn", "ARCHIVE_API_KEY_SECRET_ARN"),
    "PREFECT_API_AUTH_STRING": ("prefect_api_auth_string_secret_arn", "ARCHIVE_AUTH_STRING_SECRET_ARN"),
}
_VARIABLE = re.compile(r"\$\{(\w+)\}")


def missing(env: Mapping[str, str], elsewhere: Sequence[str] = ()) -> Iterator[str]:
    """A line for each required variable that is not set, and whose value does not stand elsewhere."""
    return (f"  {name}: {what}" for name, what in NEEDED.items() if not env.get(name) and name not in elsewhere)


def without_secret(credentials: Mapping[str, Any], defaults: Mapping[str, Any]) -> Iterator[str]:
    """A line for each credential of this shell that no secret of the pool's defaults gives to the tasks."""
    for name, (variable, arn) in SECRETS.items():
        if credentials.get(name) and not defaults.get(variable):
            yield f"  {arn}: this shell has {name}, and tasks need it, too; put it into a secret of Secrets Manager"


def base_job_template(env: Mapping[str, str]) -> dict[str, Any]:
    """The reviewed template with this account's names filled in."""
    said = {name: value for name, value in env.items() if value}
    template: dict[str, Any] = _filled(_template(), {**OPTIONAL, **said})
    return template


def unsaid(env: Mapping[str, str]) -> list[str]:
    """The job variables about which an optional variable decides that is not set, or empty."""
    properties = _template()["variables"]["properties"].items()
    silent = {f"${{{name}}}" for name in OPTIONAL if not env.get(name)}
    return [name for name, each in properties if str(each.get("default")) in silent]


def _template() -> dict[str, Any]:
    template: dict[str, Any] = json.loads(TEMPLATE.read_text())
    return template


def _filled(node: Any, env: Mapping[str, str]) -> Any:
    if isinstance(node, dict):
        return {key: _filled(value, env) for key, value in node.items()}
    if isinstance(node, list):
        return [part for each in node for part in _entries(each, env)]
    return Template(node).substitute(env) if isinstance(node, str) else node


def _entries(entry: Any, env: Mapping[str, str]) -> list[Any]:
    """What an entry of a list becomes: a variable may hold several names, with commas between."""
    filled = _filled(entry, env)
    return listed(filled) if isinstance(entry, str) and _VARIABLE.fullmatch(entry) else [filled]


def listed(names: str) -> list[str]:
    """The names of a text with commas between."""
    return [name.strip() for name in names.split(",") if name.strip()]
