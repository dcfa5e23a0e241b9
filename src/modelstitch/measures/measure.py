"""A measure as one object: its functions and what they promise; and the checks that all measures share."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from modelstitch.errors import DataError, NumericalFailure, SettingError, ShapeMismatch, TooFewRows
from modelstitch.measures.promises import Promises
from modelstitch.moments import Moments, varying
from modelstitch.tensors import all_finite


@runtime_checkable
class Accumulator(Protocol):
    """Takes paired rows in batches; its value is that of all rows at once, however they were split."""

    def update(self, x: Float[Tensor, "n p"], y: Float[Tensor, "m q"]) -> None:
        """Take one more batch of paired rows."""

    def compute(self) -> float:
        """The value of all rows so far."""


@dataclass(frozen=True)
class Measure:
    """A similarity or distance of two sets of activations, with all ways of computing it.

    Calling it with two matrices of paired rows computes it in one go.

    Args:
        name: what tables and the command line call it: ``cka_debiased``.
        title: what a figure calls it: ``linear CKA, debiased``.
        promises: what holds for it.
        side: all that is asked of one side alone, from its checked float64 rows; made once for many comparisons.
        between: the value from two such sides, made from the same rows in the same order.
        from_moments: the value from streamed moments; None where they do not determine it.
        streaming: makes an accumulator of its own kind; None where there is none or the moments serve.

    Example:
        >>> from modelstitch.measures import MEASURES
        >>> MEASURES["cka"](torch.eye(3), 2 * torch.eye(3))
        1.0
    """

    name: str
    title: str
    promises: Promises
    side: Callable[[Float64[Tensor, "n p"]], Any]
    between: Callable[[Any, Any], float]
    from_moments: Callable[[Moments], float] | None = None
    streaming: Callable[[], Accumulator] | None = None

    def __call__(self, x: Float[Tensor, "n p"], y: Float[Tensor, "m q"]) -> float:
        """The value for paired rows; errors as in `paired`."""
        x, y = paired(self.title, self.promises, x, y)
        return self.between(self.side(x), self.side(y))

    def one_side(self, which: str, rows: Float[Tensor, "n p"]) -> Any:
        """What `between` needs of one side, checked alone: for many comparisons of the same rows.

        Args:
            which: ``x`` or ``y``, for errors.
            rows: one side's activations.

        Raises:
            DataError: too few rows.
            NumericalFailure: a value is not finite, or all rows are alike.
        """
        check_rows(self.title, self.promises, len(rows), 0, 0)
        return self.side(_checked(self.title, which, rows))

    def accumulator(self) -> Accumulator:
        """A fresh accumulator, whose memory does not depend on the number of rows.

        Raises:
            SettingError: the measure needs all rows at once.
        """
        if self.streaming is not None:
            return self.streaming()
        if self.from_moments is None:
            do = f"call it with all rows: MEASURES[{self.name!r}](x, y)"
            raise SettingError(f"{self.title}, batch by batch", "a measure that needs all rows at once", do)
        return _OverMoments(self.from_moments)


class _OverMoments:
    def __init__(self, from_moments: Callable[[Moments], float]) -> None:
        self._from_moments = from_moments
        self._moments = Moments()

    def update(self, x: Float[Tensor, "n p"], y: Float[Tensor, "m q"]) -> None:
        self._moments.update(x, y)

    def compute(self) -> float:
        return self._from_moments(self._moments)


def noted(compute: Callable[[], float]) -> tuple[float | None, str]:
    """A value with what to beware of, or no value and why: for tables, where one failure must not cost the rest.

    Args:
        compute: calls a measure.

    Returns:
        The value and an empty note or a warning; None and the error's text where there is no value.
    """
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("ignore")
        warnings.simplefilter("always", TooFewRows)
        try:
            value = compute()
        # A decomposition that does not converge has no value either.
        except (DataError, NumericalFailure, ShapeMismatch, torch.linalg.LinAlgError) as failure:  # type: ignore[attr-defined]
            return None, str(failure)
    return value, "; ".join(str(one.message) for one in told)


def paired(
    name: str, promises: Promises, x: Float[Tensor, "n p"], y: Float[Tensor, "m q"]
) -> tuple[Float64[Tensor, "n p"], Float64[Tensor, "n q"]]:
    """Rows that a measure can be computed from, in float64 on the CPU.

    Args:
        name: of the measure, for errors.
        promises: of the measure.
        x: rows of the first network's activations.
        y: the same rows of the second network's.

    Returns:
        Both, checked.

    Raises:
        DataError: too few rows, or not as many in ``x`` as in ``y``.
        NumericalFailure: a value is not finite, or one side is constant.

    Warns:
        TooFewRows: fewer rows than the measure's promises advise.
    """
    if len(x) != len(y):
        raise DataError(
            asked=name,
            found=f"{len(x)} rows of x and {len(y)} rows of y",
            do="give both networks the same examples in the same order",
        )
    check_rows(name, promises, len(x), x.shape[1], y.shape[1])
    return _checked(name, "x", x), _checked(name, "y", y)


def check_rows(name: str, promises: Promises, n: int, p: int, q: int) -> None:
    """Refuse, or warn of, fewer rows than a measure needs.

    Measures that require more rows than both sides' dimensions count those dimensions themselves, by `too_few_rows`:
    dead channels do not count.

    Args:
        name: of the measure.
        promises: of the measure.
        n: how many rows there are.
        p: channels of the first side.
        q: channels of the second.

    Raises:
        DataError: too few.

    Warns:
        TooFewRows: fewer than advised.
    """
    if n < promises.least_rows:
        found, do = f"{n} paired rows", f"give at least {promises.least_rows}"
        raise DataError(asked=name, found=found, do=do)
    if promises.rows_per_channel == "advised" and n <= max(p, q):
        advice = "the value is too high, also for unrelated activations; give more rows, or take cka_debiased"
        warnings.warn(f"{name} of {n} rows with {p} and {q} channels: {advice}", TooFewRows, stacklevel=3)


def too_few_rows(name: str, n: int, p: int, q: int) -> DataError:
    """The error for fewer rows than two sides' dimensions together need.

    Args:
        name: of the measure.
        n: how many rows there are.
        p: dimensions that the first side fills.
        q: dimensions that the second fills.
    """
    return DataError(
        asked=name,
        found=f"{n} rows that fill {p} and {q} dimensions: any two such sets agree perfectly in some of them",
        do=f"give more than {p + q} rows, pool the maps, or take a measure that needs no more rows than channels",
    )


def constant(name: str, which: str) -> NumericalFailure:
    """The error for a side that is the same for every row and so has no similarity to anything.

    Args:
        name: of the measure.
        which: ``x`` or ``y``.
    """
    return NumericalFailure(
        asked=name,
        found=f"{which} is constant: the same activations for every row",
        do="cut elsewhere, or look at why the layer is dead",
    )


def _checked(name: str, which: str, rows: Tensor) -> Tensor:
    rows = rows.detach().cpu().double()
    if not all_finite(rows):
        raise NumericalFailure(
            asked=name,
            found=f"values of {which} that are not finite",
            do="look for the first layer that returns inf or nan",
        )
    mean = rows.mean(0)
    if not bool(varying(mean, (rows - mean).square_().sum(0), len(rows)).any()):
        raise constant(name, which)
    return rows
