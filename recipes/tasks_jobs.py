"""The jobs of tasks.py: what each learns, by which networks, and how it is called on the command line."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import tasks_data

import modelstitch as ms


@dataclass(frozen=True)
class Job:
    """One data set, one task, two networks.

    Args:
        name: of the records.
        title: what is learnt, in a few words.
        data: gives the examples to stitch on.
        task: what judges the stitched networks.
        architecture: of both networks.
        width: as of `modelstitch train`.
        schedule: what of the training is not by default.
        guess: what a guess that knows no input scores, in words, to hold noise against.
        labelled: gives the examples that the networks learn, where those are others.
        networks: the folder of the networks; jobs may share them.
        controls: beside each stitching.
        stitch: what of fitting the stitches is not by default.
    """

    name: str
    title: str
    data: Callable[[], ms.Split[Any]]
    task: ms.Task
    architecture: str
    width: int
    schedule: dict[str, Any]
    labelled: Callable[[], ms.Split[Any]] | None = None
    networks: str = ""
    controls: tuple[str, ...] = ("self", "untrained", "noise")
    stitch: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "networks", self.networks or self.name)

    @property
    def axis(self) -> str:
        """What the penalty counts, in the words of the task and not of another that calls its score alike."""
        first = self.task.scores[0]
        return f"penalty, {first.unit}" if first.unit in first.title else f"penalty, {first.unit} of {first.title}"

    def learnt(self) -> ms.Split[Any]:
        """What the networks learn."""
        return (self.labelled or self.data)()

    @property
    def trained_by(self) -> ms.Task:
        """The task that the networks learn: nobody can learn to imitate himself."""
        return ms.Classification() if self.labelled else self.task

    def sizes(self) -> dict[str, Any]:
        """The width as the architecture takes it."""
        return {"widths": (self.width, self.width)} if self.architecture == "mlp" else {"width": self.width}

    def commands(self) -> list[str]:
        """The same job on the command line, from the root of the repository."""
        options, fitted = _options(self.schedule), _options(self.stitch)
        learnt, data = (f"py:recipes.tasks_data:{one.__name__}" for one in (self.labelled or self.data, self.data))
        train = f"modelstitch train {self.architecture} --data {learnt} --task {self.trained_by.name}"
        folder = f"nets/{self.networks}"
        return [
            *(f"{train} --width {self.width}{options} --seed {seed} --out {folder}/seed{seed}" for seed in (0, 1)),
            f"modelstitch stitch {folder}/seed0 {folder}/seed1 --data {data} --task {self.task.name}{fitted} "
            f"--out {self.name}.sqlite --figure {self.name}.png",
        ]


def _options(settings: dict[str, Any]) -> str:
    return "".join(f" --{name.replace('_', '-')} {value}" for name, value in settings.items())


def _clothes(name: str, title: str, data: Callable[[], ms.Split[Any]], task: ms.Task) -> Job:
    schedule = {"epochs": 4}
    labelled = tasks_data.labelled
    return Job(name, title, data, task, "myrtle", 8, schedule, labelled=labelled, networks="clothes")


_ALL = (
    Job(
        "diabetes",
        "Regression: the course of diabetes",
        tasks_data.diabetes,
        ms.Regression(),
        "mlp",
        32,
        {"epochs": 40, "learning_rate": 0.02},
    ),
    Job(
        "lemmas",
        "Several labels: categories of nouns",
        tasks_data.lemmas,
        ms.MultiLabel(),
        "mlp",
        128,
        {"epochs": 20, "learning_rate": 1.0},
    ),
    Job(
        "glosses",
        "Next token: definitions, letter by letter",
        tasks_data.glosses,
        ms.NextToken(),
        "gpt",
        32,
        {"epochs": 6, "learning_rate": 0.2, "batch_size": 16},
        # The default, 500 steps of 128 texts at six cuts six times over, takes half an hour on one core.
        stitch={"epochs": 1, "batch_size": 32},
    ),
    _clothes("imitation", "No labels: clothes as the top sees them", tasks_data.unlabelled, ms.Imitation()),
    _clothes("labelled", "The same networks with labels", tasks_data.labelled, ms.Classification()),
)
JOBS = {job.name: job for job in _ALL}
"""By name, in the order in which they are shown."""
