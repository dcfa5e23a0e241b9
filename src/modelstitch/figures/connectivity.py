"""The figure of two networks and what lies between them: test error along the stitching chain and along three paths."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import altair as alt
import pandas as pd

from modelstitch.errors import DataError
from modelstitch.figures.series import COLOURS, SHAPES
from modelstitch.figures.style import GREY, styled, wrapped

_WIDTH, _HEIGHT = 320, 260
_NAMES = {
    "stitching": "stitching chain",
    "linear": "straight line",
    "permuted": "straight line, units matched",
    "curve": "trained curve",
}
_LEGEND = alt.Legend(columns=4)
_TIPS = (
    *(("series:N", "way", ""), ("cut:N", "cut", ""), ("x:Q", "place", ".2f"), ("error:Q", "test error, %", ".2f")),
    *(("loss:Q", "test loss, nats", ".3f"), ("penalty:Q", "points above the worse network", "+.2f")),
    *(("penalty_low:Q", "95% from", "+.2f"), ("penalty_high:Q", "to", "+.2f"), ("fold:N", "folds", "")),
)


def connectivity_curves(frame: pd.DataFrame, told: Mapping[str, Any]) -> alt.HConcatChart:
    """Test error from one network (left) to the other (right), at the scale of the barriers and near the two networks.

    The bars on the chain are 95% paired bootstrap intervals; the dashed line is the threshold. The second panel is cut
    off at twice the threshold above the worse network. Failed points are counted in the subtitle and never drawn.

    Args:
        frame: one row a point, as `Connectivity.to_pandas` gives it; error in percent.
        told: networks, threshold, verdict, barriers and recipe, as `Connectivity.to_dict` gives them.

    Returns:
        The chart; `save_figure` writes it.

    Raises:
        DataError: there is no point to draw.
    """
    ok = frame[frame["status"] == "ok"].copy()
    if ok.empty:
        found = f"none of {len(frame)} points has a value"
        raise DataError("a figure of connectivity", found, "read their `reason` column")
    worse = float((ok["error"] - ok["penalty"]).iloc[0])
    limit = worse + float(told["threshold"])
    ok["series"] = ok["way"].map(_NAMES)
    ok["low"], ok["high"] = worse + ok["penalty_low"], worse + ok["penalty_high"]
    names = [name for name in _NAMES.values() if name in set(ok["series"])]
    least = float(min(ok["error"].min(), ok["low"].min()))
    top = worse + max(2 * float(told["threshold"]), 1.0)
    title = alt.TitleParams(f"From {told['networks']['B']} to {told['networks']['A']}", subtitle=_subtitle(frame, told))
    ends = f"{told['networks']['B']} at 0, {told['networks']['A']} at 1"
    panels = [
        _panel(ok, names, limit, False, ends, alt.Scale(zero=True, nice=6)),
        _panel(ok, names, limit, True, ends, alt.Scale(domain=[max(0.0, least - 0.5), top], nice=6)),
    ]
    return styled(alt.HConcatChart(hconcat=panels, title=title, spacing=36))


def _panel(ok: pd.DataFrame, names: list[str], limit: float, near: bool, ends: str, scale: alt.Scale) -> alt.LayerChart:
    kept = ["series", "cut", "x", "error", "loss", "penalty", "penalty_low", "penalty_high", "fold", "low", "high"]
    rows = ok[kept].astype(object)
    values: list[Any] = rows.where(rows.notna(), None).to_dict("records")
    base = alt.Chart(alt.InlineData(values=values)).encode(
        x=alt.X(
            "x:Q",
            title=ends,
            scale=alt.Scale(domain=[-0.02, 1.02], nice=False),
            axis=alt.Axis(values=[0, 0.2, 0.4, 0.6, 0.8, 1], format=".1f"),
        ),
        color=alt.Color(
            "series:N", scale=alt.Scale(domain=names, range=list(COLOURS[: len(names)])), title=None, legend=_LEGEND
        ),
    )
    height = alt.Y("error:Q", title="test error, %", scale=scale, axis=alt.Axis(tickCount=6))
    shapes = alt.Scale(domain=names, range=list(SHAPES[: len(names)]))
    # Ticks and ends rounded alike: a label stands at the very top in each panel, and the headings align.
    line = base.mark_line(opacity=0.75, clip=near).encode(y=height)
    chain = base.transform_filter(f"datum.series == '{_NAMES['stitching']}'")
    bars = chain.mark_rule(opacity=0.7, strokeWidth=1.5, clip=near).encode(y=alt.Y("low:Q", scale=scale), y2="high:Q")
    points = base.mark_point(filled=True, size=60, opacity=1, clip=near).encode(
        y=height,
        shape=alt.Shape("series:N", scale=shapes, title=None, legend=_LEGEND),
        tooltip=[alt.Tooltip(field, title=name, format=form) for field, name, form in _TIPS],
    )
    threshold = alt.Chart(alt.InlineData(values=[{"limit": limit}])).mark_rule(color=GREY, strokeDash=[4, 3])
    layers = [threshold.encode(y=alt.Y("limit:Q", scale=scale)), line, bars, points]
    heading = alt.TitleParams("Near the two networks" if near else "The whole way", frame="group")
    return alt.LayerChart(layer=layers, width=_WIDTH, height=_HEIGHT, title=heading)


def _subtitle(frame: pd.DataFrame, told: Mapping[str, Any]) -> list[str]:
    """The verdict, the barriers and the recipe, so that a figure torn from its page can still be read."""
    asked, failed = told["asked"], int((frame["status"] == "failed").sum())
    known = {way: barrier for way, barrier in told["barriers"].items() if barrier and way != "stitching"}
    barriers = [f"barrier of the {_NAMES[way]} {barrier['error']:.1f} points" for way, barrier in known.items()]
    recipe = [
        f"data {asked['data']}, fitted on {asked['n_fit']:,}, measured on {asked['n_test']:,}",
        f"family {asked['family']}",
        f"matching {asked['matching']}",
        f"seed {asked['seed']}",
        *(f"{name} {version}" for name, version in told["versions"].items()),
    ]
    reading = [told["verdict"], "bars: 95% paired bootstrap", "dashed: the threshold above the worse network"]
    counts = [f"{failed} of {len(frame)} points failed and are not drawn"] if failed else []
    return [line for parts in (reading + counts, barriers, recipe) for line in wrapped(parts, 120)]
