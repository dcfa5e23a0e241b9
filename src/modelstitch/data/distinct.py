"""Examples that occur more than once in one set: a few are natural, a set read twice is a fault.

An interval treats the examples of a test set as independent draws. One hundred examples of which each stands there four
times look like four hundred, and the interval is half as wide as it should be. Natural repeats (two equal answers to a
questionnaire, an empty image tile that occurs a thousand times) are draws like any other and must pass. What tells the
two apart:

- in a set that was read several times, the numbers of times that its examples occur have a common divisor;
- in a sample drawn with replacement, many *different* examples repeat. That is natural only where examples say little:
  fewer than 64 values each, none of which is close to continuous.
"""

from __future__ import annotations

import math
from collections import Counter

import torch
from torch import Tensor

from modelstitch.data.examples import E, Examples
from modelstitch.errors import DataError
from modelstitch.support.tensors import leaves

SHARE = 0.01
"""The share of the different examples that may occur more than once, where examples say much."""
_LEAST = 3
_VALUES = 64


def check_distinct(examples: Examples) -> None:
    """Refuse a test set whose examples were read several times, or drawn with replacement.

    Refused are sets of which

    1. the numbers of times that the examples occur have a common divisor above 1; or
    2. more than 1 % of the different examples, and at least 3, occur more than once. Here examples count that have 64
       values or more, and all of them where one of the values is nearly continuous: different in more than half of the
       different examples.

    Examples are compared by what a network sees, whatever their targets.

    Raises:
        DataError: says how many repeat an earlier one.

    Example:
        >>> from modelstitch.data import digits
        >>> check_distinct(digits().test)
    """
    times = Counter(examples.ids)
    if len(times) == len(examples):
        return
    whole = math.gcd(*times.values()) > 1
    if not whole and not _too_many(examples, times):
        return
    found = f"{len(examples) - len(times)} of the {len(examples)} examples repeat an earlier one"
    do = (
        "give each example once, or intervals are too narrow: workers of a DataLoader must share an IterableDataset "
        "among them, and a sampler must not replace; modelstitch.data.distinct(examples) keeps the first of each"
    )
    raise DataError(f"test on {examples.name!r}", found, do)


def distinct(examples: E) -> E:
    """The examples without those that repeat an earlier one.

    Args:
        examples: in their order.

    Returns:
        The first of each, in the same order; the same object where none repeats.

    Example:
        >>> from modelstitch.data import Arrays
        >>> distinct(Arrays("data", torch.tensor([[1.0], [2.0], [1.0]]))).inputs.tolist()
        [[1.0], [2.0]]
    """
    firsts = _firsts(examples)
    return examples if len(firsts) == len(examples) else examples.take(firsts)


def _firsts(examples: Examples) -> Tensor:
    places = {one: len(examples) - 1 - place for place, one in enumerate(reversed(examples.ids))}
    return torch.tensor(sorted(places.values()), dtype=torch.long)


def _too_many(examples: Examples, times: Counter[bytes]) -> bool:
    firsts = _firsts(examples)
    sizes = examples.sizes[firsts]
    telling = sizes >= _VALUES
    if not telling.any() and not examples.ragged and _continuous(examples.take(firsts)):
        telling = torch.ones_like(telling)
    ids = examples.ids
    several = torch.tensor([times[ids[place]] > 1 for place in firsts.tolist()])
    count = int((several & telling).sum())
    return count >= _LEAST and count > SHARE * int(telling.sum())


def _continuous(examples: Examples) -> bool:
    """Whether one of the values differs in more than half of the examples, all of which are distinct."""
    rows = [torch.cat([leaf.flatten(1).double() for leaf in leaves(one.inputs)], 1) for one in examples.batches(1024)]
    return any(len(column.unique()) > len(examples) / 2 for column in torch.cat(rows).T)
