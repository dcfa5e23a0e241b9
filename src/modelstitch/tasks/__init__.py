"""Tasks: what outputs are judged by.

``task`` says what a task is, and ``also`` what a score of decisions is. Each is one file, with one line in
`modelstitch.vocabulary`; ``guess`` finds the task that outputs and targets belong to.
"""

from __future__ import annotations

from typing import Any

from modelstitch.support.catalogue import class_titled
from modelstitch.tasks.also import Also
from modelstitch.tasks.catalogue import TASKS
from modelstitch.tasks.classification import Classification
from modelstitch.tasks.guess import guess, task_of
from modelstitch.tasks.imitation import Imitation
from modelstitch.tasks.multi_label import MultiLabel
from modelstitch.tasks.next_token import NextToken
from modelstitch.tasks.regression import Regression
from modelstitch.tasks.task import Outcome, Score, Task, agreement, answer_of, joined_outcome, require_same_examples

__all__ = [
    "TASKS",
    "Also",
    "Classification",
    "Imitation",
    "MultiLabel",
    "NextToken",
    "Outcome",
    "Regression",
    "Score",
    "Task",
    "agreement",
    "answer_of",
    "guess",
    "joined_outcome",
    "require_same_examples",
    "task_of",
]


def __getattr__(name: str) -> Any:
    return class_titled(name, __name__, TASKS)
