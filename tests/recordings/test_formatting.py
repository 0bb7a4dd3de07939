"""Figures as people read them."""

import pytest

from recordings.formatting import human_bytes, months, paid_for, percent_saved, rate_usd, tick_usd, usd


@pytest.mark.parametrize(
    ("size", "words"), [(0, "0 B"), (999, "999 B"), (12_345, "12.3 kB"), (2.5e9, "2.5 GB"), (4e15, "4,000 TB")]
)
def test_sizes(size: float, words: str) -> None:
    assert human_bytes(size) == words


@pytest.mark.parametrize(
    ("amount", "words"),
    [
        (0, "$0.00"),
        (1234.5, "$1,234.50"),
        (-3, "-$3.00"),
        (0.01, "$0.01"),
        (0.00999, "less than 1 cent"),
        (-0.0000378, "minus less than 1 cent"),
    ],
)
def test_dollars(amount: float, words: str) -> None:
    assert usd(amount) == words


@pytest.mark.parametrize(("amount", "words"), [(0.00512, "$0.00512"), (0.1, "$0.10"), (-0.0144, "-$0.0144")])
def test_dollars_per_something(amount: float, words: str) -> None:
    assert rate_usd(amount) == words


@pytest.mark.parametrize(
    ("months_count", "words"),
    [(3, "paid for in 3.0 months"), (336, "not paid for within 6 years"), (None, "not paid for within 6 years")],
)
def test_what_is_not_earned_back_while_recordings_are_kept_is_not_dated(months_count: float | None, words: str) -> None:
    assert paid_for(months_count, 6) == words


@pytest.mark.parametrize(("amount", "words"), [(0, "$0"), (2500, "$2,500"), (0.025, "$0.025"), (-0.5, "-$0.5")])
def test_dollars_on_an_axis(amount: float, words: str) -> None:
    assert tick_usd(amount) == words


@pytest.mark.parametrize(
    ("count", "words"), [(None, "never"), (0.5, "15.2 days"), (23.9, "23.9 months"), (120, "10.0 years")]
)
def test_spans(count: float | None, words: str) -> None:
    assert months(count) == words


def test_saved() -> None:
    assert percent_saved(400, 100) == "75.0 %"
    assert percent_saved(0, 0) == "-"
