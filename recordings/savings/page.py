"""The savings report: a self-contained HTML page without scripts, and its key figures in Markdown."""

import base64
import os
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from urllib.parse import quote

import pandas as pd

from recordings.formatting import human_bytes, paid_for, percent_saved, plural, rate_usd, usd
from recordings.gate import Terms, reconciling_usd, releasing_usd
from recordings.pricing import PriceList
from recordings.recording import span
from recordings.reports.keeping import advice, keeping_table
from recordings.savings.figures import Figures, by_reason, by_status
from recordings.savings.sums import Savings
from recordings.table.files import audit_location
from recordings.table.rows import STATES

Row = Sequence[str]
_MAX_LISTED = 100  # the CSV file has all of them
_CONSOLES = {"cn-": "console.amazonaws.cn", "us-gov-": "console.amazonaws-us-gov.com"}


def page(
    result: Savings,
    figures: Figures,
    price_list: PriceList,
    charts: Iterable[tuple[str, str]],
    source: str,
    links: Mapping[str, str],
) -> str:
    """The whole page. ``source`` is the audit table's address; ``charts`` are titles and SVG documents.

    ``links`` are names of files beside the page, by their content.
    """
    title = heading(figures)
    beside = ", ".join(f'<a href="{quote(address)}">{escape(name)}</a>' for name, address in links.items())
    in_full = f" In full: {beside}." if beside else ""
    drawn = "".join(_chart(name, svg) for name, svg in charts)
    body = "\n".join(
        [
            f"<h1>{escape(title)}</h1>",
            f"<p>{escape(population(figures))} From the audit table <code>{escape(source)}</code>, as of "
            f"{figures.as_of} (UTC).{in_full}</p>",
            _tiles(figures),
            f'<div class="charts">{drawn}</div>' if drawn else "",
            "<h2>By state</h2>",
            _states(result),
            "<h2>Proof</h2>",
            table(("recordings that are small now", ""), proof(figures)),
            "<h2>Not small</h2>",
            _not_small(result),
            "<h2>Money</h2>",
            table(("US dollars, of all recordings that are small now", ""), money(figures)),
            "<h2>Ways to keep them</h2>",
            _ways_table(figures),
            _method(figures, price_list),
        ]
    )
    return document(title, body)


def document(title: str, body: str) -> str:
    """A self-contained HTML document."""
    return _PAGE.format(title=escape(title), body=body)


def heading(figures: Figures) -> str:
    """The subject of the report, and its first figure."""
    return f"Call recordings, {span(figures.start, figures.end)}: {smaller(figures)}"


def smaller(figures: Figures) -> str:
    """By how much the archived recordings have shrunk."""
    if not figures.recordings:
        return "none is small yet"
    return f"{percent_saved(figures.bytes_before, figures.bytes_after)} smaller"


def population(figures: Figures) -> str:
    """One sentence on which recordings the figures cover; every report of these figures begins with it."""
    parts = [
        f"{count:,} {words}"
        for count, words in (
            (figures.archived, "archived"),
            (figures.already_archived, "found small already"),
            (figures.released, "archived with the original deleted since"),
        )
        if count
    ]
    are = f"{plural(figures.recordings, 'recording')} {'is' if figures.recordings == 1 else 'are'} small now"
    of_them = f" ({', '.join(parts)})" if figures.archived < figures.recordings else ""
    others = f"{figures.not_small:,} {'is' if figures.not_small == 1 else 'are'} not"
    return f"{are}{of_them}; {others}{_destroyed(figures)}. Bytes, minutes and dollars cover the small ones only."


def _destroyed(figures: Figures) -> str:
    """The recordings that do not exist any more; empty if there are none."""
    deeds = ((figures.expired, "at the end of their retention"), (figures.erased, "on request"))
    said = " and ".join(f"{count:,} {why}" for count, why in deeds if count)
    return f"; deleted since: {said}" if said else ""


def proof(figures: Figures) -> list[Row]:
    """How many of the replacements were proved right."""
    return [
        ("verified: S3 showed the replacement as current", f"{figures.verified:,} of {figures.recordings:,}"),
        ("read back from S3 and decoded in full", f"{figures.read_back:,} of {figures.recordings:,}"),
    ]


