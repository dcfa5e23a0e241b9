"""A data set as it comes: examples to fit on and examples to test on."""

from __future__ import annotations

from dataclasses import dataclass

from modelstitch.data.samples import Samples


@dataclass(frozen=True, eq=False)
class Split:
    """The two halves of a data set, with no example in both."""

    train: Samples
    test: Samples
