"""The examples of a run: what networks learn, what stitches are fitted on, and what everything is measured on."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property

from modelstitch.compute import Compute
from modelstitch.data import (
    SUPERCLASSES,
    Examples,
    LabelNoise,
    Samples,
    Split,
    both_sets,
    half,
    load,
    raw,
    subset,
)
from modelstitch.errors import SettingError
from modelstitch.recipe import Data, LabelMap, TrainedNetwork
from modelstitch.tasks import Task

Part = tuple[int | None, int | None, LabelMap]


@dataclass(frozen=True)
class RunData:
    """What every job of a run needs beside its networks.

    Attributes:
        data: which examples.
        compute: where, by default on the CPU, and how much room activations may take.
        task: what outputs are judged by; guessed where the recipe does not say.
    """

    data: Data
    compute: Compute = Compute()  # noqa: RUF009 - a frozen dataclass
    task: Task | None = None
    _parts: dict[Part, Split[Examples]] = field(default_factory=dict, init=False, compare=False)

    @cached_property
    def whole(self) -> Split[Examples]:
        """All examples of the data set, to train networks on."""
        return load(self.data.name, folder=self.data.folder, size=self.data.size)

    @cached_property
    def split(self) -> Split[Examples]:
        """The examples that stitches are fitted and measured on."""
        whole = self.whole
        train = whole.train.first(self.data.train) if self.data.train else whole.train
        test = whole.test.first(self.data.test) if self.data.test else whole.test
        both_sets(train, test)
        return Split(train, test)

    @cached_property
    def raw(self) -> RunData:
        """The same examples as networks take them that prepare images themselves."""
        found = replace(self)
        found.__dict__["whole"] = raw(self.whole)
        return found

    def learnt_by(self, asked: TrainedNetwork) -> Split[Examples]:
        """What a network learns and is tested on: all of the data set, or its part, with its own labels.

        Raises:
            SettingError: both a number of samples and a half, super-classes of a data set that has none, or a part or
                other labels of examples without class labels.
        """
        # Kept, since every example's id goes into the choice: seconds for a large set, and asked for at every turn.
        part = (asked.samples, asked.half, asked.labels)
        if part not in self._parts:
            self._parts[part] = self._learnt_by(asked)
        return self._parts[part]

    def _learnt_by(self, asked: TrainedNetwork) -> Split[Examples]:
        if asked.samples and asked.half is not None:
            told = f"train {asked.architecture} on {asked.samples} samples of half {asked.half}"
            raise SettingError(told, "both", "leave one of them out")
        if not (asked.samples or asked.half is not None or asked.labels != LabelMap()):
            return self.whole
        train, test = self._labelled(asked)
        split = Split(self._part_of(train, asked), test)
        if asked.labels.superclasses:
            name = self.data.name
            if name not in SUPERCLASSES:
                known = ", ".join(SUPERCLASSES)
                raise SettingError(f"super-classes of {name}", f"such of {known} only", "choose one of these data sets")
            split = SUPERCLASSES[name](split)
        return LabelNoise(asked.labels.noise)(split) if asked.labels.noise else split

    def _labelled(self, asked: TrainedNetwork) -> tuple[Samples, Samples]:
        """The two sets, which have class labels: parts and other labels are taken by them."""
        train, test = self.whole.train, self.whole.test
        if isinstance(train, Samples) and isinstance(test, Samples):
            return train, test
        told = f"train {asked.architecture} on a part or on other labels of {self.data.name}"
        raise SettingError(told, "examples without class labels", "leave samples, half and labels out")

    @staticmethod
    def _part_of(train: Samples, asked: TrainedNetwork) -> Samples:
        if asked.samples:
            return subset(train, asked.samples)
        return train if asked.half is None else half(train, asked.half)
