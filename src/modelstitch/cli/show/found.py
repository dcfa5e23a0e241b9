"""Everything else on the screen: networks, cuts, comparisons, checks, answers and figures."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from modelstitch.cli.endings import FAILED
from modelstitch.cli.show.screen import cell, json_line, put, table_of, talk

if TYPE_CHECKING:
    from modelstitch.cli.examine import Check
    from modelstitch.comparison import Comparison
    from modelstitch.connectivity import Connectivity
    from modelstitch.cut import Cut
    from modelstitch.measures import Null
    from modelstitch.records import Answer, Records

_COLOURS = {"ok": "green", "absent": "yellow", "failed": "red"}


def trained(config: dict[str, Any], folder: Path, n: int, as_json: bool) -> None:
    """A trained network: its configuration, or its scores in one line."""
    if as_json:
        json_line({"folder": str(folder), **config})
        return
    scores = ", ".join(f"{name} {value:.4g}" for name, value in config.get("test", {}).items())
    told = f"{config['test_error']:.2f} % test error" if "test_error" in config else scores
    typer.echo(f"{config['architecture']} in {folder}: {told} on {n:,} examples of {config['data']['name']}")


def cuts(found: Iterable[Cut], as_json: bool) -> None:
    """The cuts of a network, in order."""
    if as_json:
        for cut in found:
            json_line(dataclasses.asdict(cut))
        return
    from modelstitch.support.tensors import called

    table = table_of("cut", "kind", "shape", "depth", "cost", left=3)
    for cut in found:
        shape = " × ".join("any" if size is None else str(size) for size in cut.shape)
        table.add_row(cut.name, called(cut.kind), shape, f"{cut.depth:.2f}", f"{cut.cost:.2f}")
    put(table)
    typer.echo("depth: share of the conv and linear layers below the cut; cost: share of the operations.")


def compared(found: Comparison, as_json: bool) -> None:
    """A table for each measure: cuts of the first network down, of the second across."""
    if as_json:
        for one in found:
            json_line(dataclasses.asdict(one))
        return
    for measure in found.measures:
        values = found.table(measure)
        table = table_of(f"{measure}: {values.index.name} ↓ {values.columns.name} →", *values.columns, left=1)
        for cut, row in values.iterrows():
            table.add_row(str(cut), *("–" if value != value else f"{value:.3f}" for value in row))
        put(table)
        n = next(one.n for one in found if one.measure == measure)
        typer.echo(f"{_kind_of(measure)}; {n:,} examples of {found[0].data}, layout {found[0].layout}.\n")
    for note in dict.fromkeys(one.note for one in found if one.note):
        talk(note)


def _kind_of(measure: str) -> str:
    from modelstitch.measures import MEASURES

    promises = MEASURES[measure].promises
    low, high = (f"{bound:.3g}" for bound in promises.range)
    kind = "similarity: more is more alike" if promises.higher_is_more_similar else "distance: less is more alike"
    return f"{MEASURES[measure].title}, from {low} to {high}, a {kind}"


def nulls(found: Sequence[Null], as_json: bool) -> None:
    """Measures at one pair of cuts beside what chance gives."""
    if as_json:
        for one in found:
            json_line(dataclasses.asdict(one))
        return
    table = table_of("measure", "value", "by chance, median", "[5 %, 95 %]", "p", left=1)
    for one in found:
        span = f"[{one.low:.3f}, {one.high:.3f}]"
        table.add_row(one.measure, f"{one.value:.3f}", f"{one.median:.3f}", span, f"{one.p:.3f}")
    put(table)
    typer.echo(f"by chance: with the pairing of the {found[0].n:,} rows shuffled {found[0].permutations} times.")


def drawn(found: Comparison | Connectivity, paths: Sequence[Path]) -> None:
    """Draw what was found and write the figure to each path."""
    if paths:
        _save(found.plot(), paths)


def checks(found: Sequence[Check], as_json: bool) -> None:
    """What the doctor found."""
    if as_json:
        for check in found:
            json_line(dataclasses.asdict(check))
        return
    table = table_of("check", "status", "found", left=3)
    for check in found:
        table.add_row(check.name, check.status, check.found, style=_COLOURS[check.status])
    put(table)


def merged(into: Path, n: int, as_json: bool) -> None:
    """How many records a store holds after a merge."""
    if as_json:
        json_line({"store": str(into), "records": n})
    else:
        typer.echo(f"{n:,} records in {into}")


def answer(found: Answer) -> None:
    """What a question in SQL found."""
    table = table_of(*map(cell, found.columns), left=len(found.columns))
    for row in found.rows:
        table.add_row(*map(cell, row))
    put(table)


def figures(found: Records, paths: Sequence[Path]) -> None:
    """Draw the records and write the figure to each path."""
    if not paths:
        return
    from modelstitch.figures import penalty_curves

    _save(penalty_curves(found.to_pandas()), paths)


def _save(chart: Any, paths: Sequence[Path]) -> None:
    from modelstitch.figures import save_figure
    from modelstitch.parallel import by_first

    for path in paths:
        by_first(save_figure)(chart, path)
        talk(f"written: {path}")


def leave(found: Records) -> None:
    """End with the exit code of these records: 1 where any of them failed."""
    if any(record.status == "failed" for record in found):
        raise typer.Exit(FAILED)
