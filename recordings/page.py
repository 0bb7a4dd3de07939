"""The savings report: a self-contained HTML page without scripts, and its key figures in Markdown."""

import base64
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from urllib.parse import quote

from recordings.figures import Figures, by_reason, by_status
from recordings.files import audit_location
from recordings.pricing import PriceList
from recordings.reporting import human_bytes, months, percent_saved, usd
from recordings.savings import Savings

Row = Sequence[str]


def page(
    result: Savings, figures: Figures, price_list: PriceList, charts: Iterable[tuple[str, str]], source: str
) -> str:
    """The whole page. ``source`` is the audit table's address; ``charts`` are titles and SVG documents."""
    title = f"Call recordings archived, {figures.start} to {figures.end}"
    body = "\n".join(
        [
            f"<h1>{escape(title)}</h1>",
            f"<p>From the audit table <code>{escape(source)}</code>, as of {figures.as_of} (UTC).</p>",
            _tiles(figures),
            *(_chart(name, svg) for name, svg in charts),
            "<h2>By state</h2>",
            _states(result),
            "<h2>Not archived, by reason</h2>",
            _reasons(result),
            "<h2>Money</h2>",
            _money(figures),
            _method(figures, price_list),
        ]
    )
    return _PAGE.format(title=escape(title), body=body)


def _tiles(figures: Figures) -> str:
    per_1000 = figures.all_in_per_1000_minutes
    tiles = [
        (f"{figures.recordings:,}", f"recordings, {figures.minutes:,.0f} minutes"),
        (percent_saved(figures.bytes_before, figures.bytes_after), "smaller"),
        (f"{human_bytes(figures.bytes_before)} → {human_bytes(figures.bytes_after)}", "stored"),
        (usd(figures.saved_now), "saved a month now, net of the originals still kept"),
        (usd(figures.saved_once_released), "a month once originals are released"),
        (usd(figures.net_so_far), "net so far, after all costs"),
        (usd(per_1000) if per_1000 is not None else "-", "cost per 1,000 minutes, all in"),
        (months(figures.break_even_months), "to break even, once originals are released"),
    ]
    cells = "".join(f"<div><b>{escape(value)}</b><span>{escape(label)}</span></div>" for value, label in tiles)
    return f'<section class="tiles">{cells}</section>'


def _chart(title: str, svg: str) -> str:
    data = base64.b64encode(svg.encode()).decode()
    return f'<img alt="{escape(title)}" src="data:image/svg+xml;base64,{data}">'


def _states(result: Savings) -> str:
    rows = [
        (
            str(status).replace("_", " "),
            f"{line['recordings']:,.0f}",
            f"{line['minutes']:,.1f}",
            f"{int(line['bytes_before']):,}",
            f"{int(line['bytes_after']):,}",
        )
        for status, line in by_status(result).iterrows()
    ]
    return table(("state or last attempt", "recordings", "minutes", "bytes before", "bytes after"), rows)


def _reasons(result: Savings) -> str:
    rows = [
        (str(status), str(code), f"{recordings:,}")
        for status, code, recordings in by_reason(result).itertuples(index=False)
    ]
    return table(("status", "reason", "recordings"), rows)


def _money(figures: Figures) -> str:
    kept = f"until kept {figures.retention_years:g} years"
    rows = [
        ("storage a month, as it was", usd(figures.usd_before)),
        ("replacements, a month", usd(figures.usd_after)),
        ("originals still kept, a month", usd(figures.usd_originals)),
        ("tags, a month", usd(figures.usd_tags)),
        ("saved a month now", usd(figures.saved_now)),
        ("saved a month once originals are released", usd(figures.saved_once_released)),
        ("saved by storage so far", usd(figures.saved_so_far)),
        ("spent on runs", usd(figures.spent_on_runs)),
        ("spent on worker and server", usd(figures.spent_standing)),
        ("net so far", usd(figures.net_so_far)),
        (f"still to be saved {kept}, originals as they are now", usd(figures.projected_as_is)),
        (f"still to be saved {kept}, originals released now", usd(figures.projected_if_released)),
    ]
    return table(("US dollars", ""), rows)


