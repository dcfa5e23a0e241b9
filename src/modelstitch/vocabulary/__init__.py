"""Words: the names, titles and units of everything that a record, a recipe, a table or a figure speaks of.

This is the only list of them. A new control, measure, score, family, matching or task adds one line here; tables,
figures, pages and the command line take it from here. A name that is not listed is shown as it stands.
Beware: nothing here computes anything, and nothing here loads torch. The rooms that do are held to this list by tests.
"""

from modelstitch.vocabulary.said import (
    against_top,
    amount,
    column_of,
    decimals,
    penalty_title,
    score_of,
    spoken,
    title_of,
    unit_of,
    value_unit,
    with_unit,
)
from modelstitch.vocabulary.words import (
    CONTROLS,
    FAMILIES,
    MATCHINGS,
    MEASURES,
    SCHEMES,
    SCORES,
    TASKS,
    Control,
    MeasureWord,
    TaskWord,
    Word,
)

__all__ = [
    "CONTROLS",
    "FAMILIES",
    "MATCHINGS",
    "MEASURES",
    "SCHEMES",
    "SCORES",
    "TASKS",
    "Control",
    "MeasureWord",
    "TaskWord",
    "Word",
    "against_top",
    "amount",
    "column_of",
    "decimals",
    "penalty_title",
    "score_of",
    "spoken",
    "title_of",
    "unit_of",
    "value_unit",
    "with_unit",
]
