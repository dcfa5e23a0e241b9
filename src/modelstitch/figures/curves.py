"""The figure of stitching records: penalty over depth.

Beware: controls reach tens of points where stitchings stay below two, so the two never share a scale here.
"""

from __future__ import annotations

from typing import Any

import altair as alt
import pandas as pd

from modelstitch.errors import DataError
from modelstitch.figures.series import COLOURS, SHAPES, Tip, cycle, place_of, scores_of, tips_of
from modelstitch.figures.style import GREY, styled, wrapped
from modelstitch.vocabulary import penalty_title, spoken, title_of

_WIDTH, _HEIGHT = 320, 260
_RECIPE = {
    "data": "data",
    "n_fit": "fitted on",
    "n_test": "measured on",
    "family": "family",
    "matching": "matching",
    "batch_norm": "batch norm",
    "seed": "seed",
}


def penalty_curves(frame: pd.DataFrame) -> alt.HConcatChart:
    """Stitching penalty over the depth of the bottom, with its controls, and linear CKA at the same places.

    The first panel shows the stitchings at their own scale, with no control but the self-stitches; the second, drawn
    when there are others, shows all at one scale; the third, drawn when CKA was computed, what the activations
    alone say. Bars are 95% paired bootstrap intervals, lines join the mean over seeds. Failed records are counted in
    the subtitle and never drawn.

    Args:
        frame: one row per record, as `Records.to_pandas` gives it.

    Returns:
        The chart; in a notebook it shows itself, `save_figure` writes it.

    Raises:
        DataError: there is no record to draw.
    """
    ok = frame[frame["status"] == "ok"].copy()
    if ok.empty:
        found = f"none of {len(frame)} records has a value"
        raise DataError("a figure of records", found, "read their `reason` column, or make records first")
    for column in ("family", "matching"):
        ok[column] = ok[column].map(spoken)
    ok["series"] = _series(ok)
    names = sorted(ok["series"].unique(), key=lambda name: (name.startswith("control"), name))
    ok["place"] = place_of(ok, names)
    rows = {"trained": ok[ok["control"].isin(["", "self"])], "all": ok, "cka": ok[ok["cka"].notna()]}
    tips = tips_of(ok)
    told = (names, penalty_title(scores_of(ok)), tips)
    panels = [_penalty_panel("trained", *told, "The stitchings")] if len(rows["trained"]) else []
    if len(rows["trained"]) < len(ok):
        panels.append(_penalty_panel("all", *told, _beside(ok)))
    if len(rows["cka"]):
        panels.append(_cka_panel("cka", names, tips))
    title = alt.TitleParams(
        "Stitching penalty: what is lost when one network's bottom meets another's top",
        subtitle=_subtitle(frame, ok, width=60 * len(panels)),
    )
    chart = styled(alt.HConcatChart(hconcat=panels, title=title, spacing=36))
    # The rows join last and by name: each step above copies and checks what the chart holds, and no row limit applies.
    chart.datasets = {"zero": [{"zero": 0}], **{name: _values(part, tips) for name, part in rows.items()}}
    return chart


def _series(ok: pd.DataFrame) -> list[str]:
    """One name per line of the figure: who meets whom, and what sets it apart when recipes are mixed."""
    normal = ok[ok["control"] != "self"]
    mixed = [column for column in ("data", "family", "matching", "batch_norm") if normal[column].nunique() > 1]
    return [_name(row, mixed) for _, row in ok.iterrows()]


def _name(row: pd.Series[Any], mixed: list[str]) -> str:
    if row["control"] == "self":
        return f"control: {row['bottom_network']} with itself ({row['family']})"
    apart = "".join(f", {row[column]}" for column in mixed)
    control = f"control: {row['control'].replace('_', ' ')} " if row["control"] else ""
    return f"{control}{row['bottom_network']} → {row['top_network']}{apart}"


def _beside(ok: pd.DataFrame) -> str:
    """The title of the panel with controls at a scale of theirs."""
    kinds = [str(kind) for kind in ok["control"].unique() if kind not in ("", "self")]
    return (
        f"The same beside the {kinds[0].replace('_', ' ')} control" if len(kinds) == 1 else "The same beside controls"
    )


