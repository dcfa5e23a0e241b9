"""``modelstitch connect``: two networks of one architecture, the stitching chain and three paths between them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from modelstitch.cli import inputs, show
from modelstitch.cli.endings import FAILED
from modelstitch.cli.options import Data, DataFolder, Device, Json, Limit, Network, Seed, Threads
from modelstitch.support.files import write_whole
from modelstitch.vocabulary import FAMILIES, MATCHINGS, TASKS

if TYPE_CHECKING:
    from modelstitch.connectivity import Connectivity, Point
    from modelstitch.connectivity.result import Way
    from modelstitch.data import Examples, Split
    from modelstitch.networks import Network as Loaded
    from modelstitch.tasks import Score

_THRESHOLD = "How much worse than the worse network counts as connected; by default 5, of a score in points."
_FAMILY = f"{', '.join(FAMILIES)}."
_BY = f"{', '.join(MATCHINGS)}: task is the loss of the stitched network, direct a closed form."
_TASK = f"What outputs are judged by: {', '.join(TASKS)}; or JSON with its settings; by default guessed."
_OUT = "Where to write all points: .csv, or .json with the verdict and barriers; may be repeated."


def connect(
    a: Network,
    b: Network,
    data: Data = None,
    data_folder: DataFolder = None,
    task: Annotated[str | None, typer.Option(help=_TASK)] = None,
    threshold: Annotated[float | None, typer.Option(help=_THRESHOLD)] = None,
    family: Annotated[str, typer.Option(help=_FAMILY)] = "affine",
    by: Annotated[str, typer.Option(help=_BY)] = "task",
    epochs: Annotated[int | None, typer.Option(help="By task: passes over the data (default: 500 steps).")] = None,
    curve_epochs: Annotated[int, typer.Option(help="Passes over the data to train the curve's middle.")] = 5,
    points: Annotated[int, typer.Option(help="Places on each path, ends included.")] = 11,
    seed: Seed = 0,
    compute: Device = None,
    threads: Threads = None,
    limit: Limit = None,
    out: Annotated[list[Path] | None, typer.Option(help=_OUT)] = None,
    figure: Annotated[list[Path] | None, typer.Option(help="A figure: .png, .svg, .pdf or .html.")] = None,
    as_json: Json = False,
) -> None:
    """Ask whether two networks of one architecture are stitching-connected, beside the paths through their weights."""
    from modelstitch.pretraining import Schedule

    figures, tables = inputs.figures_of(figure or []), inputs.tables_of(out or [])
    inputs.use_threads(threads)
    setting: dict[str, Any] = {"curve": Schedule(curve_epochs), "points": points, "threshold": threshold, "seed": seed}
    setting |= {"family": inputs.family_of(family, None), "by": inputs.matching_of(by, epochs=epochs)}
    setting |= {"task": inputs.task_of(task), "compute": compute}
    loaded = inputs.networks_of([a, b])
    found = _found(loaded, inputs.split_of(data, data_folder, limit, loaded), setting)
    shown(found, as_json)
    written(found, tables)
    show.drawn(found, figures)
    if any(point.status == "failed" for point in found.points):
        raise typer.Exit(FAILED)


def _found(loaded: list[Loaded], split: Split[Examples], setting: dict[str, Any]) -> Connectivity:
    from modelstitch.connectivity import connectivity

    a, b = loaded
    return connectivity(a.module, b.module, split.train, split.test, names=(a.name, b.name), **setting)


def shown(found: Connectivity, as_json: bool) -> None:
    """Every point, the barriers and the verdict; as JSON one object a point, and last one for the whole."""
    if as_json:
        told = found.to_dict()
        for row in told.pop("points"):
            show.json_line(row)
        show.json_line(told)
        return
    table = show.table_of("way", "cut", "fold", "place", found.scores[0].name, "penalty [95 %]", left=3)
    for point in found.points:
        table.add_row(point.way, point.cut, point.fold, f"{point.x:.2f}", *_values(point))
    show.put(table)
    for way in dict.fromkeys(point.way for point in found.points if point.way != "stitching"):
        typer.echo(f"barrier, {way}: {_barrier(found, way)}")
    side = "above" if found.scores[0].better == "lower" else "below"
    typer.echo(f"{found.names[0]} and {found.names[1]}: {found.verdict} {side} the worse of the two")
    for point in found.points:
        if point.status == "failed":
            typer.echo(f"failed: {point.way} at {point.x:.2f}\n{point.reason}")


def _barrier(found: Connectivity, way: Way) -> str:
    barrier = found.barrier(way)
    if barrier is None:
        return "unknown, for a point failed"
    return ", ".join(f"{barrier[one.name]:.{_digits(one)}f} {one.unit or one.title}" for one in found.scores)


def _values(point: Point) -> tuple[str, str]:
    if not point.scores:
        return "", "failed, see below"
    one = point.scores[0]
    low, high, digits = one.interval.low, one.interval.high, _digits(one.score)
    return f"{one.stitched:.{digits}f}", f"{one.value:+.{digits}f} [{low:+.{digits}f}, {high:+.{digits}f}]"


def _digits(score: Score) -> int:
    return 2 if score.unit == "points" else 3


def written(found: Connectivity, paths: Sequence[Path]) -> None:
    """All points as CSV, or everything as JSON, to each path."""
    for path in paths:
        if path.suffix.lower() == ".csv":
            write_whole(path, found.to_pandas().to_csv(index=False).encode())
        else:
            write_whole(path, (json.dumps(found.to_dict(), indent=2) + "\n").encode())
        show.talk(f"written: {path}")
