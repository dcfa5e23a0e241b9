"""All tasks by name."""

from __future__ import annotations

from modelstitch.tasks.classification import Classification
from modelstitch.tasks.imitation import Imitation
from modelstitch.tasks.multi_label import MultiLabel
from modelstitch.tasks.next_token import NextToken
from modelstitch.tasks.regression import Regression
from modelstitch.tasks.task import Task

TASKS: dict[str, type[Task]] = {one.name: one for one in (Classification, MultiLabel, Regression, NextToken, Imitation)}
"""The tasks by the names that a command line and a recipe use."""
