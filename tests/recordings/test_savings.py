"""Sums over the audit table by SQL: each recording counts once, at what is true now, to the byte."""

import re
from collections import Counter
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from tempfile import gettempdir
from typing import Any, Protocol
from urllib.parse import urlsplit
from urllib.request import url2pathname

import duckdb
import pandas as pd
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recordings.gate import Terms
from recordings.pricing import GB, MONTH_DAYS
from recordings.savings.charts import charts
from recordings.savings.figures import by_day, by_reason, by_status, figures, projection, saved_by_day
from recordings.savings.page import page, savings_report
from recordings.savings.sums import SMALL_STATES, Savings, savings
from recordings.table.files import AuditFiles, LocalFiles
from recordings.table.parquet import write_rows
from recordings.table.reading import STATE_COLUMNS, Only, audit_dates, current, read_audit, rows_of_days
from recordings.table.records import record_end
from recordings.table.rows import DESTROYED, EVENTS, AuditRow, Status
from recordings.table.schema import current_view, duckdb_view
from tests.fixtures import PlanRun
from tests.recordings.prices import PRICES, a_call_of, costs_by_hand
from tests.recordings.tables import ARCHIVED, ARCHIVED_AT, DAY, every_status

AS_OF = date(2026, 3, 1)
ROW = replace(ARCHIVED, key="a.wav", bytes_before=4 * GB, bytes_after=GB, duration_after_s=600)
BEFORE, AFTER, TAG = 4 * 0.023, 0.004, 0.0065 / 10_000


def later(row: AuditRow, days: float, status: Status, **changes: Any) -> AuditRow:
    at = ARCHIVED_AT + timedelta(days=days)
    return replace(row, run_id=f"r{days}", status=status, state_at=at, started_at=at, **changes)


class SumUp(Protocol):
    def __call__(self, *rows: AuditRow, start: date | None = ..., end: date | None = ...) -> Savings: ...


@pytest.fixture
def sum_up(files: AuditFiles, tmp_path: Path) -> SumUp:
    def of(*rows: AuditRow, start: date | None = None, end: date | None = None) -> Savings:
        for wave, row in enumerate(rows):
            write_rows(files, [row], run_id="r", number=wave)
        return savings(files, PRICES, start, end)

    return of


def test_an_original_that_is_kept_outweighs_what_is_saved(sum_up: SumUp) -> None:
    found = figures(sum_up(ROW), PRICES, AS_OF, 6)
    assert (found.recordings, found.bytes_before, found.bytes_after, found.minutes) == (1, 4 * GB, GB, 10)
    assert found.saved_now == pytest.approx(-AFTER - TAG)
    assert found.saved_once_released == pytest.approx(BEFORE - AFTER - TAG)


def test_a_released_original_is_saved_from_its_release_on(sum_up: SumUp) -> None:
    result = sum_up(ROW, later(ROW, 30, Status.RELEASED, original_kept=False))
    assert figures(result, PRICES, AS_OF, 6).saved_now == pytest.approx(BEFORE - AFTER - TAG)
    days = saved_by_day(result, AS_OF)
    assert days.index[0] == pd.Timestamp(2026, 1, 20)
    assert days.iloc[-1] == pytest.approx((30 * (-AFTER - TAG) + 10 * (BEFORE - AFTER - TAG)) / MONTH_DAYS)


def test_an_original_is_overdue_once_its_grace_and_a_week_have_passed(sum_up: SumUp) -> None:
    waits = replace(ROW, key="waits.wav")
    result = sum_up(waits, ROW, later(ROW, 8, Status.RELEASED, original_kept=False))
    archived_on = ARCHIVED_AT.date()
    found = [figures(result, PRICES, archived_on + timedelta(days=days), 6) for days in (8, 14, 15)]
    assert [each.originals_waiting for each in found] == [1, 1, 1]
    assert [each.originals_overdue for each in found] == [0, 0, 1]


