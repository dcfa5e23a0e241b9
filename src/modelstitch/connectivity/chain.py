"""The chain: ``S_i`` is the best network found with the layers up to the i-th cut from A and the rest from B.

``S_0`` is B and ``S_L`` is A, whole and as they are; between them one stitch stands at each block cut.
"""

from __future__ import annotations

from collections.abc import Iterator

from modelstitch.errors import CannotFold, NumericalFailure
from modelstitch.fold import fold
from modelstitch.matching import Fit
from modelstitch.penalty import evaluate_all
from modelstitch.stitched import Stitched
from modelstitch.stitching import Pairing
from modelstitch.tasks import Outcome

Link = tuple[float, str, Outcome | NumericalFailure, str]
"""Place from 0 to 1, cut, what the network answered, and how it folds."""


def chain(pairing: Pairing) -> Iterator[Link]:
    """Stitch A's bottom to B's top at every block cut and test what comes of it, from B to A.

    Args:
        pairing: from A, which lends the bottoms, to B, of the same architecture, at every block cut.
    """
    a, b = pairing.bottom_of, pairing.top_of
    halves = [(a.captured.bottom(below), b.captured.top(above)) for below, above in pairing.pairs]
    fits = pairing.job().fit_all(halves)
    fitted = [found.stitched for found in fits if isinstance(found, Fit)]
    outcomes = iter(evaluate_all(fitted, pairing.judged_on(pairing.test), pairing.task))
    yield 0.0, "input", pairing.outcome(b), "same architecture"
    for index, (found, (_, cut)) in enumerate(zip(fits, pairing.pairs, strict=True), start=1):
        outcome = next(outcomes) if isinstance(found, Fit) else found
        folded = _folded(found.stitched) if isinstance(found, Fit) else ""
        yield index / (len(fits) + 1), cut.name, outcome, folded
    yield 1.0, "output", pairing.outcome(a), "same architecture"


def _folded(stitched: Stitched) -> str:
    try:
        folded = fold(stitched)
    except CannotFold as error:
        return f"does not fold: {error.found}"
    if folded.same_architecture:
        return "same architecture"
    return f"projection at {', '.join(folded.projections)}"
