"""Base networks trained once and kept: a folder that already holds what is asked is not trained again.

A network can also be kept as it was after some epochs, each time in a folder of its own, ``FOLDER/epochs/NNN``. Beware:
such a checkpoint is no network trained for less time, since its learning rate had not dropped yet.
"""

from __future__ import annotations

import dataclasses
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from torch import nn

from modelstitch.compute import Compute
from modelstitch.data import Examples, Samples, Split
from modelstitch.errors import SettingError, did_you_mean
from modelstitch.networks import Config, build, load_folder, save_network, weights_fingerprint
from modelstitch.networks.folder import CONFIG
from modelstitch.parallel import by_first
from modelstitch.pretraining.descent import Curve, Schedule
from modelstitch.pretraining.from_data import data_options
from modelstitch.pretraining.simclr import TEMPERATURE, fit_head, train_simclr
from modelstitch.pretraining.supervised import scores_of, task_for, train_supervised
from modelstitch.support.settings import spelled
from modelstitch.support.tensors import leaves
from modelstitch.tasks import Classification, Task

Method = Literal["supervised", "simclr"]
METHODS: tuple[str, ...] = get_args(Method)
SCHEDULES: dict[str, dict[str, Schedule]] = {
    "supervised": {
        "digits": Schedule(epochs=12),
        "fashion_mnist": Schedule(epochs=6),
        "cifar10": Schedule(epochs=64),
        "cifar100": Schedule(epochs=64),
        # The number of passes that ImageNet is commonly given.
        "image_folder": Schedule(epochs=90, batch_size=256),
    },
    "simclr": {
        "digits": Schedule(epochs=60, batch_size=256),
        "fashion_mnist": Schedule(epochs=30, batch_size=256),
        "cifar10": Schedule(epochs=200, batch_size=256),
        "cifar100": Schedule(epochs=200, batch_size=256),
        "image_folder": Schedule(epochs=100, batch_size=256),
    },
}
"""What each method takes by default on each data set; a part of one or a relabelled one (``name-…``) takes the same."""

# What a configuration says of training that was not asked.
_FOUND = ("curve", "head_curve")


def train_network(
    architecture: str,
    split: Split[Examples],
    *,
    seed: int,
    folder: str | Path,
    task: Task | None = None,
    method: Method = "supervised",
    schedule: Schedule | None = None,
    checkpoints: Sequence[int] = (),
    start: nn.Module | None = None,
    freeze: Sequence[str] = (),
    compute: Compute | None = None,
    **options: Any,
) -> Config:
    """Build, train, test and save a network; or, where the folder already holds exactly that, only read it.

    Args:
        architecture: a name in ``modelstitch.networks.ARCHITECTURES``.
        split: what to learn, and what to judge the result on; its name and fingerprints are stored, so that a subset
            or other labels make another network.
        seed: keys the initial weights, the order and the augmentation.
        folder: the network folder to write.
        task: what the network learns, as of `train_supervised`; a folder with another task holds another network.
        method: ``supervised``, or ``simclr``: the labels are seen by the last layer alone, which is fitted afterwards.
        schedule: how long and how fast; by default the data set's own for that method.
        checkpoints: epochs after which the network is kept as well, each time in the network folder that
            `checkpoint_folder` names, with the curve so far and its scores then. They change nothing else.
        start: a network of the same architecture whose weights to begin with; untouched, and told by their fingerprint.
        freeze: as of `train_supervised`.
        compute: where, as of `train_supervised`; it is no part of what is asked.
        options: the architecture's own; what the data decide (`data_options`) is taken from them unless told here.

    Returns:
        The configuration as stored: what was asked, the learning curve, and ``test_error`` in percent; of a task other
        than classification ``task`` as JSON, and ``test`` with each of its scores. One by simclr names its method and
        has two curves, the other being the last layer's, ``head_curve``.

    Raises:
        SettingError: the folder holds another network or lacks a checkpoint, there is no such epoch or method, the
            data has no default schedule, the start is another architecture, a pattern freezes nothing, the task cannot
            be guessed, or simclr is asked of another task than classification.
        TaskMismatch: the network's outputs, the targets and the task do not belong together.
        NumericalFailure: the loss, or an output for a test example, is not finite.
        BadFile: the folder holds a damaged network.
        NotWritable: the folder refuses.
    """
    schedule = _checked(schedule, split.train.name, method, checkpoints)
    options = data_options(architecture, split.train, split.test, **options)
    network = _built(architecture, seed, options, start)
    task = task_for(network, split.train, task)
    asked = _asked(architecture, options, split, seed, method, schedule) | _told(task, method)
    asked["training"] |= _begun(start, freeze, method)
    if there := _stored(folder, asked, checkpoints):
        return there

    def keep(folder: str | Path, **told: Any) -> Config:
        if method == "simclr":
            told["head_curve"] = fit_head(network, _samples(split.train), seed=seed, compute=compute)
        training = {**asked["training"], **told}
        found = _found(network.eval(), split.test, task, compute)
        return _saved(network, {**asked, "training": training, **found}, folder)

    def after_epoch(curve: Curve) -> None:
        if len(curve) in checkpoints:
            keep(checkpoint_folder(folder, len(curve)), epoch=len(curve), curve=curve)

    how = {"schedule": schedule, "seed": seed, "compute": compute, "after_epoch": after_epoch}
    return keep(folder, curve=_learned(network, split.train, method, task, freeze, how))