def test_a_restored_recording_saves_nothing_and_leaves_its_replacement_to_be_paid(sum_up: SumUp) -> None:
    restored = later(
        ROW,
        3,
        Status.RESTORED,
        bytes_before=GB,
        bytes_after=4 * GB,
        storage_class_before="GLACIER_IR",
        storage_class_after="STANDARD",
        tagged=False,
    )
    result = sum_up(ROW, restored)
    (line,) = result.standing.to_dict("records")
    assert line["usd_saved"] == pytest.approx(-AFTER - BEFORE)  # the original's version lies beneath its copy
    assert figures(result, PRICES, AS_OF, 6).recordings == 0


@pytest.mark.parametrize("status", DESTROYED)
def test_what_was_destroyed_neither_costs_nor_saves_from_that_day_on(sum_up: SumUp, status: Status) -> None:
    """Whatever its row still says of sizes and of what it kept; what it has cost until then stays."""
    result = sum_up(ROW, later(ROW, 30, status, tagged=True, original_kept=True))
    (line,) = result.standing.to_dict("records")
    assert [line[f"usd_{what}"] for what in ("before", "after", "originals", "tags", "saved")] == [0] * 5
    found = figures(result, PRICES, AS_OF, 6)
    assert (found.recordings, found.not_small, found.expired + found.erased) == (0, 0, 1)
    assert (found.saved_now, found.projected_as_is) == (0, 0)
    days = saved_by_day(result, AS_OF)
    assert days.iloc[-1] == days.iloc[30] == pytest.approx(30 * (-AFTER - TAG) / MONTH_DAYS)
    assert by_status(result)["recordings"].to_dict() == {status: 1}
    assert by_reason(result).empty


@pytest.mark.parametrize("event", EVENTS)
def test_an_event_is_no_attempt(sum_up: SumUp, event: Status) -> None:
    rejected = replace(ROW, status=Status.REJECTED, reason="truncated: a", state_at=None)
    only = later(replace(ROW, key="b.wav"), 5, event, reason="case: 1")
    result = sum_up(rejected, later(rejected, 5, event, reason="case: 1"), only)
    assert by_reason(result).values.tolist() == [["rejected", "truncated", 1]]
    assert result.not_small["status"].tolist() == ["rejected"]


def test_what_was_found_archived_counts_once(sum_up: SumUp) -> None:
    confirmed = later(ROW, 0, Status.ALREADY_ARCHIVED)
    result = sum_up(ROW, confirmed, replace(confirmed, run_id="r9"))
    assert by_status(result)["recordings"].to_dict() == {"archived": 1}
    assert figures(result, PRICES, AS_OF, 6).bytes_before == 4 * GB


def test_an_attempt_after_a_state_is_not_counted(sum_up: SumUp) -> None:
    failed = later(ROW, 5, Status.FAILED, reason="unavailable: S3 was down")
    assert by_status(sum_up(ROW, failed))["recordings"].to_dict() == {"archived": 1}


def test_the_last_attempt_says_why_it_is_not_archived(sum_up: SumUp) -> None:
    rejected = replace(ROW, status=Status.REJECTED, reason="truncated: a: b", state_at=None)
    failed = later(rejected, -1, Status.FAILED, reason="unavailable: S3 was down")
    other = replace(rejected, key="b.wav")
    assert by_reason(sum_up(failed, rejected, other)).values.tolist() == [["rejected", "truncated", 2]]


def test_small_objects_are_billed_as_128_kib(sum_up: SumUp) -> None:
    result = sum_up(replace(ROW, bytes_before=1000, bytes_after=250, tagged=False))
    assert result.small["usd_after"].sum() == pytest.approx(131072 / GB * 0.004)
    assert result.small["usd_before"].sum() == pytest.approx(1000 / GB * 0.023)


def test_a_storage_class_without_a_price_counts_as_standard(sum_up: SumUp) -> None:
    result = sum_up(replace(ROW, storage_class_before="REDUCED_REDUNDANCY", storage_class_after=None))
    assert result.small["usd_before"].sum() == pytest.approx(BEFORE)
    assert result.small["usd_after"].sum() == pytest.approx(0.023)


def test_a_range_is_what_was_asked_for(sum_up: SumUp) -> None:
    days = [replace(ROW, recording_date=DAY + timedelta(days=n)) for n in range(60)]
    result = sum_up(*days, start=DAY + timedelta(days=10), end=DAY + timedelta(days=39))
    assert by_status(result)["recordings"].to_dict() == {"archived": 30}
    assert (result.start, result.end) == (DAY + timedelta(days=10), DAY + timedelta(days=39))


