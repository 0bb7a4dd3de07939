"""How the fields of a run form arrive."""

from datetime import date
from typing import Annotated, Any

from pydantic import BeforeValidator


def _none_if_blank(value: Any) -> Any:
    return None if isinstance(value, str) and not value.strip() else value


OptionalDate = Annotated[date | None, BeforeValidator(_none_if_blank)]  # a form may send "" for a date left out
OptionalText = Annotated[str | None, BeforeValidator(_none_if_blank)]
