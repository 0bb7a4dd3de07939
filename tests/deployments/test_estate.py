"""The file that lists instances: what it must say, what is refused, and what becomes of it in each account."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from deployments.environment import NEEDED, base_job_template
from deployments.estate import SCHEMA, Estate, Place, place_of_report, places, read_estate, stack_parameters
from deployments.refused import Refused
from deployments.registration import Declared, declared

ROOT = Path(__file__).parents[2]
RUNBOOK = (ROOT / "deployments" / "README.md").read_text()
EXAMPLE = re.findall(r"^```yaml\n(.+?)^```", RUNBOOK, re.M | re.S)[0]
TASKS, OTHERS = "111111111111", "222222222222"
ROLES = f"arn:aws-us-gov:iam::{TASKS}:role/calls/recording-archive"
SHELL = {
    **{"ARCHIVE_EXECUTION_ROLE_ARN": f"{ROLES}-execution", "ARCHIVE_WORK_POOL": "ecs", "ARCHIVE_BUCKET": "stale"},
    **{"ARCHIVE_NOTIFY_BLOCK": "", "ARCHIVE_IMAGE": "archive:1"},
}
Read = Callable[[Any], Estate]


def minimal(name: str, **changes: Any) -> dict[str, Any]:
    buckets = {"bucket": f"{name}-calls", "audit_bucket": f"{name}-audit"}
    return {"name": name, **buckets, "prefixes": [f"connect/{name}/"], **changes}


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """Reads a file with these instances, or with this text."""

    def reading(content: Any) -> Estate:
        path = tmp_path / "estate.yaml"
        path.write_text(content if isinstance(content, str) else yaml.safe_dump({"instances": content}))
        found = read_estate(path)
        assert found
        return found

    return reading


@pytest.fixture
def example(read: Read) -> Estate:
    return read(EXAMPLE)


def by_name(wanted: list[Declared]) -> dict[str, Declared]:
    return {each.name: each for each in wanted}


@pytest.mark.parametrize(
    ("instances", "said"),
    [
        ([minimal("a"), minimal("a", audit_bucket="x-audit")], "several instances have name a"),
        ([minimal("a"), minimal("b", audit_bucket="a-audit")], "several instances have audit_bucket a-audit"),
        ([minimal("a", default=True), minimal("b", default=True)], "several instances have default: true"),
        (
            [minimal("a", bucket="calls"), minimal("b", bucket="calls", prefixes=["x/", "connect/a/ivr/"])],
            "a and b overlap in bucket calls: connect/a/ and connect/a/ivr/",
        ),
        ([minimal("a"), minimal("b", bucket="calls", audit_bucket="a-calls")], "the audit_bucket of b has recordings"),
        ([minimal("a"), minimal("b", prefixs=["c/"])], "instances.1 (b).prefixs: Extra inputs are not permitted"),
        ([minimal("a", prefixes=["", "connect/a/"])], "instances.0 (a).prefixes: prefixes is ['', 'connect/a/']: ''"),
        ([minimal("a", prefixes=["c/", "c/"])], "instances.0 (a).prefixes: a prefix stands twice"),
        ([minimal("a", prefixes=["c/", "c/d/"])], "c/ and c/d/: one lies below the other; leave the inner one out"),
        ([minimal("a", audit_bucket="a" * 80)], "instances.0 (a).audit_bucket: bucket is 'aaa"),
        ([minimal("a", prefixes=["no-slash"])], "instances.0 (a).prefixes.0: begin it without a slash"),
        ([minimal("a", account=123456789012)], "instances.0 (a).account: Input should be a valid string"),
        ([minimal("a", region="us-eest-1")], "knows no region us-eest-1: did you mean us-west-1 or us-east-1?"),
        ([minimal("a", region="mars")], "instances.0 (a).region: botocore"),
        ([minimal("A")], "instances.0 (A).name: String should match pattern"),
        ([minimal("worker")], "instances.0 (worker).name: the worker's stack has this ending"),
        ([minimal("a", price_list="recordings/prices/mars.json")], "instances.0 (a).price_list: price list"),
        (
            [minimal("a", schedules={"archive-daily": {"cron": "daily at 3"}})],
            "instances.0 (a).schedules.archive-daily",
        ),
        ([minimal("a", schedules={"archive-daily": {"timezone": "Mars/Base"}})], "Mars/Base"),
        ([], "instances: List should have at least 1 item"),
        ("instances: [", "estate.yaml is not YAML"),
        ("instances: 3", "instances: Input should be a valid list"),
    ],
)
def test_what_the_file_must_not_say_is_named(read: Read, instances: list[object], said: str) -> None:
    with pytest.raises(Refused) as refused:
        read(instances)
    assert said in str(refused.value)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"profile": "alaw-mona"}, "instance b: profile: 'alaw-mona' is not one of ['alaw-mono', "),
        ({"storage_class": "GLACIER"}, "instance b: storage_class: 'GLACIER' is not one of ['STANDARD', "),
        ({"schedules": {"inspect": {"active": True}}}, "inspect is no deployment with a schedule; these are: archive-"),
    ],
)
def test_what_the_flows_do_not_take_is_named(read: Read, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(Refused) as refused:
        declared(read([minimal("a"), minimal("b", **changes)]), SHELL)
    assert said in str(refused.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("instances: []\ninstances: []", "instances stands twice"),
        ("instances:\n  - name: emea\n    bucket: one\n    bucket: other", "bucket stands twice"),
    ],
)
def test_what_stands_twice_is_named(read: Read, text: str, said: str) -> None:
    with pytest.raises(Refused, match=said):
        read(text)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"instances:\n  ? [a, b]\n  : c", "is not YAML: a list or mapping is no key\n.*line 2"),
        (b"? {a: b}\n: c", "is not YAML: a list or mapping is no key\n.*line 1"),
        (b"instances: M\xfcnchen", "is not UTF-8 from byte 12 on"),
        (b"instances: \x00", "is not YAML: "),
        (b"instances: 2026-13-01", "is not YAML: month must be in 1..12"),
    ],
)
def test_what_is_no_yaml_is_named(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "estate.yaml"
    path.write_bytes(content)
    with pytest.raises(Refused, match=f"^estate.yaml {said}"):
        read_estate(path)


@pytest.mark.parametrize("path", ["recordings/settings.py", "recordings/../README.md", "recordings/no-such.json"])
def test_what_is_no_price_list_is_named(read: Read, path: str) -> None:
    with pytest.raises(Refused, match="price_list"):
        read([minimal("emea", price_list=path)])


def test_a_stack_keeps_the_keys_that_the_file_does_not_name(read: Read) -> None:
    (silent, without) = read([minimal("emea"), minimal("apac", kms_keys=[])]).instances
    assert "RecordingsKeyArn" not in stack_parameters(silent, "recording-archive", TASKS, SHELL)
    assert stack_parameters(without, "recording-archive", TASKS, SHELL)["RecordingsKeyArn"] == ""


def test_the_name_of_another_stack_is_refused(read: Read) -> None:
    (emea,) = read([minimal("emea")]).instances
    with pytest.raises(Refused, match="is of the stack recording-archive"):
        stack_parameters(emea, "recording-archive-emea", TASKS, SHELL)


def test_two_deployments_of_one_name_are_refused(read: Read) -> None:
    with pytest.raises(Refused, match=r"two deployments would be called erase-deferred-x: give an instance another"):
        declared(read([minimal("x"), minimal("deferred-x")]), SHELL)


def test_without_an_execution_role_nobody_knows_the_accounts(example: Estate) -> None:
    with pytest.raises(Refused, match="ARCHIVE_EXECUTION_ROLE_ARN is not set: give the ARN"):
        declared(example, {})


def test_the_runbooks_file_is_that_of_three_environments(example: Estate) -> None:
    wanted = by_name(declared(example, SHELL))
    alone = by_name(declared(None, {**SHELL, "ARCHIVE_ROLE_PREFIX": "roles/"}))
    assert wanted.keys() == {
        *(f"{name}{suffix}" for name in alone for suffix in ("", "-emea", "-apac")),
        "report-estate",
    }
    daily = wanted["archive-daily-emea"].settings
    prefixes = ["connect/emea/CallRecordings/", "connect/emea-old/CallRecordings/"]
    assert daily["parameters", "bucket"] == "emea-connect-bucket"
    assert daily["parameters", "prefixes"] == prefixes
    assert daily["parameters", "audit_uri"] == "s3://emea-audit-bucket/recordings"
    assert (daily["parameters", "profile"], daily["parameters", "storage_class"]) == ("alaw-stereo", "STANDARD_IA")
    assert daily["tags",] == ["archive", "instance:emea"]
    assert daily["schedules", "daily", "when"]["cron"] == "30 4 * * *"
    assert daily["job_variables", "task_role_arn"] == f"{ROLES}-emea-archive"
    assert daily["job_variables", "env", "ARCHIVE_GRACE_DAYS"] == "14"
    assert ("job_variables", "env", "ARCHIVE_ASSUME_ROLE_ARN") not in daily
    assert not wanted["report-monthly-emea"].settings["schedules", "monthly", "active"]
    assert ("parameters", "profile") not in wanted["release-originals-emea"].settings
    assert wanted["backfill-emea"].settings["parameters", "deployment"] == "archive-recordings/archive-day-emea"
    assert wanted["backfill"].settings["parameters", "deployment"] == "archive-recordings/archive-day"
    assert wanted["archive-daily"].settings["job_variables", "task_role_arn"] == f"{ROLES}-archive"


def test_each_run_of_another_account_acts_as_the_role_of_its_policy_there(example: Estate) -> None:
    wanted = [each for each in declared(example, SHELL) if each.name.endswith("-apac")]
    for each in wanted:
        here = each.settings["job_variables", "task_role_arn"]
        there = each.settings["job_variables", "env", "ARCHIVE_ASSUME_ROLE_ARN"]
        assert here.startswith(f"{ROLES}-apac-"), each.name
        assert there == here.replace(TASKS, OTHERS), each.name
        assert each.settings["job_variables", "env", "AWS_DEFAULT_REGION"] == "ap-southeast-2"
        assert each.settings["job_variables", "env", "ARCHIVE_PRICE_LIST"] == "recordings/prices/us-east-1.json"
        assert each.of_release(("job_variables", "env", "ARCHIVE_ASSUME_ROLE_ARN"))


def test_another_instance_changes_nothing_of_the_first(read: Read) -> None:
    first = minimal("a", default=True)
    alone = by_name(declared(read([first]), SHELL))
    both = by_name(declared(read([first, minimal("b", account=OTHERS, bucket="a-calls")]), SHELL))
    assert {name for name in alone if both[name].settings != alone[name].settings} == {"report-estate"}
    tables = both["report-estate"].settings["parameters", "tables"]
    assert [table["role_arn"] for table in tables] == [
        f"{ROLES}-report",
        f"{ROLES}-b-report".replace(TASKS, OTHERS),
    ]


def test_an_instance_of_the_shell_is_as_it_was(read: Read) -> None:
    """But for the tag: so people's settings stay with it when the file begins."""
    of_shell = {
        **SHELL,
        **{"ARCHIVE_BUCKET": "a-calls", "ARCHIVE_PREFIX": "connect/a/", "ARCHIVE_ROLE_PREFIX": f"{ROLES}-"},
        "ARCHIVE_AUDIT_URI": "s3://a-audit/recordings",
    }
    alone = by_name(declared(None, of_shell))
    in_file = by_name(declared(read([minimal("a", default=True)]), SHELL))
    for name, each in alone.items():
        changed = {key for key, value in in_file[name].settings.items() if each.settings.get(key) != value}
        assert changed == {("tags",)}, name


