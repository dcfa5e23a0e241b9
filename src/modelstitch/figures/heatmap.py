"""Layer by layer: how similar each cut of one network is to each cut of another, by one or more measures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt
import pandas as pd

from modelstitch.errors import DataError
from modelstitch.figures.style import styled, wrapped

_CELL, _LEAST, _MOST = 34, 160, 620
# Above this many cuts a number no longer fits its cell.
_READABLE = 12


@dataclass(frozen=True)
class Panel:
    """One measure as a heat-map.

    Args:
        measure: its name in the frame.
        title: above the panel.
        range: the least and the largest value it can take.
        higher_is_more_similar: False for a distance, whose scale is turned round: yellow is always most similar.
    """

    measure: str
    title: str
    range: tuple[float, float]
    higher_is_more_similar: bool


def heatmaps(frame: pd.DataFrame, panels: Sequence[Panel]) -> alt.ConcatChart:
    """A heat-map for each measure, one colour scale for all their kinds: yellow is most similar.

    A ring marks, for each cut of the second network, the cut of the first that is most similar to it. A cell without
    a value stays grey; pointing at it says why.

    Args:
        frame: as `Comparison.to_pandas` gives it.
        panels: the measures to draw, in order.

    Returns:
        The chart; `save_figure` writes it.

    Raises:
        DataError: there is no value to draw.
    """
    if frame["value"].notna().sum() == 0:
        raise DataError("a heat-map", f"none of {len(frame)} pairs has a value", "read their `note` column")
    charts = [_panel(frame[frame["measure"] == panel.measure], panel) for panel in panels]
    told = frame.iloc[0]
    sizes = sorted(frame["n"].unique())
    asked = [
        f"{told['network_a']} across, {told['network_b']} upwards",
        f"data {told['data']}, {' and '.join(f'{n:,}' for n in sizes)} examples",
        f"layout {told['layout']}",
        "ring: the most similar in its row",
    ]
    title = alt.TitleParams("What the activations alone say, layer by layer", subtitle=wrapped(asked, 70 * len(panels)))
    chart = alt.ConcatChart(concat=charts, columns=2, title=title, spacing=36)
    independent: alt.ConcatChart = chart.resolve_scale(color="independent")
    return styled(independent)


def _panel(frame: pd.DataFrame, panel: Panel) -> alt.LayerChart:
    across, upwards = (list(dict.fromkeys(frame[column])) for column in ("cut_a", "cut_b"))
    low, high = panel.range
    # Similarities that may fall a little below zero are read from zero, as all others are.
    domain = [max(low, 0.0), high]
    scale = alt.Scale(scheme="viridis", domain=domain, reverse=not panel.higher_is_more_similar, clamp=True)
    base = alt.Chart(alt.InlineData(values=_values(frame, panel))).encode(
        x=alt.X("cut_a:N", sort=across, title=frame["network_a"].iloc[0], axis=alt.Axis(labelAngle=-45)),
        y=alt.Y("cut_b:N", sort=upwards[::-1], title=frame["network_b"].iloc[0]),
        tooltip=[
            alt.Tooltip("cut_a:N", title=str(frame["network_a"].iloc[0])),
            alt.Tooltip("cut_b:N", title=str(frame["network_b"].iloc[0])),
            alt.Tooltip("value:Q", title=panel.title, format=".3f"),
            alt.Tooltip("note:N"),
        ],
    )
    cells = base.mark_rect(invalid=None).encode(color=alt.Color("value:Q", scale=scale, title=None, legend=_LEGEND))
    empty = base.transform_filter("!isValid(datum.value)").mark_rect(color="#dddddd")
    best = base.transform_filter("datum.best").mark_point(size=90, stroke="white", strokeWidth=1.6, filled=False)
    layers = [cells.transform_filter("isValid(datum.value)"), empty]
    if max(len(across), len(upwards)) <= _READABLE:
        layers.append(_numbers(base, domain, panel))
        best = base.transform_filter("datum.best").mark_rect(fillOpacity=0, stroke="white", strokeWidth=2)
    layers.append(best)
    width, height = (min(max(_CELL * len(cuts), _LEAST), _MOST) for cuts in (across, upwards))
    heading = alt.TitleParams(panel.title, frame="group")
    return alt.LayerChart(layer=layers, width=width, height=height, title=heading)


_LEGEND = alt.Legend(gradientLength=160, orient="right")


def _numbers(base: alt.Chart, domain: list[float], panel: Panel) -> alt.Chart:
    # White on the dark half of the scale, dark on its yellow half.
    middle = sum(domain) / 2 + (domain[1] - domain[0]) * 0.1 * (1 if panel.higher_is_more_similar else -1)
    bright = f"datum.value {'>' if panel.higher_is_more_similar else '<'} {middle}"
    colour = alt.condition(bright, alt.value("#222222"), alt.value("white"))
    text = alt.Text("value:Q", format=".2f")
    numbers: alt.Chart = base.transform_filter("isValid(datum.value)").mark_text(fontSize=10).encode(text, color=colour)
    return numbers


def _values(frame: pd.DataFrame, panel: Panel) -> list[Any]:
    by_row = frame.groupby("cut_b")["value"]
    best = by_row.transform("max" if panel.higher_is_more_similar else "min")
    kept = frame[["cut_a", "cut_b", "value", "note"]].assign(best=frame["value"] == best).astype(object)
    return kept.where(kept.notna(), None).to_dict("records")
