"""``make deploy``: the work pool, the automations and all deployments, on the Prefect server of PREFECT_API_URL."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from string import Template
from typing import Any

from prefect.client.orchestration import get_client

from deployments import automations, forms
from deployments.automations import NOTIFY

TEMPLATE = Path(__file__).parent / "ecs-base-job-template.json"
CODE_IN_IMAGE = "/opt/archive"  # the same path as in the Dockerfile
PREFECT = [sys.executable, "-m", "prefect", "--no-prompt"]
NEEDED = {
    "PREFECT_API_URL": "the Prefect server, as https://prefect.example.com/api",
    "AWS_DEFAULT_REGION": "the region of the recordings",
    "ARCHIVE_WORK_POOL": "name of the ECS work pool, created if need be",
    "ARCHIVE_IMAGE": "the image, as <ARCHIVE_REPOSITORY>:<a tag never used before>",
    "ARCHIVE_BUCKET": "the bucket that Amazon Connect writes to",
    "ARCHIVE_PREFIX": "where its recordings lie, as connect/<alias>/CallRecordings/",
    "ARCHIVE_AUDIT_URI": "the audit table (printed by deployments.stack, as the next ones are)",
    "ARCHIVE_ROLE_PREFIX": "ARN of the task roles up to the policy's name",
    "ARCHIVE_EXECUTION_ROLE_ARN": "the role that ECS itself uses",
    "ARCHIVE_LOG_GROUP": "log group of the runs",
    "ARCHIVE_SECURITY_GROUPS": "security groups of the tasks, with commas between",
    "ARCHIVE_CLUSTER": "ECS cluster",
    "ARCHIVE_SUBNETS": "subnets of the tasks, with commas between",
}
OPTIONAL = {
    "ARCHIVE_API_KEY_SECRET_ARN": "",  # of the secret with the Prefect API key
    "ARCHIVE_ARCHITECTURE": "ARM64",  # or X86_64, with ARCHIVE_PLATFORM=linux/amd64
}


def missing(env: Mapping[str, str]) -> Iterator[str]:
    """A line for each required variable that is not set."""
    return (f"  {name}: {what}" for name, what in NEEDED.items() if not env.get(name))


def base_job_template(env: Mapping[str, str]) -> dict[str, Any]:
    """The reviewed template with this account's names filled in."""
    template: dict[str, Any] = _filled(json.loads(TEMPLATE.read_text()), {**OPTIONAL, **env})
    return template


def _filled(node: Any, env: Mapping[str, str]) -> Any:
    if isinstance(node, dict):
        return {key: _filled(value, env) for key, value in node.items()}
    if isinstance(node, list):
        return [part for each in node for part in _split(_filled(each, env))]
    return Template(node).substitute(env) if isinstance(node, str) else node


def _split(value: Any) -> list[Any]:
    """The names in a list; one variable may hold several."""
    return value.split(",") if isinstance(value, str) and "," in value and " " not in value else [value]


def main() -> None:
    lines = list(missing(os.environ))
    if lines:
        sys.exit(
            "\n".join(["These variables are not set:", *lines, "deployments/README.md says where they come from."])
        )
    pool = os.environ["ARCHIVE_WORK_POOL"]
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(base_job_template(os.environ), file)
        file.flush()
        create = ["work-pool", "create", pool, "--type", "ecs", "--base-job-template", file.name, "--overwrite"]
        subprocess.run([*PREFECT, *create], check=True, stdout=subprocess.DEVNULL)  # noqa: S603 (our own command)
    print(f"work pool {pool!r} is as {TEMPLATE.name} says", flush=True)
    with get_client(sync_client=True) as client:
        print("\n".join(automations.install(client, os.environ.get(NOTIFY, ""))), flush=True)
        env = {**os.environ, "ARCHIVE_CODE": CODE_IN_IMAGE}
        subprocess.run([*PREFECT, "deploy", "--all"], check=True, env=env)  # noqa: S603 (our own command)
        print("\n".join(forms.install(client)), flush=True)


if __name__ == "__main__":
    main()
