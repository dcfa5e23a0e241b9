"""Direct matching: the top's own activations, in closed form."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from modelstitch.errors import SettingError
from modelstitch.matching.matching import Matching, Objective, Start


@dataclass(frozen=True)
class Direct(Matching):
    """Match the top's own activations in closed form: least squares, Procrustes or assignment, as the family asks.

    ``argmin over s in S of Σ ‖s(A≤l(x)) - B≤m(x)‖²``. No label is read.

    Args:
        ridge: strength of the penalty on an affine map, without unit; 0 is plain least squares.

    Raises:
        SettingError: a strength that is negative or not finite.

    Example:
        >>> Direct(ridge=0.1).objective.against
        'top'
    """

    name: ClassVar[str] = "direct"
    off: ClassVar[Mapping[str, Any]] = {"ridge": 0.0}
    objective: ClassVar[Objective] = Objective("stitch", "top", "squared distance")

    ridge: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.ridge < math.inf:
            raise SettingError(f"direct matching with ridge={self.ridge}", "no such strength", "choose 0 or more")

    @property
    def descent(self) -> None:
        """None: the closed form is the answer."""
        return

    @property
    def start(self) -> Start:
        """The closed form."""
        return "least_squares"
