"""The records as the page needs them: named pairs and settings, places on the axis of depth, and packed as JSON.

A **pair** is who meets whom, ``A → B``. A **setting** is what sets records of one pair apart: data, task, family,
matching, batch norm, how many examples; only what differs within the run is named.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from modelstitch.figures.series import place_of
from modelstitch.records.wide import measure_columns
from modelstitch.vocabulary import MEASURES, spoken, title_of

SETTINGS = ("task", "family", "matching")
"""The columns that hold a setting as JSON."""
_APART = ("data", "task", "family", "matching", "batch_norm", "n_fit")


def prepared(records: pd.DataFrame) -> pd.DataFrame:
    """The records with the columns ``pair``, ``setting``, ``series``, ``place`` and ``matched``.

    Args:
        records: as `Records.to_pandas` gives them.

    Returns:
        A new frame, in which the settings read as Python would write them. ``matched`` marks, for each bottom, the
        stitching to the top whose depth is nearest: what a curve over the depth of the bottom can show.
    """
    frame = records.reset_index(drop=True)
    frame = frame.assign(**{name: frame[name].map(spoken) for name in SETTINGS})
    if frame.empty:
        text, number = pd.Series(dtype="str"), pd.Series(dtype="float64")
        return frame.assign(pair=text, setting=text, series=text, place=number, matched=pd.Series(dtype="bool"))
    frame["pair"] = frame["bottom_network"].astype(str) + " → " + frame["top_network"].astype(str)
    asked = frame[frame["control"] != "self"]
    apart = [column for column in _APART if asked[column].nunique() > 1]
    told = frame[apart].itertuples(index=False)
    frame["setting"] = [", ".join(_label(*one) for one in zip(apart, row, strict=True)) for row in told]
    frame.loc[frame["control"] == "self", "setting"] = ""
    frame["series"] = frame["pair"] + "\n" + frame["setting"]
    frame["place"] = place_of(frame, sorted(frame.loc[asked.index, "series"].unique()))
    frame["place"] = frame["place"].fillna(frame["bottom_depth"])
    group = ["pair", "setting", "control", "bottom_cut", "seed"]
    gap = (frame["bottom_depth"] - frame["top_depth"]).abs()
    frame["matched"] = gap == gap.groupby([frame[column] for column in group]).transform("min")
    return frame


def measures_of(records: pd.DataFrame) -> dict[str, str]:
    """The titles of the measures of activations that records may hold, by name; one that nobody knows among them.

    Args:
        records: as `Records.to_pandas` gives them.
    """
    names = measure_columns([str(name) for name in records.columns])
    return {name: title_of(name) for name in names if name not in MEASURES or MEASURES[name].of_activations}


def farthest(measure: str) -> float | None:
    """The most that a distance can be; None for a similarity, which an unknown measure is taken for."""
    return MEASURES[measure].farthest if measure in MEASURES else None


def _label(column: str, value: Any) -> str:
    form = {"batch_norm": "batch norm {}", "n_fit": "fitted on {:,}"}.get(column, "{}")
    return form.format(value)


def names_of(frame: pd.DataFrame, column: str) -> list[str]:
    """The pairs or the settings of the stitchings proper and the untrained bottoms, in the order of the records."""
    if frame.empty:
        return []
    return list(dict.fromkeys(frame.loc[frame["control"] != "self", column]))


def packed(frame: pd.DataFrame) -> dict[str, Any]:
    """A frame as columns for JSON: numbers to six digits, text and objects once each with an index for every row."""
    columns = {}
    for name in frame.columns:
        values = [_plain(value) for value in frame[name].tolist()]
        if all(value is None or isinstance(value, int | float) for value in values):
            columns[str(name)] = {"values": values}
        else:
            texts = [json.dumps(value, ensure_ascii=False) for value in values]
            levels = {text: i for i, text in enumerate(dict.fromkeys(texts))}
            columns[str(name)] = {"levels": [json.loads(text) for text in levels], "rows": [levels[t] for t in texts]}
    return {"n": len(frame), "columns": columns}


def rows_of(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """A frame as rows for JSON."""
    names = [str(name) for name in frame.columns]
    return [dict(zip(names, map(_plain, row), strict=True)) for row in frame.itertuples(index=False)]


def _plain(value: Any) -> Any:
    """What JSON can hold, as a browser reads it: no NaN, no infinity."""
    if value is None or isinstance(value, str | bool):
        return value
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, Sequence):
        return [_plain(one) for one in value]
    if isinstance(value, int):
        return value
    number = float(value)
    return float(f"{number:.6g}") if math.isfinite(number) else None


def script_json(value: Any) -> str:
    """JSON that no text within can end or turn into markup, for a ``<script type="application/json">``."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text
