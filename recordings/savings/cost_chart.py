"""The chart of docs/costs.md: ``python -m recordings.savings.cost_chart > docs/images/costs.svg`` draws it."""

from matplotlib import rc_context

from recordings.pricing import PriceList, prices
from recordings.savings.charts import BLUE, DOLLARS, GREEN, ORANGE, RED, STYLE, draw_legend, new_axes, svg_of
from recordings.savings.scenarios import DRAWN, PUBLISHED, SCENARIOS, bill


def costs_chart(price_list: PriceList) -> str:
    """The eight ways to keep recordings that docs/costs.md compares: what each costs, and for what."""
    bills = [(name, bill(scenario, PUBLISHED, price_list)) for name, scenario in reversed(DRAWN)]
    parts = (
        ("storage", BLUE, [each.storage_usd + each.waiting_usd for _, each in bills]),
        ("originals, until released", RED, [each.originals_usd for _, each in bills]),
        ("work", ORANGE, [each.work_usd for _, each in bills]),
        ("tags", GREEN, [each.tags_usd for _, each in bills]),
    )
    with rc_context(STYLE):
        figure, axes = new_axes(height_in=3.6)
        figure.set_size_inches(7.5, 3.6)
        left = [0.0] * len(bills)
        for (label, colour, widths), hatch in zip(parts, ("", "//", "", "\\\\"), strict=True):
            bars = axes.barh(range(len(bills)), widths, 0.65, left, color=colour, label=label, hatch=hatch)
            left = [start + width for start, width in zip(left, widths, strict=True)]
        axes.bar_label(bars, [f"${total:,.0f}" for total in left], padding=4)
        axes.set_yticks(range(len(bills)), [name for name, _ in bills])
        axes.set_xlabel(
            "US dollars for six years, 3 million minutes per month; leaving all in Standard costs "
            f"${bill(SCENARIOS[0], PUBLISHED, price_list).total_usd:,.0f}"
        )
        axes.xaxis.set_major_formatter(DOLLARS)
        axes.grid(axis="y", visible=False)
        axes.margins(x=0.1)
        draw_legend(figure, 4)
        return svg_of(figure)


if __name__ == "__main__":
    print(costs_chart(prices()), end="")
