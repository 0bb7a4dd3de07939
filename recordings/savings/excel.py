"""Tables for Excel, which has no time zones or control characters, and takes text that begins with = for a formula."""

import re
from collections.abc import Mapping
from io import BytesIO
from typing import Any

import pandas as pd

_MAX_ROWS = 50_000  # per sheet: writing a million, which Excel can hold, would take gigabytes of memory
_MAX_CHARACTERS = 32_767  # per cell: "Excel specifications and limits"
_WIDEST = 60
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f]")


def for_excel(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame in a form that ``to_excel`` accepts: UTC times without a zone, texts without control characters."""
    return frame.apply(_for_excel) if len(frame) else frame


def _for_excel(column: pd.Series) -> pd.Series:
    if isinstance(column.dtype, pd.DatetimeTZDtype):
        return pd.Series(column.dt.tz_convert(None))
    return column.map(_text) if column.dtype in ("object", "str") else column


def _text(value: Any) -> Any:
    return _CONTROL.sub("?", value)[:_MAX_CHARACTERS] if isinstance(value, str) else value


def workbook(sheets: Mapping[str, pd.DataFrame]) -> bytes:
    """A workbook of these sheets, the first 50,000 rows of each."""
    output = BytesIO()
    with pd.ExcelWriter(output, engine="openpyxl") as writer:
        for name, frame in sheets.items():
            for_excel(frame.head(_MAX_ROWS)).to_excel(writer, sheet_name=name, index=False, freeze_panes=(1, 0))
            for column in writer.sheets[name].columns:
                _tidy(writer.sheets[name], column)
    return output.getvalue()


def _tidy(sheet: Any, column: Any) -> None:
    """Make the column wide enough; keep text as text, even if it begins with = or looks like an error of Excel."""
    longest = max(len(str(cell.value or "")) for cell in column)
    sheet.column_dimensions[column[0].column_letter].width = min(longest, _WIDEST) + 2
    for cell in column:
        if cell.data_type in ("f", "e"):
            cell.data_type = "s"