def money(figures: Figures) -> list[Row]:
    """Costs of storage, spending and savings: label and dollars."""
    kept = f"until each has been kept for {figures.retention_years:g} years"
    return [
        ("storage per month, as it was", usd(figures.usd_before)),
        ("replacements, per month", usd(figures.usd_after)),
        ("originals still kept, per month", usd(figures.usd_originals)),
        ("tags, per month", usd(figures.usd_tags)),
        ("saved per month now", usd(figures.saved_now)),
        ("saved per month once the originals are released", usd(figures.saved_once_released)),
        ("saved on storage so far", usd(figures.saved_so_far)),
        (f"spent on {plural(figures.runs, 'run')}", usd(figures.spent_on_runs)),
        ("spent on worker and server", usd(figures.spent_standing)),
        ("saved less spent so far", usd(figures.net_so_far)),
        ("runs, worker and server per 1,000 minutes archived", _per_1000(figures)),
        (f"still to be saved {kept}, if the originals stay", usd(figures.projected_as_is)),
        (f"still to be saved {kept}, if they are released now", usd(figures.projected_if_released)),
        (
            "what was spent, once the originals are released",
            paid_for(figures.break_even_months, figures.retention_years),
        ),
    ]


def _per_1000(figures: Figures) -> str:
    per_1000 = figures.all_in_per_1000_minutes
    return "-" if per_1000 is None else rate_usd(per_1000)


def _tiles(figures: Figures) -> str:
    tiles = [
        (f"{figures.recordings:,}", f"small now, {figures.minutes:,.1f} minutes"),
        (percent_saved(figures.bytes_before, figures.bytes_after), "smaller"),
        (f"{human_bytes(figures.bytes_before)} → {human_bytes(figures.bytes_after)}", "stored"),
        (f"{figures.verified:,} of {figures.recordings:,}", f"verified, {figures.read_back:,} read back"),
        (usd(figures.saved_now), "saved per month now, while the originals are kept"),
        (usd(figures.saved_once_released), "saved per month once the originals are released"),
        (usd(figures.net_so_far), "saved less spent so far"),
        (_per_1000(figures), "cost per 1,000 minutes: runs, worker and server"),
    ]
    cells = "".join(f"<div><b>{escape(value)}</b><span>{escape(label)}</span></div>" for value, label in tiles)
    return f'<section class="tiles">{cells}</section>'


def _chart(title: str, svg: str) -> str:
    data = base64.b64encode(svg.encode()).decode()
    image = f'<img alt="{escape(title)}" src="data:image/svg+xml;base64,{data}">'
    return f"<figure><figcaption>{escape(title)}</figcaption>{image}</figure>"


def _states(result: Savings) -> str:
    rows = [
        (
            str(status).replace("_", " "),
            f"{line['recordings']:,.0f}",
            f"{line['minutes']:,.1f}" if status in STATES else "-",  # an attempt has no replacement
            f"{int(line['bytes_before']):,}",
            f"{int(line['bytes_after']):,}" if status in STATES else "-",
        )
        for status, line in by_status(result).iterrows()
    ]
    headings = ("state or last attempt", "number", "minutes", "bytes before", "bytes after")
    return table(headings, rows, kind="states")


def _not_small(result: Savings) -> str:
    reasons = [
        (str(status), str(code) or "-", f"{recordings:,}")
        for status, code, recordings in by_reason(result).itertuples(index=False)
    ]
    listed = result.not_small.head(_MAX_LISTED)
    rows = [
        (
            each["key"],
            each["status"] if pd.isna(each["reason"]) else f"{each['status']}: {each['reason']}",
            "-" if pd.isna(each["bytes"]) else human_bytes(each["bytes"]),
        )
        for each in listed.to_dict("records")
    ]
    more = len(result.not_small) - len(listed)
    return "\n".join(
        [
            table(("status", "reason", "recordings"), reasons, texts=2),
            table(("recording", "why", "size"), rows, texts=2, kind="keys") if rows else "",
            f"<p>And {more:,} more, which the CSV lists.</p>" if more else "",
        ]
    )


