"""What two choices of the original change: batch norm's mode (fig2a), and the stitch's data (fig2c)."""

from __future__ import annotations

import pandas as pd
from judged import NotRun, chosen, over_seeds

BOTTOMS = {"few": "half the data", "some": "as much", "many": "five times"}
FITTED_ON = {"all": 10_000, "the top's": 3_000}


def batch_norm() -> str:
    """Seeds stitched with frozen and with batch statistics: means over pairs, and the change with its interval."""
    try:
        frozen, batch = (by_pair(chosen("fig2a", "net", "net", batch_norm=mode)) for mode in ("frozen", "batch"))
    except NotRun as missing:
        return f"No records: {missing}."
    lines = ["| cut | frozen | batch | change, with its 95 % interval |", "|---|---|---|---|"]
    for label, cuts in rows_of(frozen):
        one, other = frozen.loc[cuts].mean(skipna=False), batch.loc[cuts].mean(skipna=False)
        lines.append(f"| {label} | {one.mean():+.2f} | {other.mean():+.2f} | {over_seeds(list(other - one))} |")
    return "\n".join(lines)


def stitch_data() -> str:
    """Bottoms of fewer, as many and more images below one top, stitched on all images and on the top's own."""
    head = [f"{name}, on {whose}" for name in BOTTOMS.values() for whose in FITTED_ON]
    try:
        columns = [
            by_pair(chosen("fig2c", of, "some", top_network="some-1", n_fit=count))
            for of in BOTTOMS
            for count in FITTED_ON.values()
        ]
    except NotRun as missing:
        return f"No records: {missing}."
    lines = ["| cut | " + " | ".join(head) + " |", "|---" * (len(head) + 1) + "|"]
    for label, cuts in rows_of(columns[0]):
        cells = (f"{penalties.loc[cuts].to_numpy().mean():+.2f}" for penalties in columns)
        lines.append("| " + " | ".join([label, *cells]) + " |")
    return "\n".join(lines)


def by_pair(frame: pd.DataFrame) -> pd.DataFrame:
    """Penalties: a row a cut, the first layers first, and a column a pair of networks."""
    pairs = frame["bottom_network"] + " " + frame["top_network"]
    cuts = frame.sort_values("top_depth", kind="stable")["top_cut"].unique()
    return frame.assign(pair=pairs).pivot(index="top_cut", columns="pair", values="penalty").loc[cuts]


def rows_of(penalties: pd.DataFrame) -> list[tuple[str, list[str]]]:
    """What a table has rows of: each cut, and their mean."""
    cuts = list(penalties.index)
    return [*((f"`{cut}`", [cut]) for cut in cuts), ("mean", cuts)]
