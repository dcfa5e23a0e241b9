"""A recipe: what an experiment asks, as one YAML file that fits a screen.

``model`` says what may stand in it, ``text`` reads it and says at which line something is wrong, ``advice`` finds the
words that were meant, ``sizes`` lays a size over it, ``paper`` finds those of the paper's figures. Imports no torch: a
recipe is checked before anything is loaded.
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
from modelstitch.recipe.paper import paper_recipe, paper_recipes, time_of
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
    "paper_recipe",
    "paper_recipes",
    "parse_recipe",
    "read_recipe",
    "recipe_schema",
    "time_of",
]
