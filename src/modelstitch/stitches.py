"""The family S: the small maps that may stand between a bottom and a top.

Every family maps position by position, from the channels at one cut to the channels at the other. It is simple on
purpose: a stitch that could learn the task itself would say nothing about the representation it is given.

    Identity     y = x                          nothing to fit
    Permutation  y = P x                        channels renamed
    Orthogonal   y = Q x                        channels rotated, Q Qᵀ = I
    Affine       y = W x + b                    1x1 convolution or linear layer
    BNAffineBN   y = BN(W BN(x) + b)            the stitch of Bansal, Nakkiran and Barak (2021)

Permutation ⊂ Orthogonal ⊂ Affine. A family is a description; ``build`` makes the module for two given cuts.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from modelstitch.cut import Cut
from modelstitch.errors import SettingError, ShapeMismatch
from modelstitch.tensors import Kind

ClosedForm = Literal["none", "assignment", "procrustes", "least_squares"]
_CONVOLUTIONS = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
_NORMS = {0: nn.BatchNorm1d, 1: nn.BatchNorm1d, 2: nn.BatchNorm2d, 3: nn.BatchNorm3d}


class Stitch(nn.Module):
    """A map from the tensors at one cut to the tensors at another. Fresh from ``build`` it is randomly initialised."""

    @abstractmethod
    def assign(self, weight: Float[Tensor, "q p"], bias: Float[Tensor, " q"], mean: Tensor, covariance: Tensor) -> None:
        """Become the map ``y = W x + b`` in eval mode.

        Args:
            weight: ``W``.
            bias: ``b``.
            mean: of the rows ``x`` that the stitch will see, ``(p,)``.
            covariance: of the same rows, ``(p, p)``; norms inside the stitch take their statistics from both.
        """


@dataclass(frozen=True)
class Family:
    """A set of maps, to choose a stitch from."""

    closed_form: ClassVar[ClosedForm]
    """How direct matching finds the best of the family."""
    trainable: ClassVar[bool]
    """Whether the task loss can be followed downhill in it."""
    square: ClassVar[bool]
    """Whether both cuts must have as many channels."""

    def build(self, bottom: Cut, top: Cut) -> Stitch:
        """The module of this family between two cuts.

        Raises:
            ShapeMismatch: the family cannot map the one cut onto the other.
        """
        self.check(bottom, top)
        return self._module(bottom, top)

    def check(self, bottom: Cut, top: Cut) -> None:
        """Refuse two cuts that the family cannot map the one onto the other.

        Raises:
            ShapeMismatch: it cannot.
        """
        obstacle = self.obstacle(bottom, top)
        if obstacle:
            raise ShapeMismatch(f"{self} from {bottom} to {top}", *obstacle)

    def obstacle(self, bottom: Cut, top: Cut) -> tuple[str, str] | None:
        """Why the family cannot map the one cut onto the other, and what to do; None if it can."""
        if bottom.kind != top.kind:
            return f"a {bottom.kind} below and a {top.kind} above", "choose two cuts of one kind"
        if bottom.positions != top.positions:
            found = f"positions {bottom.positions} below and {top.positions} above"
            return found, "choose cuts with as many positions: the families work position by position"
        if self.square and bottom.channels != top.channels:
            found = f"{bottom.channels} channels below and {top.channels} above"
            return found, "use Affine, which maps between different numbers of channels"
        if bottom.channels is None or top.channels is None:
            return "a number of channels that may vary", "choose a cut where only positions vary"
        return None

    @abstractmethod
    def _module(self, bottom: Cut, top: Cut) -> Stitch:
        """The module, once the shapes are known to fit."""


@dataclass(frozen=True)
class Identity(Family):
    """``y = x``: nothing to fit; with a network's own bottom and top the penalty is exactly 0."""

    closed_form: ClassVar[ClosedForm] = "none"
    trainable: ClassVar[bool] = False
    square: ClassVar[bool] = True

    def _module(self, bottom: Cut, top: Cut) -> Stitch:
        return _Identity()


