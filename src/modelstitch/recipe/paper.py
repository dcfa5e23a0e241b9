"""The recipes of Bansal, Nakkiran and Barak (2021) that come with the library, one for each figure."""

from __future__ import annotations

from pathlib import Path

from modelstitch.errors import SettingError, did_you_mean
from modelstitch.recipe.model import Recipe
from modelstitch.recipe.sizes import with_data
from modelstitch.recipe.text import parse_recipe, read_recipe

FULL = "full"
SIZES = (FULL, "small")
"""The recipes are ``full`` where no size is laid over them."""

_TIME = "# Time:"
_FOLDER = Path(__file__).parent / "figures"


def paper_recipes() -> dict[str, Path]:
    """The recipe files, by the names of their figures."""
    return {path.stem: path for path in sorted(_FOLDER.glob("*.yaml"))}


def paper_recipe(figure: str, size: str, data: str | None = None, folder: str | None = None) -> tuple[Recipe, str]:
    """The recipe of a figure, and its text.

    Args:
        figure: its name, such as ``fig3b``.
        size: ``full`` as in the paper, or ``small``.
        data: another data set than the recipe's own.
        folder: where its files are.

    Raises:
        SettingError: there is no such figure, size or data set.

    Example:
        >>> paper_recipe("fig3b", "small")[0].name
        'fig3b-small'
    """
    known = paper_recipes()
    if figure not in known:
        do = did_you_mean(figure, known, f"choose among {', '.join(known)}")
        raise SettingError(f"reproduce {figure!r}", "no recipe of that name", do)
    if size not in SIZES:
        do = did_you_mean(size, SIZES, f"choose {' or '.join(SIZES)}")
        raise SettingError(f"reproduce {figure} at size {size!r}", "no such size", do)
    recipe, text = read_recipe(known[figure], None if size == FULL else size)
    other = data if data != recipe.data.name else None
    if other is None and folder is None:
        return recipe, text
    text = with_data(text, other, folder)
    return parse_recipe(text, figure), text


def time_of(figure: str) -> str:
    """How long a figure takes at each size, as its file's header tells."""
    lines = paper_recipes()[figure].read_text().splitlines()
    return next(line.removeprefix(_TIME).strip() for line in lines if line.startswith(_TIME))
