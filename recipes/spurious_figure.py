"""The figure and the table of the spurious features, from the records that spurious_features.py made.

    python recipes/spurious_figure.py OUT

OUT holds records.jsonl and cka.jsonl, and gets spurious.png. Everything is shown as the change from the same pair of
networks at the same stage with the plain bottom.
"""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path
from typing import Any, NamedTuple

import altair as alt
import pandas as pd

import modelstitch as ms
from modelstitch.figures.style import GREY, styled, wrapped
from modelstitch.vocabulary import spoken

NAME = re.compile(r"seed\d+(?:(?P<kind>\+features|\+noise|#)(?P<amount>[\d.]+))?")
KINDS = {
    "+features": "appended channels that see the image",
    "+noise": "appended channels that see noise",
    "#": "shuffled positions",
}
PLACES = {
    "+features": {0.0: 0.0, 0.5: 1.0, 0.9: 2.0, 0.99: 3.0, 0.999: 4.0},
    "+noise": {0.0: 0.0, 0.5: 1.0, 0.9: 2.0, 0.99: 3.0, 0.999: 4.0},
    "#": {0.0: 0.0, 0.25: 1.0, 0.5: 2.0, 1.0: 4.0},
}
"""Where each amount stands: shares of variance crowd towards 1 and get a step each, shares of positions as they are."""
CHANGED = {
    "flattened": "CKA, flattened maps",
    "position": "CKA, one row per position",
    "task": "penalty, task loss",
    "direct": "penalty, least squares",
}
STAGES = {f"layer{i}": f"after stage {i}" for i in (1, 2, 3, 4)}
COLOURS, SHAPES = ("#E69F00", "#CC79A7", "#009E73", "#0072B2"), ("triangle-up", "square", "diamond", "circle")
APART = 0.06
"""How far the series of a panel are set apart, in steps of its axis: their ranges must not hide each other."""


class Row(NamedTuple):
    """A row of panels with one scale, so that one kind may be held against another.

    Args:
        title: of the vertical axis.
        what: is drawn, first with a whole line, then with a broken one.
        domain: of the vertical axis.
        kinds: a panel for each.
    """

    title: str
    what: tuple[str, str]
    domain: tuple[float, float]
    kinds: tuple[str, ...] = tuple(KINDS)


ROWS = (
    Row("change of linear CKA", ("flattened", "position"), (-1, 0.2)),
    Row("penalty change, points of test error", ("task", "direct"), (-10, 80)),
    Row("the same, enlarged", ("task", "direct"), (-10, 2), ("+features", "+noise")),
)


def measured(folder: Path) -> pd.DataFrame:
    """One row for each value: kind and amount of spurious features, pair, stage, what it is, its change from plain."""
    records = ms.open_records(folder / "records.jsonl").to_pandas()
    ok = records[records["status"] == "ok"]
    direct = ok["matching"].map(lambda told: json.loads(told)["name"] == "direct")
    flattened = pd.DataFrame(lines(folder / "cka.jsonl"))
    # Both matchings meet the same activations, so that CKA stands twice in the records.
    parts = [(flattened, "cka", "flattened"), (ok[direct], "cka", "position")]
    parts += [(ok[~direct], "penalty", "task"), (ok[direct], "penalty", "direct")]
    columns = ["bottom_network", "top_network", "top_cut"]
    values = [part[columns].assign(value=part[name].astype(float), what=what) for part, name, what in parts]
    frame = pd.concat(values, ignore_index=True)
    told = frame["bottom_network"].str.extract(NAME)
    frame["kind"], frame["amount"] = told["kind"].fillna(""), told["amount"].astype(float).fillna(0.0)
    frame["stage"] = frame["top_cut"].str.split(".").str[0]
    same = ["top_network", "stage", "what"]
    plain = frame[frame["kind"] == ""].set_index(same)["value"]
    frame["change"] = frame["value"] - plain.reindex(pd.MultiIndex.from_frame(frame[same])).to_numpy()
    return frame[["kind", "amount", *same, "value", "change"]]