@dataclass(frozen=True)
class Permutation(Family):
    """``y = P x``: the channels renamed, as two networks that learnt the same units in another order would need."""

    closed_form: ClassVar[ClosedForm] = "assignment"
    trainable: ClassVar[bool] = False
    square: ClassVar[bool] = True

    def _module(self, bottom: Cut, top: Cut) -> Stitch:
        return _Permutation(_channels(bottom), bottom.kind)


@dataclass(frozen=True)
class Orthogonal(Family):
    """``y = Q x`` with ``Q Qᵀ = I``: the channels rotated or reflected; trained along the matrix exponential."""

    closed_form: ClassVar[ClosedForm] = "procrustes"
    trainable: ClassVar[bool] = True
    square: ClassVar[bool] = True

    def _module(self, bottom: Cut, top: Cut) -> Stitch:
        return _Orthogonal(_channels(bottom), bottom.kind)


@dataclass(frozen=True)
class _WithKernel(Family):
    """Families around a convolution or linear layer, between any numbers of channels."""

    kernel: int = 1
    closed_form: ClassVar[ClosedForm] = "least_squares"
    trainable: ClassVar[bool] = True
    square: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if self.kernel < 1 or self.kernel % 2 == 0:
            found = "a kernel that has no middle"
            raise SettingError(f"a stitch with kernel {self.kernel}", found, "choose 1, 3, 5, …")

    def obstacle(self, bottom: Cut, top: Cut) -> tuple[str, str] | None:
        """As of every family; a kernel above 1 needs maps."""
        general = super().obstacle(bottom, top)
        if general is None and self.kernel > 1 and bottom.kind != "map":
            return f"a kernel of {self.kernel} for a {bottom.kind}", "use kernel=1: only maps have neighbours"
        return general

    def _affine(self, bottom: Cut, top: Cut) -> _Affine:
        return _Affine(_channels(bottom), _channels(top), bottom.kind, len(bottom.positions), self.kernel)


@dataclass(frozen=True)
class Affine(_WithKernel):
    """``y = W x + b``: a 1x1 convolution for maps, a linear layer for tokens and vectors.

    Args:
        kernel: side of the convolution, odd; above 1 for maps only.
    """

    def _module(self, bottom: Cut, top: Cut) -> Stitch:
        return self._affine(bottom, top)


@dataclass(frozen=True)
class BNAffineBN(_WithKernel):
    """Batch norm, 1x1 convolution or linear layer with bias, batch norm; for tokens the linear layer alone.

    Args:
        kernel: side of the convolution, odd; above 1 for maps only.

    Reference:
        Bansal, Nakkiran & Barak, "Revisiting Model Stitching to Compare Neural Representations", 2021, section 3.
    """

    def _module(self, bottom: Cut, top: Cut) -> Stitch:
        affine = self._affine(bottom, top)
        return affine if bottom.kind == "tokens" else _BNAffineBN(affine, len(bottom.positions))


FAMILIES: dict[str, type[Family]] = {
    "affine": Affine,
    "bn_affine_bn": BNAffineBN,
    "identity": Identity,
    "orthogonal": Orthogonal,
    "permutation": Permutation,
}
"""The families by the names that a command line uses."""


class _Identity(Stitch):
    def assign(self, weight: Tensor, bias: Tensor, mean: Tensor, covariance: Tensor) -> None:
        raise SettingError("to assign a map to Identity", "a family without parameters", "use it as it is")

    def forward(self, x: Tensor) -> Tensor:
        return x


class _Permutation(Stitch):
    def __init__(self, channels: int, kind: Kind) -> None:
        super().__init__()
        self._axis = 1 if kind == "map" else -1
        self.register_buffer("order", torch.randperm(channels))

    def assign(self, weight: Tensor, bias: Tensor, mean: Tensor, covariance: Tensor) -> None:
        self.get_buffer("order").copy_(weight.argmax(1))

    def forward(self, x: Tensor) -> Tensor:
        return x.index_select(self._axis, self.get_buffer("order"))


