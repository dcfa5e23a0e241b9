"""What a recipe's choices are made of: the classes of families, matchings and tasks by name.

Reading a recipe needs no torch; checking the settings of its choices does, and is done here before anything else.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from modelstitch.errors import SettingError
from modelstitch.matching import MATCHINGS, Matching
from modelstitch.recipe import Recipe, Stitchings, parse_recipe
from modelstitch.stitches import FAMILIES, Family
from modelstitch.stitching import Setting
from modelstitch.support.settings import built
from modelstitch.tasks import TASKS, Task

KINDS: Mapping[str, Mapping[str, type]] = {"family": FAMILIES, "matching": MATCHINGS, "task": TASKS}


def checked_recipe(text: str) -> Recipe:
    """The recipe in a text, every setting of every choice checked.

    Raises:
        SettingError: it is no recipe, a choice has a setting that it cannot have, or a matching cannot fit a family.
    """
    recipe = parse_recipe(text, kinds=KINDS)
    for entry, each in enumerate(recipe.stitchings, 1):
        for _, settings in settings_of(each):
            for setting in settings:
                try:
                    setting.by.check(setting.family)
                except SettingError as error:
                    asked = f"the recipe {recipe.name}, stitchings {entry}: {error.asked}"
                    raise SettingError(asked, error.found, error.do) from error
    return recipe


def task_of(recipe: Recipe) -> Task | None:
    """What outputs are judged by; None where it is to be guessed."""
    if recipe.task is None:
        return None
    found: Task = built(json.dumps(recipe.task), Task)
    return found


def settings_of(asked: Stitchings) -> Iterator[tuple[Setting, list[Setting]]]:
    """Every setting that the lists span, those that share their moments together: one family and seed at a time.

    Yields:
        The first setting of a family and seed, then all of them, the first among them.
    """
    families, matchings = _all(asked.families, Family), _all(asked.matchings, Matching)
    for family in families:
        for seed in asked.seeds:
            found = [Setting(family, by, mode, seed) for by in matchings for mode in asked.batch_norm]
            yield found[0], found


def _all(told: list[dict[str, Any]], root: type) -> list[Any]:
    return [built(json.dumps(one), root) for one in told]
