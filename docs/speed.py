"""The tables and figures of docs/speed.md, from the records of the benchmarks and of recipes/short_schedule.py."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import altair as alt
import pandas as pd

import modelstitch as ms
from modelstitch.figures.style import styled
from modelstitch.vocabulary import spoken

RESULTS = Path(__file__).resolve().parents[1] / "results"
STARTS = {"least_squares": "least squares", "identity": "identity", "random": "random"}
COLOURS = ("#0072B2", "#E69F00", "#CC79A7", "#000000")
SHAPES = ("circle", "square", "triangle-up", "diamond")
RATES = ("0.001", "0.003", "0.005", "0.01", "by_width")
DEFAULT = RATES[-1]
RULE = "the default begins at 0.005 up to 25 channels and at 0.128 / channels above"
ALLOWED = 0.3
"""By how many points of test error a short schedule may be worse than the best long one."""


def record(name: str) -> dict[str, Any]:
    """One benchmark's record."""
    found: dict[str, Any] = json.loads((RESULTS / "benchmarks" / f"{name}.json").read_text(encoding="utf-8"))
    return found


def tables() -> dict[str, str]:
    """Every table of the page, by name."""
    return {
        "whole_sweep": _whole_sweep(record("whole_sweep")),
        "scaling": _scaling(record("scaling")),
        "profile": _profile(record("profile_sweep")),
        "all_pairs": _all_pairs(record("all_pairs_cka")),
        "extract": _extract(record("extract")),
        "in_place": _in_place(record("extract")),
        "short_schedule": _short_schedule(_from_every_start(schedules(), True)),
        "default": _short_schedule(_from_every_start(schedules(), False)),
        "longer": _longer(ms.open_records(RESULTS / "short_schedule" / "longer.jsonl").to_pandas()),
    }


def draw() -> None:
    """Every figure of the page."""
    ms.save_figure(_scaling_figure(record("scaling")), RESULTS / "benchmarks" / "scaling.png")
    ms.save_figure(_schedule_figure(schedules()), RESULTS / "short_schedule" / "penalty.png")


def _table(head: list[str], rows: list[list[str]], below: str) -> str:
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows), "", below])


def _where(*found: dict[str, Any]) -> str:
    """Versions, machines and commits; of records that differ in these, each of them once."""
    versions = ", ".join(f"{name} {version}" for name, version in found[0]["versions"].items())
    machines, commits = (list(dict.fromkeys(one[name] for one in found)) for name in ("device", "commit"))
    threads = f"{found[0]['threads']} threads" if found[0]["threads"] > 1 else "1 thread"
    plural = "s" if len(commits) > 1 else ""
    return f"{versions}; {' and '.join(machines)}, {threads}, commit{plural} {', '.join(commits)}."


def _made(frame: pd.DataFrame) -> str:
    return _where(*frame.to_dict("records"))


def _whole_sweep(found: dict[str, Any]) -> str:
    setting = found["setting"]
    rows = [
        [
            row["way"],
            f"{row['seconds']:.2f}",
            f"{row['seconds_over_floor']:.2f}",
            f"{row['cpu_seconds']:.2f}",
            f"{row['peak']:.0f}",
            f"{row['faults']:,.0f}",
        ]
        for row in found["rows"]
    ]
    below = (
        f"Ten stitches, {setting['images']:,} images of noise, width {setting['width']}, {setting['epochs']} epoch, "
        f"batches of {setting['batch']}. Naive for {setting['naive_epochs']} epochs takes "
        f"{setting['naive_over_ours']:.0f} times as long as ours with start and {setting['epochs']} epoch, and "
        f"{setting['naive_over_longer']:.0f} times as long as with start and "
        f"{setting['longer'] * setting['epochs']}. "
        f"Medians of 3 runs that took turns; {_where(found)}"
    )
    return _table(["way", "seconds", "over floor", "CPU seconds", "peak, MB", "page faults"], rows, below)


