"""The house: which part may know which other, and which file may know which library."""

import ast
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

import recordings

ROOT = Path(__file__).parents[1]
OURS = ("flows", "tasks", "recordings", "demo", "benchmarks", "deployments")

# In recordings, one file (or the few of one noun) knows each outside library.
KNOWS = {
    "boto3": {"s3/session"},
    "botocore": {"s3/errors", "s3/session", "s3/store"},
    "urllib3": {"s3/errors", "s3/store"},
    "pyarrow": {"manifest"},
    "pydantic_settings": {"settings"},
    "pydantic": {"settings"},
    "pydub": {"pcm"},
    "soxr": {"pcm"},
    "numpy": {"alaw", "judge", "pcm"},
    "numba": {"alaw", "judge"},
    "tenacity": {"patience"},
    "duckdb": {"savings"},
    "matplotlib": {"charts"},
}


def imports_of(path: Path) -> Iterator[str]:
    """Every module that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text())):
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


@pytest.mark.parametrize("path", named(files_of("recordings")))
def test_one_file_knows_each_library(path: Path) -> None:
    strangers = {library for library, files in KNOWS.items() if library in tops(path) and name_of(path) not in files}
    assert not strangers


def test_each_file_that_may_know_a_library_does() -> None:
    for library, files in KNOWS.items():
        for name in files:
            assert library in tops(ROOT / "recordings" / f"{name}.py"), (library, name)


@pytest.mark.parametrize("path", named(files_of("flows")))
def test_flows_know_neither_s3_nor_audio_nor_parquet(path: Path) -> None:
    assert not tops(path) & {"boto3", "botocore", "pydub", "numpy", "soxr", "pyarrow", "pandas", "demo", "tests"}


@pytest.mark.parametrize("path", named(files_of("tasks")))
def test_tasks_do_not_know_flows(path: Path) -> None:
    assert not tops(path) & {"flows", "demo", "tests", "pydub", "numpy", "soxr", "pyarrow"}


@pytest.mark.parametrize("path", named(files_of("deployments")))
def test_deployments_know_what_is_deployed_by_its_name_only(path: Path) -> None:
    assert not tops(path) & {"flows", "tasks", "recordings", "demo", "tests"}


@pytest.mark.parametrize("path", named(sorted((ROOT / "tests" / "recordings").glob("*.py"))))
def test_the_domains_tests_need_no_prefect(path: Path) -> None:
    assert not tops(path) & {"prefect", "flows", "tasks"}


@pytest.mark.parametrize("package", OURS)
def test_no_file_is_a_drawer_for_everything(package: str) -> None:
    names = {path.stem for path in files_of(package)}
    assert not names & {"utils", "helpers", "common", "misc", "manager"}
    assert not names & sys.stdlib_module_names - {"calls", "__main__"}


def test_every_module_of_the_domain_has_its_place_in_the_reading_order() -> None:
    modules = {path.stem for path in files_of("recordings")} - {"__init__"}
    unnamed = {name for name in modules if f"``{name}``" not in (recordings.__doc__ or "")}
    assert not unnamed


def test_the_version_is_said_once_more_and_alike() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["version"] == recordings.__version__


def test_prefect_stays_out_of_a_process_that_uses_the_domain_only() -> None:
    modules = ", ".join(f"recordings.{name_of(path).replace('/', '.')}" for path in files_of("recordings"))
    modules = modules.replace(".__init__", "")
    check = f"import sys, {modules}; sys.exit('prefect' in sys.modules)"
    subprocess.run([sys.executable, "-W", "ignore", "-c", check], cwd=ROOT, check=True)
