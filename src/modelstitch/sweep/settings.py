"""What a recipe chooses by name, as the objects that the library takes."""

from __future__ import annotations

from collections.abc import Iterator

from modelstitch.matching import Direct, FineTune, Matching, TaskLoss
from modelstitch.recipe import AffineFamily, DirectMatching, FineTuneMatching, PlainFamily, Stitchings, TaskMatching
from modelstitch.stitches import FAMILIES, Family
from modelstitch.stitching import Setting


def family_of(choice: PlainFamily | AffineFamily) -> Family:
    """The family that a recipe names."""
    return FAMILIES[choice.name](**choice.model_dump(exclude={"name"}))


def matching_of(choice: DirectMatching | TaskMatching | FineTuneMatching) -> Matching:
    """The matching that a recipe names."""
    kinds: dict[str, type[Direct | TaskLoss]] = {"direct": Direct, "task": TaskLoss, "fine_tune": FineTune}
    return kinds[choice.name](**choice.model_dump(exclude={"name"}))


def settings_of(asked: Stitchings) -> Iterator[tuple[Setting, list[Setting]]]:
    """Every setting that the lists span, those that share their moments together: one family and seed at a time.

    Yields:
        The first setting of a family and seed, then all of them, the first among them.
    """
    for family in map(family_of, asked.families):
        for seed in asked.seeds:
            found = [
                Setting(family, by, mode, seed) for by in map(matching_of, asked.matchings) for mode in asked.batch_norm
            ]
            yield found[0], found
