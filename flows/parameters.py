"""The types of parameters as the run form sends them: an empty field counts as a parameter left out."""

from collections.abc import Sequence
from datetime import date
from typing import Annotated, Any

from pydantic import BeforeValidator, Field


def one_of(names: Sequence[str]) -> Any:
    """The type of a parameter with one of these values, which the run form offers as a list."""
    return Field(json_schema_extra={"enum": list(names)})


def _left_out(value: Any) -> Any:
    return None if isinstance(value, str) and not value.strip() else value


def _required(value: Any) -> Any:
    if _left_out(value) is None:
        raise ValueError("it is empty: give a UTC day, as 2026-01-12")
    return value


def _trimmed(value: Any) -> Any:
    return "" if value is None else value.strip() if isinstance(value, str) else value


Day = Annotated[date | None, BeforeValidator(_left_out)]  # empty: the run decides
RequiredDay = Annotated[date, BeforeValidator(_required)]
Count = Annotated[int | None, Field(ge=0), BeforeValidator(_left_out)]  # empty: another parameter decides
Words = Annotated[str, BeforeValidator(_trimmed)]  # empty: no restriction
