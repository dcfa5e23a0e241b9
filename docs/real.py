"""The pages docs/examples/: tables and figures of stitchings between networks with real weights.

Records lie in results/real/NAME.jsonl, written by recipes/real/NAME.py. A line of a figure, and a column of a table, is
one way of choosing the stitch: family and matching, with the control that took the bottom's place, if one did.
"""

from __future__ import annotations

import json
from pathlib import Path

import altair as alt
import pandas as pd

import modelstitch as ms
from modelstitch.figures.series import COLOURS, SHAPES
from modelstitch.figures.style import GREY, styled, wrapped
from modelstitch.vocabulary import amount, decimals, penalty_title, score_of, spoken, title_of, value_unit

FOLDER = Path(__file__).resolve().parents[1] / "results" / "real"
TITLES = {
    "minilm": "MiniLM of six and of three layers, on definitions of nouns in 14 categories",
    "crepe": "CREPE in two widths, stitched at each of its six convolutions",
    "whisper": "Whisper's encoder with one of its four layers left out, or all of them",
    "digits": "Two digit networks trained on two collections: what one loses on the other's bottom",
}
"""The networks with real weights, and what heads the figure of each."""

_WIDTH, _HEIGHT, _APART = 290, 210, 0.1
_LINEAR, _STEPS = 0.1, (0.1, 0.3, 1, 3, 10, 30, 100)


def draw() -> None:
    """Write a PNG beside the records of each job."""
    for name, title in TITLES.items():
        ms.save_figure(figure(_frame(name), title), FOLDER / f"{name}.png")


def tables() -> dict[str, str]:
    """The table of each job, as ``real_NAME``."""
    return {f"real_{name}": table(_frame(name)) for name in TITLES}


def _frame(name: str) -> pd.DataFrame:
    frame = ms.open_records(FOLDER / f"{name}.jsonl").to_pandas()
    frame["way"] = [_way(row) for _, row in frame.iterrows()]
    frame["place"] = [
        row["top_cut"] if row["top_cut"] == row["bottom_cut"] else f"{row['bottom_cut']} → {row['top_cut']}"
        for _, row in frame.iterrows()
    ]
    frame["pair"] = frame["bottom_network"] + " → " + frame["top_network"]
    return frame


def _way(row: pd.Series[object]) -> str:
    """How the stitch was chosen, in a few words: classes without their settings, which stand below the table."""
    family, matching = (spoken(str(row[column])).split("(")[0] for column in ("family", "matching"))
    control = f", {str(row['control']).replace('_', ' ')} bottom" if row["control"] not in ("", "self") else ""
    return f"{family}{f' by {matching}' if matching != 'none' else ''}{control}"


def table(frame: pd.DataFrame) -> str:
    """For each task one row a stitching and one column a way; then how the records were made."""
    parts = []
    for task, rows in frame.groupby("task", sort=False):
        shown = rows[(rows["control"] != "self") & (rows["status"] == "ok")]
        ways = list(dict.fromkeys(shown["way"]))
        head = ["stitching", *ways, "CKA"]
        lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
        for (pair, place), here in shown.groupby(["pair", "place"], sort=False):
            cka = here.loc[here["control"] == "", "cka"].dropna()
            told = [_penalty(here[here["way"] == way]) for way in ways]
            lines.append(
                "| " + " | ".join([f"{pair} at `{place}`", *told, f"{cka.mean():.3f}" if len(cka) else "–"]) + " |"
            )
        parts += ["\n".join(lines), f"`{spoken(str(task))}`: {_about(rows)}"]
    return "\n\n".join([*parts, _made(frame)])


def _penalty(rows: pd.DataFrame) -> str:
    if rows.empty:
        return "–"
    row = rows.iloc[0]
    form = f"+.{decimals(row['unit'])}f"
    return f"{row['penalty']:{form}} ({row['penalty_low']:{form}} to {row['penalty_high']:{form}})"


def _about(rows: pd.DataFrame) -> str:
    """What a penalty of one task counts, the scores of the whole networks, and the self-stitches."""
    ok = rows[rows["status"] == "ok"]
    score, unit = ok["score"].iloc[0], ok["unit"].iloc[0]
    words = score_of(str(score), str(ok["task"].iloc[0]))
    digits, of = decimals(unit), value_unit(words, unit)
    asked, own = ok[ok["control"] == ""], ok[ok["control"] == "self"]
    bases = [
        f"{name} {value:.{digits}f}" for name, value in asked.groupby("top_network")[f"{score}_top"].first().items()
    ]
    told = [
        f"penalty in {amount(words, unit)}, with its 95 % paired bootstrap interval over the test examples.",
        f"The whole networks, {title_of(words)}{f' in {of}' if of else ''}: {', '.join(bases)}.",
    ]
    if json.loads(rows["task"].iloc[0])["name"] == "imitation":
        whole = asked[asked["bottom_network"] != asked["top_network"]].groupby("pair", sort=False)[f"{score}_bottom"]
        apart = [f"{pair} {value:.{digits}f}" for pair, value in whole.first().dropna().items()]
        told += [f"The whole lower network in place of the upper one: {', '.join(apart)}."] if apart else []
    if len(own):
        low, high = own["penalty"].min(), own["penalty"].max()
        told.append(f"Self-stitches by the identity: {len(own)}, penalties from {low} to {high}.")
    return " ".join(told)


