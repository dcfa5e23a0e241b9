"""How much of the task a linear classifier reads off one network's activations: a quality, and no similarity.

Reference: Alain & Bengio, "Understanding intermediate layers using linear classifier probes", 2016.
Beware: two networks of equal probe accuracy may hold nothing in common; and a probe with more channels than examples
finds a class boundary in noise, which only the test examples show.
"""

from __future__ import annotations

import warnings

from torch import Tensor

from modelstitch.errors import DataError, NumericalFailure
from modelstitch.measures.door import RowsLike, as_labels, as_rows
from modelstitch.measures.scale import channel_scales
from modelstitch.tensors import all_finite

_TITLE = "a linear probe"


def linear_probe(
    x: RowsLike,
    labels: object,
    x_test: RowsLike,
    labels_test: object,
    *,
    steps: int = 1000,
) -> float:
    """Accuracy on the test rows of a logistic regression fitted to the train rows.

    Each channel is brought to mean 0 and variance 1 by the train rows; the regression is scikit-learn's, with an L2
    penalty of strength C = 1.

    Args:
        x: activations to fit on, ``(n, p)``.
        labels: their classes, whole numbers.
        x_test: activations to judge on, of other examples, ``(m, p)``.
        labels_test: their classes.
        steps: how many steps of L-BFGS it may take.

    Returns:
        A share in [0, 1]; the share of the most frequent class comes for free.

    Raises:
        DataError: one class only, a test class that was not fitted, or rows, channels and labels that do not fit.
        NumericalFailure: a value is not finite, or the regression has not converged.

    Example:
        >>> import torch
        >>> x, labels = torch.tensor([[0.0], [0.1], [1.0], [1.1]]), torch.tensor([0, 0, 1, 1])
        >>> linear_probe(x, labels, x + 0.05, labels)
        1.0
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    rows = [as_rows(_TITLE, which, given) for which, given in (("x", x), ("x_test", x_test))]
    classes = [as_labels(_TITLE, given) for given in (labels, labels_test)]
    _check(rows[0], classes[0], rows[1], classes[1])
    fit, judge = (one.numpy() for one in _of_one_size(*rows))
    probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=steps))
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        try:
            probe.fit(fit, classes[0].numpy())
        except ConvergenceWarning as failure:
            found = f"a regression that has not converged in {steps} steps"
            raise NumericalFailure(_TITLE, found, "allow more steps") from failure
    return float(probe.score(judge, classes[1].numpy()))


def _of_one_size(fit: Tensor, judge: Tensor) -> tuple[Tensor, Tensor]:
    """Channels of any size, by a power of two each, since the regression's scaler squares them."""
    scales = channel_scales(fit)
    return fit * scales, judge * scales


def _check(x: Tensor, labels: Tensor, x_test: Tensor, labels_test: Tensor) -> None:
    sizes = [tuple(rows.shape) for rows in (x, x_test)]
    if len(x) != len(labels) or len(x_test) != len(labels_test) or x.shape[1] != x_test.shape[1] or not len(x_test):
        found = f"rows of {sizes[0]} and {sizes[1]} with {len(labels)} and {len(labels_test)} labels"
        raise DataError(_TITLE, found, "give the same channels, and one label a row")
    for name, rows in (("train", x), ("test", x_test)):
        if not all_finite(rows):
            found = f"{name} activations that are not finite"
            raise NumericalFailure(_TITLE, found, "look for the first layer that returns inf or nan")
    fitted = set(labels.tolist())
    if len(fitted) < 2:
        raise DataError(_TITLE, "one class to fit on", "give examples of at least two classes")
    unseen = sorted(set(labels_test.tolist()) - fitted)
    if unseen:
        found = f"test examples of classes {unseen}, which the train examples lack"
        raise DataError(_TITLE, found, "fit on examples of every class")
