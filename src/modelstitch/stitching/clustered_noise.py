"""Noise that tells an example's class and nothing else of it, in place of a bottom's activations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float64, Int64
from torch import Tensor, nn

from modelstitch.activations import Activations, Sources
from modelstitch.compute import exact_float32
from modelstitch.cut import Cut
from modelstitch.data import Examples
from modelstitch.errors import DataError, SettingError
from modelstitch.networks import Network
from modelstitch.stitching.noise import _fixed, _Noise
from modelstitch.support.seeding import generator
from modelstitch.support.tensors import fingerprint, leaves, rows
from modelstitch.tasks import Classification, Task

_BATCH = 256


@dataclass(frozen=True, eq=False)
class Clusters:
    """Mean and spread of each class at one cut, ``(classes, channels)`` both."""

    mean: Float64[Tensor, "k c"]
    spread: Float64[Tensor, "k c"]


def clustered_noise(
    bottom: Network, cuts: Sequence[Cut], train: Sources, test: Examples, task: Task, *, seed: int = 0
) -> Network:
    """A network whose bottoms give, for an example of class k, ``mean_k + spread_k · ε`` with ``ε ~ N(0, 1)``.

    Mean and spread are those of each channel over all positions of the train examples of the class; ``ε`` is drawn for
    each example, channel and position by itself. What a bottom gives is so the class, blurred as much as activations of
    one class differ, and nothing else of the input. The class is that of the label, also where the network errs.
    Beware: classes that differ only by where something is have nearly one mean in early maps; noise there tells little.

    As of `modelstitch.stitching.noise.noise`, an example has the same noise whenever it comes. An input is known by its
    bits: of others than those of the two sets no class is known, and they are refused.

    Args:
        bottom: the network to replace; its whole answers stay those of the record.
        cuts: where.
        train: the examples that give means and spreads; looked at when the first noise is asked for.
        test: further examples whose classes must be known.
        task: what outputs are judged by.
        seed: which noise.

    Raises:
        SettingError: a task without one class an example.
        DataError: an example of no known class (when noise is asked for).
    """
    if not isinstance(task, Classification):
        found = f"the task {task}, in which an example has no class"
        raise SettingError("noise clustered by class", found, "leave this control out, or judge by Classification")
    return bottom.cut_as(_Clustered(bottom, cuts, train, test, seed))


class _Clustered(_Noise):
    """A captured network whose bottoms give noise of each example's class."""

    def __init__(self, of: Network, cuts: Sequence[Cut], train: Sources, test: Examples, seed: int) -> None:
        super().__init__(of, cuts, train, seed)
        self._test = test
        self.name = f"clustered noise {seed} for {of.captured.name}"

    @cached_property
    def _classes(self) -> dict[str, int]:
        return classes_by_input([self._train.examples, self._test])

    @cached_property
    def _clusters(self) -> dict[Cut, Clusters]:
        cuts = list(dict.fromkeys(self._wanted))
        classes = 1 + max(self._classes.values())
        return dict(zip(cuts, clusters(self._train.of(self._of.captured), cuts, classes), strict=True))

    def _bottom(self, cuts: Sequence[Cut]) -> nn.Module:
        found = [self._clusters[cut] for cut in cuts]
        return _GaussianByClass(cuts, found, self._classes, self._seed).to(self._of.device)