def _made(frame: pd.DataFrame) -> str:
    """What the records were made with."""
    asked = frame[frame["control"] != "self"]
    ways = dict.fromkeys(
        f"`{spoken(f)}`" + (f" by `{spoken(m)}`" if m else "")
        for f, m in zip(asked["family"], asked["matching"], strict=True)
    )
    versions = sorted({f"{name} {version}" for told in frame["versions"] for name, version in told.items()})
    sizes = [" or ".join(f"{n:,}" for n in sorted(frame[column].unique())) for column in ("n_fit", "n_test")]
    commits = ", ".join(frame["commit"].str.slice(0, 12).unique())
    threads = ", ".join(map(str, frame["threads"].unique()))
    return (
        f"{len(frame)} stitchings, {int((frame['status'] == 'failed').sum())} failed. "
        f"Data {', '.join(frame['data'].unique())}, fitted on {sizes[0]}, measured on {sizes[1]}; "
        f"{'; '.join(ways)}; batch norm {', '.join(frame['batch_norm'].unique())}, "
        f"seed {', '.join(map(str, frame['seed'].unique()))}; {', '.join(versions)}; "
        f"{', '.join(frame['device'].unique())}, {threads} thread, commit {commits}."
    )


def figure(frame: pd.DataFrame, title: str) -> alt.ConcatChart:
    """A panel for each task and pair of networks: the penalty at every cut, a line for each way."""
    ok = frame[frame["status"] == "ok"]
    ways = list(dict.fromkeys(ok[ok["control"] != "self"]["way"]))
    panels = [
        _panel(rows, ways, f"{pair}, {spoken(str(task)).split('(')[0]} (n = {rows['n_test'].iloc[0]:,})")
        for (task, pair), rows in ok[ok["control"] != "self"].groupby(["task", "pair"], sort=False)
    ]
    reading = ["above 0: worse than the network that lends its top", "bars: 95% paired bootstrap over test examples"]
    reading += [f"{len(frame) - len(ok)} failed and are not drawn"] if len(ok) < len(frame) else []
    heading = alt.TitleParams(title, subtitle=wrapped(reading, 110))
    return styled(alt.ConcatChart(concat=panels, columns=3, title=heading, spacing=30))


def _panel(rows: pd.DataFrame, ways: list[str], title: str) -> alt.LayerChart:
    rows = rows.sort_values("top_depth", kind="stable")
    places = rows["place"].drop_duplicates().tolist()
    shift = rows["way"].map(ways.index) - (len(ways) - 1) / 2
    kept = rows.assign(x=rows["place"].map(places.index) + shift * _APART)
    kept = kept[["x", "way", "stitching", "penalty", "penalty_low", "penalty_high"]]
    labels = f"({json.dumps(dict(enumerate(map(_short, places))), ensure_ascii=False)})[datum.value]"
    ticks = alt.Axis(
        values=[*range(len(places))], labelExpr=labels, labelAngle=-35, labelOverlap=False, labelLimit=0, grid=False
    )
    x = alt.X("x:Q", title=None, axis=ticks, scale=alt.Scale(domain=[-0.5, len(places) - 0.5], nice=False))
    colour = alt.Color("way:N", title=None, scale=alt.Scale(domain=ways, range=[*COLOURS[: len(ways)]]))
    shape = alt.Shape("way:N", title=None, scale=alt.Scale(domain=ways, range=[*SHAPES[: len(ways)]]))
    score = [(score_of(str(rows["score"].iloc[0]), str(rows["task"].iloc[0])), str(rows["unit"].iloc[0]))]
    # Between the stitchings and what fails lie factors of a hundred, on both sides of 0.
    scale = alt.Scale(type="symlog", constant=_LINEAR)
    # Vega leaves out every second tick where there are more than it would set itself.
    axis = alt.Axis(values=[0, *(sign * step for step in _STEPS for sign in (1, -1))], format=".1~f", tickCount=99)
    y = alt.Y("penalty:Q", title=[penalty_title(score), "(logarithmic but near 0)"], axis=axis, scale=scale)
    base = alt.Chart(kept).encode(x=x, color=colour)
    zero = alt.Chart(pd.DataFrame({"zero": [0]})).mark_rule(color=GREY, strokeDash=[4, 3]).encode(y="zero:Q")
    layers = [
        zero,
        base.mark_rule(strokeWidth=1.5, opacity=0.7).encode(y="penalty_low:Q", y2="penalty_high:Q"),
        base.mark_point(filled=True, size=55, opacity=1).encode(y=y, shape=shape),
    ]
    return alt.LayerChart(layer=layers, width=_WIDTH, height=_HEIGHT, title=alt.TitleParams(title, frame="group"))


def _short(place: str) -> str:
    """The last two parts of the name of each cut."""
    return " → ".join(".".join(cut.split(".")[-2:]) for cut in place.split(" → "))
