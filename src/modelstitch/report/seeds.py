"""Pairs of networks that differ in their seeds alone, taken as one: their mean, and Student's interval of it.

    mean ± t(0.975, n - 1) · s / √n

over n pairs, s their standard deviation with the divisor n - 1. Seeds of the matching are averaged within a pair first:
they tell of the stitch and not of other networks. Beware: the interval takes the pairs as independent, and pairs such
as 0 → 1 and 1 → 2 share a network.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import stdtrit

PENALTY = ["penalty", "penalty_low", "penalty_high"]
"""A penalty and the ends of its interval."""
_SIDES = ("bottom_network", "top_network")
_ALIKE = ("bottom_cut", "top_cut", "control", "data", "task", "family", "matching", "batch_norm", "n_fit")


def student(values: Sequence[float]) -> tuple[float, float, float]:
    """The mean and Student's 95 % interval of it.

    Args:
        values: two or more, independent.

    Returns:
        The mean, the lower and the upper end.

    Example:
        >>> [round(one, 3) for one in student([1.0, 2.0, 3.0])]
        [2.0, -0.484, 4.484]
    """
    mean, n = float(np.mean(values)), len(values)
    reach = float(stdtrit(n - 1, 0.975) * np.std(values, ddof=1) / np.sqrt(n))
    return mean, mean - reach, mean + reach


def over_seeds(records: pd.DataFrame, kinds: Mapping[str, str]) -> pd.DataFrame:
    """One row for all pairs that differ in their seeds alone, called after their kinds.

    Args:
        records: as `Records.to_pandas` gives them.
        kinds: what each network is called without its seed; one that is not named keeps its name.

    Returns:
        A frame of the same columns and ``n_pairs``. Of a single pair the interval stays that over test examples. Where
        one pair failed, the row is the failed one's: a mean of the others would hide it.
    """
    names = {f"{side}_kind": records[side].map(lambda name: kinds.get(name, name)) for side in _SIDES}
    found = []
    for kind, rows in records.assign(**names).groupby([*names, *_ALIKE], sort=False, dropna=False):
        # Most rows are alone, and a mean of one is itself; pandas would take milliseconds over each.
        one = _mean(rows) if len(rows) > 1 else pd.concat([rows.iloc[0], pd.Series({"n_pairs": 1})])
        one[list(_SIDES)] = kind[: len(_SIDES)]
        found.append(one.drop(list(names)))
    return pd.DataFrame(found, columns=[*records.columns, "n_pairs"]).reset_index(drop=True)


def _mean(rows: pd.DataFrame) -> pd.Series[Any]:
    """The first of several rows with the mean of all, and ``n_pairs``; where one failed, the failed one as it is."""
    failed = rows[rows["status"] != "ok"]
    one = (rows if failed.empty else failed).iloc[0].copy()
    per_pair = rows.groupby(list(_SIDES), sort=False)[PENALTY].mean()
    one["n_pairs"] = len(per_pair)
    if failed.empty:
        one[PENALTY] = student(list(per_pair["penalty"])) if len(per_pair) > 1 else per_pair.iloc[0]
    return one
