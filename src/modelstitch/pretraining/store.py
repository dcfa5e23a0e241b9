"""Base networks trained once and kept: a folder that already holds what is asked is not trained again."""

from __future__ import annotations

import dataclasses
import platform
from pathlib import Path
from typing import Any

import torch
from torch import nn

from modelstitch.data import Samples, Split
from modelstitch.errors import SettingError
from modelstitch.networks import Config, build, load_folder, save_network
from modelstitch.networks.folder import CONFIG
from modelstitch.parallel import ranks
from modelstitch.pretraining.supervised import Schedule, error_percent, train_supervised

SCHEDULES = {
    "digits": Schedule(epochs=12),
    "fashion_mnist": Schedule(epochs=6),
    "cifar10": Schedule(epochs=64),
}
"""What each data set takes by default; a smaller copy of one (``name-sizes``) takes the same."""


def train_network(
    architecture: str,
    split: Split,
    *,
    seed: int,
    folder: str | Path,
    schedule: Schedule | None = None,
    device: str | torch.device | None = None,
    **options: Any,
) -> Config:
    """Build, train, test and save a network; or, where the folder already holds exactly that, only read it.

    Args:
        architecture: a name in ``modelstitch.networks.ARCHITECTURES``.
        split: what to learn, and what to judge the result on.
        seed: keys the initial weights, the order and the augmentation.
        folder: the network folder to write.
        schedule: how long and how fast; by default the data set's own.
        device: where to compute; it is no part of what is asked. By default this process's own, else the CPU.
        options: the architecture's own; input size and classes are taken from the data.

    Returns:
        The configuration as stored: what was asked, the learning curve, and ``test_error`` in percent.

    Raises:
        SettingError: the folder holds another network, or the data has no default schedule.
        BadFile: the folder holds a damaged network.
        NotWritable: the folder refuses.
    """
    schedule = schedule or _default_schedule(split.train)
    options = {**_data_options(architecture, split.train), **options}
    asked = _asked(architecture, options, split, seed, schedule)
    if held := ranks().from_first(lambda: _stored(folder, asked) if (Path(folder) / CONFIG).exists() else None):
        return held
    network = build(architecture, seed=seed, **options)
    curve = train_supervised(network, split.train, schedule=schedule, seed=seed, device=device)
    place = device or ranks().device or "cpu"
    found = {"test_error": error_percent(network, split.test, device=place), "versions": _versions()}
    config = {**asked, "training": {**asked["training"], "curve": curve}, **found}
    return ranks().from_first(lambda: _saved(network, config, folder))


def _saved(network: nn.Module, config: Config, folder: str | Path) -> Config:
    """The configuration as the folder gives it back."""
    save_network(network, config, folder)
    return load_folder(folder)[1]


def _versions() -> dict[str, str]:
    return {"python": platform.python_version(), "torch": torch.__version__}


def _asked(architecture: str, options: dict[str, Any], split: Split, seed: int, schedule: Schedule) -> Config:
    """The part of a configuration that is known before training, as JSON gives it back."""
    train = split.train
    return {
        "architecture": architecture,
        "options": {name: list(value) if isinstance(value, tuple) else value for name, value in options.items()},
        "data": {
            "name": train.name,
            "shape": list(train.inputs.shape[1:]),
            "train": train.fingerprint,
            "test": split.test.fingerprint,
            "mean": list(train.mean),
            "std": list(train.std),
        },
        "training": {"seed": seed, **dataclasses.asdict(schedule)},
    }


def _stored(folder: str | Path, asked: Config) -> Config:
    """The configuration in the folder, if it says what is asked."""
    _, config = load_folder(folder)
    training = {key: value for key, value in config.get("training", {}).items() if key != "curve"}
    held = {**{key: config.get(key) for key in asked}, "training": training}
    for key, value in asked.items():
        if held[key] != value:
            do = "name another folder, or remove this one"
            raise SettingError(f"train a network with {key} = {value} in {folder}", f"{key} = {held[key]}", do)
    return config


def _data_options(architecture: str, samples: Samples) -> dict[str, int]:
    """What the data decides about a network."""
    shape = samples.inputs.shape
    size = {"inputs": shape[1:].numel()} if architecture == "mlp" else {"channels": shape[1]}
    return {**size, "classes": samples.classes}


def _default_schedule(samples: Samples) -> Schedule:
    family = samples.name.split("-")[0]
    if family not in SCHEDULES:
        known = ", ".join(SCHEDULES)
        raise SettingError(f"train on {samples.name!r}", f"default schedules for {known} only", "give a schedule")
    return SCHEDULES[family]