def _learned(
    network: nn.Module, train: Examples, method: str, task: Task, freeze: Sequence[str], how: dict[str, Any]
) -> Curve:
    if method == "simclr":
        return train_simclr(network, _samples(train), **how)
    return train_supervised(network, train, task=task, freeze=freeze, **how)


def _found(network: nn.Module, test: Examples, task: Task, compute: Compute | None) -> Config:
    """What a configuration says of a trained network."""
    scores = scores_of(network, test, task, compute=compute)
    told = {"test_error": scores["error"]} if isinstance(task, Classification) else {"test": scores}
    return {**told, "versions": {"python": platform.python_version(), "torch": torch.__version__}}


def _samples(examples: Examples) -> Samples:
    """The examples, which simclr takes as images with labels.

    Raises:
        SettingError: they are others.
    """
    if not isinstance(examples, Samples):
        found = f"a {type(examples).__name__}"
        raise SettingError(f"learn {examples.name!r} by simclr", found, "give Samples: images of bytes with labels")
    return examples


@by_first
def _saved(network: nn.Module, config: Config, folder: str | Path) -> Config:
    """The configuration as the folder gives it back."""
    save_network(network, config, folder)
    return load_folder(folder)[1]


def checkpoint_folder(folder: str | Path, epoch: int) -> Path:
    """Where `train_network` keeps a network as it was after an epoch.

    Example:
        >>> checkpoint_folder("nets/a", 7).as_posix()
        'nets/a/epochs/007'
    """
    return Path(folder) / "epochs" / f"{epoch:03d}"


def _begun(start: nn.Module | None, freeze: Sequence[str], method: str) -> Config:
    """What a configuration says of a network that did not begin afresh, or not all of which trains."""
    if freeze and method != "supervised":
        raise SettingError(f"freeze {', '.join(freeze)} by {method}", "supervised alone can", "leave one of them out")
    told = {} if start is None else {"start": weights_fingerprint(start)}
    return told | ({"freeze": list(freeze)} if freeze else {})


def _built(architecture: str, seed: int, options: dict[str, Any], start: nn.Module | None) -> nn.Module:
    """The network before training, with fresh weights or those of another."""
    network = build(architecture, seed=seed, **options)
    if start is None:
        return network
    asked = f"train a {architecture} that starts from another network"
    try:
        network.load_state_dict(start.state_dict())
    except RuntimeError as error:
        found = " ".join(str(error).splitlines()[:2]).replace("\t", "")
        raise SettingError(asked, found, "start from a network of the same architecture and options") from error
    return network


