"""What was found, put on the screen: tables for people, JSON lines for programs, talk on standard error."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from rich import box
from rich.console import Console
from rich.table import Table

from modelstitch.cli.endings import FAILED

if TYPE_CHECKING:
    from modelstitch.comparison import Comparison
    from modelstitch.connectivity import Connectivity
    from modelstitch.cut import Cut
    from modelstitch.doctor import Check
    from modelstitch.measures import Null
    from modelstitch.records import Answer, Record, Records

_READING = """\
penalty  points of test error above the top's own network: positive is worse; [its 95 % interval]
agree    share of the test examples that get the class which the top's own network gives them
resid.   share of the activations' variance at the top's cut that the best direct map leaves"""
_CONTROLS = {
    "untrained": "untrained bottoms",
    "stem_reset": "the top's own bottoms with a fresh stem",
    "noise": "noise in place of bottoms",
    "shuffled": "fitted on shuffled pairs",
}
_COLUMNS = ("stitching", "depth", "penalty [95 %]", "CKA", "agree", "error", "resid.")
_COLOURS = {"ok": "green", "absent": "yellow", "failed": "red"}


def talk(line: str) -> None:
    """Say something that is no data."""
    typer.echo(line, err=True)


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
    table = table_of("cut", "kind", "shape", "depth", "cost", left=3)
    for cut in found:
        shape = " × ".join("any" if size is None else str(size) for size in cut.shape)
        table.add_row(cut.name, cut.kind, shape, f"{cut.depth:.2f}", f"{cut.cost:.2f}")
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


def records(found: Records, references: dict[str, str], as_json: bool) -> None:
    """Stitchings and controls, the base networks' errors first.

    Args:
        found: what was measured.
        references: where each network came from, by the name that records call it.
        as_json: one record a line instead.
    """
    if as_json:
        from modelstitch.records.lines import line_of

        for record in found:
            typer.echo(line_of(record), nl=False)
        return
    for alike in _by_setting(found):
        _heading(alike, references)
        table = table_of(*_COLUMNS, left=1)
        _section(table, "", [one for one in alike if not one.control])
        _selves(table, [one for one in alike if one.control == "self"])
        for control, title in _CONTROLS.items():
            _section(table, f"control: {title}", [one for one in alike if one.control == control])
        put(table)
    for one in found:
        if one.status == "failed":
            typer.echo(f"failed: {one.control} {one.stitching}".replace("  ", " ") + f"\n{one.reason}")
    typer.echo(_READING if found else "no records yet")


def merged(into: Path, n: int, as_json: bool) -> None:
    """How many records a store holds after a merge."""
    if as_json:
        json_line({"store": str(into), "records": n})
    else:
        typer.echo(f"{n:,} records in {into}")


def answer(found: Answer) -> None:
    """What a question in SQL found."""
    table = table_of(*map(_cell, found.columns), left=len(found.columns))
    for row in found.rows:
        table.add_row(*map(_cell, row))
    put(table)


def _cell(value: object) -> str:
    if isinstance(value, bytes):
        return f"{len(value):,} bytes"
    text = "–" if value is None else f"{value:.6g}" if isinstance(value, float) else str(value)
    # A line break would break the table, and an escape sequence the terminal.
    return "".join(one if one.isprintable() else repr(one)[1:-1] for one in text)


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


def _by_setting(found: Sequence[Record]) -> list[list[Record]]:
    """Records that share a heading; a self-stitch, which is fitted by nothing, stands with the first on its data."""
    alike: dict[tuple[object, ...], list[Record]] = {}
    for one in sorted(found, key=lambda record: record.control == "self"):
        shared = (one.data, one.fit_data, one.test_data, one.batch_norm, one.seed)
        own: tuple[object, ...] = (*shared, one.family, one.matching)
        if one.control == "self":
            own = next((key for key in alike if key[: len(shared)] == shared), shared)
        alike.setdefault(own, []).append(one)
    return list(alike.values())


def _heading(found: Sequence[Record], references: dict[str, str]) -> None:
    """The errors of the networks whole, then what all stitchings have in common."""
    errors: dict[str, float | None] = {}
    for one in (each for each in found if each.status == "ok" and each.control in ("", "self")):
        errors |= {one.bottom_network: one.error_bottom, one.top_network: one.error_top}
    for name, error in errors.items():
        place = references.get(name, name)
        typer.echo(f"{name}{f' = {place}' if place != name else ''}: {error:.2f} % test error")
    one = next((each for each in found if each.control != "self"), found[0])
    how = "" if one.matching == "none" else f", {one.matching}"
    norm = "" if one.batch_norm == "frozen" else f", batch norm: {one.batch_norm}"
    typer.echo(f"{one.data}: fitted on {one.n_fit:,}, measured on {one.n_test:,} examples")
    typer.echo(f"{one.family}{how}{norm}, seed {one.seed}")


def _section(table: Table, title: str, found: Sequence[Record]) -> None:
    if not found:
        return
    if title:
        table.add_section()
        table.add_row(title, style="italic dim")
    # A bottom's name tells the direction: a line between the two directions, and no line within one.
    for before, one in zip([None, *found], found, strict=False):
        if before is not None and before.top_network != one.top_network and not title:
            table.add_section()
        table.add_row(*_cells(one), style=_style(one))


def _selves(table: Table, found: Sequence[Record]) -> None:
    """The self-stitches in one row where all are exactly 0, as they must be; else each on its own."""
    if not all(one.penalty == 0 for one in found):
        _section(table, "control: each network with itself, which must lose 0", found)
    elif found:
        table.add_section()
        table.add_row(f"control: {len(found)} self-stitches", "", "exactly 0", "1.000", "1.000", "", "", style="dim")


def _style(one: Record) -> str:
    return "red" if one.status == "failed" else "dim" if one.control else ""


def _cells(one: Record) -> tuple[str, ...]:
    depth = f"{one.bottom_depth:.2f}"
    if one.status == "failed":
        return one.stitching, depth, "failed, see below", "", "", "", ""
    penalty = f"{one.penalty:+.2f} [{one.penalty_low:+.2f}, {one.penalty_high:+.2f}]"
    cka, residual = ("–" if value is None else f"{value:.3f}" for value in (one.cka, one.residual))
    return one.stitching, depth, penalty, cka, f"{one.agreement_top:.3f}", f"{one.error:.2f}", residual


def table_of(*columns: str, left: int) -> Table:
    """A table whose first ``left`` columns are words and whose others are numbers."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for index, column in enumerate(columns):
        # Only words may break on a narrow terminal: half a number is another number.
        words = index < left
        table.add_column(column, justify="left" if words else "right", no_wrap=not words, overflow="fold")
    return table


def put(table: Table) -> None:
    """A table on the screen, or whole into a pipe."""
    if sys.stdout.isatty():
        Console(highlight=False, markup=False).print(table)
        return
    # Nobody looks at a pipe: no colours, and room enough that nothing is cut off or broken.
    Console(file=sys.stdout, width=10_000, force_terminal=False, color_system=None, markup=False).print(table)


def json_line(row: dict[str, Any]) -> None:
    """One object on a line of its own."""
    typer.echo(json.dumps(row, ensure_ascii=False))