def table(headings: Row, rows: Iterable[Row], texts: int = 1, kind: str = "figures") -> str:
    """An HTML table: the first ``texts`` columns are text, the others are figures. ``kind`` is its class."""
    lines = "".join(_line("td", row, texts) for row in rows)
    if not lines:
        return "<p>None.</p>"
    head = _line("th", headings, texts)
    return f'<div class="wide"><table class="{kind}"><thead>{head}</thead><tbody>{lines}</tbody></table></div>'


def _line(tag: str, cells: Row, texts: int) -> str:
    kinds = [f'<{tag} class="text">' if number < texts else f"<{tag}>" for number in range(len(cells))]
    return "<tr>" + "".join(f"{kind}{escape(cell)}</{tag}>" for kind, cell in zip(kinds, cells, strict=True)) + "</tr>"


def _ways_table(figures: Figures) -> str:
    """The cost of other ways to keep the archived recordings, most expensive first."""
    nothing = max((each.usd for each in figures.keeping_costs if each.way.terms is None), default=0)
    rows = [
        (str(each.way).replace("`", ""), each.way.speakers, each.way.original, usd(each.usd), usd(nothing - each.usd))
        for each in sorted(figures.keeping_costs, key=lambda each: -each.usd)
    ]
    headings = ("way", "the two speakers", "the original", "cost", "saved")
    said = advice(figures.keeping_costs, _terms(figures), usd).replace("`", "") if figures.keeping_costs else ""
    return f"""<p>{_WAYS.format(figures=figures)}</p>
{table(headings, rows, texts=3, kind="ways")}
<p>{escape(said)}</p>"""


def _terms(figures: Figures) -> Terms:
    """The actual terms, of which the keeping costs are variations."""
    return next(each.way.terms for each in figures.keeping_costs if each.way.terms)


_WAYS = """What each way costs for the recordings that were archived, from then until
{figures.retention_years:g} years after the call, without worker and server. In each, a recording opens at once. For a
profile that was not used, the usual sizes are assumed."""


def _method(figures: Figures, price_list: PriceList) -> str:
    releasing = releasing_usd("STANDARD", "GLACIER_IR", price_list)
    afterwards = 1000 * (releasing + reconciling_usd("GLACIER_IR", price_list))
    return f"""<h2>How this was counted</h2>
<ul>
<li>Each recording counts once, by its last state (S3's clock). A recording is small if it is archived, with its
original kept or deleted since, or if a run found it small already. Sizes are those of S3.</li>
<li>A run's own report covers only the recordings that this run archived.</li>
<li>Prices: {escape(price_list.source)}; {escape(price_list.region)}, {escape(price_list.as_of)}. First volume tier, no
discounts: above 50 TB in Standard, savings are up to 9 % smaller.</li>
<li>A recording that was expired or erased neither costs nor saves anything from that day on.</li>
<li>An original counts as a cost for as long as the table does not say that it was released.</li>
<li>A run costs what it measured: requests and Fargate time. The worker and a self-hosted server count from the table's
first run on. A range of dates is charged a share of all these: its share of the minutes that were archived. They
cost as much for a few recordings as for many: a small archive may not earn them back. Transfer,
logs and the audit table's own storage are not counted.</li>
<li>What releases, reconciliations and restores ask of S3 is not in what was spent. At list prices, 1,000 recordings in
GLACIER_IR cost {rate_usd(afterwards)} to release and to reconcile once; the ways to keep them count that.</li>
<li>The projection is of the recordings that are small now, no future ones, each until {figures.retention_years:g} years
after its call (ARCHIVE_RETENTION_YEARS). The audit table does not know the bucket's lifecycle rules.</li>
</ul>"""