@pytest.mark.parametrize("text", ["connect/a/,connect/b/", " connect/a/, connect/b/,"])
def test_one_variable_may_name_several_prefixes(text: str) -> None:
    alone = by_name(declared(None, {**SHELL, "ARCHIVE_PREFIX": text}))
    assert alone["archive-daily"].settings["parameters", "prefixes"] == ["connect/a/", "connect/b/"]


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("ARCHIVE_PREFIX", "s3://calls/connect/a/", "ARCHIVE_PREFIX is 's3://calls/connect/a/': prefixes has 's3://"),
        ("ARCHIVE_BUCKET", "s3://calls", "ARCHIVE_BUCKET: bucket is 's3://calls': give the bare name, such as 'calls'"),
    ],
)
def test_what_the_shell_must_not_say_is_named(variable: str, value: str, said: str) -> None:
    with pytest.raises(Refused) as refused:
        declared(None, {**SHELL, variable: value})
    assert str(refused.value).startswith(said)


def test_one_variable_may_name_several_subnets_and_an_empty_one_is_left_out() -> None:
    env = dict.fromkeys(NEEDED, "a") | {"ARCHIVE_SUBNETS": "subnet-1, subnet-2", "ARCHIVE_ARCHITECTURE": ""}
    properties = base_job_template(env)["variables"]["properties"]
    assert properties["subnets"]["default"] == ["subnet-1", "subnet-2"]
    assert properties["architecture"]["default"] == "ARM64"