def test_the_projection_ends_when_the_last_recording_has_been_kept_long_enough(sum_up: SumUp) -> None:
    future = projection(sum_up(ROW), AS_OF, 6)
    left_months = (date(2032, 1, 12) - AS_OF).days / MONTH_DAYS
    assert future["released_usd"].iloc[-1] == pytest.approx((BEFORE - AFTER - TAG) * left_months)
    assert future["as_is_usd"].iloc[-1] == pytest.approx(-(AFTER + TAG) * left_months)
    assert len(future) == int(left_months) + 2


@pytest.mark.parametrize("folder", ["audit", "audit [old]"])
def test_a_column_that_no_file_has_is_null(tmp_path: Path, folder: str) -> None:
    """As in a table that an older version wrote, wherever it lies."""
    files = LocalFiles(tmp_path / folder)
    (file,) = write_rows(files, [ROW], run_id="r", number=1)
    path = tmp_path / folder / file.name
    kept = ["run_id", "bucket", "key", "status", "state_at", "started_at"]
    pq.write_table(pq.read_table(path, partitioning=None).select(kept), path)
    small = savings(files, PRICES).small[["recordings", "tags", "verified", "read_back", "bytes_after", "kept"]]
    assert small.to_numpy().tolist() == [[1, 0, 0, 0, 0, False]]


def test_bytes_are_whole_beyond_what_a_float_holds(sum_up: SumUp) -> None:
    rows = [replace(ROW, key=f"{n}.wav", bytes_before=2**53 + 1) for n in range(3)]
    assert figures(sum_up(*rows), PRICES, AS_OF, 6).bytes_before == 3 * (2**53 + 1)


def test_runs_cost_what_they_measured(files: AuditFiles, plan: PlanRun, tmp_path: Path, sum_up: SumUp) -> None:
    cost = {"requests_usd": 1.0, "kms_usd": 0.25, "waiting_usd": 0.5, "standing_usd": 99.0}
    totals = {"counts": {"archived": 1}, "wall_s": 2, "cpu_s": 1, "minutes": 10, "bytes_before": 4, "bytes_after": 1}
    run = replace(plan(), started_at=datetime(2026, 2, 20, tzinfo=UTC))
    record_end(files, run, totals={**totals, "cost": cost}, manifest=[])
    found = figures(sum_up(replace(ROW, run_id=run.run_id)), PRICES, AS_OF, 6)
    assert (found.runs, found.spent_on_runs) == pytest.approx((1, 1.75))
    assert found.spent_standing == pytest.approx(10 * PRICES.standing_month / MONTH_DAYS)
    assert found.all_in_per_1000_minutes == pytest.approx((1.75 + found.spent_standing) * 100)


def test_runs_that_began_on_a_whole_second_are_counted(files: AuditFiles, plan: PlanRun, sum_up: SumUp) -> None:
    """As one in a million does: its record says so without a fraction, which no other's does."""
    totals = {"counts": {}, **dict.fromkeys(("wall_s", "cpu_s", "minutes", "bytes_before", "bytes_after"), 1)}
    for microsecond in (678, 0):
        run = replace(plan(), run_id=f"r{microsecond}", started_at=datetime(2026, 2, 20, 3, 0, 0, microsecond, UTC))
        record_end(files, run, totals={**totals, "cost": {"requests_usd": 1.0}}, manifest=[])
    assert figures(sum_up(ROW), PRICES, AS_OF, 6).runs == 2