def table(headings: Row, rows: Iterable[Row]) -> str:
    """An HTML table: the first column is text, the others are figures."""
    head = "".join(f"<th>{escape(heading)}</th>" for heading in headings)
    lines = ["<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows]
    if not lines:
        return "<p>None.</p>"
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table>"


def _method(figures: Figures, price_list: PriceList) -> str:
    return f"""<h2>How this was counted</h2>
<ul>
<li>Each recording counts once, by its last state (S3's clock). Sizes are those of S3.</li>
<li>Prices: {escape(price_list.source)}; {escape(price_list.region)}, {escape(price_list.as_of)}. First volume tier, no
discounts: above 50 TB in Standard, savings are up to 9 % smaller.</li>
<li>An original counts as a cost for as long as the table does not say that it was released.</li>
<li>Runs cost what they measured: requests and Fargate time; the worker and a self-hosted server run since the first of
them. Transfer, logs and the audit table's own storage are not counted.</li>
<li>The projection is of the recordings archived so far, no future ones, each until {figures.retention_years:g} years
after its call.</li>
</ul>"""


def savings_report(figures: Figures, links: Mapping[str, str]) -> str:
    """The report's key figures and where the rest lies; ``links`` are addresses by name."""
    per_1000 = figures.all_in_per_1000_minutes
    where = "\n".join(f"- {name}: {_link(address)}" for name, address in links.items())
    smaller = percent_saved(figures.bytes_before, figures.bytes_after)
    kept = f"until kept {figures.retention_years:g} years"
    return f"""# Archived calls of {figures.start} to {figures.end}: {smaller} smaller

**{figures.recordings:,}** recordings, **{figures.minutes:,.1f}** minutes, \
**{human_bytes(figures.bytes_before)} → {human_bytes(figures.bytes_after)}** \
({figures.bytes_before:,} → {figures.bytes_after:,} bytes), as of {figures.as_of}.

| | US dollars |
|---|--:|
| saved a month now, net of the originals still kept | {usd(figures.saved_now)} |
| **saved a month once originals are released** | **{usd(figures.saved_once_released)}** |
| net so far: storage saved less runs, worker and server | {usd(figures.net_so_far)} |
| still to be saved {kept}, originals as they are | {usd(figures.projected_as_is)} |
| **the same, originals released now** | **{usd(figures.projected_if_released)}** |
| cost per 1,000 minutes, all in, over {figures.runs:,} runs | {usd(per_1000) if per_1000 is not None else "-"} |

All that was spent is paid for in {months(figures.break_even_months)} of saving, once originals are released.

{where}"""


def _link(address: str) -> str:
    """An object in S3 opens in AWS's console; a local file has no link that a browser would follow."""
    place = audit_location(address)
    if place.bucket is None:
        return f"`{address}`"
    return f"[{address}](https://console.aws.amazon.com/s3/object/{place.bucket}?prefix={quote(place.path)})"


_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
body {{ font: 15px/1.5 system-ui, sans-serif; color: #222; max-width: 860px; margin: 2rem auto; padding: 0 1rem; }}
h1 {{ font-size: 1.5rem; margin-bottom: 0; }}
h2 {{ font-size: 1.15rem; margin-top: 2rem; }}
code {{ background: #f3f3f3; padding: 0 .3em; }}
.tiles {{ display: grid; grid-template-columns: repeat(auto-fit, minmax(190px, 1fr)); gap: 12px; margin: 1.5rem 0; }}
.tiles div {{ border: 1px solid #ddd; border-radius: 6px; padding: 10px 14px; }}
.tiles b {{ display: block; font-size: 1.1rem; color: #0072B2; white-space: nowrap; }}
.tiles span {{ color: #555; font-size: .85rem; }}
img {{ display: block; width: 100%; margin: 1.2rem 0; }}
table {{ border-collapse: collapse; font-variant-numeric: tabular-nums; }}
th, td {{ padding: 3px 16px 3px 0; border-bottom: 1px solid #e5e5e5; text-align: right; }}
th:first-child, td:first-child {{ text-align: left; }}
li {{ margin-bottom: .3rem; }}
</style>
</head>
<body>
{body}
</body>
</html>
"""
