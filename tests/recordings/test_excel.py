"""A workbook shows what the frame holds: times without a zone, texts as texts."""

from dataclasses import replace
from datetime import datetime
from io import BytesIO
from pathlib import Path

import pandas as pd

from recordings.savings.excel import for_excel, workbook
from recordings.table.reading import read_audit
from tests.recordings.tables import every_status, write_table

KEYS = ["=1+1.wav", "a\x01b.wav", "c" * 40_000]


def frame(root: Path) -> pd.DataFrame:
    row, *_ = every_status()
    write_table(root, [replace(row, key=key, snr_db=None, bytes_after=None) for key in KEYS])
    return read_audit(str(root))


def test_a_workbook_can_be_read_back(tmp_path: Path) -> None:
    rows = frame(tmp_path)
    sheets = pd.read_excel(BytesIO(workbook({"rows": rows, "none": rows.head(0)})), sheet_name=None)
    assert list(sheets["rows"].columns) == list(sheets["none"].columns) == list(rows.columns)
    assert sheets["rows"]["key"].tolist() == ["=1+1.wav", "a?b.wav", "c" * 32_767]
    assert sheets["rows"]["state_at"].tolist() == [datetime(2026, 1, 20, 3)] * 3  # noqa: DTZ001 (Excel knows none)
    assert sheets["rows"]["bytes_after"].isna().all()
    assert len(sheets["none"]) == 0


def test_a_frame_is_exported_as_the_documentation_shows(tmp_path: Path) -> None:
    rows = frame(tmp_path)
    for_excel(rows).to_excel(tmp_path / "audit.xlsx", index=False)
    assert pd.read_excel(tmp_path / "audit.xlsx")["started_at"][0] == pd.Timestamp(2026, 1, 20, 3)
    assert str(rows["started_at"].dtype) == "datetime64[us, UTC]"  # the frame itself stays as it was
