"""Tasks: what outputs are judged by. ``task`` says what one is; each other module is one, with one line here."""

from __future__ import annotations

from modelstitch.tasks.classification import Classification
from modelstitch.tasks.task import Outcome, Score, Task, agreement, answer_of, joined_outcome, require_same_examples

TASKS: dict[str, type[Task]] = {
    "classification": Classification,
}
"""The tasks by the names that a command line and a recipe use."""

__all__ = [
    "TASKS",
    "Classification",
    "Outcome",
    "Score",
    "Task",
    "agreement",
    "answer_of",
    "joined_outcome",
    "require_same_examples",
]
