"""Scores of decisions that a task of classes can have beside its own: ``Classification(also=("macro_f1",))``.

Each is one file of this room, with one line in the vocabulary's scores that names its class.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

from jaxtyping import Float64, Int64
from torch import Tensor

from modelstitch.errors import SettingError, did_you_mean
from modelstitch.support.catalogue import classes_of
from modelstitch.tasks.task import Score
from modelstitch.vocabulary import SCORES


class Also(ABC):
    """One number of the decisions for all examples, from what each example adds to sums.

    Attributes:
        name: as records call it.
        score: what becomes of the sums.
    """

    name: ClassVar[str]
    score: ClassVar[Score]

    @abstractmethod
    def rows(self, answers: Int64[Tensor, " n"], labels: Int64[Tensor, " n"], classes: int) -> Float64[Tensor, "n k"]:
        """What each example adds.

        Args:
            answers: the class that was decided for each example.
            labels: its class.
            classes: how many there are.
        """


def also_of(names: Sequence[str]) -> tuple[Also, ...]:
    """These scores.

    Raises:
        SettingError: there is no such score, or one is named twice.

    Example:
        >>> also_of(())
        ()
    """
    known = {name: word for name, word in SCORES.items() if word.made_by}
    for index, name in enumerate(names):
        if name not in known or name in names[:index]:
            found = "no such score" if name not in known else "named twice"
            do = did_you_mean(name, known, f"choose among {', '.join(known)}") if known else "leave it out"
            raise SettingError(f"a score of decisions {name!r}", found, do)
    return tuple(kind() for kind in classes_of("modelstitch.tasks", {name: known[name] for name in names}).values())