def savings_report(figures: Figures, links: Mapping[str, str]) -> str:
    """The report's key figures, and links to the other files; ``links`` are addresses by name."""
    where = "\n".join(f"- {name}: {_link(address)}" for name, address in links.items())
    lines = "\n".join(f"| {label} | {value} |" for label, value in [*proof(figures), *money(figures)])
    return f"""# {heading(figures)}

{population(figures)}

**{figures.minutes:,.1f}** minutes, \
**{human_bytes(figures.bytes_before)} → {human_bytes(figures.bytes_after)}** \
({figures.bytes_before:,} → {figures.bytes_after:,} bytes), as of {figures.as_of}.

| of the recordings that are small now | |
|---|--:|
{lines}

{_ways(figures)}{where}"""


def _ways(figures: Figures) -> str:
    """The page's table of ways in Markdown, with its recommendation."""
    if not figures.keeping_costs:
        return ""
    return f"""## Ways to keep them

{_WAYS.format(figures=figures)}

{keeping_table(figures.keeping_costs, _terms(figures), usd)}

"""


def _link(address: str) -> str:
    """A link that opens an object in S3 in AWS's console, and a local file in a browser on the same machine."""
    place = audit_location(address)
    if place.bucket is None:
        return f"[`{address}`]({Path(place.path).absolute().as_uri()})"
    return f"[{address}](https://{_console()}/s3/object/{place.bucket}?prefix={quote(place.path)})"


def _console() -> str:
    """The host of AWS's console, of which each partition has its own."""
    region = os.environ.get("AWS_DEFAULT_REGION", "")
    of_region = (host for start, host in _CONSOLES.items() if region.startswith(start))
    return next(of_region, "console.aws.amazon.com")


_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
:root {{ color-scheme: light; --ink: #222; --paper: #fff; --faint: #555; --lines: #ddd; --key: #0072B2;
  --code: #f3f3f3; }}
@media screen and (prefers-color-scheme: dark) {{
  :root {{ color-scheme: dark; --ink: #e6e6e6; --paper: #181818; --faint: #aaa; --lines: #444; --key: #56B4E9;
    --code: #2a2a2a; }}
}}
body {{ font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); max-width: 960px;
  margin: 2rem auto; padding: 0 1rem; }}
h1 {{ font-size: 1.5rem; margin-bottom: 0; }}
h2 {{ font-size: 1.15rem; margin-top: 2rem; break-after: avoid; }}
a {{ color: var(--key); }}
code {{ background: var(--code); padding: 0 .3em; }}
code, .keys .text {{ overflow-wrap: anywhere; }}
td:not(.text) {{ white-space: nowrap; }}
.ways td {{ white-space: normal; }}
.tiles {{ display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 200px), 1fr)); gap: 12px;
  margin: 1.5rem 0; }}
.tiles div {{ border: 1px solid var(--lines); border-radius: 6px; padding: 10px 14px; break-inside: avoid; }}
.tiles b {{ display: block; font-size: 1.1rem; color: var(--key); }}
.tiles span {{ color: var(--faint); font-size: .85rem; }}
.charts {{ display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 400px), 1fr)); gap: 1.5rem 2rem; }}
figure {{ margin: 0; break-inside: avoid; }}
figcaption {{ font-weight: 600; margin-bottom: .3rem; }}
img {{ display: block; width: 100%; }}
.wide {{ overflow-x: auto; margin: .8rem 0; }}
table {{ border-collapse: collapse; font-variant-numeric: tabular-nums; }}
th, td {{ padding: 3px 16px 3px 0; border-bottom: 1px solid var(--lines); text-align: right; vertical-align: top; }}
.text {{ text-align: left; }}
th:last-child, td:last-child {{ padding-right: 0; }}
tr {{ break-inside: avoid; }}
li {{ margin-bottom: .3rem; }}
@media (max-width: 500px) {{ table {{ font-size: .8rem; }} th, td {{ padding-right: 8px; }} .tiles {{ gap: 8px; }}
  .tiles {{ grid-template-columns: 1fr 1fr; }} .states, .ways {{ font-size: .7rem; }} }}
@media print {{ body {{ font-size: 10pt; max-width: none; margin: 0; }} .wide {{ overflow: visible; }}
  .charts {{ grid-template-columns: 1fr 1fr; }} .tiles {{ grid-template-columns: repeat(4, 1fr); }} }}
</style>
</head>
<body>
{body}
</body>
</html>
"""
