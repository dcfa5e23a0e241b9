"""The networks of a run: each trained once, in a folder named after what was asked, and shared by all recipes."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from modelstitch.data import Examples
from modelstitch.networks import Network, build, load_network
from modelstitch.parallel import ranks
from modelstitch.pretraining import (
    Schedule,
    checkpoint_folder,
    data_options,
    default_schedule,
    output_options,
    train_network,
)
from modelstitch.recipe import TrainedNetwork
from modelstitch.stitching import key_of
from modelstitch.support.settings import spelled
from modelstitch.sweep.plan import Training
from modelstitch.sweep.run_data import RunData
from modelstitch.tasks import Classification, Task


@dataclass(frozen=True)
class NetworkStore:
    """A folder of network folders.

    Args:
        root: made when the first network is trained.
    """

    root: Path

    def folder(self, training: Training, data: RunData) -> Path:
        """Where the network of a training lies, or will lie: the same for whoever asks the same."""
        asked, split = training.asked, data.learnt_by(training.asked)
        told = {
            "architecture": asked.architecture,
            "options": json.dumps(asked.options, sort_keys=True),
            "train": [split.train.name, split.train.fingerprint, split.test.fingerprint],
            "method": asked.method,
            "schedule": dataclasses.asdict(schedule_for(asked, split.train)),
            "seed": training.seed,
            "checkpoints": training.checkpoints,
        }
        # What goes without saying leaves no trace, so that it makes no stored network another.
        if training.start:
            before = self.folder(training.start, data)
            told["start"] = [before.name, training.start.asked.checkpoint]
        if asked.freeze:
            told["freeze"] = asked.freeze
        if learnt_task(data) not in (None, Classification()):
            told["task"] = spelled(data.task)
        return self.root / f"{split.train.name}-{asked.architecture}-{key_of({'network': json.dumps(told)})}"

    def has(self, training: Training, data: RunData) -> bool:
        """Whether the network is there."""
        return ranks().from_first((self.folder(training, data) / "config.json").exists)

    def train(self, training: Training, data: RunData, start: nn.Module | None = None) -> Path:
        """Train the network, or find it trained.

        Args:
            training: what to train.
            data: the data.
            start: the network whose weights it begins with, where the training names one.

        Returns:
            Its folder; of a checkpoint, the folder of that.

        Raises:
            StitchError: it cannot be trained, or what lies in its folder is damaged.
        """
        asked, split = training.asked, data.learnt_by(training.asked)
        folder = self.folder(training, data)
        train_network(
            asked.architecture,
            split,
            seed=training.seed,
            folder=folder,
            task=learnt_task(data),
            method=asked.method,
            schedule=schedule_for(asked, split.train),
            checkpoints=training.checkpoints,
            start=start,
            freeze=asked.freeze,
            compute=data.compute,
            **options_for(asked, data),
        )
        return place_of(training, folder)

    def load(self, training: Training, data: RunData) -> Network:
        """The trained network, under the name that the recipe gives it."""
        found = load_network(str(place_of(training, self.folder(training, data))))
        return dataclasses.replace(found, name=training.network, kinds=training.asked.kinds)


def learnt_task(data: RunData) -> Task | None:
    """What networks learn: the task that the recipe names, or what data and outputs can only be."""
    return None if data.task is None or data.task.answers_are_targets else data.task


def options_for(asked: TrainedNetwork, data: RunData) -> dict[str, Any]:
    """The architecture's options; a network that learns fewer classes keeps an output for each class of the data."""
    lists = {name: tuple(value) if isinstance(value, list) else value for name, value in asked.options.items()}
    return {**output_options(data.whole.train), **lists}


def built_for(training: Training, data: RunData) -> nn.Module:
    """The network of a training before it begins."""
    asked, whole = training.asked, data.whole
    options = {**data_options(asked.architecture, whole.train, whole.test), **options_for(asked, data)}
    return build(asked.architecture, seed=training.seed, **options).eval()


def place_of(training: Training, folder: Path) -> Path:
    """The folder of the network as it is used: after the last epoch, or at a checkpoint."""
    at = training.asked.checkpoint
    return folder if at is None else checkpoint_folder(folder, at)


def schedule_for(asked: TrainedNetwork, train: Examples) -> Schedule:
    """The data set's own schedule for the method, with what the recipe says in its place."""
    given = {name: getattr(asked, name) for name in ("epochs", "batch_size", "learning_rate", "weight_decay")}
    told = {name: value for name, value in given.items() if value is not None}
    return default_schedule(train.name, asked.method, **told)