def _values(rows: pd.DataFrame, tips: list[Tip]) -> list[Any]:
    kept = rows[["series", "place", *(field.split(":")[0] for field, _, _ in tips)]].astype(object)
    return kept.where(kept.notna(), None).to_dict("records")


def _penalty_panel(name: str, names: list[str], axis: str, tips: list[Tip], title: str) -> alt.LayerChart:
    base = _base(name, names)
    zero = alt.Chart(alt.NamedData(name="zero")).mark_rule(color=GREY, strokeDash=[4, 3]).encode(y="zero:Q")
    line = base.mark_line(opacity=0.75).encode(y=_penalties("mean(penalty):Q", axis))
    bars = base.mark_rule(opacity=0.7, strokeWidth=1.5).encode(y="penalty_low:Q", y2="penalty_high:Q")
    return _panel([zero, line, bars, _points(base, names, tips, "penalty:Q")], title)


def _penalties(field: str, title: str) -> alt.Y:
    # Ticks and ends rounded alike: a label stands at the very top in each panel, and the headings align.
    axis, scale = alt.Axis(tickCount=6), alt.Scale(nice=6)
    return alt.Y(field, title=title, axis=axis, scale=scale)


def _cka_panel(name: str, names: list[str], tips: list[Tip]) -> alt.LayerChart:
    base = _base(name, names)
    line = base.mark_line(opacity=0.75).encode(
        y=alt.Y("mean(cka):Q", title=title_of("cka"), scale=alt.Scale(domain=[0, 1]))
    )
    return _panel([line, _points(base, names, tips, "cka:Q")], "What the activations alone say")


def _base(name: str, names: list[str]) -> alt.Chart:
    colours = alt.Scale(domain=names, range=cycle(COLOURS, names))
    return alt.Chart(alt.NamedData(name=name)).encode(
        x=alt.X(
            "place:Q",
            title="share of layers in the bottom",
            scale=alt.Scale(domain=[-0.02, 1.02], nice=False),
            axis=alt.Axis(values=[0, 0.2, 0.4, 0.6, 0.8, 1], format=".1f"),
        ),
        color=alt.Color("series:N", scale=colours, title=None),
    )


def _points(base: alt.Chart, names: list[str], tips: list[Tip], field: str) -> alt.Chart:
    shapes = alt.Scale(domain=names, range=cycle(SHAPES, names))
    told = [alt.Tooltip(tip, title=title, format=form) for tip, title, form in tips]
    shown = base.mark_point(filled=True, size=60, opacity=1)
    points: alt.Chart = shown.encode(y=field, shape=alt.Shape("series:N", scale=shapes, title=None), tooltip=told)
    return points


def _panel(layers: list[alt.Chart], title: str) -> alt.LayerChart:
    # Framed by the plot alone, so that the axis labels of one panel do not push its heading out of line.
    heading = alt.TitleParams(title, frame="group")
    return alt.LayerChart(layer=layers, width=_WIDTH, height=_HEIGHT, title=heading)


def _subtitle(frame: pd.DataFrame, ok: pd.DataFrame, width: int) -> list[str]:
    """The recipe, the sizes and the versions, so that a figure torn from its page can still be read."""
    # The self control has a family and a matching of its own, which its name in the legend tells.
    asked = ok[ok["control"] != "self"] if (ok["control"] != "self").any() else ok
    recipe = [f"{title} {_told(asked[column])}" for column, title in _RECIPE.items()]
    versions = sorted({f"{name} {version}" for told in ok["versions"] for name, version in told.items()})
    failed = len(frame) - len(ok)
    counts = f"{len(ok)} records, {failed} more failed and are not drawn" if failed else f"{len(ok)} records"
    reading = "bars: 95% paired bootstrap; above 0: worse than the top network"
    return [*wrapped(recipe, width), *wrapped([reading, counts], width), *wrapped(versions, width)]


def _told(values: pd.Series[Any]) -> str:
    return ", ".join(f"{value:,}" if isinstance(value, int) else str(value) for value in values.unique().tolist())
