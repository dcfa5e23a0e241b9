"""The charts of a report: each made once, for the page as for print.

A chart names its rows (``records``, ``similarities``, …) and leaves them out: the page hands over one copy for all.
What a reader picks are parameters of the chart, set from outside: ``pair`` and ``setting`` (empty for all),
``measure``, and ``picked``, the key of a record. Names of networks never become part of an expression.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt
import pandas as pd

from modelstitch.figures.series import COLOURS, SHAPES, Tip, cycle, scores_of, tips_of
from modelstitch.figures.style import PAPER, Ink, styled
from modelstitch.report.rows import names_of
from modelstitch.vocabulary import column_of, penalty_title, unit_of, with_unit

READABLE = 12
"""Above so many names a legend says less than pointing does; above so many cuts a number no longer fits its cell."""
_OURS = "datum.status == 'ok' && datum.control == ''"
_SETTING = "setting == '' || datum.setting == setting"
_FADED = "pair != '' && datum.pair != pair"
LEGEND = "clicked"
_TOLD = ("stitching", "penalty", "penalty_low", "penalty_high", "cka", "n_test")
_DASHES = ([1, 0], [6, 3], [2, 2], [8, 3, 2, 3])
PICKED = "datum.key == picked"
# A setting's name in a legend: pixels, and letters that surely fit into them. The whole is in every tooltip and table.
_LONGEST, _SHOWN = 230, 28


@dataclass(frozen=True)
class Theme:
    """What a chart's colours are called.

    Args:
        ink: of everything but the data.
        series: of the lines, in order.
        paper: the ground they stand on.
        missing: of a cell without a value.
    """

    ink: Ink = PAPER
    series: Sequence[str] = COLOURS
    paper: str = "white"
    missing: str = "#dddddd"


PRINT = Theme()
# The page's style sheet gives these their values, for its light and its dark scheme and for print.
SCREEN = Theme(
    Ink("var(--ink)", "var(--faint)", "var(--axis)", "var(--grid)"),
    [f"var(--series-{i})" for i in range(1, len(COLOURS) + 1)],
    "var(--paper)",
    "var(--missing)",
)


@dataclass(frozen=True)
class Names:
    """What a reader can pick among: pairs and settings of one run, and what is picked at first.

    Args:
        pairs: who meets whom.
        settings: how.
        scores: the first score of each task and the unit of its penalty.
        tips: what a record can tell.
        loss: the title of the loss of a matching.
    """

    pairs: Sequence[str]
    settings: Sequence[str]
    scores: Sequence[tuple[str, str]] = ()
    tips: Sequence[Tip] = ()
    loss: str = "mean loss"

    @classmethod
    def of(cls, frame: pd.DataFrame) -> Names:
        """Those of prepared records."""
        # The matching of a classification has the loss that is also a score; of another task its unit is not known.
        loss = with_unit("mean loss", unit_of("loss") if "loss" in frame and frame["loss"].notna().any() else "")
        told = (scores_of(frame), tips_of(frame), loss)
        return cls(names_of(frame, "pair"), names_of(frame, "setting"), *told)

    @property
    def penalty(self) -> str:
        """The title of an axis of penalties."""
        return penalty_title(self.scores)

    @property
    def unit(self) -> str:
        """The unit of the penalties."""
        return " or ".join(dict.fromkeys(unit for _, unit in self.scores if unit))

    @property
    def setting(self) -> str:
        """All settings at once while they can be told apart, else the first."""
        return "" if len(self.pairs) * len(self.settings) <= READABLE else self.settings[0]


def _params(names: Names, **more: Any) -> list[alt.Parameter]:
    values = {"pair": "", "setting": names.setting, "picked": "", **more}
    return [alt.param(name=name, value=value) for name, value in values.items()]


def _lines(names: Names, theme: Theme) -> dict[str, Any]:
    """Colour tells the pair; shape and dashes tell the setting, or again the pair where there is one setting."""
    pairs, settings = list(names.pairs), list(names.settings)
    legend = alt.Legend(title=None) if len(pairs) <= READABLE else None
    told, field = (settings, "setting") if len(settings) > 1 else (pairs, "pair")
    second = legend if field == "pair" or len(settings) > READABLE else _black(settings, theme)
    lines: dict[str, Any] = {
        "color": alt.Color("pair:N", scale=alt.Scale(domain=pairs, range=cycle(theme.series, pairs)), legend=legend),
        "shape": alt.Shape(f"{field}:N", scale=alt.Scale(domain=told, range=cycle(SHAPES, told)), legend=second),
    }
    dashes = alt.Scale(domain=told, range=cycle(_DASHES, told)) if field == "setting" else None
    lines["strokeDash"] = alt.StrokeDash("setting:N", scale=dashes, legend=second) if dashes else alt.value([1, 0])
    return lines


def _black(settings: Sequence[str], theme: Theme) -> alt.Legend:
    """The legend of shapes, whose symbols have no colour of their own; long names are cut where they stay distinct."""
    cut = len({one[:_SHOWN] for one in settings}) == len(settings)
    limit = _LONGEST if cut else 0
    return alt.Legend(title=None, columns=1, labelLimit=limit, symbolFillColor=theme.ink.text, symbolStrokeWidth=0)


def shown_tips(names: Names) -> list[alt.Tooltip]:
    """What a record tells when pointed at; picked, it tells everything."""
    told = {*_TOLD, *(column_of(score) + end for score, _ in names.scores for end in ("", "_top"))}
    tips = [alt.Tooltip(tip, title=title, format=form) for tip, title, form in names.tips if tip.split(":")[0] in told]
    return [*tips, alt.Tooltip("setting:N")] if len(names.settings) > 1 else tips


def _depth(title: str = "share of layers in the bottom") -> alt.X:
    return alt.X(
        "place:Q",
        title=title,
        scale=alt.Scale(domain=[-0.02, 1.02], nice=False),
        axis=alt.Axis(values=[0, 0.2, 0.4, 0.6, 0.8, 1], format=".1f"),
    )


def _points(base: alt.Chart, names: Names, theme: Theme) -> alt.Chart:
    """Points that can be pointed at and picked; the picked one has a ring."""
    lines = _lines(names, theme)
    drawn: alt.Chart = base.mark_point(filled=True, cursor="pointer").encode(
        color=lines["color"],
        shape=lines["shape"],
        opacity=alt.condition(_FADED, alt.value(0.12), alt.value(1)),
        size=alt.condition(PICKED, alt.value(190), alt.value(60)),
        stroke=alt.condition(PICKED, alt.value(theme.ink.text), alt.value(theme.paper)),
        strokeWidth=alt.condition(PICKED, alt.value(2.5), alt.value(0.6)),
        tooltip=shown_tips(names),
    )
    # A click on the legend picks a pair; the page listens.
    return drawn.add_params(alt.selection_point(name=LEGEND, fields=["pair"], bind="legend"))


def base_of(*filters: str) -> alt.Chart:
    """The records that pass all filters."""
    chart = alt.Chart(alt.NamedData(name="records"))
    for one in filters:
        chart = chart.transform_filter(one)
    return chart


def _published(quantity: str, theme: Theme, *filters: str) -> list[alt.Chart]:
    """Published curves, dashed and grey, each named where it is highest."""
    base = alt.Chart(alt.NamedData(name="published")).transform_filter(f"datum.quantity == '{quantity}'")
    for one in filters:
        base = base.transform_filter(one)
    tips = [alt.Tooltip("label:N"), alt.Tooltip("place:Q", title="share of layers", format=".2f")]
    line = base.mark_line(color=theme.ink.axis, strokeDash=[5, 4], strokeWidth=1.8, point=_dot(theme)).encode(
        x="place:Q", y="value:Q", detail="label:N", tooltip=[*tips, alt.Tooltip("value:Q", title=quantity)]
    )
    peak = base.transform_filter("isValid(datum.lift)")
    side = alt.expr("datum.place > 0.75 ? 'right' : datum.place < 0.25 ? 'left' : 'center'")
    name = peak.mark_text(align=side, dy=alt.expr("-datum.lift"), color=theme.ink.faint, fontSize=11)
    return [line, name.encode(x="place:Q", y="value:Q", text="label:N")]


def _dot(theme: Theme) -> alt.OverlayMarkDef:
    return alt.OverlayMarkDef(color=theme.ink.axis, size=18, filled=True)


def _zero(theme: Theme) -> alt.Chart:
    rule: alt.Chart = alt.Chart(alt.InlineData(values=[{}])).mark_rule(color=theme.ink.axis, strokeDash=[2, 2])
    return rule.encode(y=alt.YDatum(0, axis=alt.Axis(grid=True, tickCount=6)))


def _over_depth(field: str, y: alt.Y, base: alt.Chart, names: Names, theme: Theme) -> list[alt.Chart]:
    lines = _lines(names, theme)
    opacity = alt.condition(_FADED, alt.value(0.08), alt.value(0.75))
    mean = base.mark_line().encode(
        x=_depth(), y=y, color=lines["color"], strokeDash=lines["strokeDash"], detail="setting:N", opacity=opacity
    )
    return [mean, _points(base.encode(x=_depth(), y=f"{field}:Q"), names, theme)]


def whole(layers: Sequence[Any], names: Names, theme: Theme, size: tuple[Any, Any], **more: Any) -> alt.LayerChart:
    """Layers as one chart with its parameters, in the house's dress."""
    chart = alt.LayerChart(layer=list(layers), width=size[0], height=size[1])
    chart = chart.add_params(*_params(names, **more))
    return styled(chart, theme.ink)


