"""In which order examples come: batch by batch while training, and the one order that smaller sets are taken from.

That one order follows the examples themselves (a seed keyed by each example's id), not where they are stored. So sets
are nested, a part of a part is a part of the whole, and every machine takes the same examples. It is a shuffle without
strata: of 5,000 examples in ten even classes each class has 500, give or take about 20. Means and standard deviations
stay those of the whole train set, so that networks trained on different parts are given an example in the same form.
"""

from __future__ import annotations

import dataclasses

import torch
from jaxtyping import Int
from torch import Tensor

from modelstitch.data.samples import Samples, check_samples
from modelstitch.errors import SettingError
from modelstitch.support.seeding import seed_of


def steps_per_epoch(examples: int, batch_size: int) -> int:
    """Batches in one pass, a last one of a single example left out: batch norm has no variance of it.

    Example:
        >>> steps_per_epoch(257, 128), steps_per_epoch(258, 128)
        (2, 3)
    """
    return examples // batch_size + (examples % batch_size > 1)


def epoch_order(examples: int, batch_size: int, generator: torch.Generator) -> Int[Tensor, " k"]:
    """A shuffle of the examples for exactly `steps_per_epoch` batches.

    Args:
        examples: how many there are.
        batch_size: how many a step takes.
        generator: draws the order.
    """
    order = torch.randperm(examples, generator=generator)
    return order[:-1] if examples % batch_size == 1 else order


def subset(samples: Samples, n: int) -> Samples:
    """``n`` of the examples, nested: the first ``n`` of one fixed shuffled order, so 5,000 ⊂ 10,000 ⊂ 25,000.

    Args:
        samples: the examples to take from.
        n: how many; a test set is better left whole.

    Returns:
        The examples in the shuffled order, named ``name-n``.

    Raises:
        SettingError: fewer than one, or more than there are.
        DataError: the ``n`` are all of one class.

    Example:
        >>> from modelstitch.data import digits
        >>> train = digits().train
        >>> few, more = subset(train, 50), subset(train, 100)
        >>> few.name, set(few.ids) < set(more.ids)
        ('digits-50', True)
    """
    asked = f"take {n} examples of {samples.name!r}"
    if not 1 <= n <= len(samples):
        raise SettingError(asked, f"{len(samples)} examples", f"choose 1 to {len(samples)}")
    return _taken(samples, slice(None, n), str(n))


def half(samples: Samples, index: int) -> Samples:
    """One of two disjoint halves, of the same fixed shuffled order that `subset` takes from.

    Args:
        samples: the examples to take from.
        index: 0 or 1; of an odd number of examples the second half has one more.

    Returns:
        The examples in the shuffled order, named ``name-half0`` or ``name-half1``.

    Raises:
        SettingError: another index.
        DataError: the half is empty or all of one class.

    Example:
        >>> from modelstitch.data import digits
        >>> halves = [half(digits().train, index) for index in (0, 1)]
        >>> [len(one) for one in halves], set(halves[0].ids) & set(halves[1].ids)
        ([749, 749], set())
    """
    if index not in (0, 1):
        raise SettingError(f"take half {index} of {samples.name!r}", "two halves", "choose 0 or 1")
    middle = len(samples) // 2
    return _taken(samples, slice(middle, None) if index else slice(None, middle), f"half{index}")


def _taken(samples: Samples, part: slice, mark: str) -> Samples:
    keys = [seed_of("subset", one.hex()) for one in samples.ids]
    # Sorting is stable: of equal examples, which have equal keys, the one stored first comes first.
    order = torch.tensor(sorted(range(len(keys)), key=keys.__getitem__), dtype=torch.long)
    return check_samples(dataclasses.replace(samples.take(order[part]), name=f"{samples.name}-{mark}"))
