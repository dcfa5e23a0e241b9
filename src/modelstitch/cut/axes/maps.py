"""Axes as index maps: which axis of which tensor an axis was made from, however often it was split and joined.

An axis is a *key*: a product of *factors*, the most significant first. The factor ``(atom, stride, size)`` of an axis
``atom`` of that length is the part ``index // stride % size`` of its index; a whole axis is ``(atom, 1, length)``. So
heads that a view splits off an axis of 12 · 64 channels are ``(c, 64, 12)`` and ``(c, 1, 64)``, and a view that
puts the two side by side again has the one axis ``(c, 1, 768)`` back, whatever happened in between.

Beware: that two axes are one says that an index means the same in both, not that both have the same values there.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence

Factor = tuple[int, int, int]
Key = tuple[Factor, ...]
"""An axis; empty where there is none and a single entry is repeated."""
Axes = tuple[Key, ...]
"""The axes of one tensor."""


def length(key: Key) -> int:
    """How long an axis is."""
    return math.prod(size for _, _, size in key)


class Maps:
    """The axes of all tensors of a graph: which are one, which are kin, and what was testified of them.

    Args:
        batch: the length of the axis of examples, which no other axis has.
    """

    def __init__(self, batch: int) -> None:
        self._lengths: list[int] = []
        self._means: dict[int, Key] = {}
        self._kin: list[tuple[Key, Key]] = []
        self._testimonies: list[tuple[Key, int]] = []
        self._batch_length = batch
        self.batch: Key = self._atom(batch)

    def fresh(self, size: int) -> Key:
        """An axis of a length that is made of no other; of the length of the batch it is always the batch."""
        return self.batch if size == self._batch_length else self._atom(size)

    def _atom(self, size: int) -> Key:
        self._lengths.append(size)
        return self.whole(len(self._lengths) - 1)

    def whole(self, atom: int) -> Key:
        """The axis that a factor is a part of."""
        return ((atom, 1, self._lengths[atom]),)

    # -- one axis, or akin ---------------------------------------------------------------------------------------

    def normal(self, key: Key) -> Key:
        """The one spelling of an axis: known to be parts of others, and parts that lie side by side as one."""
        spelled: list[Factor] = []
        for factor in key:
            for one in self._spelled(factor):
                last = spelled[-1] if spelled else None
                if last and last[0] == one[0] and last[1] == one[1] * one[2] and 1 not in (last[2], one[2]):
                    spelled[-1] = (one[0], one[1], last[2] * one[2])
                else:
                    spelled.append(one)
        return tuple(spelled)

    def _spelled(self, factor: Factor) -> Key:
        atom, stride, size = factor
        if atom not in self._means:
            return (factor,)
        whole = self._means[atom] = self.normal(self._means[atom])
        part = whole if (stride, size) == (1, self._lengths[atom]) else _part(whole, stride, size)
        return (factor,) if part is None else part

    def same(self, one: Key, other: Key) -> None:
        """An index means the same in both."""
        one, other = self.normal(one), self.normal(other)
        if one == other or length(one) != length(other):
            return
        # The younger one is spelled by the older, so that no long chains arise.
        for whole, meaning in sorted([(one, other), (other, one)], reverse=True):
            if self._is_whole(whole) and all(atom != whole[0][0] for atom, _, _ in meaning):
                self._means[whole[0][0]] = meaning
                return
        self.akin(one, other)

    def _is_whole(self, key: Key) -> bool:
        return len(key) == 1 and key != self.batch and key == self.whole(key[0][0])

    def akin(self, one: Key, other: Key) -> None:
        """Of one kind: a part of an axis, or several behind each other, is channels where the axis is."""
        if one and other:
            self._kin.append((one, other))

    def reshaped(self, axes: Axes, sizes: Sequence[int]) -> Axes:
        """The axes of a tensor that is read in the same order as one with other lengths."""
        found: list[Key] = []
        for old, new in _groups([length(key) for key in axes], sizes):
            flat = [factor for key in axes[old] for factor in self.normal(key)]
            split = _dealt(flat, sizes[new])
            found += split or [self.fresh(size) for size in sizes[new]]
        return self._with_units(axes, tuple(found), sizes)

    def _with_units(self, axes: Axes, found: Axes, sizes: Sequence[int]) -> Axes:
        """Axes of length 1 stay where there are as many of them before and after, between the same others."""
        before, after = (_units(one) for one in ([length(key) for key in axes], sizes))
        made = list(found)
        for at, new in after.items():
            if len(before.get(at, [])) == len(new):
                for index, old in zip(new, before[at], strict=True):
                    made[index] = axes[old]
        return tuple(made)

    # -- testimony -----------------------------------------------------------------------------------------------

    def testify(self, key: Key, rank: int) -> None:
        """An operator takes this axis for channels.

        Args:
            key: the axis.
            rank: how far the operator is to be believed, above 0.
        """
        self._testimonies.append((key, rank))

    def ranks(self) -> Ranks:
        """What was testified, once everything is known of which axes are one."""
        return Ranks(self, self._kin, self._testimonies)


class Ranks:
    """The highest rank that was testified of an axis or one akin to it."""

    def __init__(self, maps: Maps, kin: Sequence[tuple[Key, Key]], testimonies: Sequence[tuple[Key, int]]) -> None:
        self._maps = maps
        self._next: dict[Key, Key] = {}
        for one, other in kin:
            a, b = (self._head(maps.normal(key)) for key in (one, other))
            if maps.batch not in (a, b):
                self._next[a] = b
        self._rank: defaultdict[Key, int] = defaultdict(int)
        for key, rank in testimonies:
            head = self._head(maps.normal(key))
            self._rank[head] = max(self._rank[head], rank)

    def _head(self, key: Key) -> Key:
        while self._next.get(key, key) != key:
            key = self._next[key]
        return key

    def of(self, key: Key) -> int:
        """0 where nothing was testified."""
        return self._rank.get(self._head(self._maps.normal(key)), 0)


def _part(whole: Key, stride: int, size: int) -> Key | None:
    """The part ``index // stride % size`` of an axis; None where it is not made of whole factors or parts of them."""
    above = length(whole) // (stride * size)
    if above * stride * size != length(whole):
        return None
    dealt = _dealt(list(whole), [above, size, stride])
    return dealt[1] if dealt else None