class _GaussianByClass(nn.Module):
    """Gives noise at several cuts, of which the inputs say the class alone."""

    def __init__(self, cuts: Sequence[Cut], found: Sequence[Clusters], classes: dict[str, int], seed: int) -> None:
        super().__init__()
        self._names, self._classes, self._seed = [cut.name for cut in cuts], classes, seed
        self._shapes = [_fixed(cut) for cut in cuts]
        for index, (cut, one) in enumerate(zip(cuts, found, strict=True)):
            count, channels = one.mean.shape
            shape = [count, *[1] * cut.axis, channels, *[1] * (len(cut.shape) - 1 - cut.axis)]
            self.register_buffer(f"mean{index}", one.mean.float().view(shape))
            self.register_buffer(f"spread{index}", one.spread.float().view(shape))

    def forward(self, x: Tensor, *side: Tensor, **kwargs: Tensor) -> tuple[Tensor, ...]:
        """The noise of each example at each cut."""
        keys = [fingerprint({"": one}) for one in x]
        if any(key not in self._classes for key in keys):
            found = "an input of neither the train nor the test examples"
            raise DataError("noise clustered by class", found, "give the examples whose classes are known")
        of_class = torch.tensor([self._classes[key] for key in keys], device=x.device)
        answers = []
        for index, (name, shape) in enumerate(zip(self._names, self._shapes, strict=True)):
            streams = [generator("clustered noise", self._seed, name, key) for key in keys]
            drawn = torch.stack([torch.randn(shape, generator=stream) for stream in streams]).to(x.device)
            mean, spread = (self.get_buffer(f"{what}{index}")[of_class] for what in ("mean", "spread"))
            answers.append(mean + spread * drawn)
        return tuple(answers)


def classes_by_input(sets: Sequence[Examples]) -> dict[str, int]:
    """The class of each example, found by the bits of its main input, which is the first.

    Raises:
        DataError: one input with two classes.

    Example:
        >>> from modelstitch.data import Samples
        >>> sorted(classes_by_input([Samples("two", torch.tensor([[0.0], [1.0]]), torch.tensor([4, 7]), 8)]).values())
        [4, 7]
    """
    known: dict[str, int] = {}
    for examples in sets:
        for inputs, labels in examples.batches(_BATCH):
            for one, label in zip(leaves(inputs)[0], labels.tolist(), strict=True):
                if known.setdefault(fingerprint({"": one}), label) != label:
                    found = f"one input in {examples.name!r} with two classes, {label} and another"
                    raise DataError("noise clustered by class", found, "remove it, or leave this control out")
    return known


@torch.no_grad()
@exact_float32()
def clusters(source: Activations, cuts: Sequence[Cut], classes: int) -> list[Clusters]:
    """Mean and spread of each class at each cut, in one pass; ``var = Σ (x - c)² / n - (Σ (x - c) / n)²``.

    ``c`` is the mean of the first batch: about it, no digits are lost to activations far from 0. A class without
    examples has neither; its noise is no number.

    Args:
        source: the network over labelled examples.
        cuts: where.
        classes: how many there are.
    """
    sums: list[Tensor] = []
    centres: list[Tensor] = []
    with source.opened():
        for _, activations, batch in source.batches(cuts, _BATCH, source.examples.order(), share="all"):
            for index, (cut, found) in enumerate(zip(cuts, activations, strict=True)):
                seen = rows(found, cut.kind).cpu().double()
                labels = batch.targets.cpu().long().repeat_interleave(len(seen) // len(found))
                if index == len(centres):
                    centres.append(seen.mean(0))
                    sums.append(torch.zeros(classes, 1 + 2 * seen.shape[1], dtype=torch.float64))
                sums[index] += _summed(seen - centres[index], labels, classes)
    return [_clusters_of(one, centre) for one, centre in zip(sums, centres, strict=True)]


def _summed(centred: Float64[Tensor, "n c"], labels: Int64[Tensor, " n"], classes: int) -> Float64[Tensor, "k m"]:
    """For each class how many rows there are, their sum and that of their squares, side by side."""
    told = torch.cat([torch.ones(len(centred), 1, dtype=torch.float64), centred, centred.square()], 1)
    return torch.zeros(classes, told.shape[1], dtype=torch.float64).index_add_(0, labels, told)


def _clusters_of(sums: Float64[Tensor, "k m"], centre: Float64[Tensor, " c"]) -> Clusters:
    many, (first, second) = sums[:, :1], sums[:, 1:].chunk(2, 1)
    mean = first / many
    return Clusters(mean + centre, (second / many - mean.square()).clamp_min(0).sqrt())
