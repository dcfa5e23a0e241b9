"""The figure of two networks and what lies between them: a score along the stitching chain and along three paths."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import altair as alt
import pandas as pd

from modelstitch.errors import DataError
from modelstitch.figures.series import COLOURS, SHAPES
from modelstitch.figures.style import GREY, styled, wrapped
from modelstitch.vocabulary import spoken

_WIDTH, _HEIGHT = 320, 260
_NAMES = {
    "stitching": "stitching chain",
    "linear": "straight line",
    "permuted": "straight line, units matched",
    "curve": "trained curve",
}
_LEGEND = alt.Legend(columns=4)


def connectivity_curves(frame: pd.DataFrame, told: Mapping[str, Any]) -> alt.HConcatChart:
    """The first score from one network (left) to the other (right), at the scale of the barriers and near the networks.

    The bars on the chain are 95% paired bootstrap intervals; the dashed line is the threshold. The second panel is cut
    off at twice the threshold beyond the worse network. Failed points are counted in the subtitle and never drawn.

    Args:
        frame: one row a point, as `Connectivity.to_pandas` gives it.
        told: networks, scores, threshold, verdict, barriers and recipe, as `Connectivity.to_dict` gives them.

    Returns:
        The chart; `save_figure` writes it.

    Raises:
        DataError: there is no point to draw.
    """
    ok = frame[frame["status"] == "ok"].copy()
    if ok.empty:
        found = f"none of {len(frame)} points has a value"
        raise DataError("a figure of connectivity", found, "read their `reason` column")
    score = told["scores"][0]
    sign = 1.0 if score["better"] == "lower" else -1.0
    ok["value"] = ok[score["name"]]
    worse = float((ok["value"] - sign * ok["penalty"]).iloc[0])
    ok["series"] = ok["way"].map(_NAMES)
    ok["low"], ok["high"] = worse + sign * ok["penalty_low"], worse + sign * ok["penalty_high"]
    names = [name for name in _NAMES.values() if name in set(ok["series"])]
    title = alt.TitleParams(f"From {told['networks']['B']} to {told['networks']['A']}", subtitle=_subtitle(frame, told))
    limit = worse + sign * float(told["threshold"])
    whole = alt.Scale(zero=_percent(score), nice=6)
    panels = [
        _panel(ok, names, limit, told, whole, False),
        _panel(ok, names, limit, told, _near(ok, worse, told), True),
    ]
    return styled(alt.HConcatChart(hconcat=panels, title=title, spacing=36))


def _percent(score: Mapping[str, str]) -> bool:
    """Whether a score is in percent, whose differences are points."""
    return score["unit"] == "points"


def _digits(score: Mapping[str, str]) -> int:
    return 2 if _percent(score) else 3


def _label(score: Mapping[str, str]) -> str:
    """A score with its unit, for an axis."""
    unit = "%" if _percent(score) else score["unit"]
    return f"{score['title']}, {unit}" if unit and unit not in score["title"] else score["title"]


def _beyond(score: Mapping[str, str]) -> str:
    """On which side of the worse network a penalty is."""
    return f"{'above' if score['better'] == 'lower' else 'below'} the worse network"


def _near(ok: pd.DataFrame, worse: float, told: Mapping[str, Any]) -> alt.Scale:
    """From a little better than the best point to twice the threshold beyond the worse network."""
    score, threshold = told["scores"][0], float(told["threshold"])
    if score["better"] == "higher":
        most = float(max(ok["value"].max(), ok["low"].max()))
        return alt.Scale(domain=[worse - 2 * threshold, most + 0.1 * threshold], nice=6)
    least = float(min(ok["value"].min(), ok["low"].min()))
    if _percent(score):
        return alt.Scale(domain=[max(0.0, least - 0.5), worse + max(2 * threshold, 1.0)], nice=6)
    return alt.Scale(domain=[least - 0.1 * threshold, worse + 2 * threshold], nice=6)


def _tips(ok: pd.DataFrame, told: Mapping[str, Any]) -> list[alt.Tooltip]:
    score = told["scores"][0]
    places = [("series:N", "way", ""), ("cut:N", "cut", ""), ("x:Q", "place", ".2f")]
    values = [(f"{one['name']}:Q", _label(one), f".{_digits(one)}f") for one in told["scores"]]
    form = f"+.{_digits(score)}f"
    found = [("penalty:Q", f"{score['unit'] or score['title']} {_beyond(score)}", form)]
    found += [("penalty_low:Q", "95% from", form), ("penalty_high:Q", "to", form), ("fold:N", "folds", "")]
    return [alt.Tooltip(field, title=name, format=form) for field, name, form in [*places, *values, *found]]


def _panel(
    ok: pd.DataFrame, names: list[str], limit: float, told: Mapping[str, Any], scale: alt.Scale, near: bool
) -> alt.LayerChart:
    kept = ["series", "cut", "x", "value", "penalty", "penalty_low", "penalty_high", "fold", "low", "high"]
    rows = ok[kept + [score["name"] for score in told["scores"]]].astype(object)
    values: list[Any] = rows.where(rows.notna(), None).to_dict("records")
    base = alt.Chart(alt.InlineData(values=values)).encode(
        x=alt.X(
            "x:Q",
            title=f"{told['networks']['B']} at 0, {told['networks']['A']} at 1",
            scale=alt.Scale(domain=[-0.02, 1.02], nice=False),
            axis=alt.Axis(values=[0, 0.2, 0.4, 0.6, 0.8, 1], format=".1f"),
        ),
        color=alt.Color(
            "series:N", scale=alt.Scale(domain=names, range=list(COLOURS[: len(names)])), title=None, legend=_LEGEND
        ),
    )
    height = alt.Y("value:Q", title=_label(told["scores"][0]), scale=scale, axis=alt.Axis(tickCount=6))
    shapes = alt.Scale(domain=names, range=list(SHAPES[: len(names)]))
    # Ticks and ends rounded alike: a label stands at the very top in each panel, and the headings align.
    line = base.mark_line(opacity=0.75, clip=near).encode(y=height)
    chain = base.transform_filter(f"datum.series == '{_NAMES['stitching']}'")
    bars = chain.mark_rule(opacity=0.7, strokeWidth=1.5, clip=near).encode(y=alt.Y("low:Q", scale=scale), y2="high:Q")
    points = base.mark_point(filled=True, size=60, opacity=1, clip=near).encode(
        y=height,
        shape=alt.Shape("series:N", scale=shapes, title=None, legend=_LEGEND),
        tooltip=_tips(ok, told),
    )
    threshold = alt.Chart(alt.InlineData(values=[{"limit": limit}])).mark_rule(color=GREY, strokeDash=[4, 3])
    layers = [threshold.encode(y=alt.Y("limit:Q", scale=scale)), line, bars, points]
    heading = alt.TitleParams("Near the two networks" if near else "The whole way", frame="group")
    return alt.LayerChart(layer=layers, width=_WIDTH, height=_HEIGHT, title=heading)


def _subtitle(frame: pd.DataFrame, told: Mapping[str, Any]) -> list[str]:
    """The verdict, the barriers and the recipe, so that a figure torn from its page can still be read."""
    asked, failed = told["asked"], int((frame["status"] == "failed").sum())
    known = {way: barrier for way, barrier in told["barriers"].items() if barrier and way != "stitching"}
    score = told["scores"][0]
    form = ".1f" if _percent(score) else ".3g"
    barriers = [
        f"barrier of the {_NAMES[way]} {barrier[score['name']]:{form}} {score['unit']}".rstrip()
        for way, barrier in known.items()
    ]
    recipe = [
        f"data {asked['data']}, fitted on {asked['n_fit']:,}, measured on {asked['n_test']:,}",
        f"family {spoken(asked['family'])}",
        f"matching {spoken(asked['matching'])}",
        f"seed {asked['seed']}",
        *(f"{name} {version}" for name, version in told["versions"].items()),
    ]
    reading = [told["verdict"], "bars: 95% paired bootstrap", f"dashed: the threshold {_beyond(score)}"]
    counts = [f"{failed} of {len(frame)} points failed and are not drawn"] if failed else []
    return [line for parts in (reading + counts, barriers, recipe) for line in wrapped(parts, 120)]
