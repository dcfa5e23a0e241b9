"""A recipe: what an experiment asks, as one YAML file that fits a screen.

``model`` says what may stand in it, ``choices`` which families and matchings, ``text`` reads it and says at which line
something is wrong, ``advice`` finds the words that were meant. Imports no torch: a recipe is
checked before anything is loaded.
"""

from modelstitch.recipe.choices import AffineFamily, DirectMatching, FineTuneMatching, PlainFamily, TaskMatching
from modelstitch.recipe.model import Claim, Curve, Data, LabelMap, LoadedNetwork, Recipe, Stitchings, TrainedNetwork
from modelstitch.recipe.text import parse_recipe, read_recipe, recipe_schema

__all__ = [
    "AffineFamily",
    "Claim",
    "Curve",
    "Data",
    "DirectMatching",
    "FineTuneMatching",
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
