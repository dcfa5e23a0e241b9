"""``modelstitch records``: what a run found, as a table, for other programs, or asked in SQL."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from modelstitch.cli import show
from modelstitch.cli.options import Json
from modelstitch.errors import SettingError

if TYPE_CHECKING:
    from modelstitch.records import Answer, Records
    from modelstitch.records.exporting import Form

_RUN = "A store, as `stitch --out` writes; or an export of one, with one JSON object a line."
_SQL = (
    "Ask the store one SELECT instead; the tables: records, scores, measures, curves, similarities, networks, recipes, "
    "failures, stitches."
)


def records(
    run: Annotated[Path, typer.Argument(help=_RUN)],
    sql: Annotated[str | None, typer.Option(help=_SQL)] = None,
    stitch: Annotated[str | None, typer.Option(help="Write the fitted stitch of this key as safetensors.")] = None,
    as_json: Json = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="CSV instead of a table.")] = False,
    as_parquet: Annotated[bool, typer.Option("--parquet", help="Parquet, with --out.")] = False,
    out: Annotated[Path | None, typer.Option(help="Write to this file instead of the screen.")] = None,
) -> None:
    """Show what a run found, or export it; the run is not changed, and may still be going on."""
    from modelstitch.records import export, open_records, open_stitch, query

    form = _form({"json": as_json, "csv": as_csv, "parquet": as_parquet}, stitch, sql, out)
    if stitch is not None:
        _write(out, open_stitch(run, stitch))
        return
    found = open_records(run) if sql is None else query(run, sql)
    if form:
        _write(out, export(found, form))
    else:
        _show(run, found)


def _form(asked: dict[Form, bool], stitch: str | None, sql: str | None, out: Path | None) -> Form | None:
    """The one form that was asked for, or None for a table.

    Raises:
        SettingError: options that do not go together.
    """
    forms: list[Form] = [form for form, chosen in asked.items() if chosen]
    options = [f"--{form}" for form in forms] + (["--sql"] if sql is not None else [])
    told = " ".join(options) or "a table"
    if stitch is not None and options:
        raise SettingError(f"--stitch with {told}", "a stitch, which has one form", f"leave {told} out")
    if len(forms) > 1:
        raise SettingError(told, f"{len(forms)} forms", "choose one")
    if out is None and (stitch is not None or "parquet" in forms):
        option = "--parquet" if forms else "--stitch"
        raise SettingError(f"{option} on the screen", "bytes that no screen shows", "name a file: --out FILE")
    if out is not None and stitch is None and not forms:
        raise SettingError(f"{told} in {out}", "no form for a file", "choose one of --json, --csv, --parquet")
    return forms[0] if forms else None


def _write(out: Path | None, content: bytes) -> None:
    from modelstitch.support.files import write_whole

    if out is None:
        typer.echo(content, nl=False)
        return
    write_whole(out, content)
    show.talk(f"written: {out}")


def _show(run: Path, found: Records | Answer) -> None:
    from modelstitch.records import Answer, open_failures

    if isinstance(found, Answer):
        show.answer(found)
        return
    show.records(found, {}, as_json=False)
    for job, reason in open_failures(run).items():
        show.talk(f"failed as a whole: {job}\n{reason}")
