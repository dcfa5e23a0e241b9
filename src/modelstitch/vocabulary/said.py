"""What is said with the lists: titles, units and settings as tables and figures show them."""

from __future__ import annotations

import json
from collections.abc import Iterable

from modelstitch.vocabulary.words import FAMILIES, MATCHINGS, MEASURES, SCORES, TASKS, TaskWord

_SETTINGS = {**FAMILIES, **MATCHINGS, **TASKS}


def spoken(told: str) -> str:
    """A setting for tables and figures, as Python would write it: what a record holds as JSON text.

    Args:
        told: the JSON of a setting, or of a list of them, which is a chain; empty for none. Other text is given back
            as it stands.

    Example:
        >>> spoken('{"name": "affine", "kernel": 1}'), spoken('[{"name": "direct"}, {"name": "mine", "k": null}]')
        ('Affine(kernel=1)', 'Direct(), then mine(k=None)')
        >>> spoken(""), spoken("by hand")
        ('none', 'by hand')
    """
    if not told:
        return "none"
    try:
        found = json.loads(told)
    except ValueError:
        return told
    chain = found if isinstance(found, list) else [found]
    if not chain or not all(isinstance(one, dict) and isinstance(one.get("name"), str) for one in chain):
        return told
    return ", then ".join(map(_called, chain))


def _called(setting: dict[str, object]) -> str:
    name = str(setting["name"])
    told = ", ".join(f"{key}={value!r}" for key, value in setting.items() if key != "name")
    return f"{_SETTINGS[name].title if name in _SETTINGS else name}({told})"


def score_of(score: str, task: str) -> str:
    """The name of a score's words, as the other functions here take it: with its task where that means its own by it.

    Args:
        score: its name in a record.
        task: the JSON of the task, as a record holds it; empty where it is not known.

    Example:
        >>> score_of("error", '{"name": "imitation", "by": "kl"}'), score_of("error", '{"name": "classification"}')
        ('imitation/error', 'error')
    """
    named = f"{_task_name(task)}/{score}"
    return named if named in SCORES else score


def column_of(score: str) -> str:
    """The column of a table of records that holds a score, from what `score_of` gives.

    Example:
        >>> column_of("imitation/error"), column_of("error")
        ('error', 'error')
    """
    return score.rpartition("/")[2]


def against_top(task: str) -> bool:
    """Whether a task, as JSON, takes the answers of the network of the tops for right.

    Example:
        >>> against_top('{"name": "imitation", "by": "kl"}'), against_top("")
        (True, False)
    """
    known = TASKS.get(_task_name(task))
    return isinstance(known, TaskWord) and known.against_top


def _task_name(task: str) -> str:
    try:
        found = json.loads(task)
    except ValueError:
        return ""
    return str(found.get("name", "")) if isinstance(found, dict) else ""


def title_of(name: str) -> str:
    """The title of a score or a measure; of an unknown one its name, in words.

    Example:
        >>> title_of("error"), title_of("cka"), title_of("top_5_error")
        ('test error', 'linear CKA', 'top 5 error')
    """
    known = SCORES.get(name) or MEASURES.get(name)
    return known.title if known else name.replace("_", " ")


def unit_of(name: str) -> str:
    """The unit of a score's penalty or of a measure; empty of an unknown one."""
    known = SCORES.get(name) or MEASURES.get(name)
    return known.unit if known else ""


def value_unit(score: str, unit: str) -> str:
    """The unit of a score's values, where that of its penalty is ``unit``: a difference of percentages is in points.

    Example:
        >>> value_unit("error", "points"), value_unit("loss", "nats"), value_unit("R²", "R²")
        ('%', 'nats', '')
    """
    return "" if unit == title_of(score) else "%" if unit == "points" else unit


def with_unit(text: str, unit: str) -> str:
    """A title with the unit of what is under it.

    Example:
        >>> with_unit("penalty", "points"), with_unit("R²", "R²"), with_unit("penalty", "")
        ('penalty, points', 'R²', 'penalty')
    """
    return text if unit in ("", text) else f"{text}, {unit}"


def amount(score: str, unit: str) -> str:
    """What a penalty of a score counts.

    Example:
        >>> amount("error", "points"), amount("R²", "R²"), amount("perplexity", "")
        ('points of test error', 'R²', 'test perplexity')
    """
    title = title_of(score)
    return title if unit in ("", title) else f"{unit} of {title}"


def penalty_title(scores: Iterable[tuple[str, str]]) -> str:
    """The title of an axis or a column of penalties.

    Args:
        scores: the score and the unit of each penalty; several of records that were judged by several tasks.

    Example:
        >>> penalty_title([("error", "points")]), penalty_title([("R²", "R²"), ("error", "points")]), penalty_title([])
        ('penalty, points of test error', 'penalty, R² or points of test error', 'penalty')
    """
    return with_unit("penalty", " or ".join(dict.fromkeys(amount(*each) for each in scores)))


def decimals(unit: str) -> int:
    """How many decimals of a penalty are shown.

    Example:
        >>> f"{1.23456:+.{decimals('points')}f} points, {0.123456:+.{decimals('nats')}f} nats"
        '+1.23 points, +0.1235 nats'
    """
    return 2 if unit == "points" else 4
