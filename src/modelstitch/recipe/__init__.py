"""A recipe: what an experiment asks, as one YAML file that fits a screen.

``model`` says what may stand in it, ``text`` reads it and says at which line something is wrong, ``advice`` finds the
words that were meant. Imports no torch: a recipe is checked before anything is loaded.
"""

from modelstitch.recipe.model import (
    AffineFamily,
    Claim,
    Curve,
    Data,
    DirectMatching,
    LabelMap,
    LoadedNetwork,
    PlainFamily,
    Recipe,
    Stitchings,
    TaskMatching,
    TrainedNetwork,
)
from modelstitch.recipe.text import parse_recipe, read_recipe, recipe_schema

__all__ = [
    "AffineFamily",
    "Claim",
    "Curve",
    "Data",
    "DirectMatching",
    "LabelMap",
    "LoadedNetwork",
    "PlainFamily",
    "Recipe",
    "Stitchings",
    "TaskMatching",
    "TrainedNetwork",
    "parse_recipe",
    "read_recipe",
    "recipe_schema",
]
