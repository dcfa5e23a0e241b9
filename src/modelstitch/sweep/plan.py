"""The plan: which networks to train, which pairs to stitch and to compare. Pure data, made from a recipe alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from modelstitch.recipe import GivenNetwork, Recipe, Stitchings, TrainedNetwork


@dataclass(frozen=True)
class Training:
    """One network to train, or to find trained.

    Attributes:
        network: its name in the recipe, such as ``net-0``.
        asked: its description.
        seed: of initial weights, order and augmentation.
        checkpoints: epochs after which any network of the recipe that is trained alike is used.
        start: the training of the network whose weights it begins with.
    """

    network: str
    asked: TrainedNetwork
    seed: int
    checkpoints: tuple[int, ...] = ()
    start: Training | None = None

    def __str__(self) -> str:
        return f"train {self.network}"

    @property
    def needs(self) -> tuple[str, ...]:
        """The network whose weights it begins with has to be there first."""
        return (self.start.network,) if self.start else ()

    @property
    def wave(self) -> int:
        """How many networks have to be trained before it, one after the other."""
        return self.start.wave + 1 if self.start else 0


@dataclass(frozen=True)
class PairJob:
    """One pair of networks with all its stitchings: one job, since they share both networks' passes.

    Attributes:
        bottom: name of the network that lends its bottoms.
        top: name of the network that lends its tops.
        asked: cuts, families, matchings and controls.
        entry: which part of the recipe it comes from, counted from 1.
    """

    bottom: str
    top: str
    asked: Stitchings
    entry: int

    def __str__(self) -> str:
        arrow = "<->" if self.asked.both_ways else "->"
        return f"stitch {self.bottom} {arrow} {self.top} (stitchings {self.entry})"

    @property
    def needs(self) -> tuple[str, ...]:
        """The networks that have to be there first."""
        return (self.bottom, self.top)


@dataclass(frozen=True)
class CompareJob:
    """One pair of networks compared at all pairs of their block cuts.

    Attributes:
        a: name of the first network.
        b: name of the second.
        measures: by name.
    """

    a: str
    b: str
    measures: tuple[str, ...]

    def __str__(self) -> str:
        return f"compare {self.a} and {self.b}"

    @property
    def needs(self) -> tuple[str, ...]:
        """The networks that have to be there first."""
        return (self.a, self.b)


Job = Training | PairJob | CompareJob


@dataclass(frozen=True)
class Plan:
    """Everything a recipe asks for.

    Attributes:
        recipe: what was asked.
        loads: networks that exist already, by name.
        trainings: networks to train.
        pairs: pairs to stitch.
        comparisons: pairs to compare.
    """

    recipe: Recipe
    loads: dict[str, GivenNetwork]
    trainings: tuple[Training, ...]
    pairs: tuple[PairJob, ...]
    comparisons: tuple[CompareJob, ...]

    @property
    def names(self) -> list[str]:
        """Every network that is used."""
        return [*self.loads, *(one.network for one in self.trainings)]

    def training(self, name: str) -> Training:
        """The training of a network."""
        return next(one for one in self.trainings if one.network == name)


def plan_of(recipe: Recipe) -> Plan:
    """The plan of a recipe: networks that no pair names are left out, and no pair is compared twice."""
    pairs = tuple(
        PairJob(bottom, top, each, entry)
        for entry, each in enumerate(recipe.stitchings, 1)
        for bottom, top in each.pairs
    )
    described = _described(recipe, [name for job in pairs for name in job.needs])
    trained = {name: (one, seed) for name, (one, seed) in described.items() if isinstance(one, TrainedNetwork)}
    compared = dict.fromkeys(tuple(sorted(job.needs)) for job in pairs) if recipe.measures else {}
    return Plan(
        recipe,
        {name: one for name, (one, _) in described.items() if isinstance(one, GivenNetwork)},
        tuple(_training(name, trained) for name in trained),
        pairs,
        tuple(CompareJob(a, b, tuple(recipe.measures)) for a, b in compared),
    )


Described = dict[str, tuple[TrainedNetwork | GivenNetwork, int]]


def _described(recipe: Recipe, names: Sequence[str]) -> Described:
    """These networks, and before each the one that it starts from."""
    known, found = recipe.network_names(), Described()
    for name in names:
        chain = [name]
        while start := getattr(known[chain[-1]][0], "start", None):
            chain.append(start)
        found |= {one: known[one] for one in reversed(chain) if one not in found}
    return found


def _training(name: str, trained: dict[str, tuple[TrainedNetwork, int]]) -> Training:
    asked, seed = trained[name]
    start = _training(asked.start, trained) if asked.start else None
    return Training(name, asked, seed, _checkpoints(asked, list(trained.values())), start)


def _checkpoints(asked: TrainedNetwork, trained: Sequence[tuple[TrainedNetwork, int]]) -> tuple[int, ...]:
    """The epochs that networks of the same schedule are used at, so that one training serves them all."""
    same = [one for one, _ in trained if one.trained_alike() == asked.trained_alike()]
    return tuple(sorted({one.checkpoint for one in same if one.checkpoint}))
