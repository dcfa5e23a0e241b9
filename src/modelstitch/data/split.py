"""A data set as it comes: examples to fit on and examples to test on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic

from typing_extensions import TypeVar

from modelstitch.data.examples import Examples
from modelstitch.data.samples import Samples

E = TypeVar("E", bound=Examples, default=Samples, covariant=True)


@dataclass(frozen=True, eq=False)
class Split(Generic[E]):
    """The two halves of a data set, with no example in both; ``Split`` alone holds `Samples`."""

    train: E
    test: E
