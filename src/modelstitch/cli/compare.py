"""``modelstitch compare``: what the activations alone say."""

from __future__ import annotations

from modelstitch.cli import inputs, show
from modelstitch.cli.options import Data, DataFolder, Device, Json, Network


def compare(
    a: Network,
    b: Network,
    data: Data = None,
    data_folder: DataFolder = None,
    device: Device = None,
    as_json: Json = False,
) -> None:
    """Linear CKA of two networks at every pair of matching cuts, on the test examples."""
    from modelstitch.sweep import compare as compare_cuts

    place = inputs.device_of(device)
    first, second = inputs.networks_of([a, b])
    test = inputs.split_of(data, data_folder, networks=[first, second]).test
    names = (first.name, second.name)
    show.compared(
        compare_cuts(first.network, second.network, test, names=names, device=place),
        names,
        test.name,
        len(test),
        as_json,
    )
