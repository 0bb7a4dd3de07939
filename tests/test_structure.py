"""The structure: which package may import which other, and which file may import which library."""

import ast
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import TypeGuard

import pytest

import recordings

ROOT = Path(__file__).parents[1]
OURS = ("flows", "tasks", "recordings", "demo", "benchmarks", "deployments")

# In recordings, one folder knows each outside library, or one file of it, or of those beside the folders. Two kinds are
# in more: what parses text that others may have written, settings and the runs' records; and pandas, since the readers
# of the table return its frames.
KNOWS = {
    "boto3": ("s3/session",),
    "botocore": ("s3",),
    "urllib3": ("s3",),
    "pyarrow": ("table",),
    "pydantic_settings": ("settings",),
    "pandas": (
        *("table/parquet", "table/reading", "holds", "checksums", "backfill/standing", "savings"),
        *("handover/beside", "handover/choose", "jobs/drifts", "jobs/expiring_day", "jobs/reconcile"),
        *("jobs/engine/by_provenance", "jobs/engine/cases", "jobs/engine/due", "jobs/engine/selection"),
    ),
    "pydantic_core": ("settings",),
    "pydantic": ("settings", "table/records", "retention_rules"),
    "json": ("table/records", "checksums", "pricing"),
    "bagit": ("handover/bag",),
    "av": ("conversion",),
    "pydub": ("conversion/pcm",),
    "soundfile": ("conversion",),
    "subprocess": ("handover",),
    "tempfile": ("handover", "savings/sums"),
    "soxr": ("conversion/pcm",),
    "numpy": ("conversion",),
    "numba": ("conversion",),
    "tenacity": ("retrying",),
    "duckdb": ("savings/sums",),
    "matplotlib": ("savings",),
}
# The folders of recordings, and which others each may know. Nothing beside them knows one of the last six.
WINGS = {
    "conversion": set(),
    "s3": set(),
    "table": {"s3"},
    "preflight": {"s3"},
    "backfill": {"s3", "table"},
    "jobs": {"s3", "table"},
    "reports": {"backfill", "jobs", "handover", "table"},
    "handover": {"s3", "table", "conversion"},
    "savings": {"table", "conversion", "reports"},
}
ON_TOP = {"preflight", "backfill", "jobs", "handover", "reports", "savings"}
# Modules beside the folders that support all others: every folder may know them.
SUPPORT = {"errors", "settings", "build", "formatting", "retrying", "pool", "waves"}
# Flows that convert nothing: neither they nor their tasks load what conversions need.
FLOWS_WITHOUT_AUDIO = ("release", "restore", "expire", "erase", "hold", "fixity", "report", "preflight")


@cache
def nodes_of(path: Path) -> tuple[ast.AST, ...]:
    return tuple(ast.walk(ast.parse(path.read_text())))


