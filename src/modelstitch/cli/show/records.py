"""Records on the screen: a table for each setting, controls below the stitchings, then how to read it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import typer
from rich.table import Table

from modelstitch.cli.show.screen import put, table_of, talk
from modelstitch.vocabulary import (
    CONTROLS,
    MEASURES,
    against_top,
    amount,
    decimals,
    score_of,
    spoken,
    title_of,
    value_unit,
    with_unit,
)

if TYPE_CHECKING:
    from modelstitch.records import Record, Records


def records(found: Records, references: dict[str, str], as_json: bool) -> None:
    """Stitchings and controls, the base networks' scores first.

    Args:
        found: what was measured.
        references: where each network came from, by the name that records call it.
        as_json: one record a line instead.
    """
    from modelstitch.records import summary

    if as_json:
        from modelstitch.records.lines import line_of

        for record in found:
            typer.echo(line_of(record), nl=False)
        for line in summary(found.left_out):
            talk(line)
        return
    for alike in _by_setting(found):
        _heading(alike, references)
        table = table_of(*_columns(_firsts(alike)), left=1)
        _section(table, "", [one for one in alike if not one.control])
        _selves(table, [one for one in alike if one.control == "self"])
        for control, word in CONTROLS.items():
            if control != "self":
                _section(table, f"control: {word.title}", [one for one in alike if one.control == control])
        put(table)
    for one in found:
        if one.status == "failed":
            typer.echo(f"failed: {one.control} {one.stitching}".replace("  ", " ") + f"\n{one.reason}")
    for line in summary(found.left_out):
        typer.echo(line)
    typer.echo(_reading(_firsts(found)) if found else "no records yet")


def _firsts(found: Iterable[Record]) -> list[tuple[str, str]]:
    """The first score of each task, by the name of its words, and the unit of its penalty."""
    return list(dict.fromkeys((score_of(one.scores[0].score, one.task), one.unit) for one in found if one.scores))


def _columns(firsts: Sequence[tuple[str, str]]) -> tuple[str, ...]:
    score, unit = firsts[0] if len(firsts) == 1 else ("score", "")
    # Points are told below the table, as is what they are of.
    penalty = with_unit("penalty [95 %]", "" if unit == "points" else unit)
    return "stitching", "depth", penalty, "CKA", "agree", title_of(score).removeprefix("test "), "resid."


def _reading(firsts: Sequence[tuple[str, str]]) -> str:
    """How to read the columns."""
    counted = " or ".join(amount(*each) for each in firsts) or "score"
    lines = {
        "penalty": f"{counted} above the top's own network: positive is worse; [its 95 % interval]",
        "agree": MEASURES["agreement_top"].line,
        "resid.": MEASURES["residual"].line,
    }
    if any(one != ("error", "points") for one in firsts):
        lines["penalty"] = f"{counted}, worse than the top's own network where positive; [its 95 % interval]"
    return "\n".join(f"{name:9}{line}" for name, line in lines.items())


def _by_setting(found: Sequence[Record]) -> list[list[Record]]:
    """Records that share a heading; a self-stitch, which is fitted by nothing, stands with the first on its data."""
    alike: dict[tuple[object, ...], list[Record]] = {}
    for one in sorted(found, key=lambda record: record.control == "self"):
        shared = (one.data, one.fit_data, one.test_data, one.task, one.batch_norm, one.seed)
        own: tuple[object, ...] = (*shared, one.family, one.matching)
        if one.control == "self":
            own = next((key for key in alike if key[: len(shared)] == shared), shared)
        alike.setdefault(own, []).append(one)
    return list(alike.values())


def _heading(found: Sequence[Record], references: dict[str, str]) -> None:
    """The scores of the networks whole, then what all stitchings have in common."""
    scores: dict[str, tuple[float | None, str, str]] = {}
    for one in (each for each in found if each.status == "ok" and each.control in ("", "self")):
        first, score = one.scores[0], score_of(one.scores[0].score, one.task)
        names = {name: _named(name, references) for name in (one.bottom_network, one.top_network)}
        if not against_top(one.task):
            whole = {names[one.bottom_network]: first.bottom, names[one.top_network]: first.top}
        elif one.control == "":
            # What is right is the top's own answer, which it gives itself.
            whole = {f"{names[one.bottom_network]} beside {names[one.top_network]}": first.bottom}
        else:
            whole = {}
        scores |= {name: (value, score, first.unit) for name, value in whole.items()}
    for name, (value, score, unit) in scores.items():
        told = "no" if value is None else " ".join([f"{value:.{decimals(unit)}f}", value_unit(score, unit)]).rstrip()
        typer.echo(f"{name}: {told} {title_of(score)}")
    one = next((each for each in found if each.control != "self"), found[0])
    how = f", {spoken(one.matching)}" if one.matching else ""
    norm = "" if one.batch_norm == "frozen" else f", batch norm: {one.batch_norm}"
    typer.echo(f"{one.data}: fitted on {one.n_fit:,}, measured on {one.n_test:,} examples")
    typer.echo(f"{spoken(one.family)}{how}{norm}, seed {one.seed}")


def _named(name: str, references: dict[str, str]) -> str:
    """A network with the reference that it was typed as, where that says more."""
    # A name that goes on where the reference ends says all that it does.
    place = references.get(name, name)
    return name if name.startswith(place) else f"{name} = {place}"


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
    first, digits = one.scores[0], decimals(one.unit)
    penalty = f"{first.penalty:+.{digits}f} [{first.low:+.{digits}f}, {first.high:+.{digits}f}]"
    names = ("cka", "agreement_top", "residual")
    cka, agree, residual = ("–" if value is None else f"{value:.3f}" for value in map(one.measure, names))
    return one.stitching, depth, penalty, cka, agree, f"{first.stitched:.{digits}f}", residual
