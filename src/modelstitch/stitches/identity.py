"""The identity: the stitch that changes nothing. With a network's own bottom and top its penalty is exactly 0."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from modelstitch.cut import Cut
from modelstitch.errors import SettingError
from modelstitch.moments import Moments
from modelstitch.stitches.family import Family, Stitch


@dataclass(frozen=True)
class Identity(Family):
    """``y = x``: nothing to fit.

    Example:
        >>> Identity().solve(Moments()) is None
        True
    """

    name: ClassVar[str] = "identity"
    fitted: ClassVar[bool] = False
    trainable: ClassVar[bool] = False
    square: ClassVar[bool] = True

    def obstacle(self, below: Cut, above: Cut) -> tuple[str, str] | None:
        """As of every family; of two tensors of one shape nothing more needs to be known."""
        return None if (below.shape, below.kind) == (above.shape, above.kind) else super().obstacle(below, above)

    def solve(self, moments: Moments, ridge: float = 0.0) -> None:
        """None: there is nothing to fit."""
        return

    def _module(self, below: Cut, above: Cut) -> Stitch:
        return _Identity()


class _Identity(Stitch):
    def assign(self, weight: Tensor, bias: Tensor, mean: Tensor, covariance: Tensor) -> None:
        raise SettingError("to assign a map to Identity", "a family without parameters", "use it as it is")

    def forward(self, x: Tensor) -> Tensor:
        return x
