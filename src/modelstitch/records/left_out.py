"""What a call could not stitch, and why: said beside its records, so that few rows do not pass for all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

_SHOWN = 3


class LeftOut(NamedTuple):
    """A pair of cuts, or a whole direction, that was not stitched.

    Attributes:
        stitching: the notation; of a whole direction the two networks, ``A -> B``.
        reason: why there is no such stitching.
    """

    stitching: str
    reason: str


def summary(left_out: Sequence[LeftOut]) -> list[str]:
    r"""What was left out in a few lines, the most frequent reasons first; no line where it was nothing.

    Example:
        >>> print("\n".join(summary([LeftOut("A@1 -> B@2", "too wide"), LeftOut("A@1 -> B@3", "too wide")])))
        left out: 2
          2 × too wide, such as A@1 -> B@2
    """
    if not left_out:
        return []
    counts = Counter(one.reason for one in left_out)
    first = {one.reason: one.stitching for one in reversed(left_out)}
    shown = counts.most_common(_SHOWN)
    lines = [f"  {count} × {reason}, such as {first[reason]}" for reason, count in shown]
    rest = len(left_out) - sum(count for _, count in shown)
    more = [f"  and {rest} for {len(counts) - len(shown)} other reasons: see left_out"] if rest else []
    return [f"left out: {len(left_out)}", *lines, *more]
