"""What all figures look like."""

from __future__ import annotations

import textwrap
from typing import TypeVar

import altair as alt

GREY = "#767676"
C = TypeVar("C", alt.HConcatChart, alt.ConcatChart)


def wrapped(parts: list[str], width: int) -> list[str]:
    """Parts of a subtitle as lines of at most ``width`` characters, broken between parts only."""
    # No-break spaces inside a part: a line ends between two parts or not at all.
    whole = [part.replace(" ", "\N{NO-BREAK SPACE}") for part in parts]
    return textwrap.wrap("\N{NO-BREAK SPACE}· ".join(whole), width, break_on_hyphens=False, break_long_words=False)


def styled(chart: C) -> C:
    """The chart in the house's dress; to be called last, on the whole."""
    dressed: C = (
        chart.configure_view(stroke=None)
        .configure_axis(gridColor="#ececec", domainColor=GREY, tickColor=GREY, labelFontSize=12)
        .configure_axisX(titleFontSize=12, titleFontWeight="normal")
        .configure_axisY(titleFontSize=12, titleFontWeight="normal")
        .configure_title(anchor="start", fontSize=13, subtitleColor="#555", subtitleFontSize=12, offset=12)
        .configure_legend(orient="bottom", columns=3, labelLimit=0, labelFontSize=12, symbolSize=80, symbolOpacity=1)
    )
    return dressed
