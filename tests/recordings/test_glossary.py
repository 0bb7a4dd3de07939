"""Every code that can stand in a row, a report or a log is explained, and nothing else is."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import recordings
from recordings import glossary
from recordings.jobs.reconcile import _UNTOLD
from recordings.table.rows import Status

FILES = sorted(Path(recordings.__file__).parent.rglob("*.py"))
CODE = re.compile(r"([a-z]+(?:-[a-z]+)*)(?::|\Z)")
NAMED = {
    "reason",
    "code",
    "TAG_LIMIT",
    "FOUND_GONE",
    "NOT_WORTH_IT",
    "WAS_DESTROYED",
    "PARTLY",
    "MARKER_LEFT",
    "CASE",
}  # what holds a reason, or begins one
RAISED = {"Rejected", "Skipped", "Changed", "Unproven"}


def reasons() -> set[str]:
    return {code for path in FILES for code in _reasons_in(ast.parse(path.read_text()))}


def differences() -> set[str]:
    calls = (node for path in FILES for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call))
    of_drift = (call for call in calls if _name(call.func) == "Drift")
    return {*_UNTOLD.values()} | {
        keyword.value.value
        for call in of_drift
        for keyword in call.keywords
        if keyword.arg == "code" and isinstance(keyword.value, ast.Constant) and isinstance(keyword.value.value, str)
    }


def _reasons_in(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        for text in _texts(node):
            yield from filter(None, map(_code, ast.walk(text)))


def _texts(node: ast.AST) -> Iterator[ast.AST]:
    """The expressions that become a reason, or the code of one."""
    match node:
        case ast.Call(func=func, args=[first, *_]) if _name(func) in RAISED and not isinstance(first, ast.Starred):
            yield first
        case ast.Call(func=func, args=[_, _, reason]) if _name(func) == "ended":
            yield reason
        case ast.Return(value=ast.Tuple(elts=[ast.Attribute(value=ast.Name(id="Status")), reason])):
            yield reason
        case ast.Assign(
            targets=[
                ast.Name(
                    id="reason"
                    | "code"
                    | "TAG_LIMIT"
                    | "FOUND_GONE"
                    | "NOT_WORTH_IT"
                    | "WAS_DESTROYED"
                    | "PARTLY"
                    | "MARKER_LEFT"
                    | "IN_RETENTION"
                    | "CASE"
                )
            ],
            value=value,
        ):
            yield value
        case ast.Assign(targets=[ast.Name(id="FOUND_CONVERTED" | "NOT_SMALLER")], value=ast.Tuple(elts=[code, _])):
            yield code
        case ast.Call(keywords=keywords):
            yield from (each.value for each in keywords if each.arg == "reason")


def _code(node: ast.AST) -> str | None:
    if isinstance(node, ast.JoinedStr):
        node = node.values[0]
    text = node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""
    match = CODE.match(text)
    return match[1] if match else None


def _name(node: ast.AST) -> str:
    return node.id if isinstance(node, ast.Name) else ""


def test_every_reason_is_explained_and_none_that_does_not_exist() -> None:
    assert reasons() == glossary.REASONS.keys()


def test_every_difference_is_explained_and_none_that_does_not_exist() -> None:
    assert differences() == glossary.DIFFERENCES.keys()


def test_every_status_is_explained() -> None:
    assert glossary.STATUSES.keys() == set(Status)


def test_each_explanation_is_a_plain_sentence() -> None:
    for table in (glossary.STATUSES, glossary.REASONS, glossary.DIFFERENCES):
        for code, term in table.items():
            assert term.meaning.endswith("."), code
            assert not term.way_out or term.way_out.endswith("."), code
            assert "|" not in term.meaning + term.way_out, code


@pytest.mark.parametrize(("reason", "code"), [("truncated: cut", "truncated"), ("bug", "bug"), (None, "")])
def test_the_code_of_a_reason(reason: str | None, code: str) -> None:
    assert glossary.code_of(reason) == code


def test_an_unknown_code_gets_a_sensible_sentence() -> None:
    assert "S3's own" in glossary.meaning("QuotaExceeded")
    assert glossary.way_out("QuotaExceeded")
    assert glossary.way_out("truncated").startswith("Listen")