def imports_of(path: Path) -> Iterator[str]:
    """Every module that a file imports, wherever in it."""
    for node in nodes_of(path):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def files_of(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


def name_of(path: Path) -> str:
    """As ``judge`` or ``s3/store``: a file's place in ``recordings``."""
    return path.relative_to(ROOT / "recordings").with_suffix("").as_posix()


def tops(path: Path) -> set[str]:
    return {name.partition(".")[0] for name in imports_of(path)}


def named(paths: list[Path]) -> list[object]:
    return [pytest.param(path, id=str(path.relative_to(ROOT))) for path in paths]


@pytest.mark.parametrize("path", named(files_of("recordings")))
def test_the_domain_stands_alone(path: Path) -> None:
    assert not tops(path) & {"prefect", "prefect_aws", "flows", "tasks", "demo", "tests"}


def wing_of(name: str) -> str:
    """Of ``recordings.s3.store`` or ``s3/store``, ``s3``; empty for what lies beside the folders."""
    first = name.removeprefix("recordings.").replace("/", ".").partition(".")[0]
    return first if first in WINGS else ""


@pytest.mark.parametrize("path", named(files_of("recordings")))
def test_one_folder_knows_each_library(path: Path) -> None:
    strangers = {
        library
        for library, places in KNOWS.items()
        if library in tops(path) and not any(f"{name_of(path)}/".startswith(f"{place}/") for place in places)
    }
    assert not strangers


def test_each_place_that_may_know_a_library_does() -> None:
    for library, place in ((library, place) for library, places in KNOWS.items() for place in places):
        files = [path for path in files_of("recordings") if f"{name_of(path)}/".startswith(f"{place}/")]
        assert any(library in tops(path) for path in files), library


@pytest.mark.parametrize("path", named([path for each in ("recordings", "tasks", "flows") for path in files_of(each)]))
def test_only_records_names_the_files_of_runs(path: Path) -> None:
    """All others are handed values: whoever cannot name a record's file, or parse JSON, looks into no record."""
    texts = [node.value for node in nodes_of(path) if isinstance(node, ast.Constant)]
    records = {text for text in texts if isinstance(text, str) and re.fullmatch(r"_runs/?|.*\.\w+\.json", text)}
    assert not records or path == ROOT / "recordings" / "table" / "records.py"


@pytest.mark.parametrize("path", named(files_of("recordings")))
def test_folders_know_each_other_in_one_direction(path: Path) -> None:
    own = wing_of(name_of(path))
    known = {wing_of(name) for name in imports_of(path) if name.startswith("recordings.")} - {"", own}
    assert known <= (WINGS[own] if own else set(WINGS) - ON_TOP)


@pytest.mark.parametrize("folder", WINGS)
def test_the_page_on_the_architecture_says_what_each_folder_imports(folder: str) -> None:
    page = (ROOT / "docs" / "architecture.md").read_text()
    lines = re.findall(r"^\| `(\w+)/` \| (.+) \| (.+) \|$", page, re.M)
    said = {name: [set(re.findall(r"`(\w+)`", cell)) for cell in cells] for name, *cells in lines}
    names = [name.split(".") for path in files_of(f"recordings/{folder}") for name in imports_of(path)]
    known = {parts[1] for parts in names if parts[0] == "recordings" and len(parts) > 1}
    beside = {name for name in known if (ROOT / "recordings" / f"{name}.py").is_file()}
    assert said[folder] == [known & WINGS.keys() - {folder}, beside - SUPPORT]


@pytest.mark.parametrize("path", named(files_of("recordings/jobs/engine")))
def test_what_jobs_share_knows_no_kind_of_job(path: Path) -> None:
    of_jobs = [name.split(".") for name in imports_of(path) if name.startswith("recordings.jobs.")]
    assert {parts[2] for parts in of_jobs} <= {"engine"}


@pytest.mark.parametrize("path", named(files_of("recordings/s3")))
def test_requests_know_neither_prices_nor_recordings(path: Path) -> None:
    known = {name.split(".")[1] for name in imports_of(path) if name.startswith("recordings.")}
    assert known <= {"s3", "errors", "settings", "build"}


def test_the_table_the_jobs_and_the_notebook_need_neither_compiler_nor_resampler() -> None:
    notebook = json.loads((ROOT / "notebooks" / "audit_report.ipynb").read_text())
    sources = ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]
    lines = [line for source in sources for line in source.splitlines() if line.startswith("from recordings.")]
    paths = [*files_of("recordings/table"), *files_of("recordings/jobs")]
    modules = [f"import recordings.{name_of(path).replace('/', '.')}".removesuffix(".__init__") for path in paths]
    assert len(lines) > 5
    check_load_no_audio([*lines, *modules])


@pytest.mark.slow
def test_flows_that_convert_nothing_need_neither_compiler_nor_resampler() -> None:
    check_load_no_audio([f"import flows.{each}" for each in FLOWS_WITHOUT_AUDIO])


def check_load_no_audio(imports: list[str]) -> None:
    check = "import sys; sys.exit(bool(sys.modules.keys() & {'av', 'numba', 'pydub', 'soundfile', 'soxr'}))"
    subprocess.run([sys.executable, "-W", "ignore", "-c", "\n".join([*imports, check])], cwd=ROOT, check=True)


@pytest.mark.parametrize("path", named(files_of("flows")))
def test_flows_know_neither_s3_nor_audio_nor_parquet(path: Path) -> None:
    assert not tops(path) & {"boto3", "botocore", "pydub", "numpy", "soxr", "pyarrow", "pandas", "demo", "tests"}


