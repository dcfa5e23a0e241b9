"""The tables of the six jobs, in markdown, from their records.

A table stands in the page between ``<!-- table: NAME -->`` and ``<!-- end -->``.
"""

from __future__ import annotations

import json
import math
import re

import pandas as pd
from tasks_jobs import JOBS

import modelstitch as ms
from modelstitch.vocabulary import decimals, spoken

MARKED = re.compile(r"(<!-- table: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def written(page: str, made: dict[str, str]) -> str:
    """The page with its tables made anew; one that nothing makes stays as it is."""
    return MARKED.sub(lambda m: m[1] + made.get(m[2], "") + "\n" + m[3] if m[2] in made else m[0], page)


def tables(records: dict[str, ms.Records], guesses: dict[str, float]) -> dict[str, str]:
    """Every table by name: a summary, one of each job, the label-free beside the labelled, and the commands."""
    frames = {name: some.to_pandas() for name, some in records.items()}
    made = {name: cut_by_cut(records[name], frame) for name, frame in frames.items()}
    made["summary"] = summary(frames, guesses)
    made["commands"] = "```sh\n" + "\n".join(line for job in JOBS.values() for line in job.commands()) + "\n```"
    if {"imitation", "labelled"} <= frames.keys():
        made["both"] = side_by_side(frames["imitation"], frames["labelled"])
    return made


def summary(frames: dict[str, pd.DataFrame], guesses: dict[str, float]) -> str:
    """One row a job: what its networks are worth, and the range of each kind of stitching over cuts and ways."""
    head = [
        "job",
        "task and its first score",
        "unit of the penalty",
        "fitted on, measured on",
        "fit",
        "the two networks",
    ]
    head += ["a guess", "penalty, trained", "penalty, untrained", "penalty, noise", "self"]
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for name, frame in frames.items():
        ok = frame[frame["status"] == "ok"]
        score, unit = ok["score"].iloc[0], ok["unit"].iloc[0]
        digits = decimals(unit)
        bases = ok[ok["control"] == ""].groupby("top_network")[f"{score}_top"].first()
        nothing = pd.Series([guesses[name]]) if name in guesses else ok[ok["control"] == "noise"][score]
        cells = [f"`{name}`", f"`{type(JOBS[name].task).__name__}`: {JOBS[name].task.scores[0].title}", unit]
        cells += [f"{ok['n_fit'].iloc[0]:,}, {ok['n_test'].iloc[0]:,}"]
        how = json.loads(ok[ok["control"] == ""]["matching"].iloc[0])
        cells += [f"{how['epochs']} × {math.ceil(ok['n_fit'].iloc[0] / how['batch_size'])} steps"]
        cells += [", ".join(f"{value:.{digits}f}" for value in bases)]
        cells += [_range(nothing, f".{digits}f")]
        cells += [_range(ok[ok["control"] == kind]["penalty"], f"+.{digits}f") for kind in ("", "untrained", "noise")]
        cells += [_range(ok[ok["control"] == "self"]["penalty"], ".1f")]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join([*lines, "", _made(frames)])


def _range(values: pd.Series[float], form: str) -> str:
    if values.empty:
        return "–"
    low, high = (f"{value:{form}}" for value in (values.min(), values.max()))
    return low if low == high else f"{low} to {high}"


def _made(frames: dict[str, pd.DataFrame]) -> str:
    every = pd.concat(frames.values())
    asked = every[every["control"] != "self"]
    failed = int((every["status"] == "failed").sum())
    families = ", ".join(f"`{spoken(one)}`" for one in asked["family"].unique())
    return (
        "From the least to the largest over cuts and both ways; a penalty is positive where the stitched network is "
        f"worse. {len(every)} stitchings, {failed} failed; {families} by `TaskLoss` from least squares, epochs × steps "
        f"under *fit*; batch norm frozen, seed {', '.join(map(str, every['seed'].unique()))}; networks: seeds 0 and 1; "
        f"{_versions(every)}; {', '.join(every['device'].unique())}, "
        f"{', '.join(map(str, every['threads'].unique()))} thread, commits {', '.join(every['commit'].unique())}."
    )


def _versions(every: pd.DataFrame) -> str:
    return ", ".join(sorted({f"{name} {version}" for told in every["versions"] for name, version in told.items()}))


def cut_by_cut(records: ms.Records, frame: pd.DataFrame) -> str:
    """One row a cut: the penalty both ways by every score, then of the controls by the first, then CKA."""
    ok = frame[frame["status"] == "ok"]
    score, unit = ok["score"].iloc[0], ok["unit"].iloc[0]
    ways = [*dict.fromkeys(zip(ok["bottom_network"], ok["top_network"], strict=True))][:2]
    further = [row.score for row in next(one for one in records if one.scores).scores[1:]]
    head = ["cut", *(f"{a} → {b}, {unit or score}" for a, b in ways)]
    head += [f"{a} → {b}, {one}" for one in further for a, b in ways]
    head += [f"{kind} → {b}" for kind in ("untrained", "noise") for _, b in ways] + ["CKA"]
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for cut in dict.fromkeys(ok[ok["control"] == ""]["top_cut"]):
        here = ok[ok["top_cut"] == cut]
        cells = [_cell(here, "", way, "penalty", decimals(unit)) for way in ways]
        cells += [_cell(here, "", way, f"{one}_penalty", 4) for one in further for way in ways]
        cells += [_cell(here, kind, way, "penalty", decimals(unit)) for kind in ("untrained", "noise") for way in ways]
        lines.append("| " + " | ".join([f"`{cut}`", *cells, f"{here[here['control'] == '']['cka'].mean():.3f}"]) + " |")
    return "\n".join(lines)


def _cell(rows: pd.DataFrame, control: str, way: tuple[str, str], column: str, digits: int) -> str:
    of = rows[(rows["control"] == control) & (rows["bottom_network"] == way[0]) & (rows["top_network"] == way[1])]
    if of.empty:
        return "–"
    value, low, high = (of.iloc[0][f"{column}{end}"] for end in ("", "_low", "_high"))
    return f"{value:+.{digits}f} ({low:+.{digits}f} to {high:+.{digits}f})"


def side_by_side(free: pd.DataFrame, labelled: pd.DataFrame) -> str:
    """The same stitchings fitted and judged without labels, and with them."""
    head = [
        "stitching",
        "without labels: decisions other than the top's",
        "with labels: decisions other than the top's",
    ]
    head += ["with labels: penalty, points of test error"]
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    kinds = [kind for kind in ("", "untrained", "noise") if (free["control"] == kind).any()]
    for kind in kinds:
        pairs = free[free["control"] == kind].merge(labelled[labelled["control"] == kind], on="stitching")
        for _, row in pairs.iterrows():
            spread = (f"{row[f'penalty{end}']:+.2f}" for end in ("_low_x", "_high_x"))
            other = (f"{row[f'penalty{end}']:+.2f}" for end in ("_low_y", "_high_y"))
            cells = [f"{kind} {row['stitching']}".strip().replace("->", "→")]
            cells += [f"{row['error_x']:.2f} % ({' to '.join(spread)})"]
            cells += [f"{100 * (1 - row['agreement_top_y']):.2f} %"]
            cells += [f"{row['penalty_y']:+.2f} ({' to '.join(other)})"]
            lines.append("| " + " | ".join(cells) + " |")
    whole = free[free["control"] == ""]["error_bottom"]
    told = f"The two whole networks decide otherwise than each other on {_range(whole, '.2f')} % of the images."
    return "\n".join([*lines, "", told])