def test_a_range_is_charged_its_share(files: AuditFiles, plan: PlanRun, sum_up: SumUp) -> None:
    """Of a run as many of its minutes as lie in the range; of worker and server as many of the days with calls.

    Two runs, of 10 and of 30 minutes, over two days: the range is the first day, with all of the first run's minutes
    and a third of the second's. A third run found nothing on its four days, one of which is in the range.
    """
    next_day = DAY + timedelta(days=1)
    ends = (DAY, next_day, DAY + timedelta(days=3))
    totals = {"counts": {}, "wall_s": 2, "cpu_s": 1, "bytes_before": 4, "bytes_after": 1, "cost": {"requests_usd": 6}}
    run = replace(plan(), started_at=datetime(2026, 2, 20, tzinfo=UTC), start_date=DAY)
    for minutes, end in zip((10, 30, 0), ends, strict=True):
        this = replace(run, run_id=f"r{minutes}", end_date=end)
        record_end(files, this, totals={**totals, "minutes": minutes}, manifest=[])
    rows = [replace(ROW, run_id="r10"), replace(ROW, run_id="r30", key="b.wav")]
    rows.append(replace(ROW, run_id="r30", key="c.wav", recording_date=next_day, duration_after_s=1200))
    whole, first, second, none = (
        figures(sum_up(*rows, start=start, end=end), PRICES, AS_OF, 6)
        for start, end in ((None, None), (DAY, DAY), (next_day, None), (date(2025, 1, 1), date(2025, 1, 2)))
    )
    assert (whole.runs, whole.spent_on_runs, whole.minutes_by_runs) == pytest.approx((3, 18, 40))
    assert (first.runs, first.spent_on_runs) == pytest.approx((3, 6 + 2 + 1.5))
    assert (second.runs, second.spent_on_runs) == pytest.approx((2, 4 + 4.5))
    assert first.spent_standing == pytest.approx(whole.spent_standing / 2)
    for found in (first, second):
        assert found.minutes_by_runs == pytest.approx(found.minutes)
    assert (none.runs, none.spent_on_runs, none.spent_standing) == (0, 0, 0)


def test_what_was_shown_of_a_version_once_is_true_of_it(sum_up: SumUp) -> None:
    """A release reads nothing back, and what a run left unverified the next one confirms: neither is forgotten.

    But the second version of the other recording, which nobody read back, is another matter.
    """
    read = replace(ROW, version_after="v1", read_back=True)
    unproven = replace(ROW, version_after="v2", key="b.wav", verified=False, tagged=False)
    rows = [
        read,
        later(read, 30, Status.RELEASED, read_back=False),
        unproven,
        replace(unproven, run_id="next", status=Status.ALREADY_ARCHIVED, verified=True, tagged=True),
        replace(read, key="c.wav"),
        later(replace(read, key="c.wav"), 3, Status.ARCHIVED, version_after="v2", read_back=False),
    ]
    found = figures(sum_up(*rows), PRICES, AS_OF, 6)
    assert (found.recordings, found.verified, found.read_back) == (3, 3, 1)
    assert found.usd_tags == pytest.approx(3 * TAG)


def test_the_csv_has_a_row_for_each_day_and_all_its_recordings(sum_up: SumUp) -> None:
    days = by_day(sum_up(*every_status()))
    assert days["recording_date"].tolist() == [pd.Timestamp(DAY), pd.Timestamp(DAY + timedelta(days=1))]
    assert days["recordings"].tolist() == [10, 1]
    told = [status for status in Status if status not in EVENTS]
    assert days[told].sum().to_dict() == dict.fromkeys(told, 1) | {"archived": 2}
    assert not days.columns.intersection(list(EVENTS)).any()
    assert (days["small"].sum(), days["verified"].sum(), days["read_back"].sum()) == (4, 4, 1)


def test_all_that_is_not_small_is_listed_with_its_key(sum_up: SumUp) -> None:
    listed = sum_up(*every_status()).not_small.set_index("status")
    assert sorted(listed.index) == ["changed", "failed", "rejected", "restored", "skipped"]
    assert listed.loc[["rejected"], ["key", "reason", "bytes"]].to_numpy().tolist() == [
        ["calls/2026/01/12/rejected.wav", "code-rejected: a sentence", 4_000_044]
    ]
    assert listed.loc["restored", "bytes"] == 4_000_045


def test_a_report_on_nothing_is_still_a_report(sum_up: SumUp) -> None:
    result = sum_up()
    found = figures(result, PRICES, AS_OF, 6)
    html = page(result, found, PRICES, charts(result, PRICES, AS_OF, 6), "audit", {})
    assert (found.recordings, found.saved_now, found.all_in_per_1000_minutes) == (0, 0, None)
    assert html.count("<img") == 0