@pytest.mark.parametrize("path", named(files_of("tasks")))
def test_tasks_do_not_know_flows(path: Path) -> None:
    assert not tops(path) & {"flows", "demo", "tests", "pydub", "numpy", "soxr", "pyarrow"}


@pytest.mark.parametrize("path", named(files_of("deployments")))
def test_deployments_know_flows_by_their_names_only(path: Path) -> None:
    of_the_domain = {"recordings"} if path.name == "estate.py" else set()  # what a price list is
    assert not tops(path) & {"flows", "tasks", "recordings", "demo", "tests"} - of_the_domain


@pytest.mark.parametrize("path", named(sorted((ROOT / "tests" / "recordings").glob("*.py"))))
def test_the_domains_tests_need_no_prefect(path: Path) -> None:
    assert not tops(path) & {"prefect", "flows", "tasks"}


@pytest.mark.parametrize("path", named(files_of("tests")))
def test_what_tests_share_lies_in_a_module_of_its_own(path: Path) -> None:
    parts = [part for name in imports_of(path) for part in name.split(".")]
    assert not [part for part in parts if part.startswith("test_")]


def is_test_or_fixture(node: ast.AST) -> TypeGuard[ast.FunctionDef]:
    if not isinstance(node, ast.FunctionDef):
        return False
    return node.name.startswith("test_") or any("pytest.fixture" in ast.unparse(each) for each in node.decorator_list)


@pytest.mark.parametrize("path", named(files_of("tests")))
def test_tests_and_fixtures_say_what_they_are_handed(path: Path) -> None:
    """So that mypy checks the call of a fixture that is a function: its type is in ``tests/fixtures.py``, or beside it.

    What is checked nowhere: a parameter that may be anything, and a function that may be called with anything.
    """
    vague = []
    for function in filter(is_test_or_fixture, nodes_of(path)):
        said = [each.annotation for each in ast.walk(function.args) if isinstance(each, ast.arg)]
        texts = [ast.unparse(each) for each in (*said, function.returns) if each]
        vague += [f"{function.name}: {text}" for text in texts if text == "Any" or "Callable[..." in text]
    assert not vague


@pytest.mark.parametrize("path", named(files_of("tests")))
def test_functions_whose_result_is_known_are_called_as_they_must_be(path: Path) -> None:
    """By a Protocol, not as ``Callable[..., Run]``; only of a function that may be any, nothing is known."""
    functions = [ast.unparse(each) for each in nodes_of(path) if isinstance(each, ast.Subscript)]
    assert not [each for each in functions if each.startswith("Callable[...") and each != "Callable[..., Any]"]


@pytest.mark.parametrize("package", OURS)
def test_no_file_is_a_drawer_for_everything(package: str) -> None:
    names = {path.stem for path in files_of(package)}
    assert not names & {"utils", "helpers", "common", "misc", "manager"}
    assert not names & sys.stdlib_module_names - {"calls", "__main__"}


def test_every_module_of_the_domain_has_its_place_in_the_reading_order() -> None:
    order = recordings.__doc__ or ""
    beside_folders = order.partition("The modules above")[0]
    of_folder = {item.partition("``")[0]: item for item in order.split("\n- ``")}
    modules = [name_of(path) for path in files_of("recordings") if path.stem != "__init__"]
    places = {name: of_folder[wing_of(name)] if wing_of(name) else beside_folders for name in modules}
    assert [name for name, place in places.items() if f"``{Path(name).name}``" not in place] == []


def test_the_version_is_said_once_more_and_alike() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["version"] == recordings.__version__


@pytest.mark.slow
def test_prefect_stays_out_of_a_process_that_uses_the_domain_only() -> None:
    modules = ", ".join(f"recordings.{name_of(path).replace('/', '.')}" for path in files_of("recordings"))
    modules = modules.replace(".__init__", "")
    check = f"import sys, {modules}; sys.exit('prefect' in sys.modules)"
    subprocess.run([sys.executable, "-W", "ignore", "-c", check], cwd=ROOT, check=True)
