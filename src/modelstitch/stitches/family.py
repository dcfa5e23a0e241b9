"""What every family of stitches offers, and what every stitch can do."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from jaxtyping import Float
from torch import Tensor, nn

from modelstitch.cut import Cut
from modelstitch.errors import ShapeMismatch
from modelstitch.moments import Moments
from modelstitch.stitches.closed_form import Solution
from modelstitch.support.tensors import UNKNOWN_AXIS, Kind


def spoken(kind: Kind) -> str:
    """What messages call a tensor of a kind.

    Example:
        >>> spoken("map"), spoken(1)
        ('a map', 'channels on axis 1')
    """
    return f"channels on axis {kind}" if isinstance(kind, int) else "tokens" if kind == "tokens" else f"a {kind}"


class Stitch(ABC, nn.Module):
    """A map from the tensors at one cut to the tensors at another. ``Family.build`` initialises it at random."""

    @abstractmethod
    def assign(self, weight: Float[Tensor, "q p"], bias: Float[Tensor, " q"], mean: Tensor, covariance: Tensor) -> None:
        """Become the map ``y = W x + b`` in eval mode.

        Args:
            weight: ``W``.
            bias: ``b``.
            mean: of the rows ``x`` that the stitch will see, ``(p,)``.
            covariance: of the same rows, ``(p, p)``; norms inside the stitch take their statistics from both.

        Raises:
            SettingError: the stitch has no parameters.
        """

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """Map the tensor at the lower cut to one for the upper cut, example by example."""


@dataclass(frozen=True)
class Family(ABC):
    """A set of maps, to choose a stitch from. Subclasses are frozen dataclasses; their fields are the settings."""

    name: ClassVar[str]
    """What command lines, recipes and records call the family."""
    off: ClassVar[Mapping[str, Any]] = {}
    """Fields that records leave out at these values (see `modelstitch.support.settings`)."""
    fitted: ClassVar[bool] = True
    """Whether there is anything to fit. If not, `solve` returns None and no matching has work to do."""
    trainable: ClassVar[bool]
    """Whether gradient descent can fit a stitch of this family."""
    square: ClassVar[bool]
    """Whether both cuts need the same number of channels."""

    def build(self, below: Cut, above: Cut) -> Stitch:
        """The module of this family between two cuts, randomly initialised.

        Args:
            below: the bottom's cut.
            above: the top's cut.

        Raises:
            ShapeMismatch: the family cannot map the one cut to the other.

        Example:
            >>> import torch
            >>> from modelstitch.stitches import Affine
            >>> below, above = (Cut(f"fc{c}", (), (c,), "vector", 0.5, 0.5, True) for c in (3, 5))
            >>> Affine().build(below, above)(torch.zeros(2, 3)).shape
            torch.Size([2, 5])
        """
        self.check(below, above)
        if not isinstance(below.kind, int):
            return self._module(below, above)
        return _Moved(self._module(_with_channels_last(below), _with_channels_last(above)), 1 + below.kind)

    def check(self, below: Cut, above: Cut) -> None:
        """Refuse two cuts between which the family has no map.

        Raises:
            ShapeMismatch: it has none.
        """
        obstacle = self.obstacle(below, above)
        if obstacle:
            raise ShapeMismatch(f"{self} from {below} to {above}", *obstacle)

    def obstacle(self, below: Cut, above: Cut) -> tuple[str, str] | None:
        """Why the family cannot map the one cut to the other, and what to do; None if it can."""
        if "unknown" in (below.kind, above.kind):
            return UNKNOWN_AXIS
        if below.kind != above.kind:
            return f"{spoken(below.kind)} below and {spoken(above.kind)} above", "choose two cuts of one kind"
        if below.positions != above.positions:
            found = f"positions {below.positions} below and {above.positions} above"
            return found, "choose cuts with the same positions: families map position by position"
        if self.square and below.channels != above.channels:
            found = f"{below.channels} channels below and {above.channels} above"
            return found, "use Affine, which maps between different numbers of channels"
        if below.channels is None or above.channels is None:
            return "a number of channels that may vary", "choose a cut where only positions vary"
        return None

    @abstractmethod
    def solve(self, moments: Moments, ridge: float = 0.0) -> Solution | None:
        """The map of the family with the least squared error, in closed form; None if there is nothing to fit.

        Args:
            moments: of the rows to map from (``x``) and to (``y``).
            ridge: strength of the penalty on ``W`` (`modelstitch.stitches.closed_form.ridge`); only families with a
                free ``W`` use it.

        Returns:
            The map and its residual, for `Stitch.assign`.

        Raises:
            SettingError: the strength is negative or not finite.
            ShapeMismatch: a square family, and the rows differ in their number of channels.
            DataError: the moments have seen no rows.
            NumericalFailure: the target is constant.
        """

    @abstractmethod
    def _module(self, below: Cut, above: Cut) -> Stitch:
        """The module, once the shapes are known to fit."""


class _Moved(Stitch):
    """A stitch for tokens, of tensors whose channels lie between other axes."""

    def __init__(self, stitch: Stitch, axis: int) -> None:
        super().__init__()
        self._axis = axis
        self.stitch = stitch

    def assign(self, weight: Tensor, bias: Tensor, mean: Tensor, covariance: Tensor) -> None:
        self.stitch.assign(weight, bias, mean, covariance)

    def forward(self, x: Tensor) -> Tensor:
        mapped: Tensor = self.stitch(x.movedim(self._axis, -1))
        # Contiguous, as a network's own tensors are: a top may flatten by a view.
        return mapped.movedim(-1, self._axis).contiguous()


def _with_channels_last(cut: Cut) -> Cut:
    return replace(cut, shape=(*cut.positions, cut.channels), kind="tokens")


def channels_of(cut: Cut) -> int:
    """The number of channels at a cut that `Family.obstacle` has let pass."""
    assert cut.channels is not None
    return cut.channels