def _scaling(found: dict[str, Any]) -> str:
    rows = [
        [
            row["series"],
            f"{row[row['series']]:,}",
            ", ".join(f"{name} {row[name]:,}" for name in ("cuts", "images", "width") if name != row["series"]),
            f"{row['seconds']:.1f}",
            f"{row['over_floor']:.2f}",
            f"{row['peak']:.0f}",
        ]
        for row in found["rows"]
    ]
    below = f"Least squares, then one epoch; the floor has no least squares. Single runs; {_where(found)}"
    return _table(["series", "value", "at", "seconds", "over floor", "peak, MB"], rows, below)


def _profile(found: dict[str, Any]) -> str:
    shares = sorted(found["rows"], key=lambda row: -row["share"])
    rows = [[row["kind"], f"{100 * row['share']:.0f} %", f"{row['seconds']:.2f}"] for row in shares]
    setting = found["setting"]
    below = (
        f"{setting['cuts']} stitches, {setting['images']:,} images, width {setting['width']}, least squares and "
        f"{setting['epochs']} epoch, {setting['seconds']:.1f} s in all under torch's profiler; {_where(found)}"
    )
    return _table(["operations", "share", "seconds"], rows, below)


def _all_pairs(found: dict[str, Any]) -> str:
    setting = found["setting"]
    rows = [
        [
            row["way"],
            f"{row['seconds']:.1f}",
            f"{row['over_floor']:.2f}",
            f"{row['over_ours']:.2f}",
            f"{row['peak']:.0f}",
            "–" if row["largest_difference"] is None else f"{row['largest_difference']:.0e}",
        ]
        for row in found["rows"]
    ]
    below = (
        f"{setting['images']:,} images, 10 x 10 cuts, flattened, batches of {setting['batch']}. On "
        f"{setting['fewer_images']:,} images ours peaks at {setting['peak_on_fewer']:.0f} MB. Linear CKA of two "
        f"10,000 x 512 matrices takes {setting['linear_cka_over_product']:.1f} times one float64 product of that size. "
        f"Medians of {setting['rounds']} runs that took turns; {_where(found)}"
    )
    head = ["way", "seconds", "over floor", "over ours", "peak, MB", "largest difference from ours"]
    return _table(head, rows, below)


def _extract(found: dict[str, Any]) -> str:
    """A row for each cut and way: milliseconds a batch, beside the two hooks."""
    rows = []
    for row in (one for one in found["rows"] if one["what"] == "time"):
        place = [row["network"], f"`{row['cut']}`", row["way"]]
        if row["reason"]:
            rows.append([*place, "cannot", "–", "–", "–"])
            continue
        ratios = [f"{row[name]:.2f}" for name in ("over_hook", "over_stopping_hook")]
        rows.append([*place, f"{row['milliseconds']:.0f}", *ratios, f"{row['preparing_seconds']:.1f}"])
    setting = found["setting"]
    packages = ", ".join(f"{name} {number}" for name, number in setting["packages"].items())
    reasons = {f"{one['way']} on {one['network']}: `{one['reason']}`" for one in found["rows"] if one["reason"]}
    apart = max(one["largest_difference"] for one in found["rows"] if "largest_difference" in one)
    below = (
        f"Batches of {setting['texts']} texts of {setting['tokens']} tokens, and of {setting['images']} images of "
        f"224 x 224. Medians of {setting['rounds']} rounds in which all ways took turns. All ways that can give the "
        f"same values{', bit for bit' if apart == 0 else f' within {apart:.0e}'}. Preparing includes a copy of the "
        f"network for all but ours. Cannot: {'; '.join(sorted(reasons)) or 'none'}. "
        f"{packages}; {_where(found)}"
    )
    head = ["network", "cut", "way", "ms a batch", "over hook", "over stopping hook", "preparing, s"]
    return _table(head, rows, below)


