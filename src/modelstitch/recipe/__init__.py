"""A recipe: what an experiment asks, as one YAML file that fits a screen.

``model`` says what may stand in it, ``choices`` which families, matchings and tasks with which settings; ``text`` reads
it and says at which line something is wrong, ``advice`` finds the words that were meant, ``sizes`` lays a size over it,
``published`` holds the curves that it may name, ``paper`` finds the recipes of the paper's figures. Imports no torch: a
recipe is checked before anything is loaded.
"""

from modelstitch.recipe.choices import wrong_in
from modelstitch.recipe.model import Claim, Curve, Data, GivenNetwork, LabelMap, Recipe, Stitchings, TrainedNetwork
from modelstitch.recipe.paper import paper_recipe, paper_recipes, time_of
from modelstitch.recipe.text import parse_recipe, read_recipe, recipe_schema

__all__ = [
    "Claim",
    "Curve",
    "Data",
    "GivenNetwork",
    "LabelMap",
    "Recipe",
    "Stitchings",
    "TrainedNetwork",
    "paper_recipe",
    "paper_recipes",
    "parse_recipe",
    "read_recipe",
    "recipe_schema",
    "time_of",
    "wrong_in",
]
