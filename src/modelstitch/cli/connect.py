"""``modelstitch connect``: two networks of one architecture, the stitching chain and three paths between them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from modelstitch.cli import inputs, show
from modelstitch.cli.endings import FAILED
from modelstitch.cli.options import Data, DataFolder, Device, Json, Limit, Network, Seed, Threads
from modelstitch.files import write_whole

if TYPE_CHECKING:
    from modelstitch.connectivity import Connectivity, Point
    from modelstitch.data import Split
    from modelstitch.networks import LoadedNetwork

_THRESHOLD = "Points of test error above the worse network that count as connected."
_OUT = "Where to write all points: .csv, or .json with the verdict and barriers; may be repeated."


def connect(
    a: Network,
    b: Network,
    data: Data = None,
    data_folder: DataFolder = None,
    threshold: Annotated[float, typer.Option(help=_THRESHOLD)] = 5.0,
    family: Annotated[str, typer.Option(help="affine, bn_affine_bn, identity, orthogonal or permutation.")] = "affine",
    by: Annotated[str, typer.Option(help="task (the loss of the stitched network) or direct (closed form).")] = "task",
    epochs: Annotated[int | None, typer.Option(help="By task: passes over the data (default: 500 steps).")] = None,
    curve_epochs: Annotated[int, typer.Option(help="Passes over the data to train the curve's middle.")] = 5,
    points: Annotated[int, typer.Option(help="Places on each path, ends included.")] = 11,
    seed: Seed = 0,
    device: Device = None,
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
    setting: dict[str, Any] = {
        "family": inputs.family_of(family, None),
        "by": inputs.matching_of(by, epochs=epochs),
        "seed": seed,
    }
    setting |= {"curve": Schedule(curve_epochs), "points": points, "threshold": threshold}
    loaded = inputs.networks_of([a, b])
    found = _found(loaded, inputs.split_of(data, data_folder, limit, loaded), inputs.device_of(device), setting)
    shown(found, as_json)
    written(found, tables)
    show.drawn(found, figures)
    if any(point.status == "failed" for point in found.points):
        raise typer.Exit(FAILED)


def _found(loaded: list[LoadedNetwork], split: Split, device: str | None, setting: dict[str, Any]) -> Connectivity:
    from modelstitch.connectivity import connectivity

    a, b = loaded
    return connectivity(a.network, b.network, split.train, split.test, names=(a.name, b.name), device=device, **setting)


def shown(found: Connectivity, as_json: bool) -> None:
    """Every point, the barriers and the verdict; as JSON one object a point, and last one for the whole."""
    if as_json:
        for point in found.points:
            show.json_line(asdict(point))
        show.json_line({name: value for name, value in found.to_dict().items() if name != "points"})
        return
    table = show.table_of("way", "cut", "fold", "place", "error", "penalty [95 %]", left=3)
    for point in found.points:
        table.add_row(point.way, point.cut, point.fold, f"{point.x:.2f}", *_values(point))
    show.put(table)
    for way in dict.fromkeys(point.way for point in found.points if point.way != "stitching"):
        barrier = found.barrier(way)
        told = f"{barrier.error:.2f} points, {barrier.loss:.3f} nats" if barrier else "unknown, for a point failed"
        typer.echo(f"barrier, {way}: {told}")
    typer.echo(f"{found.names[0]} and {found.names[1]}: {found.verdict} above the worse of the two")
    for point in found.points:
        if point.status == "failed":
            typer.echo(f"failed: {point.way} at {point.x:.2f}\n{point.reason}")


def _values(point: Point) -> tuple[str, str]:
    if point.status == "failed":
        return "", "failed, see below"
    return f"{point.error:.2f}", f"{point.penalty:+.2f} [{point.penalty_low:+.2f}, {point.penalty_high:+.2f}]"


def written(found: Connectivity, paths: Sequence[Path]) -> None:
    """All points as CSV, or everything as JSON, to each path."""
    for path in paths:
        if path.suffix.lower() == ".csv":
            write_whole(path, found.to_pandas().to_csv(index=False).encode())
        else:
            write_whole(path, (json.dumps(found.to_dict(), indent=2) + "\n").encode())
        show.talk(f"written: {path}")