def _in_place(found: dict[str, Any]) -> str:
    """A row for each way: which share of a norm's values is wrong, asked for alone and beside a later block."""
    rows = [one for one in found["rows"] if one["what"] == "in-place"]
    asked = list(dict.fromkeys(one["beside"] for one in rows))
    told = {(one["way"], one["beside"]): "cannot" if one["reason"] else f"{100 * one['wrong']:.0f} %" for one in rows}
    ways = list(dict.fromkeys(one["way"] for one in rows))
    head = ["way", *(f"`{rows[0]['cut']}` asked for {f'beside `{one}`' if one else 'alone'}" for one in asked)]
    below = f"Share of the values that are not what the norm gave. {rows[0]['network']} of torchvision."
    return _table(head, [[way, *(told[way, one] for one in asked)] for way in ways], below)


def schedules() -> pd.DataFrame:
    """The records of recipes/short_schedule.py, with start and epochs as columns; least squares alone is epoch 0.

    ``quick`` says at which rate 500 steps began; where it says nothing, a whole schedule began at 1e-3.
    """
    frame = ms.open_records(RESULTS / "short_schedule" / "records.jsonl").to_pandas()
    told = [json.loads(matching) for matching in frame["matching"]]
    rates = [str(one.get("learning_rate", RATES[0])) for one in told]
    frame["epochs"] = [one.get("epochs", 0) for one in told]
    frame["start"] = [one.get("start", "least_squares") for one in told]
    frame["quick"] = ["" if rate == RATES[0] else rate for rate in rates]
    return _paired(frame)


def _paired(frame: pd.DataFrame) -> pd.DataFrame:
    """With the pair as a column: by weights, as seeds give others on another kind of processor."""
    return frame.assign(pair=frame["bottom_weights"] + frame["top_weights"])


def _from_every_start(frame: pd.DataFrame, it: bool) -> pd.DataFrame:
    """The pairs that were followed from every start for as long as any at every cut, or the others."""
    long = frame[(frame["quick"] == "") & (frame["epochs"] == _longest(frame))]
    followed = long.groupby("pair")[["start", "top_cut"]].value_counts().groupby("pair").size()
    whole = followed.index[followed == len(STARTS) * frame["top_cut"].nunique()]
    return frame[frame["pair"].isin(whole) == it]


def _longest(frame: pd.DataFrame) -> int:
    """The epochs of the references; 500 steps may be more epochs than these."""
    return int(frame.loc[frame["quick"] == "", "epochs"].max())


