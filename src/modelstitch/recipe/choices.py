"""What a recipe may choose stitches from, and by: families and matchings.

Defaults are those of the library's own calls.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveInt

Rate = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class _Choice(BaseModel):
    """A part of a recipe, as others: unknown keys are refused, and nothing changes after reading."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class PlainFamily(_Choice):
    """A family without settings.

    Attributes:
        name: of the family.
    """

    name: Literal["identity", "permutation", "orthogonal"]


class AffineFamily(_Choice):
    """An affine map of channels.

    Attributes:
        name: ``affine``, or ``bn_affine_bn`` between batch norms as in Bansal, Nakkiran and Barak (2021).
        kernel: side of the convolution, odd.
    """

    name: Literal["affine", "bn_affine_bn"]
    kernel: PositiveInt = 1


FamilyChoice = Annotated[PlainFamily | AffineFamily, Field(discriminator="name")]


class DirectMatching(_Choice):
    """Match the top's own activations in closed form.

    Attributes:
        name: ``direct``.
        ridge: strength of the penalty on an affine map.
    """

    name: Literal["direct"]
    ridge: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0


class _Descent(_Choice):
    """What both ways down the task loss take; what is left out has the default of `TaskLoss`.

    Attributes:
        epochs: passes over the data; as many as make 500 steps unless told otherwise.
        batch_size: examples a step.
        patience: an early stop on a held-out tenth of the train set.
        precision: while fitting.
    """

    epochs: PositiveInt | None = None
    batch_size: Annotated[int, Field(ge=2)] = 128
    patience: PositiveInt | None = None
    precision: Literal["float32", "bfloat16"] = "float32"


class TaskMatching(_Descent):
    """Minimise the loss of the stitched network.

    Attributes:
        name: ``task``.
        learning_rate: at the beginning; a number, or ``by_width``: less for stitches of many channels.
        start: where to begin.
    """

    name: Literal["task"]
    learning_rate: Rate | Literal["by_width"] = "by_width"
    start: Literal["least_squares", "identity", "random"] = "least_squares"


class FineTuneMatching(_Descent):
    """Train a copy of the top along with the stitch: no stitching, but what the paper's figure 8 sets beside it.

    Attributes:
        name: ``fine_tune``.
        learning_rate: at the beginning, of stitch and top.
        start: where the stitch begins; the family ``identity`` has none.
        top: ``fresh`` weights for the copy, or those of the ``trained`` top.
    """

    name: Literal["fine_tune"]
    learning_rate: Rate = 5e-3
    start: Literal["least_squares", "identity", "random"] = "identity"
    top: Literal["fresh", "trained"] = "fresh"


MatchingChoice = Annotated[DirectMatching | TaskMatching | FineTuneMatching, Field(discriminator="name")]