def test_the_page_asks_nobody_for_anything(sum_up: SumUp) -> None:
    odd = replace(ROW, key="b.wav", status=Status.REJECTED, reason="<script>: x", state_at=None)
    result = sum_up(ROW, odd)
    html = page(result, figures(result, PRICES, AS_OF, 6), PRICES, charts(result, PRICES, AS_OF, 6), "s3://a/<b>", {})
    assert "<script" not in html
    assert 'src="http' not in html
    assert "url(http" not in html
    assert f"<td>{4 * GB:,}</td><td>{GB:,}</td>" in html


def test_the_artifact_links_to_page_and_files(sum_up: SumUp, tmp_path: Path) -> None:
    local = tmp_path / "my audit" / "x (1).csv"
    links = {"page": "s3://audit/a+b/_reports/x.html", "days": str(local)}
    text = savings_report(figures(sum_up(ROW), PRICES, AS_OF, 6), links)
    assert "(https://console.aws.amazon.com/s3/object/audit?prefix=a%2Bb/_reports/x.html)" in text
    address = re.findall(r"^- days: \[`.*`\]\((file:///[^ ()]+)\)$", text, re.M)
    assert [url2pathname(urlsplit(each).path) for each in address] == [str(local)]
    assert f"({4 * GB:,} → {GB:,} bytes)" in text


def test_every_report_says_which_recordings_it_is_of(sum_up: SumUp) -> None:
    result = sum_up(*every_status())
    found = figures(result, PRICES, AS_OF, 6)
    said = (
        "4 recordings are small now (2 archived, 1 found small already, 1 archived with the original deleted since); "
        "5 are not; deleted since: 1 at the end of their retention and 1 on request."
    )
    html = page(result, found, PRICES, [], "audit", {"days (CSV)": "x days.csv"})
    for text in (html, savings_report(found, {})):
        assert said in text
        assert re.search(r"read back[^|<]*(</td><td>| \| )1 of 4", text)
    assert '<a href="x%20days.csv">days (CSV)</a>' in html
    assert '<td class="text">calls/2026/01/12/failed.wav</td><td class="text">failed: code-failed: a sent' in html


def test_a_long_list_is_cut_on_the_page_and_says_so(sum_up: SumUp) -> None:
    rejected = [replace(ROW, key=f"{n}.wav", status=Status.REJECTED, state_at=None) for n in range(103)]
    result = sum_up(*rejected)
    html = page(result, figures(result, PRICES, AS_OF, 6), PRICES, [], "audit", {})
    assert "<p>And 3 more, which the CSV lists.</p>" in html
    assert html.count(".wav") == 100
    assert len(result.not_small) == 103


@pytest.mark.slow
@pytest.mark.parametrize(
    ("days", "labels"), [(1, ["12 Jan"]), (3, ["12 Jan", "13 Jan", "14 Jan"]), (40, ["Feb"])], ids=str
)
def test_a_chart_of_few_days_names_each(sum_up: SumUp, days: int, labels: list[str]) -> None:
    result = sum_up(*(replace(ROW, recording_date=DAY + timedelta(days=n)) for n in range(days)))
    (_, svg), *_ = charts(result, PRICES, AS_OF, 6)
    texts = re.findall(r"<text[^>]*>([^<]+)<", svg)
    assert [label for label in texts if label in labels] == labels
    assert not [text for text in texts if re.fullmatch(r"\d\d:\d\d", text)]


@pytest.mark.slow
def test_runs_close_together_or_alone_stand_side_by_side(sum_up: SumUp) -> None:
    started = pd.to_datetime(["2026-01-20 03:00", "2026-01-20 03:01", "2026-03-01 00:00"], utc=True)
    measured = dict.fromkeys(("wall_s", "cpu_s", "minutes", "marginal_usd", "waiting_usd"), 100.0)
    result = sum_up(ROW)
    for count in (1, 3):
        runs = pd.DataFrame({"started_at": started[:count], "share": 1.0, **measured})
        (_, svg), _ = list(charts(replace(result, runs=runs), PRICES, AS_OF, 6))[-2:]
        assert re.findall(r">(\d\d:\d\d)<", svg) == ["03:00", "03:01", "00:00"][:count]
    started = pd.date_range("2026-01-20 03:00", periods=12, freq="10s", tz="UTC")
    many = pd.DataFrame({"started_at": started, "share": 1.0, **measured})
    (_, svg), _ = list(charts(replace(result, runs=many), PRICES, AS_OF, 6))[-2:]
    assert len(re.findall(r">(\d\d:\d\d)<", svg)) > 1  # minutes, and not one day


