"""Which task outputs and targets belong to: where it can only be one, nobody needs to say."""

from __future__ import annotations

from typing import Any

from modelstitch.data import Batch, Examples
from modelstitch.errors import SettingError, TaskMismatch, did_you_mean
from modelstitch.tasks.catalogue import TASKS
from modelstitch.tasks.task import Task, answer_of, told


def guess(data: Examples | Batch, outputs: Any) -> Task:
    """The task of outputs and targets, where only one task of the catalogue fits them.

    Every task is asked (`Task.fits`):

    | targets | outputs | task |
    |---|---|---|
    | none | floats | `Imitation`: by divergence for ``(n, c)`` with ``c > 1``, else by squared distance |
    | integers ``(n,)`` | ``(n, c)`` with ``c > 1`` | `Classification`, with the data's ``classes`` |
    | 0 and 1, booleans or integers | as many | `MultiLabel` |
    | floats | as many | `Regression`; where all are 0 or 1, it may also be `MultiLabel`: an error |
    | the input's own tokens ``(n, length)`` | ``(n, length, vocabulary)`` | `NextToken` |

    Args:
        data: the examples that were answered, of which the first are read; or a batch of them.
        outputs: what a network returned for the first examples, or for the batch. Values decide, too: two examples
            show less than twenty.

    Raises:
        TaskMismatch: no task fits.
        SettingError: several fit.

    Example:
        >>> import torch
        >>> guess(Batch(torch.zeros(2, 5), torch.tensor([0, 1])), torch.zeros(2, 3))
        Classification(classes=None, also=())
    """
    answer = answer_of(outputs)
    batch = data if isinstance(data, Batch) else data.batch(slice(0, len(answer) if answer.ndim else 1))
    fitting = [task for task in TASKS.values() if task.fits(answer, batch)]
    if len(fitting) == 1:
        return fitting[0].suited(answer, data)
    asked, found = "to guess the task", f"outputs: {told(answer)}, targets: {told(batch.targets)}"
    if not fitting:
        do = f"check the two, or name the task, one of {', '.join(TASKS)}, or a class of your own"
        raise TaskMismatch(asked, f"{found}, which no task fits", do)
    found = f"{found}, which fit {' and '.join(task.name for task in fitting)}"
    raise SettingError(asked, found, f"name one: {' or '.join(f'task={task.name!r}' for task in fitting)}")


def task_of(task: str | Task) -> Task:
    """A task by its name in the catalogue, with its default settings; a task is returned as it is.

    Raises:
        SettingError: no task has that name.

    Example:
        >>> task_of("regression")
        Regression(weigh='equally')
    """
    if isinstance(task, Task):
        return task
    if task not in TASKS:
        do = did_you_mean(task, TASKS, f"choose one of {', '.join(TASKS)}")
        raise SettingError(f"the task {task!r}", "no task of that name", do)
    return TASKS[task]()
