"""All tasks by name."""

from __future__ import annotations

from modelstitch import vocabulary
from modelstitch.support.catalogue import classes_of
from modelstitch.tasks.task import Task

TASKS: dict[str, type[Task]] = classes_of("modelstitch.tasks", vocabulary.TASKS)
"""The tasks by the names that a command line and a recipe use."""
