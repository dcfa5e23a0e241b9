"""A measure as one object: its functions and what they promise; and the checks that all measures share."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float64
from torch import Tensor

from modelstitch.errors import DataError, NumericalFailure, SettingError, ShapeMismatch, TooFewRows
from modelstitch.measures.door import RowsLike, as_matrix, as_rows
from modelstitch.measures.promises import Promises
from modelstitch.measures.scale import sound
from modelstitch.moments import Moments
from modelstitch.tensors import all_finite


@runtime_checkable
class Accumulator(Protocol):
    """Takes paired rows in batches; its value is that of all rows at once, however they were split."""

    def update(self, x: Any, y: Any) -> None:
        """Take one more batch of paired rows."""

    def compute(self) -> float:
        """The value of all rows so far."""


@dataclass(frozen=True)
class Measure:
    """A similarity or distance of two sets of activations, with all ways of computing it.

    Calling it with two matrices of paired rows computes it in one go: tensors, arrays, data frames or lists of lists.
    A value that leaves the promised range by more than rounding, or is no number, is an error and never returned.

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
        >>> MEASURES["cka"](torch.eye(3, 2), 2 * torch.eye(3, 2))
        1.0
    """

    name: str
    title: str
    promises: Promises
    side: Callable[[Float64[Tensor, "n p"]], Any]
    between: Callable[[Any, Any], float]
    from_moments: Callable[[Moments], float] | None = None
    streaming: Callable[[], Accumulator] | None = None

    def __post_init__(self) -> None:
        # Whoever calls it, a value passes the range; a copy with other promises is held to those alone.
        for field in ("between", "from_moments"):
            compute = getattr(self, field)
            compute = compute.compute if isinstance(compute, _Held) else compute
            held = None if compute is None else _Held(self.title, self.promises, compute)
            object.__setattr__(self, field, held)

    def __call__(self, x: RowsLike, y: RowsLike) -> float:
        """The value for paired rows, ``(n, p)`` and ``(n, q)``; errors as in `paired`."""
        a, b = paired(self.title, self.promises, x, y)
        return self.between(self.side(a), self.side(b))

    def one_side(self, which: str, rows: RowsLike) -> Any:
        """What `between` needs of one side, checked alone: for many comparisons of the same rows.

        Args:
            which: ``x`` or ``y``, for errors.
            rows: one side's activations, ``(n, p)``.

        Raises:
            DataError: too few rows, or no matrix of numbers.
            NumericalFailure: a value is not finite, or all rows are alike.
        """
        matrix = as_rows(self.title, which, rows)
        check_rows(self.title, self.promises, len(matrix), 0, 0)
        return self.side(_checked(self.title, self.promises, which, matrix))

    def accumulator(self) -> Accumulator:
        """A fresh accumulator, whose memory does not depend on the number of rows.

        Raises:
            SettingError: the measure needs all rows at once.
        """
        if self.streaming is not None:
            return _Entered(self.title, self.streaming())
        if self.from_moments is None:
            do = f"call it with all rows: MEASURES[{self.name!r}](x, y)"
            raise SettingError(f"{self.title}, batch by batch", "a measure that needs all rows at once", do)
        return _Entered(self.title, _OverMoments(self.from_moments))


@dataclass(frozen=True)
class _Held:
    """A function whose value is held to the promised range."""

    title: str
    promises: Promises
    compute: Callable[..., float]

    def __call__(self, *given: Any) -> float:
        return self.promises.within(self.title, self.compute(*given))


class _Entered:
    """An accumulator behind the door that all rows pass."""

    def __init__(self, title: str, inner: Accumulator) -> None:
        self._title, self._inner = title, inner

    def update(self, x: RowsLike, y: RowsLike) -> None:
        self._inner.update(as_matrix(self._title, "x", x), as_matrix(self._title, "y", y))

    def compute(self) -> float:
        return self._inner.compute()


class _OverMoments:
    def __init__(self, from_moments: Callable[[Moments], float]) -> None:
        self._from_moments = from_moments
        self._moments = Moments()

    def update(self, x: Any, y: Any) -> None:
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
    name: str, promises: Promises, x: RowsLike, y: RowsLike
) -> tuple[Float64[Tensor, "n p"], Float64[Tensor, "n q"]]:
    """Rows that a measure can be computed from, in float64 on the CPU.

    Args:
        name: of the measure, for errors.
        promises: of the measure.
        x: rows of the first network's activations, ``(n, p)``: a tensor, an array, a data frame or a list of lists.
        y: the same rows of the second network's, ``(n, q)``.

    Returns:
        Both, checked; multiplied by a power of two where their squares would leave the range of float64 and the
        measure is invariant to scale.

    Raises:
        DataError: no matrix of numbers, too few rows, or not as many in ``x`` as in ``y``.
        NumericalFailure: a value is not finite, or one side is constant.

    Warns:
        TooFewRows: fewer rows than the measure's promises advise.
    """
    a, b = as_rows(name, "x", x), as_rows(name, "y", y)
    if len(a) != len(b):
        raise DataError(
            asked=name,
            found=f"{len(a)} rows of x and {len(b)} rows of y",
            do="give both networks the same examples in the same order",
        )
    check_rows(name, promises, len(a), a.shape[1], b.shape[1])
    return _checked(name, promises, "x", a), _checked(name, promises, "y", b)


def check_rows(name: str, promises: Promises, n: int, p: int, q: int) -> None:
    """Refuse, or warn of, fewer rows than a measure needs.

    Measures that require more rows than either side's dimensions count those dimensions themselves: dead channels do
    not count.

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


def _checked(name: str, promises: Promises, which: str, rows: Tensor) -> Tensor:
    if not all_finite(rows):
        raise NumericalFailure(
            asked=name,
            found=f"values of {which} that are not finite",
            do="look for the first layer that returns inf or nan",
        )
    brought = sound(name, which, rows, centred="translation" in promises.invariances)
    return brought if "isotropic_scale" in promises.invariances else rows
