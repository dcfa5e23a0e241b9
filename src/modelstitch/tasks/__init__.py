"""Tasks: what outputs are judged by.

``task`` says what a task is. Each other is one file, with one line in ``catalogue``; ``guess`` finds the one that
outputs and targets belong to.
"""

from __future__ import annotations

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
