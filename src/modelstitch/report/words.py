"""What the page says in words of the scores that its records have."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from modelstitch.figures.series import scores_of
from modelstitch.records.wide import measure_columns
from modelstitch.vocabulary import MEASURES, column_of, decimals, title_of, unit_of, value_unit, with_unit


def what_a_penalty_is(scores: Sequence[tuple[str, str]]) -> str:
    """What a penalty is, as the end of a sentence.

    Args:
        scores: the first score of each task and the unit of its penalty.

    Example:
        >>> what_a_penalty_is([("R²", "R²")])
        'how much worse the R² of the stitched network is than that of the network whose top it has'
    """
    if list(scores) in ([], [("error", "points")]):
        less = "the test error of the stitched network less that of the network whose top it has"
        return f"{less}, in percentage points"
    titles = " or ".join(dict.fromkeys(title_of(score) for score, _ in scores))
    units = " or ".join(dict.fromkeys(unit for score, unit in scores if unit not in ("", title_of(score))))
    than = f"how much worse the {titles} of the stitched network is than that of the network whose top it has"
    return with_unit(than, f"in {units}" if units else "")


def record_words(records: pd.DataFrame) -> dict[str, Any]:
    """What the page needs to tell a record: the titles of columns, their order, which are hidden, and decimals.

    Args:
        records: as `Records.to_pandas` gives them.
    """
    columns = [str(name) for name in records.columns]
    further = [name.removesuffix("_penalty") for name in columns if name.endswith("_penalty")]
    firsts = scores_of(records)
    titles = {"penalty": with_unit("penalty", firsts[0][1] if len(firsts) == 1 else ""), "seconds": "time, s"}
    for score, unit in [*firsts, *((name, unit_of(name)) for name in further)]:
        named, column = title_of(score).removeprefix("test "), column_of(score)
        titles[column] = with_unit(named, value_unit(score, unit))
        if (score, unit) in firsts:
            titles |= {
                f"{column}_{side}": with_unit(f"{named} of the {side}", value_unit(score, unit)) for side in _SIDES
            }
    sides = [f"{column_of(score)}{end}" for score, _ in firsts for end in ("", "_top", "_bottom")]
    order = ["stitching", "control", "status", "reason", "penalty", *(f"{name}_penalty" for name in further), *sides]
    order += [name for name in MEASURES if name != "residual"]
    order += [name for name in measure_columns(columns) if name not in MEASURES]
    order += ["measure_notes", "residual", "curve", "task", "family", "matching", "batch_norm"]
    ends = [f"{name}_{end}" for name in ("penalty", *(f"{one}_penalty" for one in further)) for end in ("low", "high")]
    return {
        "titles": titles,
        "order": order,
        "hidden": ["pair", "setting", "place", "matched", "score", "unit", *ends],
        "decimals": {unit: decimals(unit) for _, unit in firsts},
    }


_SIDES = ("top", "bottom")