def _dealt(factors: Sequence[Factor], sizes: Sequence[int]) -> list[Key] | None:
    """Factors dealt out in order to axes of these lengths, split where need be; None where that is impossible."""
    left = [factor for factor in reversed(factors) if factor[2] != 1]
    dealt: list[Key] = []
    for wanted in sizes:
        taken: list[Factor] = []
        while wanted != 1:
            if not left:
                return None
            atom, stride, size = left.pop()
            if wanted % size == 0:
                taken.append((atom, stride, size))
                wanted //= size
            elif size % wanted == 0:
                rest = size // wanted
                taken.append((atom, stride * rest, wanted))
                left.append((atom, stride, rest))
                wanted = 1
            else:
                return None
        dealt.append(tuple(taken))
    return None if left else dealt


def _groups(old: Sequence[int], new: Sequence[int]) -> list[tuple[slice, slice]]:
    """The shortest runs of lengths before and after that hold as many numbers."""
    found, i, j = [], 0, 0
    while i < len(old) or j < len(new):
        begin = i, j
        a = b = 1
        i, a = (i + 1, a * old[i]) if i < len(old) else (i, a)
        j, b = (j + 1, b * new[j]) if j < len(new) else (j, b)
        while a != b and (i < len(old) or j < len(new)):
            if (a < b or j == len(new)) and i < len(old):
                i, a = i + 1, a * old[i]
            else:
                j, b = j + 1, b * new[j]
        found.append((slice(begin[0], i), slice(begin[1], j)))
    return found


def _units(sizes: Sequence[int]) -> dict[int, list[int]]:
    """The axes of length 1, by how many numbers the axes before them have."""
    found: defaultdict[int, list[int]] = defaultdict(list)
    so_far = 1
    for index, size in enumerate(sizes):
        if size == 1:
            found[so_far].append(index)
        so_far *= size
    return dict(found)