def _told(task: Task, method: str) -> Config:
    """What a configuration says of the task; classification goes without saying.

    Raises:
        SettingError: a method that cannot learn the task.
    """
    if spelled(task) == spelled(Classification()):
        return {}
    if method != "supervised":
        raise SettingError(f"learn {spelled(task)} by {method}", "a method for classes", "learn it supervised")
    return {"task": spelled(task)}


def _checked(schedule: Schedule | None, data: str, method: str, checkpoints: Sequence[int]) -> Schedule:
    """The schedule, by default the data set's own.

    Raises:
        SettingError: no such method or epoch, or data without a schedule.
    """
    _check_method(method)
    schedule = schedule or default_schedule(data, method)
    for epoch in checkpoints:
        if not 1 <= epoch <= schedule.epochs:
            asked = f"keep a network after epoch {epoch}"
            raise SettingError(asked, f"{schedule.epochs} epochs", f"choose 1 to {schedule.epochs}")
    return schedule


def _asked(
    architecture: str, options: dict[str, Any], split: Split[Examples], seed: int, method: str, schedule: Schedule
) -> Config:
    """The part of a configuration that is known before training, as JSON gives it back."""
    train = split.train
    # The method that goes without saying leaves no trace, so that others make no stored network another.
    told = {} if method == "supervised" else {"method": method, "temperature": TEMPERATURE}
    return {
        "architecture": architecture,
        "options": {name: list(value) if isinstance(value, tuple) else value for name, value in options.items()},
        "data": {
            "name": train.name,
            "shape": list(leaves(train.example)[0].shape[1:]),
            "train": train.fingerprint,
            "test": split.test.fingerprint,
            **({"mean": list(train.mean), "std": list(train.std)} if isinstance(train, Samples) else {}),
        },
        "training": {"seed": seed, **told, **dataclasses.asdict(schedule)},
    }


@by_first
def _stored(folder: str | Path, asked: Config, checkpoints: Sequence[int]) -> Config | None:
    """The configuration in the folder, if it and its checkpoints say what is asked; None where there is none."""
    if not (Path(folder) / CONFIG).exists():
        return None
    for epoch in sorted(checkpoints):
        place = checkpoint_folder(folder, epoch)
        if not (place / CONFIG).exists():
            # Training again only for this would have to write over the network that is there.
            found, do = f"a trained network without {place}", "name another folder, or remove this one"
            raise SettingError(f"a network after epoch {epoch} in {folder}", found, do)
        _check_same(place, {**asked, "training": {**asked["training"], "epoch": epoch}})
    return _check_same(folder, asked)


def _check_same(folder: str | Path, asked: Config) -> Config:
    _, config = load_folder(folder)
    training = {key: value for key, value in config.get("training", {}).items() if key not in _FOUND}
    # A task that goes without saying is told by neither.
    for key in dict.fromkeys([*asked, "task"]):
        wanted, there = asked.get(key), training if key == "training" else config.get(key)
        if wanted != there:
            do = "name another folder, or remove this one"
            raise SettingError(f"train a network with {key} = {wanted} in {folder}", f"{key} = {there}", do)
    return config


def default_schedule(data: str, method: str = "supervised", **told: Any) -> Schedule:
    """What a data set takes by default.

    Args:
        data: its name, or that of a part of it or of other labels (``name-…``).
        method: how the network learns.
        told: fields of the schedule to put in place of the data set's own; data without a schedule need ``epochs``.

    Raises:
        SettingError: no such method, or no schedule for that data.

    Example:
        >>> default_schedule("fashion_mnist-noise0.5-seed0").epochs
        6
    """
    _check_method(method)
    family = data.split("-")[0]
    if family in SCHEDULES[method]:
        return dataclasses.replace(SCHEDULES[method][family], **told)
    if "epochs" not in told:
        found = f"default schedules for {', '.join(SCHEDULES[method])} only"
        raise SettingError(f"train on {data!r}", found, "give a schedule, or a number of epochs")
    return Schedule(**told)


def _check_method(method: str) -> None:
    if method not in METHODS:
        do = did_you_mean(method, METHODS, f"choose one of {', '.join(METHODS)}")
        raise SettingError(f"train a network by {method!r}", "no such method", do)
