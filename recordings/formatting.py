"""Figures and words as people read them: bytes, dollars, months, percentages, counts of things."""

import math

from recordings.pricing import MONTH_DAYS

_CENT = 0.01


def human_bytes(size_bytes: float) -> str:
    """Decimal units, three significant figures: ``1.23 GB``."""
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if abs(size_bytes) < 1000 or unit == "TB":
            return f"{size_bytes:.3g} {unit}" if size_bytes < 1000 else f"{size_bytes:,.0f} {unit}"
        size_bytes /= 1000
    raise AssertionError("unreachable")


def usd(amount: float) -> str:
    """A sum in dollars and cents; an amount below a cent is shown as such."""
    if 0 < abs(amount) < _CENT:
        return f"{'minus ' if amount < 0 else ''}less than 1 cent"
    return f"{'-' if amount < 0 else ''}${abs(amount):,.2f}"


def rate_usd(amount: float) -> str:
    """A rate in dollars; below ten cents with three significant figures."""
    size = abs(amount)
    decimals = 2 if size >= 0.1 or size == 0 else 2 - math.floor(math.log10(size))
    return f"{'-' if amount < 0 else ''}${size:,.{decimals}f}"


def tick_usd(amount: float) -> str:
    """Dollars on an axis: no more decimals than the tick has."""
    return f"{'-' if amount < 0 else ''}${abs(amount):,.8f}".rstrip("0").rstrip(".")


def months(count: float | None) -> str:
    """A number of months as days, months or years, whichever reads best; None means never."""
    if count is None:
        return "never"
    if count < 1:
        return f"{count * MONTH_DAYS:.1f} days"
    return f"{count:.1f} months" if count < 24 else f"{count / 12:.1f} years"


def paid_for(count: float | None, retention_years: float) -> str:
    """How long it takes until the spending has paid for itself, if that is within the retention."""
    if count is None or count > 12 * retention_years:
        return f"not paid for within {retention_years:g} years"
    return f"paid for in {months(count)}"


def percent_saved(before: float, after: float) -> str:
    """By what percentage ``after`` is smaller than ``before``."""
    return f"{100 * (1 - after / before):.1f} %" if before else "-"


def label(status: str) -> str:
    """A status as people read it: ``already archived``."""
    return status.replace("_", " ")


def plural(count: int, noun: str, many: str = "") -> str:
    """``1 file``, ``2 files``; ``many`` where an s is not enough."""
    return f"{count:,} {noun if count == 1 else many or noun + 's'}"
