"""What the labels of a data set become before a network learns them: fewer classes, or noise.

A label map takes a split and gives a split. Noise depends on the example and the seed alone, never on its position, so
that noise of a subset and a subset of noise are the same examples with the same labels. Beware: a network that learned
fewer classes has fewer outputs; ask `modelstitch.pretraining.train_network` for ``classes`` where it shall keep them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from modelstitch.data.samples import Samples, check_samples
from modelstitch.data.split import Split
from modelstitch.errors import SettingError
from modelstitch.support.seeding import seed_of


@dataclass(frozen=True)
class Superclasses:
    """Every class becomes the group it is in; train and test labels alike.

    Args:
        groups: the old classes of each new one, by the new one's name; new classes are numbered in this order.

    Raises:
        SettingError: fewer than two groups, an empty one, or a class in two.

    Example:
        >>> from modelstitch.data import digits
        >>> halved = Superclasses({"low": (0, 1, 2, 3, 4), "high": (5, 6, 7, 8, 9)})(digits())
        >>> halved.train.name, halved.train.classes, halved.test.labels.unique().tolist()
        ('digits-low+high', 2, [0, 1])
    """

    groups: Mapping[str, Sequence[int]]

    def __post_init__(self) -> None:
        asked = f"superclasses {dict(self.groups)}"
        if len(self.groups) < 2 or not all(self.groups.values()):
            raise SettingError(asked, "fewer than two groups, or an empty one", "give each group a class or more")
        classes = [one for group in self.groups.values() for one in group]
        twice = sorted({one for one in classes if classes.count(one) > 1})
        if twice:
            raise SettingError(asked, f"class {twice[0]} more than once", "name each class once")

    def __call__(self, split: Split) -> Split:
        """The same examples with the groups for classes, named ``name-group+group``.

        Raises:
            SettingError: a class of the data is in no group, or a group has a class that the data lack.
        """
        return Split(self._mapped(split.train), self._mapped(split.test))

    def _mapped(self, samples: Samples) -> Samples:
        new = torch.full((samples.classes,), -1)
        asked = f"superclasses {' and '.join(self.groups)} of {samples.name!r}"
        for index, group in enumerate(self.groups.values()):
            for one in group:
                if not 0 <= one < samples.classes:
                    raise SettingError(asked, f"no class {one}", f"name classes from 0 to {samples.classes - 1}")
                new[one] = index
        left_out = (new < 0).nonzero().flatten().tolist()
        if left_out:
            raise SettingError(asked, f"class {left_out[0]} in no group", "put every class into one group")
        name = f"{samples.name}-{'+'.join(self.groups)}"
        labels = new[samples.labels]
        return check_samples(dataclasses.replace(samples, name=name, labels=labels, classes=len(self.groups)))


SUPERCLASSES: dict[str, Superclasses] = {
    # The second: sandals, sneakers, bags, ankle boots.
    "fashion_mnist": Superclasses({"clothing": (0, 1, 2, 3, 4, 6), "footwear_bags": (5, 7, 8, 9)}),
    # Birds count as animals.
    "cifar10": Superclasses({"animals": (2, 3, 4, 5, 6, 7), "objects": (0, 1, 8, 9)}),
}
"""Two superclasses of each data set, by its name."""


@dataclass(frozen=True)
class LabelNoise:
    """Train labels replaced by uniformly random ones, which may be right by chance; test labels stay as they are.

    Each train example is hit with probability ``share``, and the more hit by a larger share include those hit by a
    smaller one. With a share of 1 every label is uniformly random.

    Args:
        share: from 0 to 1.
        seed: which examples, and which labels.

    Raises:
        SettingError: a share outside 0 to 1.

    Example:
        >>> from modelstitch.data import digits
        >>> noisy = LabelNoise(1.0)(digits())
        >>> noisy.train.name, round(float((noisy.train.labels == digits().train.labels).float().mean()), 1)
        ('digits-noise1.0-seed0', 0.1)
    """

    share: float
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.share <= 1:
            raise SettingError(f"label noise with share={self.share}", "no such share", "choose 0 to 1")

    def __call__(self, split: Split) -> Split:
        """The same examples, the train set with noisy labels and named ``name-noise0.5-seed0``.

        Raises:
            DataError: the noise left one class only.
        """
        train = split.train
        labels = train.labels.clone()
        for index, one in enumerate(train.ids):
            if seed_of("label noise", self.seed, one.hex()) < self.share * 2**63:
                labels[index] = seed_of("noisy label", self.seed, one.hex()) % train.classes
        name = f"{train.name}-noise{float(self.share)}-seed{self.seed}"
        return Split(check_samples(dataclasses.replace(train, name=name, labels=labels)), split.test)
