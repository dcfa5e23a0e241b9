"""Data and networks as they were named."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

from modelstitch.errors import SettingError

if TYPE_CHECKING:
    from modelstitch.data import Examples, Split
    from modelstitch.networks import Network
    from modelstitch.support.tensors import Inputs


def split_of(
    name: str | None,
    folder: str | None,
    limit: int | None = None,
    networks: Sequence[Network] = (),
    size: int | None = None,
) -> Split[Examples]:
    """The data that was named, or that the networks were trained on.

    Raises:
        SettingError: none was named and the networks do not agree on one, or a limit below one.
    """
    from modelstitch.data import Split, load

    name = name or _common_data(networks)
    if name == "image_folder" and size is None:
        size = _common_size(networks)
    split: Split[Examples] = load(name, folder=folder, size=size)
    if limit is None:
        return split
    if limit < 1:
        raise SettingError(f"--limit {limit}", "no example left", "choose 1 or more")
    return Split(split.train.first(limit), split.test)


def _common_data(networks: Sequence[Network]) -> str:
    names = {one.name: _trained_on(one) for one in networks}
    if len(set(names.values())) == 1 and all(names.values()):
        return next(iter(names.values()))
    found = ", ".join(f"{network} on {data or 'nothing that it tells of'}" for network, data in names.items())
    raise SettingError(f"the data of {' and '.join(names)}", f"trained: {found}", "say which: --data NAME")


def _trained_on(network: Network) -> str:
    # A smaller copy is called ``name-sizes``; the name alone is what the loader knows.
    told: str = (network.config or {}).get("data", {}).get("name", "")
    return told.partition("-")[0]


def _common_size(networks: Sequence[Network]) -> int | None:
    """The one side of the images that networks were trained on; None where there is no such one."""
    trained = [one.config for one in networks if one.config and _trained_on(one) == "image_folder"]
    sizes: set[int] = {config["data"]["shape"][-1] for config in trained}
    return sizes.pop() if len(sizes) == 1 else None


def networks_of(references: Sequence[str]) -> list[Network]:
    """The networks, each under a name of its own: two folders of one name get the suffixes A and B."""
    from modelstitch.networks import load_network

    found = [load_network(reference) for reference in references]
    if len(found) == 2 and found[0].name == found[1].name:
        return [dataclasses.replace(one, name=f"{one.name}-{mark}") for one, mark in zip(found, "AB", strict=True)]
    return found


def places_of(a: str, b: str) -> list[tuple[str, str]]:
    """Each network's reference and its cut; no cuts where whole networks were named.

    Raises:
        SettingError: one names a cut and the other does not.
    """
    places = []
    for text in (a, b):
        network, mark, cut = text.rpartition("@")
        places.append((network, cut) if mark and network and cut else (text, ""))
    if bool(places[0][1]) != bool(places[1][1]):
        found, do = "one network and one cut", "name two networks, or two cuts: 'A@layer2.1' 'B@layer3.0'"
        raise SettingError(f"to compare {a} and {b}", found, do)
    return places


def example_of(network: Network, shape: str | None, data: str | None, folder: str | None) -> Inputs:
    """Two inputs of the shape that a network takes: typed, or the data's, or told by its folder.

    Raises:
        SettingError: none of the three, or no shape.
    """
    import torch

    if shape is not None:
        return torch.zeros(2, *_sizes(shape))
    if data is not None:
        return split_of(data, folder, networks=[network]).test.example
    told = (network.config or {}).get("data", {}).get("shape")
    if not told:
        found = "nothing that tells the shape of its input"
        raise SettingError(f"the cuts of {network.name}", found, "give --shape 3,32,32 or --data NAME")
    return torch.zeros(2, *told)


def _sizes(shape: str) -> list[int]:
    sizes = [int(part) if part.strip().isdecimal() else 0 for part in shape.split(",")]
    if not all(sizes):
        do = "write the sizes of one example with commas between: --shape 3,32,32"
        raise SettingError(f"--shape {shape}", "no list of sizes of 1 or more", do)
    return sizes
