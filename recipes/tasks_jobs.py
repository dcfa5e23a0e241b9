"""The jobs of tasks.py: what each learns, by which networks, and how it is called on the command line."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
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
        labelled: gives the examples that the networks learn, where those are others.
        networks: the folder of the networks; jobs may share them.
        controls: beside each stitching.
        stitch: what of fitting the stitches is not by default.
        more: options of the architecture that neither the width nor the data decide.
        guess: finds from the test examples what a guess is worth, where there is no noise to say it.
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
    more: dict[str, Any] = field(default_factory=dict)
    guess: Callable[[Any], float] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "networks", self.networks or self.name)

    @property
    def axis(self) -> list[str]:
        """What the penalty counts, in the words of the task and not of another that calls its score alike."""
        first = self.task.scores[0]
        plain = first.unit in first.title or first.unit.startswith(first.name)
        return [f"penalty, {first.unit}"] if plain else [f"penalty, {first.unit} of", first.title]

    def learnt(self) -> ms.Split[Any]:
        """What the networks learn."""
        return (self.labelled or self.data)()

    def trained_by(self, nets: Path) -> ms.Task:
        """The task that the networks learn: nobody can learn to imitate himself."""
        return ms.Classification() if self.labelled else self.judged(nets)

    def sizes(self) -> dict[str, Any]:
        """The width as the architecture takes it."""
        width = {"widths": (self.width, self.width)} if self.architecture == "mlp" else {"width": self.width}
        return width | self.more

    def judged(self, nets: Path) -> ms.Task:
        """What judges the stitched networks, its gallery written into NETS if it has one."""
        if not isinstance(self.task, ms.Retrieval):
            return self.task
        path = nets / self.networks / "gallery.npy"
        tasks_data.write_gallery(path)
        return ms.Retrieval(path.as_posix())

    def commands(self) -> list[str]:
        """The same job on the command line, from the root of the repository."""
        if isinstance(self.task, ms.Retrieval):
            return [
                "python -c \"from recipes.tasks_data import write_gallery; write_gallery('nets/halves/gallery.npy')\"",
                "modelstitch sweep recipes/tasks_halves.yaml",
            ]
        options, fitted = _options(self.schedule), _options(self.stitch)
        learnt, data = (f"py:recipes.tasks_data:{one.__name__}" for one in (self.labelled or self.data, self.data))
        learns = "classification" if self.labelled else self.task.name
        train = f"modelstitch train {self.architecture} --data {learnt} --task {learns}"
        folder = f"nets/{self.networks}"
        return [
            *(f"{train} --width {self.width}{options} --seed {seed} --out {folder}/seed{seed}" for seed in (0, 1)),
            f"modelstitch stitch {folder}/seed0 {folder}/seed1 --data {data} --task {self.task.name}{fitted} "
            f"--out {self.name}.sqlite --figure {self.name}.png",
        ]


def _options(settings: dict[str, Any]) -> str:
    return "".join(f" --{name.replace('_', '-')} {value}" for name, value in settings.items())


def _clothes(name: str, title: str, data: Callable[[], ms.Split[Any]], task: ms.Task) -> Job:
    how: dict[str, Any] = {"stitch": {"epochs": 1, "batch_size": 64}, "controls": ("self", "untrained")}
    return Job(name, title, data, task, "myrtle", 8, {"epochs": 4}, tasks_data.labelled, "clothes", **how)


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
        # Texts of any length leave no room for noise of one shape.
        controls=("self", "untrained"),
        guess=tasks_data.letters_alone,
    ),
    Job(
        "garments",
        "Pixels: two or three garments on a canvas",
        tasks_data.garments,
        ms.Pixels(),
        "unet",
        8,
        {"epochs": 12, "learning_rate": 0.1, "batch_size": 32},
        stitch={"epochs": 6, "batch_size": 32},
    ),
    Job(
        "halves",
        "Retrieval: the other half of a garment",
        tasks_data.halves,
        ms.Retrieval(),
        "mlp",
        256,
        {"epochs": 10, "learning_rate": 0.1},
        more={"classes": tasks_data.WIDE},
    ),
    _clothes("imitation", "No labels: clothes as the top sees them", tasks_data.unlabelled, ms.Imitation()),
    replace(
        _clothes("labelled", "The same networks with labels", tasks_data.labelled, ms.Classification()),
        guess=tasks_data.one_class,
    ),
)
JOBS = {job.name: job for job in _ALL}
"""By name, in the order in which they are shown."""
