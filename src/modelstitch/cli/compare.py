"""``modelstitch compare``: what the activations alone say."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from modelstitch.cli import inputs, show
from modelstitch.cli.options import Data, DataFolder, Device, ImageSize, Json, Kind, Seed, Text, Threads
from modelstitch.errors import SettingError

_NETWORKS = "Two networks, for every cut against every cut; or two cuts: 'A@layer2.1' 'B@layer3.0'."
_MEASURE = "Names with commas between: cka, cka_debiased, cka_minibatch, cca, procrustes, rsa, …"
_LAYOUT = "What a row is: flatten (an example), pool (an example, averaged over positions) or position."


def compare(
    a: Annotated[str, typer.Argument(help=_NETWORKS)],
    b: Annotated[str, typer.Argument(help="The second network or cut.")],
    measure: Annotated[str, typer.Option(help=_MEASURE)] = "cka_minibatch",
    layout: Annotated[str, typer.Option(help=_LAYOUT)] = "flatten",
    data: Data = None,
    data_folder: DataFolder = None,
    image_size: ImageSize = None,
    text: Text = None,
    sample: Annotated[int, typer.Option(help="Examples kept for measures that need all at once.")] = 2000,
    null: Annotated[int | None, typer.Option(help="Two cuts: shuffle the pairing N times for comparison.")] = None,
    seed: Seed = 0,
    compute: Device = None,
    threads: Threads = None,
    every: Annotated[bool, typer.Option("--all", help="All legal cuts instead of one a block.")] = False,
    kind: Kind = None,
    figure: Annotated[list[Path] | None, typer.Option(help="A heat-map: .png, .svg, .pdf or .html.")] = None,
    as_json: Json = False,
) -> None:
    """Compare the activations of two networks on the test examples: CKA, Procrustes, CCA, neighbours and others."""
    from modelstitch.comparison import calibrate, compare_all

    figures, places = inputs.figures_of(figure or []), inputs.places_of(a, b)
    cuts = [cut for _, cut in places if cut]
    _check(cuts, null, every, figures)
    inputs.use_threads(threads)
    loaded = inputs.networks_of(references := [network for network, _ in places])
    split, loaded = inputs.data_for(loaded, inputs.Named(data, data_folder, image_size, text=text))
    first, second, test = loaded[0].module, loaded[1].module, split.test
    measures = [name.strip() for name in measure.split(",")]
    asked: dict[str, Any] = {"measures": measures, "layout": layout, "sample": sample, "compute": compute}
    names, at = (loaded[0].name, loaded[1].name), (cuts[:1], cuts[1:]) if cuts else None
    asked |= {"kinds": inputs.kinds_of(kind or [], loaded, references), "names": names}
    if null is not None:
        show.nulls(calibrate(first, second, (cuts[0], cuts[1]), test, permutations=null, seed=seed, **asked), as_json)
        return
    found = compare_all(first, second, test, cuts=at, every=every, **asked)
    show.compared(found, as_json)
    show.drawn(found, figures)


def _check(cuts: list[str], null: int | None, every: bool, figures: Sequence[Path]) -> None:
    if cuts and every:
        raise SettingError("--all with two cuts", "one cut on each side", "leave --all out")
    if null is not None and not cuts:
        do = "name two cuts, as in modelstitch compare 'A@layer2.1' 'B@layer2.1' --null 100; or leave --null out"
        raise SettingError(f"--null {null} for every pair of cuts", "a calibration of one pair", do)
    if null is not None and figures:
        raise SettingError("--figure with --null", "one pair of cuts, and no map to draw", "leave --figure out")
