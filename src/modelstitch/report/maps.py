"""The charts of a report that are no scatter of points: heat-maps of layers by layers, and learning curves."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import altair as alt

from modelstitch.figures.series import cycle
from modelstitch.report.charts import PICKED, READABLE, Names, Theme, base_of, shown_tips, whole
from modelstitch.vocabulary import decimals, with_unit

_CHOSEN = "(setting == '' || datum.setting == setting) && (pair == '' || datum.pair == pair)"
_BLACK, _WHITE = "#1a1a1a", "#ffffff"
# The numbers of a narrow screen must not touch.
_SIZE = alt.expr("width < 300 ? 8.5 : 11")


def penalty_map(names: Names, theme: Theme, size: tuple[Any, Any], most: float, numbers: bool) -> alt.LayerChart:
    """Penalty of every bottom with every top of one pair: blue is better than the top network, red is worse.

    Args:
        names: what there is to pick; the first pair and setting are shown until one is picked.
        theme: its colours.
        size: width and height.
        most: the largest penalty in either direction: both ends of the scale.
        numbers: write the penalty into each cell.
    """
    # Linear near zero and by powers beyond: an untrained half must not hide differences of one point.
    near = even(names.unit, most)
    scale = alt.Scale(type="symlog", constant=near, domain=[-most, most], scheme="redblue", reverse=True)
    form, title = "+d" if names.unit == "points" else "+~g", with_unit("penalty", names.unit)
    legend = alt.Legend(title=title, gradientLength=260, values=_ticks(most, near), format=form)
    rows = base_of("datum.status == 'ok' && datum.control == ''", *_ONE_OF)
    # Seeds of the matching share a cell.
    cell = rows.transform_joinaggregate(shown="mean(penalty)", groupby=["bottom_cut", "top_cut"])
    base = cell.encode(x=_cuts("bottom", "bottom network cut at"), y=_cuts("top", "top network from", descending=True))
    cells = base.mark_rect(cursor="pointer").encode(
        color=alt.Color("shown:Q", scale=scale, legend=legend),
        stroke=alt.condition(PICKED, alt.value(theme.ink.text), alt.value(theme.paper)),
        strokeWidth=alt.condition(PICKED, alt.value(3), alt.value(0.5)),
        tooltip=shown_tips(names),
    )
    shade = alt.condition(f"abs(datum.shown) > {most / 4:.6g}", alt.value(_WHITE), alt.value(_BLACK))
    # No minus before what is rounded to nothing.
    digits = decimals(names.unit) - 1
    written = base.transform_calculate(written=f"abs(datum.shown) < {0.5 / 10**digits:g} ? 0 : datum.shown")
    text = written.mark_text(fontSize=_SIZE, tooltip=None).encode(
        text=alt.Text("written:Q", format=f"+.{digits}f"), color=shade
    )
    return whole([cells, text] if numbers else [cells], names, theme, size, **_first(names))


def similarity_map(pair: str, measure: str, theme: Theme, size: tuple[Any, Any], numbers: bool) -> alt.LayerChart:
    """One measure of every cut with every cut of one pair: yellow is most similar, for a distance too.

    Args:
        pair: the pair shown at first.
        measure: the measure shown at first.
        theme: its colours.
        size: width and height.
        numbers: write the value into each cell.
    """
    base = alt.Chart(alt.NamedData(name="similarities"))
    base = base.transform_filter("datum.pair == compared && datum.measure == similarity")
    base = base.encode(
        x=alt.X("cut_a:N", sort=alt.EncodingSortField("depth_a"), title="first network cut at", axis=_SLANTED),
        y=alt.Y("cut_b:N", sort=alt.EncodingSortField("depth_b", order="descending"), title="second network cut at"),
    )
    tips = [
        alt.Tooltip("pair:N", title="pair"),
        alt.Tooltip("cut_a:N", title="first cut"),
        alt.Tooltip("cut_b:N", title="second cut"),
        alt.Tooltip("measure:N"),
        alt.Tooltip("value:Q", format=".3f"),
        alt.Tooltip("n:Q", title="examples", format=","),
        alt.Tooltip("note:N"),
    ]
    legend = alt.Legend(title="least to most similar", titleLimit=0, gradientLength=260)
    colour = alt.Color("similar:Q", scale=alt.Scale(scheme="viridis", domain=[0, 1], clamp=True), legend=legend)
    cells = base.transform_filter("isValid(datum.value)").mark_rect().encode(color=colour, tooltip=tips)
    empty = base.transform_filter("!isValid(datum.value)").mark_rect(color=theme.missing).encode(tooltip=tips)
    shade = alt.condition("datum.similar > 0.6", alt.value(_BLACK), alt.value(_WHITE))
    text = base.transform_filter("isValid(datum.value)").mark_text(fontSize=_SIZE, tooltip=None)
    layers = [cells, empty, text.encode(text=alt.Text("value:Q", format=".2f"), color=shade)]
    layers = layers if numbers else layers[:2]
    return whole(layers, Names((), ()), theme, size, compared=pair, similarity=measure)


def learning(names: Names, theme: Theme, size: tuple[Any, int]) -> alt.LayerChart:
    """Mean loss per epoch of each matching of the pair and setting picked; the picked stitching stands out."""
    base = (
        base_of(f"{PICKED} || datum.control == '' && {_CHOSEN}")
        .transform_flatten(["curve"], as_=["epoch_loss"])
        .transform_window(epoch="row_number()", groupby=["key"])
    )
    tips = [alt.Tooltip("epoch:Q"), alt.Tooltip("epoch_loss:Q", title=names.loss, format=".4f"), *shown_tips(names)]
    base = base.encode(
        x=_epochs(),
        y=alt.Y("epoch_loss:Q", title=names.loss, scale=alt.Scale(zero=False)),
        color=alt.condition(PICKED, alt.value(theme.series[1]), alt.value(theme.series[0])),
        detail="key:N",
    )
    thick = alt.condition(PICKED, alt.value(3.5), alt.value(1))
    faint = alt.condition(PICKED, alt.value(1), alt.value(0.35))
    line = base.mark_line().encode(strokeWidth=thick, opacity=faint)
    points = base.mark_point(filled=True, size=40, cursor="pointer").encode(opacity=faint, tooltip=tips)
    return whole([line, points], names, theme, size)


def training(networks: Sequence[str], theme: Theme, size: tuple[Any, int]) -> alt.LayerChart:
    """Error on the training examples per epoch of each base network."""
    networks = list(networks)
    legend = alt.Legend(title=None) if len(networks) <= READABLE else None
    base = alt.Chart(alt.NamedData(name="training")).encode(
        x=_epochs(),
        y=alt.Y("error:Q", title="error while training, %"),
        color=alt.Color(
            "network:N", scale=alt.Scale(domain=networks, range=cycle(theme.series, networks)), legend=legend
        ),
    )
    tips = [alt.Tooltip("network:N"), alt.Tooltip("epoch:Q"), alt.Tooltip("error:Q", title="error, %", format=".2f")]
    tips.append(alt.Tooltip("loss:Q", title="mean loss, nats", format=".4f"))
    points = base.mark_point(filled=True, size=40, opacity=1).encode(tooltip=tips)
    return whole([base.mark_line(opacity=0.75), points], Names((), ()), theme, size)


def _epochs() -> alt.X:
    return alt.X("epoch:Q", title="epoch", axis=alt.Axis(tickMinStep=1, format="d"))


_SLANTED = alt.Axis(labelAngle=-45)
# A heat-map shows one pair and one setting: the first of each while all are picked.
_ONE_OF = (
    "datum.pair == (pair == '' ? first_pair : pair)",
    "datum.setting == (setting == '' ? first_setting : setting)",
)


def _cuts(side: str, title: str, *, descending: bool = False) -> Any:
    order = alt.EncodingSortField(f"{side}_depth", order="descending" if descending else "ascending")
    kind = alt.Y if descending else alt.X
    axis = alt.Undefined if descending else _SLANTED
    return kind(f"{side}_cut:N", sort=order, title=title, axis=axis)


def _first(names: Names) -> dict[str, str]:
    return {"first_pair": names.pairs[0], "first_setting": names.settings[0]}


def even(unit: str, most: float) -> float:
    """How far from zero a scale of penalties is even: one point, or where a score has another unit, a part of it."""
    return 1.0 if unit == "points" else most / 30


def _ticks(most: float, least: float) -> list[float]:
    decades = range(math.floor(math.log10(least)), math.ceil(math.log10(most)) + 1)
    steps = [float(f"{times}e{ten}") for ten in decades for times in (1, 3)]
    steps = [step for step in steps if least <= step <= most]
    return [*(-step for step in reversed(steps)), 0.0, *steps]
