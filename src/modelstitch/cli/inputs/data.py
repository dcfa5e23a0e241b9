"""Data and networks as they were named."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from modelstitch.errors import SettingError

if TYPE_CHECKING:
    from modelstitch.data import Examples, Split
    from modelstitch.networks import Network
    from modelstitch.support.tensors import Inputs, Kind

KINDS: dict[str, Kind] = {"map": "map", "tokens": "tokens", "vector": "vector"}
"""The kinds of a cut that have a word."""


@dataclass(frozen=True)
class Named:
    """The data as they were named.

    Args:
        name: by default what the networks were trained on.
        folder: where the files are.
        size: side of images in pixels.
        limit: the first so many train examples only.
        text: of a file, the column of texts.
        label: of a file, the column of targets.
        test: a second file to measure on.
        next_token: the targets of texts are their own tokens.
    """

    name: str | None
    folder: str | None = None
    size: int | None = None
    limit: int | None = None
    text: str | None = None
    label: str | None = None
    test: str | None = None
    next_token: bool = False


def data_for(
    networks: Sequence[Network], named: Named, references: Sequence[str] = ()
) -> tuple[Split[Examples], list[Network]]:
    """The data, and the networks as they take them.

    Args:
        networks: as they were loaded.
        named: the data.
        references: of the networks, where their answers will be judged: fresh ones are built for the data's targets.

    Where one network normalises raw images itself, all are given raw images: the others behind the normalisation that
    the data have of their own, by which they were trained.

    Raises:
        SettingError: no data were named and the networks do not agree on them, a limit below one, or texts for
            networks of several tokenizers.
    """
    from modelstitch.data import raw
    from modelstitch.networks import on_raw, with_outputs_for

    split = split_of(named, networks)
    networks = with_outputs_for(networks, references, split.train) if references else networks
    found = on_raw(networks, split.train)
    return (split, list(networks)) if found is None else (raw(split), found)


def split_of(named: Named, networks: Sequence[Network] = ()) -> Split[Examples]:
    """The data that were named, or that the networks were trained on; errors as of `data_for`."""
    from modelstitch.data import Split, load
    from modelstitch.data.tables import is_table

    name, size = named.name or _common_data(networks), named.size
    if name == "image_folder" and size is None:
        size = _common_size(networks)
    columns: dict[str, Any] = {"text": named.text, "label": named.label, "test": named.test}
    if is_table(name):
        columns |= {"tokenizer": _tokenizer(networks), "next_token": named.next_token}
    split: Split[Examples] = load(name, folder=named.folder, size=size, **columns)
    if named.limit is None:
        return split
    if named.limit < 1:
        raise SettingError(f"--limit {named.limit}", "no example left", "choose 1 or more")
    return Split(split.train.first(named.limit), split.test)


def _tokenizer(networks: Sequence[Network]) -> Any:
    """The tokenizer that networks share; None where none has one.

    Raises:
        SettingError: they have several: one text would be other tokens to each, and positions would not match.
    """
    known = {one.name: one.tokenizer for one in networks if one.tokenizer is not None}
    kinds = {json.dumps([type(one).__name__, sorted(one.get_vocab().items())]) for one in known.values()}
    if len(kinds) > 1:
        found = f"{' and '.join(known)}, which have tokenizers of their own"
        do = "stitch networks of one tokenizer, or give tokens that both were trained on: --data py:module:function"
        raise SettingError("the same texts for both networks", found, do)
    return next(iter(known.values()), None)


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
    """The one side of the images that networks were trained on; None where there is no such one.

    Networks that resize images themselves are given the largest that one of them takes: the others make them smaller,
    and no image is resized twice for the one.
    """
    told = [getattr(getattr(one.module, "prepare", None), "size", None) for one in networks]
    own: list[int] = [max(size) for size in told if size]
    if own:
        return max(own)
    trained = [one.config for one in networks if one.config and _trained_on(one) == "image_folder"]
    sizes: set[int] = {config["data"]["shape"][-1] for config in trained}
    return sizes.pop() if len(sizes) == 1 else None


def networks_of(references: Sequence[str]) -> list[Network]:
    """The networks, each under a name of its own: two folders of one name get the suffixes A and B."""
    from modelstitch.networks import load_network, told_apart

    found = [load_network(reference) for reference in references]
    if len(found) != 2:
        return found
    names = told_apart((found[0].name, found[1].name))
    return [dataclasses.replace(one, name=name) for one, name in zip(found, names, strict=True)]


def kinds_of(told: Sequence[str], networks: Sequence[Network], references: Sequence[str]) -> dict[str, Kind]:
    """Kinds of cuts as they were typed, ``NETWORK@CUT=KIND``, by the names that the networks go by.

    Args:
        told: each with the name of a network, or its reference as it was typed.
        networks: as they were loaded.
        references: as they were typed.

    Raises:
        SettingError: something else, or a place twice.
    """
    found: dict[str, Kind] = {}
    for one in told:
        place, mark, kind = one.rpartition("=")
        network, at, cut = place.rpartition("@")
        asked = f"--kind {one}"
        if not (mark and at and network and cut and kind):
            raise SettingError(asked, "no NETWORK@CUT=KIND", "write it like 'nets/a@relu=map'")
        if kind not in KINDS and not kind.isdecimal():
            raise SettingError(asked, f"no kind {kind!r}", f"write {', '.join(KINDS)}, or the number of an axis")
        pairs = zip(networks, references, strict=True)
        named = [each.name for each, reference in pairs if network in (each.name, reference)] or [network]
        for name in named:
            if f"{name}@{cut}" in found:
                raise SettingError(asked, f"a kind of {place} before it", "say it once")
            found[f"{name}@{cut}"] = int(kind) if kind.isdecimal() else KINDS[kind]
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
        return split_of(Named(data, folder), [network]).test.example
    if network.example is not None:
        return network.example
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
