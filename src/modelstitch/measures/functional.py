"""What two networks answer, instead of what they hold inside: functional similarity, to set beside the others.

Reference: Klabunde, Schumacher, Strohmaier & Lemmerich, "Similarity of Neural Network Models: A Survey of Functional
and Representational Measures", 2023.
Beware: two good networks agree on most examples because both are right. `error_overlap` looks at the errors alone.
"""

from __future__ import annotations

from jaxtyping import Float64, Int64
from torch import Tensor

from modelstitch.errors import DataError, NumericalFailure, TaskMismatch
from modelstitch.measures.door import RowsLike, as_labels
from modelstitch.measures.measure import Measure, paired
from modelstitch.measures.promises import Promises


def prediction_agreement(x: RowsLike, y: RowsLike) -> float:
    """The share of examples to which two networks give the same class: ``mean_i [argmax x_i = argmax y_i]``.

    Args:
        x: the first network's logits.
        y: the second network's, of the same examples.

    Returns:
        A similarity in [0, 1], a share; the first class wins a tie. Its complement is called churn or disagreement.

    Raises:
        DataError: no examples, or not as many in ``x`` as in ``y``.
        NumericalFailure: a logit is not finite, or one network gives every example the same logits.

    Example:
        >>> import torch
        >>> prediction_agreement(torch.eye(3), torch.eye(3)[[0, 1, 1]])
        0.6666666666666666
    """
    return AGREEMENT(x, y)


def error_overlap(x: RowsLike, y: RowsLike, labels: object) -> float:
    """Of the examples that either network gets wrong, the share that both do: ``|E_x ∩ E_y| / |E_x ∪ E_y|``.

    The Jaccard index of the two sets of errors. Geirhos et al. 2020 ("Beyond accuracy") use error consistency instead:
    Cohen's kappa of being right or wrong, which takes off what two networks of such accuracy share by chance.

    Args:
        x: the first network's logits.
        y: the second network's, of the same examples.
        labels: the right classes, one whole number an example.

    Returns:
        A similarity in [0, 1], a share.

    Raises:
        TaskMismatch: a label has no column in the logits.
        DataError: no examples, or not as many of each.
        NumericalFailure: a logit is not finite, or neither network makes an error: there is nothing to share.

    Example:
        >>> import torch
        >>> error_overlap(torch.eye(3), torch.eye(3)[[0, 2, 2]], torch.tensor([1, 1, 2]))
        0.5
    """
    right = as_labels("error overlap", labels)
    a, b = paired("error overlap", _PROMISES, x, y)
    if len(right) != len(a):
        raise DataError(
            "error overlap", f"{len(a)} rows of logits and {len(right)} labels", "give one label an example"
        )
    if not 0 <= int(right.min()) <= int(right.max()) < min(a.shape[1], b.shape[1]):
        found = f"labels from {int(right.min())} to {int(right.max())} and logits of {a.shape[1]} and {b.shape[1]}"
        raise TaskMismatch("error overlap", found, "give logits of the data's own classes, counted from 0")
    wrong_x, wrong_y = a.argmax(1) != right, b.argmax(1) != right
    either = int((wrong_x | wrong_y).sum())
    if either == 0:
        found, do = f"no error of either network on {len(right)} examples", "give examples that they get wrong"
        raise NumericalFailure("error overlap", found, do)
    return int((wrong_x & wrong_y).sum()) / either


def _side(logits: Float64[Tensor, "n classes"]) -> Int64[Tensor, " n"]:
    return logits.argmax(1)


def _between(x: Int64[Tensor, " n"], y: Int64[Tensor, " n"]) -> float:
    return int((x == y).sum()) / len(x)


_PROMISES = Promises(
    range=(0.0, 1.0),
    higher_is_more_similar=True,
    symmetric=True,
    metric=False,
    # A scale below zero turns the order of the logits round, so not even that.
    invariances=frozenset(),
    least_rows=2,
    rows_per_channel="any",
)
AGREEMENT = Measure("agreement", "agreement of the answers", _PROMISES, _side, _between)
