"""What every figure of records needs to know of a record: the line it belongs to, where it stands, and what it tells.

Beware: places are shifted a little, so that points of one depth do not hide each other; depths are read from the tips.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import pandas as pd

T = TypeVar("T")
# Okabe and Ito's palette, told apart with any colour vision; shapes tell the series apart in print.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
SHAPES = ("circle", "square", "triangle-up", "diamond", "triangle-down", "cross", "triangle-right")
TIPS = (
    *(("stitching:N", "stitching", ""), ("control:N", "control", "")),
    *(
        ("penalty:Q", "penalty, points", "+.2f"),
        ("penalty_low:Q", "95% from", "+.2f"),
        ("penalty_high:Q", "to", "+.2f"),
    ),
    *(("loss_penalty:Q", "penalty in loss, nats", "+.3f"), ("error:Q", "error stitched, %", ".2f")),
    *(("error_top:Q", "error of the top, %", ".2f"), ("error_bottom:Q", "error of the bottom, %", ".2f")),
    *(("cka:Q", "linear CKA", ".3f"), ("residual:Q", "residual of direct matching", ".3f")),
    *(("agreement_top:Q", "agreement with the top", ".3f"), ("family:N", "family", ""), ("matching:N", "matching", "")),
    *(("n_test:Q", "test examples", ","), ("seed:Q", "seed", "")),
)
# Half a point's width in shares of depth: series measured at one place must not hide each other's intervals.
_APART, _WIDEST = 0.008, 0.04
# Cuts with no conv or linear layer between them, such as the last block and the pooled features, share a depth.
_BESIDE = 0.045


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