def test_without_a_file_there_is_one_place(tmp_path: Path) -> None:
    assert read_estate(tmp_path / "estate.yaml") is None
    assert places(None, SHELL) == [Place(variables=SHELL)]


def test_the_report_on_all_acts_as_a_role_of_its_own(example: Estate) -> None:
    report = by_name(declared(example, SHELL))["report-estate"]
    assert report.settings["job_variables", "task_role_arn"] == f"{ROLES}-estate"
    assert place_of_report(example, SHELL).parameters["tables"][2] == {
        "name": "apac",
        "audit_uri": "s3://apac-audit-bucket/recordings",
        "role_arn": f"{ROLES}-apac-report".replace(TASKS, OTHERS),
        "price_list": "recordings/prices/us-east-1.json",
    }


def test_each_account_gets_its_half_of_an_instance(example: Estate) -> None:
    amer, emea, apac = example.instances
    stack = "recording-archive"
    assert stack_parameters(emea, stack, TASKS, SHELL) == {
        **{"RecordingsBucket": "emea-connect-bucket", "AuditBucket": "emea-audit-bucket", "VpcId": ""},
        "RecordingsKeyArn": ",".join(emea.kms_keys or []),
        **{"TasksStack": stack, "RolePath": "/calls/"},
    }
    at_root = {"ARCHIVE_EXECUTION_ROLE_ARN": f"arn:aws:iam::{TASKS}:role/{stack}-execution"}
    assert "RolePath" not in stack_parameters(emea, stack, TASKS, at_root)  # a path, "/" too, would make roles anew
    assert "VpcId" not in stack_parameters(amer, stack, TASKS, {})  # the tasks' stack, perhaps before it exists
    assert stack_parameters(apac, stack, OTHERS, SHELL)["TasksAccount"] == TASKS
    assert stack_parameters(apac, stack, TASKS, SHELL)["RecordingsAccount"] == OTHERS
    for instance, belongs in ((emea, TASKS), (apac, f"{TASKS} and {OTHERS}")):
        with pytest.raises(Refused, match=f"{instance.name} belongs into account {belongs}, and these credentials are"):
            stack_parameters(instance, stack, "333333333333", SHELL)
    with pytest.raises(Refused, match="ARCHIVE_EXECUTION_ROLE_ARN is not set"):
        stack_parameters(apac, stack, OTHERS, {})


def test_the_schema_for_editors_is_that_of_the_file() -> None:
    printed = subprocess.run(
        [sys.executable, "-m", "deployments.estate"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert SCHEMA.read_text() == printed.stdout
    schema = json.loads(printed.stdout)
    jsonschema.validate(yaml.safe_load(EXAMPLE), schema)
    flaws: list[dict[str, Any]] = [{"profile": "alaw-mona"}, {"prefixs": []}, {"audit_bucket": 3}]
    for flawed in flaws:
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({"instances": [minimal("a", **flawed)]}, schema)