class _Orthogonal(Stitch):
    """``Q = Q₀ exp(A - Aᵀ)``: orthogonal for any A, and anything orthogonal near Q₀ is reached."""

    def __init__(self, channels: int, kind: Kind) -> None:
        super().__init__()
        self._kind = kind
        self.register_buffer("start", torch.linalg.qr(torch.randn(channels, channels)).Q)
        self.turn = nn.Parameter(torch.zeros(channels, channels))

    def assign(self, weight: Tensor, bias: Tensor, mean: Tensor, covariance: Tensor) -> None:
        self.get_buffer("start").copy_(weight)
        with torch.no_grad():
            self.turn.zero_()

    def forward(self, x: Tensor) -> Tensor:
        weight: Tensor = self.get_buffer("start") @ torch.linalg.matrix_exp(self.turn - self.turn.T)
        if self._kind != "map":
            return x @ weight.T
        # Contiguous, as a network's own maps are: a top may flatten by a view.
        return (x.movedim(1, -1) @ weight.T).movedim(-1, 1).contiguous()


class _Affine(Stitch):
    def __init__(self, channels: int, out_channels: int, kind: Kind, positions: int, kernel: int) -> None:
        super().__init__()
        self.layer = (
            _CONVOLUTIONS[positions](channels, out_channels, kernel, padding=kernel // 2)
            if kind == "map"
            else nn.Linear(channels, out_channels)
        )

    def assign(self, weight: Tensor, bias: Tensor, mean: Tensor, covariance: Tensor) -> None:
        assert self.layer.bias is not None
        with torch.no_grad():
            taps = self.layer.weight.zero_()
            # A wider kernel starts as the map at its own position: the middle tap.
            middle = taps if taps.ndim == 2 else taps.flatten(2)[..., taps[0, 0].numel() // 2]
            middle.copy_(weight)
            self.layer.bias.copy_(bias)

    def forward(self, x: Tensor) -> Tensor:
        mapped: Tensor = self.layer(x)
        return mapped


class _BNAffineBN(Stitch):
    def __init__(self, affine: _Affine, positions: int) -> None:
        super().__init__()
        weight = affine.layer.weight
        self.before, self.after = _NORMS[positions](weight.shape[1]), _NORMS[positions](weight.shape[0])
        self.affine = affine

    def assign(self, weight: Tensor, bias: Tensor, mean: Tensor, covariance: Tensor) -> None:
        """Both norms get the statistics that the rows would give them, so train and eval mode start alike."""
        spread = covariance.diagonal()
        out_mean, out_var = weight @ mean + bias, ((weight @ covariance) * weight).sum(1).clamp(min=0)
        scale = (spread + self.before.eps).sqrt()
        with torch.no_grad():
            _set_norm(self.before, mean, spread, torch.ones_like(mean), torch.zeros_like(mean))
            _set_norm(self.after, out_mean, out_var, (out_var + self.after.eps).sqrt(), out_mean)
        self.affine.assign(weight * scale, out_mean, torch.zeros_like(mean), covariance)

    def forward(self, x: Tensor) -> Tensor:
        mapped: Tensor = self.after(self.affine(self.before(x)))
        return mapped


def _set_norm(norm: nn.modules.batchnorm._BatchNorm, mean: Tensor, var: Tensor, weight: Tensor, bias: Tensor) -> None:
    assert norm.running_mean is not None
    assert norm.running_var is not None
    norm.running_mean.copy_(mean)
    norm.running_var.copy_(var)
    norm.weight.copy_(weight)
    norm.bias.copy_(bias)


def _channels(cut: Cut) -> int:
    assert cut.channels is not None  # `obstacle` has refused anything else
    return cut.channels
