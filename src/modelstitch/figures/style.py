"""What all figures look like."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from typing import TypeVar

import altair as alt

GREY = "#767676"
C = TypeVar("C", alt.HConcatChart, alt.ConcatChart, alt.LayerChart)


@dataclass(frozen=True)
class Ink:
    """The colours of what is not data; a page gives names of its own, which follow its light or dark scheme."""

    text: str = "black"
    faint: str = "#555"
    axis: str = GREY
    grid: str = "#ececec"


PAPER = Ink()


def wrapped(parts: list[str], width: int) -> list[str]:
    """Parts of a subtitle as lines of at most ``width`` characters, broken between parts only."""
    # No-break spaces inside a part: a line ends between two parts or not at all.
    whole = [part.replace(" ", "\N{NO-BREAK SPACE}") for part in parts]
    return textwrap.wrap("\N{NO-BREAK SPACE}· ".join(whole), width, break_on_hyphens=False, break_long_words=False)


def styled(chart: C, ink: Ink = PAPER) -> C:
    """The chart in the house's dress; to be called last, on the whole."""
    dressed: C = (
        chart.configure_view(stroke=None)
        .configure_axis(
            gridColor=ink.grid,
            domainColor=ink.axis,
            tickColor=ink.axis,
            labelFontSize=12,
            labelColor=ink.text,
            titleColor=ink.text,
        )
        .configure_axisX(titleFontSize=12, titleFontWeight="normal")
        .configure_axisY(titleFontSize=12, titleFontWeight="normal")
        .configure_title(
            anchor="start", fontSize=13, color=ink.text, subtitleColor=ink.faint, subtitleFontSize=12, offset=12
        )
        .configure_legend(
            orient="bottom",
            columns=3,
            labelLimit=0,
            labelFontSize=12,
            labelColor=ink.text,
            titleColor=ink.text,
            symbolSize=80,
            symbolOpacity=1,
        )
    )
    return dressed
