"""What the page says in numbers: the tables, each also the text of a chart for those who cannot see it."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from modelstitch.report.findings import Findings
from modelstitch.report.gallery import Gallery
from modelstitch.report.rows import SETTINGS, farthest
from modelstitch.vocabulary import CONTROLS, amount, decimals, score_of, spoken, title_of, value_unit, with_unit

NOTHING = "–"


@dataclass(frozen=True)
class Table:
    """Rows of text under titles.

    Args:
        caption: what the table shows.
        titles: of the columns.
        rows: one text a column.
        keys: of the records that the rows show; empty where they show something else.
    """

    caption: str
    titles: Sequence[str]
    rows: Sequence[Sequence[str]]
    keys: Sequence[str] = ()


def number(value: Any, form: str = ".2f") -> str:
    """A number as text, or a dash where there is none."""
    return NOTHING if value is None or pd.isna(value) else format(value, form)


def interval(penalty: Any, low: Any, high: Any, unit: str = "points") -> str:
    """A penalty with its interval, as many decimals as its unit asks for."""
    digits = decimals(unit)
    return NOTHING if pd.isna(penalty) else f"{penalty:+.{digits}f} [{low:+.{digits}f}, {high:+.{digits}f}]"


def controls(gallery: Gallery) -> Table:
    """The controls, by network and setting."""
    frame = gallery.records
    rows = []
    for (control, pair, setting), group in _groups(frame[frame["control"] != ""], "control", "pair", "setting"):
        ok = group[group["status"] == "ok"]
        told = _exact(ok) if control == "self" else _span(ok)
        rows.append([CONTROLS[control].title, f"{pair}{_aside(setting)}", f"{len(ok)} of {len(group)}", told])
    return Table("Controls: stitchings whose answer is known", ["control", "networks", "with a value", "penalty"], rows)


def _groups(frame: pd.DataFrame, *columns: str) -> Iterator[tuple[list[str], pd.DataFrame]]:
    """The values of the columns and the rows that share them, in the order of the rows."""
    for values, group in frame.groupby([*columns], sort=False):
        yield [str(value) for value in (values if isinstance(values, tuple) else (values,))], group


def _ends(frame: pd.DataFrame, column: str) -> tuple[pd.Series[Any], pd.Series[Any]]:
    """The rows with the least and the largest value."""
    ordered = frame.sort_values(column)
    return ordered.iloc[0], ordered.iloc[-1]


def _exact(ok: pd.DataFrame) -> str:
    wrong = ok[ok["penalty"] != 0]
    return "exactly 0" if wrong.empty else "NOT 0: " + "; ".join(_where(row) for _, row in wrong.iterrows())


def _span(ok: pd.DataFrame) -> str:
    if ok.empty:
        return NOTHING
    least, most = _ends(ok, "penalty")
    return f"{_where(least)} to {_where(most)}"


def _where(row: Any) -> str:
    same = row["bottom_cut"] == row["top_cut"]
    cuts = row["top_cut"] if same else f"{row['bottom_cut']} → {row['top_cut']}"
    return f"{row['penalty']:+.{decimals(row['unit'])}f} ({cuts})"


def _aside(setting: str) -> str:
    return f", {setting}" if setting else ""


def penalties(gallery: Gallery) -> Table:
    """The stitchings by pair and setting: how many, their mean penalty, the least and the largest."""
    rows = []
    for (pair, setting), ok in _groups(gallery.stitchings, "pair", "setting"):
        least, most = _ends(ok, "penalty")
        mean = f"{ok['penalty'].mean():+.{decimals(ok['unit'].iloc[0])}f}"
        rows.append([f"{pair}{_aside(setting)}", str(len(ok)), mean, _where(least), _where(most)])
    titles = ["networks", "stitchings", "mean penalty", "least (cut)", "largest (cut)"]
    counted = " or ".join(dict.fromkeys(amount(*each) for each in gallery.names.scores))
    return Table(f"Penalty in {counted}, by pair" if counted else "Penalty, by pair", titles, rows)


def measures(gallery: Gallery) -> Table:
    """How far each measure orders the stitchings as their penalty does."""
    rows = []
    for name, title in gallery.measures.items():
        ok = gallery.stitchings[gallery.stitchings[name].notna()]
        # The correlation of ranks, from its definition: pandas would ask scipy for it.
        ranks = ok[[name, "penalty"]].rank()
        rows.append(
            [
                title,
                "distance" if farthest(name) else "similarity",
                str(len(ok)),
                f"{number(ok[name].min(), '.3f')} to {number(ok[name].max(), '.3f')}",
                number(ranks[name].corr(ranks["penalty"]), "+.2f") if len(ok) > 2 else NOTHING,
            ]
        )
    titles = ["measure", "kind", "stitchings", "range found", "rank correlation with the penalty"]
    return Table("Each measure against the penalty, all stitchings of the run together", titles, rows)


def similarities(gallery: Gallery) -> Table:
    """The similarities by pair and measure."""
    frame, rows = gallery.similarities, []
    if frame.empty:
        return Table("", [], [])
    for (pair, measure), group in _groups(frame, "pair", "measure"):
        valued = group[group["value"].notna()]
        told = [NOTHING, NOTHING]
        if len(valued):
            told = [f"{row['value']:.3f} ({row['cut_a']}, {row['cut_b']})" for row in _ends(valued, "similar")]
        rows.append([pair, measure, f"{len(valued)} of {len(group)}", *told, ", ".join(map(str, group["n"].unique()))])
    titles = ["networks", "measure", "with a value", "least similar (cuts)", "most similar (cuts)", "examples"]
    return Table("Similarities by pair and measure", titles, rows)


def networks(findings: Findings) -> Table:
    """The base networks: what they are, what they were trained on, how they answer."""
    rows = []
    for name, weights, config in findings.networks:
        data, training = config.get("data", {}), config.get("training", {})
        options = ", ".join(f"{key} {value}" for key, value in config.get("options", {}).items())
        rows.append(
            [
                name,
                f"{config.get('architecture', NOTHING)}" + (f" ({options})" if options else ""),
                str(data.get("name", NOTHING)),
                str(training.get("epochs", NOTHING)),
                str(training.get("seed", NOTHING)),
                number(config.get("test_error")),
                _tested(findings.records, weights, data.get("test")),
                weights or NOTHING,
            ]
        )
    titles = ["network", "architecture", "trained on", "epochs", "seed", "test error, %", "test examples", "weights"]
    return Table("Base networks", titles, rows)


def _tested(records: pd.DataFrame, weights: str, test: Any) -> str:
    """How many test examples there are, if the records were measured on the same ones."""
    used = records[(records["top_weights"] == weights) & (records["test_data"] == test)]
    return f"{int(used['n_test'].iloc[0]):,}" if len(used) else NOTHING


def failures(findings: Findings) -> Table:
    """Jobs and records that failed, with the reason."""
    failed = findings.records[findings.records["status"] == "failed"]
    rows = [["job", job, reason] for job, reason in findings.failures.items()]
    told = zip(failed["stitching"], failed["control"], failed["reason"], strict=True)
    rows += [["stitching", f"{what} ({control})" if control else what, reason] for what, control, reason in told]
    return Table("What failed, and why", ["kind", "what", "reason"], rows)


def every_record(gallery: Gallery) -> Table:
    """All records, a row each."""
    frame = gallery.records
    measured = list(gallery.measures)
    rows = []
    for row in frame.to_dict("records"):
        penalty = interval(row["penalty"], row["penalty_low"], row["penalty_high"], row["unit"])
        rows.append(
            [
                row["stitching"],
                row["control"] or NOTHING,
                penalty if row["status"] == "ok" else "failed",
                *_scored(row, several=len(gallery.names.scores) > 1),
                number(row["agreement_top"], ".3f"),
                *(number(row[name], ".3f") for name in measured),
                row["setting"] or NOTHING,
                str(row["seed"]),
            ]
        )
    titles = ["stitching", "control", "penalty [95 %]", *_score_titles(gallery), title_of("agreement_top")]
    titles += [*(gallery.measures[name] for name in measured), "setting", "seed"]
    return Table("All records", titles, rows, list(frame["key"]))


def _score_titles(gallery: Gallery) -> list[str]:
    """The titles of the columns of the first score; of several tasks, each cell names its own."""
    firsts = gallery.names.scores
    if len(firsts) > 1:
        return ["score", "score of the top"]
    titles = [(title_of(score).removeprefix("test "), value_unit(score, unit)) for score, unit in firsts] or [
        ("score", "")
    ]
    return [with_unit(titles[0][0], titles[0][1]), with_unit(f"{titles[0][0]} of the top", titles[0][1])]


def _scored(row: Mapping[Hashable, Any], several: bool) -> list[str]:
    """The first score of the stitched network and of the top network."""
    score, unit = row["score"], row["unit"]
    if not score:
        return [NOTHING, NOTHING]
    cells = [number(row[name], f".{decimals(unit)}f") for name in (score, f"{score}_top")]
    title = title_of(score_of(score, str(row["task"])))
    return [f"{title} {cell} {value_unit(score, unit)}".rstrip() for cell in cells] if several else cells


def provenance(findings: Findings) -> Table:
    """Where and how the numbers were made."""
    frame = findings.records
    if frame.empty:
        return Table("Provenance", ["what", "value"], [])
    frame = frame.assign(**{name: frame[name].map(spoken) for name in SETTINGS})
    versions = sorted({f"{name} {version}" for told in frame["versions"] for name, version in told.items()})
    asked = frame[frame["control"] != "self"]
    asked = frame if asked.empty else asked
    told = {
        "records": f"{len(frame):,}, of which {int((frame['status'] == 'failed').sum()):,} failed",
        "data": _all(frame["data"]),
        "stitches": _all(asked["family"]),
        "matching": _all(asked["matching"]),
        "batch norm": _all(asked["batch_norm"]),
        "fitted on": _all(frame["n_fit"], "examples") + f"; fingerprint {_all(frame['fit_data'])}",
        "measured on": _all(frame["n_test"], "test examples") + f"; fingerprint {_all(frame['test_data'])}",
        "seed of the matching": _all(frame["seed"]),
        "versions": ", ".join(versions),
        "device": _all(frame["device"]),
        "threads": _all(frame["threads"]),
        "commit": _all(frame["commit"]),
        "made": " to ".join(dict.fromkeys([frame["created"].min(), frame["created"].max()])),
        "time of all stitchings": f"{frame['seconds'].sum():,.0f} s",
    }
    return Table("Provenance", ["what", "value"], [[name, value] for name, value in told.items()])


def _all(values: pd.Series[Any], unit: str = "") -> str:
    told = [f"{value:,}" if isinstance(value, int) else str(value) for value in values.unique().tolist()]
    return (", ".join(filter(None, told)) or NOTHING) + (f" {unit}" if unit else "")
