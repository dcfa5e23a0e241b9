"""The figure and the tables of the six jobs, from the records that tasks.py made; no number is typed by hand.

Cuts stand side by side in the order of depth. Each job has a panel for its stitchings and one, at another scale, for
the same beside controls.
"""

from __future__ import annotations

import json
from pathlib import Path

import altair as alt
import pandas as pd
from tasks_jobs import JOBS, Job
from tasks_tables import tables, written

import modelstitch as ms
from modelstitch.figures.style import GREY, styled, wrapped

COLOURS = ("#0072B2", "#D55E00", "#56B4E9", "#E69F00", "#999999", "#444444")
SHAPES = ("circle", "square", "circle", "square", "diamond", "cross")
SERIES = ("seed0 → seed1", "seed1 → seed0", "untrained → seed1", "untrained → seed0", "noise → seed1", "noise → seed0")
WIDTH, HEIGHT, APART = 270, 170, 0.13


def found(out: Path) -> dict[str, ms.Records]:
    """The records of every job that there are."""
    return {name: ms.open_records(path) for name in JOBS if (path := out / f"{name}.jsonl").exists()}


def guesses(out: Path) -> dict[str, float]:
    """What a guess is worth in the jobs that have no noise to say it."""
    path = out / "guesses.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def draw(out: Path) -> None:
    """Write OUT/penalty.png, and the tables into OUT/README.md."""
    records = found(out)
    ms.save_figure(figure(records), out / "penalty.png")
    page = out / "README.md"
    if page.exists():
        page.write_text(written(page.read_text(encoding="utf-8"), tables(records, guesses(out))), encoding="utf-8")


def figure(records: dict[str, ms.Records]) -> alt.ConcatChart:
    """Two panels a job: the stitchings, and the same beside controls."""
    panels = [panel for name, some in records.items() for panel in _panels(JOBS[name], some.to_pandas())]
    reading = [
        "above 0: worse than the network that lends its top",
        "bars: 95% paired bootstrap over test examples",
        "one pair of seeds each",
        "n: test examples",
        "rings: self-stitches, which must be at 0",
    ]
    title = alt.TitleParams(
        "What is lost when one network's bottom meets another's top, in the unit of each task",
        subtitle=wrapped(reading, 200),
    )
    return styled(alt.ConcatChart(concat=panels, columns=4, title=title, spacing=22))


def _panels(job: Job, frame: pd.DataFrame) -> list[alt.LayerChart]:
    ok = frame[frame["status"] == "ok"].copy()
    ok["series"] = [
        f"{row['control'] if row['control'] not in ('', 'self') else row['bottom_network']} → {row['top_network']}"
        for _, row in ok.iterrows()
    ]
    cuts = ok.sort_values("bottom_depth", kind="stable")["bottom_cut"].drop_duplicates().tolist()
    ok["place"] = ok["bottom_cut"].map(cuts.index) + ok["series"].map(_apart).fillna(0.0)
    trained = ok[ok["control"].isin(["", "self"])]
    about = [f"{job.title} (n = {int(ok['n_test'].iloc[0]):,})"]
    if isinstance(job.task, ms.Imitation):
        # Without this a reader holds the panel against 0, where no two networks are.
        about += [f"the two whole networks: {ok[ok['control'] == '']['error_bottom'].mean():.1f}"]
    return [_panel(trained, cuts, about, job.axis), _panel(ok, cuts, ["the same beside controls"], [])]


def _apart(series: str) -> float:
    """How far a series stands from its cut, in steps between cuts: intervals must not hide each other."""
    return (SERIES.index(series) - (len(SERIES) - 1) / 2) * APART if series in SERIES else 0.0


def _panel(rows: pd.DataFrame, cuts: list[str], title: list[str], axis: list[str]) -> alt.LayerChart:
    kept = ["place", "series", "penalty", "penalty_low", "penalty_high"]
    plain, own = rows[rows["control"] != "self"], rows[rows["control"] == "self"]
    names = f"({json.dumps(dict(enumerate(cuts)))})[datum.value]"
    ticks = alt.Axis(values=[*range(len(cuts))], labelExpr=names, labelAngle=-30, labelOverlap=False, grid=False)
    x = alt.X("place:Q", title=None, scale=alt.Scale(domain=[-0.5, len(cuts) - 0.5], nice=False), axis=ticks)
    colour = alt.Color("series:N", scale=alt.Scale(domain=[*SERIES], range=[*COLOURS]), title=None)
    shape = alt.Shape("series:N", scale=alt.Scale(domain=[*SERIES], range=[*SHAPES]), title=None)
    y = alt.Y("penalty:Q", title=axis or None, axis=alt.Axis(tickCount=6), scale=alt.Scale(nice=6))
    base = alt.Chart(plain[kept]).encode(x=x, color=colour)
    zero = alt.Chart(pd.DataFrame({"zero": [0]})).mark_rule(color=GREY, strokeDash=[4, 3]).encode(y="zero:Q")
    rings = alt.Chart(own[kept[:3]]).mark_point(filled=False, color=GREY, size=60)
    layers = [
        zero,
        base.mark_rule(strokeWidth=1.5, opacity=0.7).encode(y="penalty_low:Q", y2="penalty_high:Q"),
        base.mark_point(filled=True, size=45, opacity=1).encode(y=y, shape=shape),
        rings.encode(x=x, y=y),
    ]
    heading = alt.TitleParams(title, frame="group")
    return alt.LayerChart(layer=layers, width=WIDTH, height=HEIGHT, title=heading)