def _short_schedule(frame: pd.DataFrame) -> str:
    """A row a cut: least squares after ever more epochs, 500 steps, the longest schedule from the other starts."""
    slow = frame[frame["quick"] == ""]
    longest, from_it = _longest(frame), slow[slow["start"] == "least_squares"]
    columns = {f"{many}": from_it[from_it["epochs"] == many] for many in sorted(from_it["epochs"].unique())}
    quick = sorted(filter(None, frame["quick"].unique()), key=lambda rate: (rate != DEFAULT, rate))
    columns |= {_steps(rate): frame[frame["quick"] == rate] for rate in quick}
    others = {told: slow[(slow["start"] == start) & (slow["epochs"] == longest)] for start, told in STARTS.items()}
    penalties = {name: found.set_index(["pair", "top_cut"])["penalty"] for name, found in {**columns, **others}.items()}
    best = pd.concat([penalties[told] for told in STARTS.values()], axis=1).min(axis=1)
    names = {name: f"least squares, {name}" if name.isdigit() else name for name in columns}
    names |= {"identity": f"identity, {longest}", "random": f"random, {longest}"}
    rows = []
    for cut in dict.fromkeys(frame["top_cut"]):
        here = [found[found.index.get_level_values("top_cut") == cut] for found in (penalties[name] for name in names)]
        rows.append([f"`{cut}`", *(_mean_of(found, frame["pair"].nunique()) for found in here)])
    above = {name: (penalties[name] - best).dropna() for name in columns}
    near = _all_near(above)
    naive = _all_near({name: (penalties[name] - penalties["random"]).dropna() for name in columns if name.isdigit()})
    first, per_epoch = frame.iloc[0], -(-int(frame["n_fit"].iloc[0]) // 128)
    below = (
        f"Penalty in points of test error after so many epochs of {per_epoch} steps at {RATES[0]}, mean over "
        f"{frame['pair'].nunique()} pairs of networks; 500 steps are from least squares; {RULE}. "
        f"At most {ALLOWED} points above the best of the three starts after {longest} epochs are, from least squares: "
        f"{near}. At most as much above {longest} epochs from a random map are: {naive}. "
        f"The other two starts were followed at {len(penalties['random'])} of these {len(best)} places. "
        f"Failed: {int((frame['status'] == 'failed').sum())} of {len(frame)}. "
        f"{first['data']}, fitted on {first['n_fit']:,} train images, measured on {first['n_test']:,}; "
        f"`{spoken(first['family'])}`, batch norm {first['batch_norm']}, seed {first['seed']}; {_made(frame)}"
    )
    return _table(["cut", *names.values()], rows, below)


def _longer(frame: pd.DataFrame) -> str:
    """A row a cut: 500 steps at each rate and in sixteen bits, and thirty epochs; means over the pairs that have it."""
    frame = _paired(frame)
    matchings = frame["matching"].map(json.loads)
    epochs, rate_of = (matchings.map(lambda one, name=name: one.get(name)) for name in ("epochs", "learning_rate"))
    coarse = matchings.map(lambda one: one.get("precision") == "bfloat16")
    told = {"least squares alone": matchings.map(lambda one: one["name"] == "direct")}
    rates = [rate for rate in RATES if ((epochs == 7) & (rate_of.map(str) == rate)).any()]
    for rate in rates:
        told[_steps(rate)] = (epochs == 7) & (rate_of.map(str) == rate) & ~coarse
    told |= {f"{_steps(RATES[0])}, bfloat16": coarse, "30 epochs": epochs == 30}
    found = {name: frame[where].set_index(["pair", "top_cut"])["penalty"] for name, where in told.items()}
    pairs = frame["pair"].nunique()
    rows = [
        [f"`{cut}`", *(_mean_of(one[one.index.get_level_values("top_cut") == cut], pairs) for one in found.values())]
        for cut in dict.fromkeys(frame["top_cut"])
    ]
    near = []
    for rate in rates:
        gained, how = (found[_steps(rate)] - found["30 epochs"]).dropna(), f"at {rate}"
        near.append(f"{_near(gained)} {'by default' if rate == DEFAULT else how} (at worst {gained.max():+.2f})")
    changed = found[f"{_steps(RATES[0])}, bfloat16"] - found[_steps(RATES[0])]
    first = frame.iloc[0]
    below = (
        f"Penalty in points of test error, from least squares, mean over pairs of seeds; {RULE}; thirty epochs begin "
        f"at {RATES[0]}. At most {ALLOWED} points above thirty epochs are, after 500 steps: {', '.join(near)}. "
        f"bfloat16 beside float32: {changed.min():+.2f} to "
        f"{changed.max():+.2f} over {len(changed)}. "
        f"Failed: {int((frame['status'] == 'failed').sum())} of {len(frame)}. "
        f"{first['data']}, "
        f"fitted on {first['n_fit']:,} train images, measured on {first['n_test']:,}; {_made(frame)}"
    )
    return _table(["cut", *found], rows, below)


def _steps(rate: str) -> str:
    return "the default" if rate == DEFAULT else f"500 steps at {rate}"


def _near(above: pd.Series[float]) -> str:
    return f"{int((above <= ALLOWED).sum())} of {len(above)}"


def _all_near(above: dict[str, pd.Series[float]]) -> str:
    return ", ".join(f"{_near(found)} after {name} (at worst {found.max():+.2f})" for name, found in above.items())


def _mean_of(found: pd.Series[float], pairs: int) -> str:
    """A mean, with how many pairs of networks it is of where some are missing."""
    if found.empty:
        return "–"
    return f"{found.mean():+.2f}" + ("" if len(found) == pairs else f" ({len(found)} of {pairs} pairs)")


def _schedule_figure(frame: pd.DataFrame) -> alt.ConcatChart:
    """A panel a cut: penalty after so many epochs, a line for each start and pair; the default as points of its own."""
    frame = frame[frame["quick"].isin(["", DEFAULT])]
    frame = frame.assign(start=frame["start"].map(STARTS).mask(frame["quick"] == DEFAULT, _steps(DEFAULT)))
    many = sorted(frame["epochs"].unique())
    frame = frame.assign(at=frame["epochs"].map(many.index))
    order = [*STARTS.values(), _steps(DEFAULT)]
    colour = alt.Color("start:N", title="start", scale=alt.Scale(domain=order, range=list(COLOURS)))
    shape = alt.Shape("start:N", title="start", scale=alt.Scale(domain=order, range=list(SHAPES)))
    ticks = " : ".join(f"datum.value == {i} ? '{many_epochs}'" for i, many_epochs in enumerate(many))
    axis = alt.Axis(values=list(range(len(many))), labelExpr=f"{ticks} : ''", grid=False)
    # Even up to a point, then by powers: least squares and the other starts lie two powers of ten apart.
    scale = alt.Scale(type="symlog", constant=1, domain=[-0.5, 100], nice=False)
    axis_y = alt.Axis(values=[0, 1, 3, 10, 30, 100], labelOverlap=False)
    panels = []
    for cut in dict.fromkeys(frame["top_cut"]):
        here = frame.loc[frame["top_cut"] == cut, ["pair", "start", "at", "penalty"]]
        base = alt.Chart(here).encode(
            x=alt.X("at:Q", title="epochs", axis=axis, scale=alt.Scale(domain=[-0.2, len(many) - 0.8])),
            y=alt.Y("penalty:Q", title="penalty, points", scale=scale, axis=axis_y),
            color=colour,
        )
        lines = base.mark_line(opacity=0.4, strokeWidth=1).encode(detail="pair:N")
        points = base.mark_point(filled=True, size=30, opacity=0.9).encode(shape=shape)
        panels.append((lines + points).properties(width=150, height=130, title=cut))
    title = alt.TitleParams(
        "Penalty against epochs, from every start",
        subtitle="A line a pair of networks. 0: least squares alone; 32: the default, on the pairs that have it.",
    )
    return styled(alt.concat(*panels, columns=5, title=title))


def _scaling_figure(found: dict[str, Any]) -> alt.ConcatChart:
    """Two rows, seconds by powers and MB; a column for each series."""
    frame = pd.DataFrame(found["rows"])
    panels = []
    powers, even = alt.Scale(type="log", domain=[0.3, 100]), alt.Scale(domain=[0, 1600])
    for column, what, scale in (("seconds", "seconds", powers), ("peak", "peak memory, MB", even)):
        for series in dict.fromkeys(frame["series"]):
            part = frame[frame["series"] == series].copy()
            rest = [f"{name} {int(part[name].iloc[0]):,}" for name in ("cuts", "images", "width") if name != series]
            values = [int(value) for value in part[series]]
            x = alt.X(
                f"{series}:Q",
                title=f"{series} (at {', '.join(rest)})",
                scale=alt.Scale(type="log", domain=[values[0], values[-1]], padding=10),
                axis=alt.Axis(values=values, format=",", grid=False),
            )
            y = alt.Y(f"{column}:Q", title=what, scale=scale, axis=alt.Axis(tickCount=4))
            chart = alt.Chart(part).encode(x=x, y=y)
            marks = chart.mark_line(color=COLOURS[0]) + chart.mark_point(
                color=COLOURS[0], filled=True, size=60, opacity=1
            )
            panels.append(marks.properties(width=230, height=150))
    title = alt.TitleParams(
        "A sweep's time and memory as it grows",
        subtitle="Least squares, then one epoch. Peak memory of the process, the libraries included.",
    )
    return styled(alt.concat(*panels, columns=3, title=title))
