"""One or several real numbers an example: R² and the squared error.

R² needs the spread of the targets, which is small beside their squares where they lie far from 0 (years, pressures).
A plain ``Σ y² - (Σ y)² / n`` then loses its digits: with a mean of a million spreads, all but four. Here each target is
split as ``y = a + r`` with ``a`` its first 16 bits. Sums of ``a`` and of ``a²`` are exact in float64, up to some
500,000 examples, so that they can be centred after summing, for any part or redrawn sample of the examples.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, get_args

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from modelstitch.data import Batch
from modelstitch.errors import NumericalFailure, SettingError, TaskMismatch
from modelstitch.tasks.shapes import one_to_one, rows_of
from modelstitch.tasks.task import Outcome, Score, Task, answer_of, require_finite, told

Weigh = Literal["equally", "by_variance"]

# Of a float64's 52 bits after the leading one, all but the first 15.
_REST = 52 - 15
# Targets whose variance is below this share of their mean square are constant, as far as float64 can tell.
_CONSTANT = 2.0**-60


@dataclass(frozen=True)
class Regression(Task):
    """Real numbers, one or several an example: ``r2`` (higher is better) and ``mse``.

    - ``r2 = mean_j (1 - Σ_i (o_ij - y_ij)² / Σ_i (y_ij - mean_i y_ij)²)`` over the targets ``j``: 1 is perfect,
      0 is as good as the mean of the targets, and it can be negative;
    - ``mse = mean_ij (o_ij - y_ij)²``, in the square of the targets' unit; also what fits minimise.

    Outputs are ``(n,)``, ``(n, k)`` or ``(n, ...)``; targets are real numbers of the same shape, but for axes of length
    one. Of each example ``r2`` keeps five numbers per target.

    Args:
        weigh: how ``r2`` weighs several targets: each alike, or by its variance:
            ``1 - Σ_ij (o - y)² / Σ_ij (y - mean_i y)²``, where some targets may be constant.

    Raises:
        SettingError: ``weigh`` is neither.

    Example:
        >>> batch = Batch(torch.zeros(3), torch.tensor([1.0, 2.0, 3.0]))
        >>> outcome = Regression().judge(torch.tensor([1.0, 2.0, 4.0]), batch)
        >>> [round(score.value(outcome.sums[score.name]), 4) for score in Regression().scores]
        [0.5, 0.3333]

    Reference:
        Draper & Smith, "Applied Regression Analysis", 3rd edition, 1998, section 1.3 (R²). Chan, Golub & LeVeque,
        "Algorithms for Computing the Sample Variance", 1983 (what the textbook formula loses).
    """

    name: ClassVar[str] = "regression"
    off: ClassVar[Mapping[str, Any]] = {"weigh": "equally"}
    weigh: Weigh = "equally"

    def __post_init__(self) -> None:
        if self.weigh not in get_args(Weigh):
            do = f"choose one of {', '.join(get_args(Weigh))}"
            raise SettingError("the R² of several targets", f"weigh={self.weigh!r}", do)

    @property
    def scores(self) -> tuple[Score, ...]:
        """R², and the mean squared error."""
        of = _r2 if self.weigh == "equally" else _r2_by_variance
        return (
            Score("r2", "test R²", "R²", better="higher", of=of),
            Score("mse", "test squared error", "target²"),
        )

    def check(self, outputs: Any, batch: Batch) -> None:
        """As many real, finite targets as outputs.

        Raises:
            TaskMismatch: something else.
        """
        values, targets = answer_of(outputs), batch.targets
        asked = f"the values of {batch.n} examples"
        if not one_to_one(values, targets, batch.n) or targets.dtype == torch.bool or targets.is_complex():
            found = f"outputs: {told(values)}, targets: {told(targets)}"
            raise TaskMismatch(asked, found, "give one number per output as target, in the same shape")
        bad = int((~torch.isfinite(targets)).sum())
        if bad:
            raise TaskMismatch(asked, f"{bad} of {targets.numel()} targets not finite", "leave those examples out")

    def losses(self, outputs: Any, batch: Batch) -> Float[Tensor, " n"]:
        """The squared error of each example, the mean over its targets."""
        values = rows_of(answer_of(outputs))
        return (values - rows_of(batch.targets).to(values.dtype)).square().mean(1)

    def judge(self, outputs: Any, batch: Batch) -> Outcome:
        """The squared errors, and what the variance of the targets is found from, in float64."""
        values = rows_of(require_finite(answer_of(outputs).cpu(), batch.n))
        y = rows_of(batch.targets.detach().cpu()).double()
        errors, one = (values - y).square(), torch.ones(len(y), 1, dtype=torch.float64)
        a = _first_bits(y)
        r2 = torch.cat([one, errors, a, a * a, y - a, (y - a) * (y + a)], 1)
        return Outcome({"r2": r2, "mse": torch.cat([errors.mean(1, keepdim=True), one], 1)})

    @classmethod
    def fits(cls, outputs: Tensor, batch: Batch) -> bool:
        """Floats as targets, one for each output."""
        return one_to_one(outputs, batch.targets, batch.n) and batch.targets.is_floating_point()


def _first_bits(y: Float64[Tensor, "..."]) -> Float64[Tensor, "..."]:
    return ((y.contiguous().view(torch.int64) >> _REST) << _REST).view(torch.float64)


def _variations(sums: Float64[Tensor, " k"]) -> tuple[Float64[Tensor, " t"], Float64[Tensor, " t"]]:
    """By target: ``Σ (o - y)²`` and ``Σ (y - mean y)²``; the second is 0 where the target is constant."""
    n, (errors, a, aa, r, rest) = sums[0], sums[1:].reshape(5, -1)
    # Any reference near the mean will do. With one of 16 bits, the three terms of Σ (a - near)² stay exact.
    near = _first_bits(a / n)
    centred = (aa - near * a) + (near * near * n - near * a) + (rest - 2 * near * r)
    spread = centred - (a - near * n + r).square() / n
    if not bool(torch.isfinite(spread).all() and torch.isfinite(errors).all()):
        raise NumericalFailure("the R² of a network", "sums of squares not finite", "scale the targets down")
    return errors, torch.where(spread <= _CONSTANT * aa, 0.0, spread)


def _r2(sums: Float64[Tensor, " k"]) -> float:
    errors, spread = _variations(sums)
    constant = int((spread == 0).sum())
    if constant:
        raise NumericalFailure(
            asked=f"the R² of {int(sums[0])} examples",
            found=f"{constant} of {len(spread)} targets constant",
            do="leave constant targets out, or judge by Regression(weigh='by_variance')",
        )
    return float((1 - errors / spread).mean())


def _r2_by_variance(sums: Float64[Tensor, " k"]) -> float:
    errors, spread = _variations(sums)
    total = float(spread.sum())
    if total == 0:
        found, do = "no target that varies", "use targets that differ from example to example"
        raise NumericalFailure(f"the R² of {int(sums[0])} examples", found, do)
    return 1 - float(errors.sum()) / total