@pytest.mark.slow
def test_charts_of_years_are_drawn_by_month_and_are_the_same_each_time(sum_up: SumUp) -> None:
    result = sum_up(*(replace(ROW, recording_date=DAY + timedelta(days=n)) for n in range(130)))
    first, again = (dict(charts(result, PRICES, AS_OF, 6)) for _ in range(2))
    assert next(iter(first)) == "Recordings before and after, per month of the call"
    assert first == again


@pytest.mark.slow
def test_many_runs_are_drawn_by_month(sum_up: SumUp) -> None:
    started = pd.date_range("2025-01-01", periods=200, tz="UTC")
    measured = dict.fromkeys(("wall_s", "cpu_s", "minutes", "marginal_usd", "waiting_usd"), 100.0)
    result = replace(sum_up(ROW), runs=pd.DataFrame({"started_at": started, "share": 1.0, **measured}))
    titles = [title for title, _ in charts(result, PRICES, AS_OF, 6)]
    assert titles[-2:] == [
        "Runs, mean per month: how long they took",
        "Runs, mean per month: cost per 1,000 minutes archived",
    ]


def histories() -> st.SearchStrategy[list[AuditRow]]:
    """Rows of a few recordings: any statuses, moments and sizes."""
    moments = st.integers(0, 5).map(lambda hours: ARCHIVED_AT + timedelta(hours=hours))
    return st.lists(
        st.builds(
            lambda key, day, status, at, taken_up, size: replace(
                ROW,
                key=key,
                recording_date=DAY + timedelta(days=day),
                status=status,
                state_at=at,
                started_at=taken_up,
                bytes_before=size,
            ),
            st.sampled_from("ab"),
            st.integers(0, 1),
            st.sampled_from(Status),
            moments | st.none(),
            st.integers(0, 10**6).map(lambda seconds: ARCHIVED_AT + timedelta(seconds=seconds)),
            st.integers(0, 2**40),
        ),
        max_size=12,
        unique_by=lambda row: row.started_at,
    )


def _streamed(files: LocalFiles) -> list[AuditRow]:
    """What is true now by the reader of restore, release and reconcile."""
    only = [Only(bucket=bucket) for bucket in ("recordings", "elsewhere")]
    days = [(each, day) for each in only for day in audit_dates(files)]
    return [row for each, day in days for row in rows_of_days(files, [day], STATE_COLUMNS, each, current)]


@pytest.mark.slow
@given(histories())
@settings(max_examples=20, deadline=None)
def test_sql_pandas_and_streaming_agree_on_what_is_true_now(
    tmp_path_factory: pytest.TempPathFactory, rows: list[AuditRow]
) -> None:
    rows = [row for row in rows if row.state_at or row.status not in SMALL_STATES]
    root = tmp_path_factory.mktemp("audit")
    for wave, row in enumerate(rows):
        write_rows(LocalFiles(root), [row], run_id="r", number=wave)
    result = savings(LocalFiles(root), PRICES)
    by_pandas = pd.concat(
        [current(day) for _, day in read_audit(str(root)).groupby("recording_date")] or [read_audit(str(root))]
    )
    expected = by_pandas.groupby("status")["bytes_before"].sum().to_dict()
    states = by_status(result).loc[lambda frame: frame.index.isin([*SMALL_STATES, "restored", *DESTROYED])]
    assert states["bytes_before"].to_dict() == expected
    streamed = Counter[str]()
    for row in _streamed(LocalFiles(root)):
        streamed[row.status] += row.bytes_before or 0
    assert streamed == expected
    looked_at = {(row.recording_date, row.key) for row in rows if row.status not in EVENTS}
    assert by_day(result)["recordings"].sum() == len(looked_at)