def penalty(names: Names, theme: Theme, size: tuple[Any, int], control: str = "") -> alt.LayerChart:
    """Penalty over the depth of the bottom, with intervals; published curves beside it.

    Args:
        names: what there is to pick.
        theme: its colours.
        size: width and height; the width may be ``container``.
        control: show this one in place of the stitchings.
    """
    base = base_of(f"datum.status == 'ok' && datum.control == '{control}' && datum.matched", _SETTING)
    y = alt.Y("mean(penalty):Q", title=names.penalty, axis=alt.Axis(tickCount=6))
    bars = base.mark_rule(strokeWidth=1.5).encode(
        x=_depth(),
        y="penalty_low:Q",
        y2="penalty_high:Q",
        color=_lines(names, theme)["color"],
        opacity=alt.condition(_FADED, alt.value(0.06), alt.value(0.7)),
    )
    mean, points = _over_depth("penalty", y, base, names, theme)
    published = [] if control else _published("penalty", theme)
    return whole([_zero(theme), *published, mean, bars, points], names, theme, size)


def over_seeds(kinds: Names, theme: Theme, size: tuple[Any, int]) -> alt.LayerChart:
    """Penalty over the depth of the bottom, a line for each two kinds of networks; published curves beside it.

    Nothing of it is picked: a point stands for several records.

    Args:
        kinds: those of the pairs that differ in more than their seeds.
        theme: its colours.
        size: width and height; the width may be ``container``.
    """
    base = alt.Chart(alt.NamedData(name="over_seeds"))
    for one in (f"{_OURS} && datum.matched", _SETTING):
        base = base.transform_filter(one)
    lines = _lines(kinds, theme)
    y = alt.Y("penalty:Q", title=kinds.penalty, axis=alt.Axis(tickCount=6))
    line = base.mark_line(opacity=0.75).encode(
        x=_depth(), y=y, color=lines["color"], strokeDash=lines["strokeDash"], detail="setting:N"
    )
    bars = base.mark_rule(strokeWidth=1.5, opacity=0.7).encode(
        x="place:Q", y="penalty_low:Q", y2="penalty_high:Q", color=lines["color"]
    )
    told = ("pair:N", "setting:N", "bottom_cut:N", "top_cut:N", "n_pairs:Q")
    tips = [alt.Tooltip(field, title=field.split(":")[0].replace("_", " ")) for field in told]
    found = [tip for tip in kinds.tips if tip[0].startswith("penalty")]
    tips += [alt.Tooltip(field, title=title, format=form) for field, title, form in found]
    points = base.mark_point(filled=True, size=60, stroke=theme.paper, strokeWidth=0.6).encode(
        x="place:Q", y="penalty:Q", color=lines["color"], shape=lines["shape"], tooltip=tips
    )
    return whole([_zero(theme), *_published("penalty", theme), line, bars, points], kinds, theme, size)


