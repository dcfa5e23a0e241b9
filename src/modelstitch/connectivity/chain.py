"""The chain: ``S_i`` is the best network found with the layers up to the i-th cut from A and the rest from B.

``S_0`` is B and ``S_L`` is A, whole and as they are; between them one stitch stands at each block cut.
"""

from __future__ import annotations

from collections.abc import Iterator

from modelstitch.compute import Budget
from modelstitch.data import Samples
from modelstitch.errors import CannotFold, NumericalFailure
from modelstitch.fold import fold
from modelstitch.matching import Fit, fit_all
from modelstitch.penalty import Outcome, evaluate_all
from modelstitch.stitched import Stitched
from modelstitch.stitching import Prepared, Setting

Link = tuple[float, str, Outcome | NumericalFailure, str]
"""Place from 0 to 1, cut, what the network answered, and how it folds."""


def chain(a: Prepared, b: Prepared, train: Samples, test: Samples, setting: Setting, budget: Budget) -> Iterator[Link]:
    """Stitch A's bottom to B's top at every block cut and test what comes of it, from B to A.

    Args:
        a: lends the bottoms.
        b: lends the tops; of the same architecture.
        train: to fit on.
        test: to measure on.
        setting: how to choose the stitches.
        budget: room for activations.
    """
    cuts = [(a.captured.find(cut.name), cut) for cut in b.captured.blocks]
    halves = [(a.captured.bottom(below), b.captured.top(above)) for below, above in cuts]
    fits = fit_all(
        setting.family, halves, train, by=setting.by, batch_norm=setting.batch_norm, seed=setting.seed, budget=budget
    )
    fitted = [found.stitched for found in fits if isinstance(found, Fit)]
    outcomes = iter(evaluate_all(fitted, test, budget=budget))
    yield 0.0, "input", b.outcome, "same architecture"
    for index, (found, (_, cut)) in enumerate(zip(fits, cuts, strict=True), start=1):
        outcome = next(outcomes) if isinstance(found, Fit) else found
        folded = _folded(found.stitched) if isinstance(found, Fit) else ""
        yield index / (len(cuts) + 1), cut.name, outcome, folded
    yield 1.0, "output", a.outcome, "same architecture"


def _folded(stitched: Stitched) -> str:
    try:
        folded = fold(stitched)
    except CannotFold as error:
        return f"does not fold: {error.found}"
    if folded.same_architecture:
        return "same architecture"
    return f"projection at {', '.join(folded.projections)}"