@pytest.mark.slow
@given(histories(), st.integers(1, 4))
@settings(max_examples=20, deadline=None)
def test_the_documented_view_pandas_and_streaming_hold_the_same_rows(
    tmp_path_factory: pytest.TempPathFactory, rows: list[AuditRow], rows_a_file: int
) -> None:
    """Row by row, however the rows lie in files, also those without S3's time, and in either bucket."""
    rows = [replace(row, bucket=("recordings", "elsewhere")[row.bytes_before % 2]) for row in rows if row.bytes_before]
    root, names = tmp_path_factory.mktemp("audit"), ["recording_date", "bucket", "key", "status", "started_at"]
    for wave in range(0, len(rows), rows_a_file):
        write_rows(LocalFiles(root), rows[wave : wave + rows_a_file], run_id="r", number=wave)
    streamed = sorted(tuple(getattr(row, name) for name in names) for row in _streamed(LocalFiles(root)))
    whole = read_audit(str(root))
    by_pandas = [current(day)[names] for _, day in whole.groupby("recording_date")]
    assert sorted(row for day in by_pandas for row in day.itertuples(index=False, name=None)) == streamed
    if rows:  # DuckDB refuses a view of no file
        with duckdb.connect() as sql:
            sql.execute("SET TimeZone = 'UTC'")
            sql.execute(duckdb_view(str(root)))
            sql.execute(current_view())
            found = sql.execute(f"SELECT {', '.join(names)} FROM audit_current").fetchall()  # noqa: S608 (our names)
        assert sorted(found) == streamed


def test_the_reports_table_of_ways_is_the_gates_to_the_cent(sum_up: SumUp) -> None:
    """Fifty calls of five minutes and fifty of ten seconds, archived on the eighth day: each by hand."""
    long, short = (9_600_044, 2_400_058, 300.0), (320_044, 80_058, 10.0)
    rows = [
        replace(ROW, key=f"{n}.wav", bytes_before=before, bytes_after=after, duration_after_s=seconds)
        for n, (before, after, seconds) in enumerate([long, short] * 50)
    ]
    found = {str(each.way): each.usd for each in figures(sum_up(*rows), PRICES, AS_OF, 6).keeping_costs}
    terms = Terms(storage_class="GLACIER_IR", grace_days=7)
    by_hand = [
        (before, costs_by_hand(kept, after, terms), costs_by_hand(kept, round(before / 2), terms)[1])
        for before, after, seconds in (long, short)
        for kept in [a_call_of(seconds, months=72 - 8 / MONTH_DAYS)]
    ]
    months = 72 - 8 / MONTH_DAYS
    assert found["do nothing"] == pytest.approx(50 * sum(size for size, *_ in by_hand) / GB * 0.023 * months)
    rule = sum(costs[0] for _, costs, _ in by_hand)
    assert found["lifecycle rule to GLACIER_IR, no conversion"] == pytest.approx(50 * rule, rel=1e-4)
    archived = sum(costs[1] for _, costs, _ in by_hand)
    assert found["`alaw-mono` in GLACIER_IR, originals kept 7 days"] == pytest.approx(50 * archived, rel=1e-3)
    stereo = sum(each for *_, each in by_hand)
    assert found["`alaw-stereo` in GLACIER_IR, originals kept 7 days"] == pytest.approx(50 * stereo, rel=1e-3)
    result = sum_up(*rows)
    key_figures = figures(result, PRICES, AS_OF, 6)
    assert "Recommended: `alaw-mono`" in savings_report(key_figures, {})
    assert "<p>Recommended: alaw-mono in GLACIER_IR" in page(result, key_figures, PRICES, [], "audit", {})


def test_duckdb_writes_what_memory_does_not_hold_into_the_temporary_folder(
    sum_up: SumUp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By default, into the folder in which the process was started: in a task on ECS, nobody may write there."""
    connect, folders = duckdb.connect, list[str]()

    def listening(**options: Any) -> Any:
        folders.append(options["config"]["temp_directory"])
        return connect(**options)

    monkeypatch.setattr(duckdb, "connect", listening)
    sum_up(ROW)
    assert folders
    assert all(Path(folder).parent == Path(gettempdir()) for folder in folders)