def measure_over_depth(names: Names, theme: Theme, size: tuple[Any, int], measure: str, title: str) -> alt.LayerChart:
    """The picked measure over the depth of the bottom; published curves where it is CKA."""
    base = base_of(f"{_OURS} && datum.matched", _SETTING).transform_calculate(value="datum[measure]")
    base = base.transform_filter("isValid(datum.value)")
    y = alt.Y("mean(value):Q", title=title, axis=alt.Axis(tickCount=6))
    layers = _over_depth("value", y, base, names, theme)
    published = _published("cka", theme, "measure == 'cka'")
    return whole([*published, *layers], names, theme, size, measure=measure)


def scatter(names: Names, theme: Theme, size: tuple[Any, int], measure: str, title: str) -> alt.LayerChart:
    """Penalty against the picked measure, one point a stitching."""
    base = base_of(_OURS, _SETTING).transform_calculate(value="datum[measure]").transform_filter("isValid(datum.value)")
    x = alt.X("value:Q", title=title, scale=alt.Scale(zero=False), axis=alt.Axis(tickCount=6))
    lines = _lines(names, theme)
    bars = base.mark_rule(strokeWidth=1).encode(
        x=x,
        y=alt.Y("penalty_low:Q", title=names.penalty, axis=alt.Axis(tickCount=6)),
        y2="penalty_high:Q",
        color=lines["color"],
        opacity=alt.condition(_FADED, alt.value(0.05), alt.value(0.5)),
    )
    points = _points(base.encode(x=x, y="penalty:Q"), names, theme)
    return whole([_zero(theme), bars, points], names, theme, size, measure=measure)
