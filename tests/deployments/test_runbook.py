"""The runbook says what there is."""

import re
from pathlib import Path

import yaml

from deployments.deploy import NEEDED, OPTIONAL
from deployments.stack import template

ROOT = Path(__file__).parents[2]
RUNBOOK = (ROOT / "deployments" / "README.md").read_text()
DECLARED = yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]


def test_its_table_is_prefect_yaml() -> None:
    shown = re.findall(r"^\| `([a-z-]+)` \| (.+?) \| (.+) \|$", RUNBOOK, re.M)
    assert shown == [(each["name"], when(each), each["description"].strip()) for each in DECLARED]


def when(declared: dict[str, list[dict[str, str]]]) -> str:
    for schedule in declared.get("schedules", []):
        return schedule["cron"] + ("" if schedule.get("active", True) else ", inactive")
    return "by hand"


def test_it_names_every_variable_and_parameter() -> None:
    printed = {"ARCHIVE_AUDIT_URI", "ARCHIVE_ROLE_PREFIX", "ARCHIVE_EXECUTION_ROLE_ARN", "ARCHIVE_LOG_GROUP"}
    printed |= {"ARCHIVE_SECURITY_GROUPS"}  # by the stack, as they are needed
    assert not [name for name in (NEEDED.keys() | OPTIONAL.keys()) - printed if name not in RUNBOOK]
    assert not [name for name in template()["Parameters"] if f"{name}=" not in RUNBOOK and name != "AuditLockDays"]


def test_its_programs_and_files_exist() -> None:
    for module in re.findall(r"python -m (deployments\.\w+)", RUNBOOK):
        assert (ROOT / module.replace(".", "/")).with_suffix(".py").is_file()
    for path in re.findall(r"(deployments/[\w./-]+\.json)", RUNBOOK):
        assert (ROOT / path).is_file()


def test_each_started_deployment_is_there() -> None:
    names = {each["name"] for each in DECLARED}
    assert set(re.findall(r"deployment run [a-z-]+/([a-z-]+)", RUNBOOK)) <= names


def test_its_commands_are_those_of_the_environment_that_its_first_step_creates() -> None:
    code = re.findall(r"^ *```\n(.+?)^ *```", RUNBOOK, re.M | re.S) + re.findall(r"(?<!`)`([^`\n]+)`(?!`)", RUNBOOK)
    commands = [line.strip() for text in code for line in text.splitlines()]
    assert len([line for line in commands if line.startswith(".venv/bin/")]) > 8
    assert not [line for line in commands if re.match(r"(prefect|prefect-aws|python3?|pip|uv) ", line)]
    assert commands.index("make install") < min(n for n, line in enumerate(commands) if ".venv/" in line)
    assert "\ninstall: $(READY)" in (ROOT / "Makefile").read_text()