def lines(path: Path) -> list[dict[str, Any]]:
    """The lines of a file of JSON."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def figure(folder: Path) -> alt.ConcatChart:
    """CKA above, the penalty below it, and once more at a larger scale where it hardly changes; a column a kind."""
    frame = measured(folder)
    panels = [_panel(_drawn(frame, kind, row), kind, row) for row in ROWS for kind in row.kinds]
    told = [
        f"marks: mean over {frame['top_network'].nunique()} pairs of seeds",
        "bars: from the least to the largest of them",
        "0 %: the plain bottom, of which all others are copies that classify exactly alike",
        *(part.replace("`", "") for part in _recipe(folder)),
    ]
    title = alt.TitleParams("What spurious features do to CKA and to stitching", subtitle=wrapped(told, 165))
    chart = alt.ConcatChart(concat=panels, columns=len(KINDS), title=title, spacing=28)
    return styled(chart.resolve_scale(color="shared", shape="shared", strokeDash="independent"))


def _drawn(frame: pd.DataFrame, kind: str, row: Row) -> pd.DataFrame:
    """Means and ranges over the pairs for one panel; the plain bottom stands in each as the amount 0."""
    of = frame[frame["kind"].isin(("", kind)) & frame["what"].isin(row.what)]
    found = of.groupby(["amount", "stage", "what"])["change"].agg(["mean", "min", "max"]).reset_index()
    series = found["stage"].map([*STAGES].index) * 2 + found["what"].map(row.what.index)
    # The plain bottom is one point, at which all series start.
    apart = (series - (len(STAGES) * 2 - 1) / 2) * APART * (found["amount"] > 0)
    found["place"] = found["amount"].map(PLACES[kind]) + apart
    return found.assign(stage=found["stage"].map(STAGES), what=found["what"].map(CHANGED))


def _panel(drawn: pd.DataFrame, kind: str, row: Row) -> alt.LayerChart:
    stages = [*STAGES.values()]
    legend = alt.Legend(title=None, columns=len(stages))
    colour = alt.Color("stage:N", scale=alt.Scale(domain=stages, range=COLOURS), legend=legend)
    shape = alt.Shape("stage:N", scale=alt.Scale(domain=stages, range=SHAPES), legend=legend)
    names, last = [CHANGED[what] for what in row.what], kind == [*KINDS][-1]
    beside = alt.Legend(orient="right", title=None, columns=1, symbolSize=400) if last else None
    dash = alt.StrokeDash("what:N", scale=alt.Scale(domain=names, range=[[1, 0], [5, 3]]), legend=beside)
    scale = alt.Scale(domain=row.domain, nice=False)
    y = alt.Y("mean:Q", title=row.title if kind == row.kinds[0] else None, scale=scale, axis=alt.Axis(tickCount=6))
    base = alt.Chart(drawn).encode(x=_across(kind), color=colour)
    layers = [
        alt.Chart(pd.DataFrame({"zero": [0]})).mark_rule(color=GREY, strokeWidth=1).encode(y="zero:Q"),
        base.mark_line(strokeWidth=1.8).encode(y=y, strokeDash=dash),
        base.mark_rule(strokeWidth=1.5, opacity=0.7).encode(y="min:Q", y2="max:Q"),
        base.mark_point(filled=True, size=40, opacity=1).encode(y=y, shape=shape),
    ]
    heading = alt.TitleParams(KINDS[kind], frame="group") if row is ROWS[0] else alt.TitleParams("")
    return alt.LayerChart(layer=layers, width=270, height=210, title=heading)


def _across(kind: str) -> alt.X:
    told = {f"{at:g}": f"{100 * amount:g} %" for amount, at in PLACES[kind].items()}
    title = "positions that are moved" if kind == "#" else "share of the variance that is appended"
    axis = alt.Axis(values=[*PLACES[kind].values()], labelExpr=f"({json.dumps(told)})[datum.value]", labelOverlap=False)
    return alt.X("place:Q", title=title, scale=alt.Scale(domain=[-0.15, 4.35], nice=False), axis=axis)


def table(folder: Path) -> str:
    """The markdown table of the records in a folder, and below it how they were made."""
    frame = measured(folder)
    frame["early"] = frame["stage"] != [*STAGES][-1]
    head = ["bottom", *(f"{CHANGED[what]}: {part}" for what in CHANGED for part in ("stages 1 to 3", "stage 4"))]
    shown = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for (kind, amount), rows in frame.groupby(["kind", "amount"], sort=False):
        parts = [rows[(rows["what"] == what) & (rows["early"] == early)] for what in CHANGED for early in (True, False)]
        cells = [_cell(part["change"], "+.2f") if kind else _cell(part["value"], ".2f") for part in parts]
        name = f"{KINDS[kind]}, {100 * amount:g} %" if kind else "plain, the values themselves"
        shown.append("| " + " | ".join([name, *cells]) + " |")
    unmoved = frame[(frame["kind"] == "#") & (frame["what"] == "flattened")]["change"].abs().max()
    told = (
        f"Below the first row, the change from the plain bottom. Mean over {frame['top_network'].nunique()} pairs of "
        "seeds and the stages, with the least and the largest of them; penalties in points of test error. Percent: of "
        "the variance that is appended, of the positions that are moved. Flattened CKA of shuffled bottoms differs "
        f"from the plain one's by at most {unmoved:.0e}. Made with {'; '.join(_recipe(folder))}."
    )
    return "\n".join(shown) + "\n\n" + told


def _cell(values: pd.Series[float], form: str) -> str:
    # Adding 0 after rounding: a change of nothing has no sign to show.
    mean, low, high = (round(value, 2) + 0.0 for value in (values.mean(), values.min(), values.max()))
    return f"{mean:{form}} ({low:{form}} to {high:{form}})"


def _recipe(folder: Path) -> list[str]:
    """How the records were made: data and sizes, how many, the stitches, versions and machine."""
    records = ms.open_records(folder / "records.jsonl").to_pandas()
    first, n = records.iloc[0], lines(folder / "cka.jsonl")[0]["n"]
    matchings = " and ".join(f"`{spoken(matching)}`" for matching in records["matching"].unique())
    return [
        f"data {first['data']}, fitted on {first['n_fit']:,}, measured on {first['n_test']:,}, flattened CKA on {n:,}",
        f"{len(records)} stitchings, {int((records['status'] == 'failed').sum())} failed",
        f"`{spoken(first['family'])}` by {matchings}, batch norm {first['batch_norm']}, seed {first['seed']}",
        ", ".join(f"{name} {version}" for name, version in first["versions"].items()),
        f"{first['device']}, {first['threads']} thread, commit {first['commit']}",
    ]


def main() -> None:
    """Draw, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    out = parser.parse_args().out
    ms.save_figure(figure(out), out / "spurious.png")
    print(table(out))


if __name__ == "__main__":
    main()
