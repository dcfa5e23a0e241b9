"""``modelstitch cuts``: where a network can be cut."""

from __future__ import annotations

import warnings
from typing import Annotated

import typer

from modelstitch.cli import inputs, show
from modelstitch.cli.options import Data, DataFolder, Json, Network


def cuts(
    network: Network,
    every: Annotated[bool, typer.Option("--all", help="All legal cuts instead of one a block.")] = False,
    shape: Annotated[str | None, typer.Option(help="Of one example, such as 3,32,32.")] = None,
    data: Data = None,
    data_folder: DataFolder = None,
    as_json: Json = False,
) -> None:
    """List the places where exactly one tensor crosses."""
    from modelstitch.cut import cuts as cuts_of
    from modelstitch.errors import FreshWeights
    from modelstitch.networks import load_network

    with warnings.catch_warnings():
        # Where a network can be cut does not depend on its weights.
        warnings.simplefilter("ignore", FreshWeights)
        loaded = load_network(network)
    example = inputs.example_of(loaded, shape, data, data_folder)
    show.cuts(cuts_of(loaded.module, example, every=every), as_json)
