"""What every figure of records needs to know of a record: the line it belongs to, where it stands, and what it tells.

Beware: places are shifted a little, so that points of one depth do not hide each other; depths are read from the tips.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import pandas as pd

from modelstitch.vocabulary import column_of, decimals, score_of, title_of, unit_of, value_unit, with_unit

T = TypeVar("T")
Tip = tuple[str, str, str]
# Okabe and Ito's palette, told apart with any colour vision; shapes tell the series apart in print.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
SHAPES = ("circle", "square", "triangle-up", "diamond", "triangle-down", "cross", "triangle-right")
# Half a point's width in shares of depth: series measured at one place must not hide each other's intervals.
_APART, _WIDEST = 0.008, 0.04
# Cuts with no conv or linear layer between them, such as the last block and the pooled features, share a depth.
_BESIDE = 0.045


def scores_of(frame: pd.DataFrame) -> list[tuple[str, str]]:
    """The first score of the records, by the name of its words, and the unit of its penalty.

    Several of records that several tasks judged.

    Args:
        frame: as `Records.to_pandas` gives it.
    """
    ok = frame[frame["score"] != ""]
    named = map(score_of, map(str, ok["score"]), map(str, ok["task"]))
    return list(dict.fromkeys(zip(named, map(str, ok["unit"]), strict=True)))


def tips_of(frame: pd.DataFrame) -> list[Tip]:
    """What a record tells when it is pointed at: the column with its type, the title, and the format.

    Args:
        frame: as `Records.to_pandas` gives it.
    """
    firsts = scores_of(frame)
    units, digits = dict.fromkeys(unit for _, unit in firsts), max([decimals(unit) for _, unit in firsts], default=2)
    tips = [("stitching:N", "stitching", ""), ("control:N", "control", "")]
    tips += [("penalty:Q", with_unit("penalty", " or ".join(units)), f"+.{digits}f")]
    tips += [("penalty_low:Q", "95% from", f"+.{digits}f"), ("penalty_high:Q", "to", f"+.{digits}f")]
    further = [str(name).removesuffix("_penalty") for name in frame.columns if str(name).endswith("_penalty")]
    tips += [(f"{one}_penalty:Q", with_unit(f"penalty in {_short(one)}", unit_of(one)), "+.3f") for one in further]
    for score, unit in firsts:
        form, of = f".{decimals(unit)}f", value_unit(score, unit)
        sides = {"": "{} stitched", "_top": "{} of the top", "_bottom": "{} of the bottom"}
        tips += [
            (f"{column_of(score)}{end}:Q", with_unit(way.format(_short(score)), of), form) for end, way in sides.items()
        ]
    tips += [(f"{name}:Q", title_of(name), ".3f") for name in ("cka", "residual", "agreement_top")]
    tips += [("family:N", "family", ""), ("matching:N", "matching", "")]
    return [*tips, ("n_test:Q", "test examples", ","), ("seed:Q", "seed", "")]


def _short(score: str) -> str:
    return title_of(score).removeprefix("test ")


def place_of(frame: pd.DataFrame, names: Sequence[str]) -> pd.Series[float]:
    """Where each record stands on the axis of depth (0 to 1), a little to the side of others at the same depth.

    Args:
        frame: one row per record, with its line in the column ``series``.
        names: all lines, in the order in which they stand side by side.
    """
    apart = min(_APART, _WIDEST / max(len(names), 1))
    rank = {name: i for i, name in enumerate(names)}
    shift = (frame["series"].map(rank) - (len(names) - 1) / 2) * apart
    place: pd.Series[float] = frame["bottom_depth"] + shift + _rank_at_depth(frame) * _BESIDE
    return place


def _rank_at_depth(frame: pd.DataFrame) -> pd.Series[int]:
    """0 for the first cut of a network at a depth, 1 for the next at the same depth, in the order of the records."""
    cuts = frame[["bottom_network", "bottom_depth", "bottom_cut"]].drop_duplicates()
    rank = cuts.assign(rank=cuts.groupby(["bottom_network", "bottom_depth"]).cumcount())
    return frame.merge(rank, how="left").set_index(frame.index)["rank"]


def cycle(values: Sequence[T], names: Sequence[str]) -> list[T]:
    """One value for each name, from the start again when they run out."""
    return [values[i % len(values)] for i in range(len(names))]
