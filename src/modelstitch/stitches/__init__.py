"""The families S: the small maps that may stand between a bottom and a top.

Every family maps position by position, from the channels at one cut to the channels at the other. It is simple on
purpose: a stitch that could learn the task itself would say nothing about the representation it is given.

    Identity     y = x                          nothing to fit
    Permutation  y = P x                        channels renamed
    Diagonal     y = w ⊙ x + b                  each channel scaled and shifted
    Orthogonal   y = Q x                        channels rotated, Q Qᵀ = I
    Affine       y = W x + b                    1x1 convolution or linear layer
    BNAffineBN   y = BN(W BN(x) + b)            the stitch of Bansal, Nakkiran and Barak (2021)

Permutation ⊂ Orthogonal ⊂ Affine, and Identity ⊂ Diagonal ⊂ Affine. A family is a description; ``build`` makes the
module for two given cuts, and ``solve`` finds the best map of the family in closed form. To add a family, write its
file and its line in `modelstitch.vocabulary`.
"""

from typing import Any

from modelstitch import vocabulary
from modelstitch.stitches.affine import Affine
from modelstitch.stitches.bn_affine_bn import BNAffineBN
from modelstitch.stitches.closed_form import Solution
from modelstitch.stitches.family import Family, Stitch
from modelstitch.stitches.identity import Identity
from modelstitch.stitches.orthogonal import Orthogonal
from modelstitch.stitches.permutation import Permutation
from modelstitch.support.catalogue import class_titled, classes_of

FAMILIES: dict[str, type[Family]] = classes_of("modelstitch.stitches", vocabulary.FAMILIES)
"""The families by the names that command lines, recipes and records use."""

__all__ = [
    "FAMILIES",
    "Affine",
    "BNAffineBN",
    "Family",
    "Identity",
    "Orthogonal",
    "Permutation",
    "Solution",
    "Stitch",
]


def __getattr__(name: str) -> Any:
    return class_titled(name, __name__, FAMILIES)
