"""What was typed, turned into what the public functions take, or refused in words."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelstitch.errors import SettingError, did_you_mean

if TYPE_CHECKING:
    from modelstitch.compute import Compute
    from modelstitch.data import Split
    from modelstitch.matching import Matching
    from modelstitch.networks import Network
    from modelstitch.pretraining import Schedule
    from modelstitch.records import Store
    from modelstitch.stitches import Family
    from modelstitch.tasks import Task
    from modelstitch.tensors import Inputs

_DEVICES = ("cpu", "cuda", "mps", "xpu")


def choose(option: str, value: str, known: Iterable[str]) -> str:
    """The value, when it is one of those known.

    Raises:
        SettingError: it is not.
    """
    known = list(known)
    if value not in known:
        do = did_you_mean(value, known, f"choose one of {', '.join(known)}")
        raise SettingError(f"{option} {value}", "no such choice", do)
    return value


def compute_of(device: str | None, memory: float | None = None, folder: Path | None = None) -> Compute:
    """Where to compute, of several processes each on its own device, and how much room activations may take.

    Raises:
        SettingError: no such kind of device, or none of it in this machine; or a size that cannot be.
    """
    from modelstitch.compute import Compute
    from modelstitch.parallel import ranks

    room = Compute(folder=folder) if memory is None else Compute(memory=memory, folder=folder)
    if ranks().several or device is None:
        return room
    choose("--device", device.partition(":")[0], _DEVICES)
    return room.at(device)


def use_threads(threads: int | None) -> None:
    """Compute with so many CPU threads from here on.

    Raises:
        SettingError: fewer than one.
    """
    import torch

    if threads is None:
        return
    if threads < 1:
        raise SettingError(f"--threads {threads}", "no thread to compute with", "choose 1 or more, or leave it out")
    torch.set_num_threads(threads)


def store_of(path: Path | None) -> Store | None:
    """The file that takes the records, where one was named."""
    from modelstitch.records import Store

    return Store(path) if path else None


def split_of(
    name: str | None,
    folder: str | None,
    limit: int | None = None,
    networks: Sequence[Network] = (),
    size: int | None = None,
) -> Split:
    """The data that was named, or that the networks were trained on.

    Raises:
        SettingError: none was named and the networks do not agree on one, or a limit below one.
    """
    from modelstitch.data import Split, load

    name = name or _common_data(networks)
    if name == "image_folder" and size is None:
        size = _common_size(networks)
    split = load(name, folder=folder, size=size)
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


def family_of(name: str, kernel: int | None) -> Family:
    """The family of that name.

    Raises:
        SettingError: no such family, or it has no kernel.
    """
    from modelstitch.stitches import FAMILIES

    kind = FAMILIES[choose("--family", name, FAMILIES)]
    return kind(**_given(kind, f"--family {name}", {"kernel": kernel}))


def matching_of(by: str, **options: Any) -> Matching:
    """The matching of that name, with those of its options that were given.

    Raises:
        SettingError: no such matching, or an option of the other one.
    """
    from modelstitch.compute import PRECISIONS
    from modelstitch.matching import MATCHINGS, STARTS, TOP_MODES

    kind = MATCHINGS[choose("--by", by, MATCHINGS)]
    for name, known in (("start", STARTS), ("precision", PRECISIONS), ("top", TOP_MODES)):
        if options.get(name) is not None:
            choose(f"--{name}", options[name], known)
    return kind(**_given(kind, f"--by {by}", options))


def task_of(name: str | None) -> Task | None:
    """The task of that name; None where it is to be guessed.

    Raises:
        SettingError: no such task.
    """
    from modelstitch.tasks import TASKS

    return None if name is None else TASKS[choose("--task", name, TASKS)]()


def schedule_of(data: str, method: Any, **options: Any) -> Schedule:
    """The data set's own schedule for a method, with what was given in its place.

    Raises:
        SettingError: no such method, or a value that cannot train.
    """
    from modelstitch.pretraining import METHODS, default_schedule

    choose("--method", method, METHODS)

    given = {name: value for name, value in options.items() if value is not None}
    return default_schedule(data.rpartition(":")[2], method, **given)


def _given(kind: Any, asked: str, options: dict[str, Any]) -> dict[str, Any]:
    """The options that were given; an option without effect is refused, since its author expects one."""
    given = {name: value for name, value in options.items() if value is not None}
    known = [field.name for field in dataclasses.fields(kind)]
    for name in given:
        if name not in known:
            told = ", ".join(f"--{one.replace('_', '-')}" for one in known) or "nothing"
            option = f"--{name.replace('_', '-')}"
            raise SettingError(f"{asked} with {option}", f"it takes {told}", f"leave {option} out")
    return given


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


def figures_of(paths: Sequence[Path]) -> Sequence[Path]:
    """Paths that a figure can be written to: asked before hours of stitching, not after.

    Raises:
        SettingError: no format has that ending.
    """
    if paths:
        from modelstitch.figures import check_ending

        for path in paths:
            check_ending(path)
    return paths


def tables_of(paths: Sequence[Path]) -> Sequence[Path]:
    """Paths that points can be written to: asked before the work, not after.

    Raises:
        SettingError: another ending than ``.csv`` or ``.json``.
    """
    for path in paths:
        if path.suffix.lower() not in (".csv", ".json"):
            raise SettingError(f"points in {path}", f"the ending {path.suffix!r}", "use one of .csv, .json")
    return paths
