"""``py:package.module:function``: a function of the user's, called without arguments.

Beware: this runs the user's code, and only where the user wrote such a reference.
"""

from __future__ import annotations

import importlib
import os
import sys
from types import ModuleType

from modelstitch.errors import StitchError, did_you_mean

PREFIX = "py:"


def called(reference: str, asked: str, error: type[StitchError]) -> object:
    """What the function returns; the current folder is importable, as with ``python -m``.

    Args:
        reference: ``py:package.module:function``.
        asked: what is wanted, for errors.
        error: their type.

    Raises:
        StitchError: of that type: no such module or function.

    Example:
        >>> from modelstitch.errors import DataError
        >>> called("py:os:getcwd", "ask where we are", DataError) == os.getcwd()
        True
    """
    module_name, _, function_name = reference.removeprefix(PREFIX).partition(":")
    if not module_name or not function_name:
        raise error(asked, "no function named", "write py:package.module:function")
    module = _imported(module_name, asked, error)
    function = getattr(module, function_name, None)
    if not callable(function):
        known = [name for name, value in vars(module).items() if callable(value) and not name.startswith("_")]
        do = did_you_mean(function_name, known, f"name a function of {module_name}")
        raise error(asked, f"no function {function_name!r} in {getattr(module, '__file__', module_name)}", do)
    return function()


def _imported(name: str, asked: str, wrong: type[StitchError]) -> ModuleType:
    here = os.getcwd()
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        # A module that exists but lacks one of its own imports fails for another reason than a misspelt name.
        do = f"check the spelling, or start where {name.split('.')[0]} lies"
        if error.name is None or not (name == error.name or name.startswith(f"{error.name}.")):
            do = f"install {error.name}, which {name} imports"
        raise wrong(asked, str(error), do) from error
