"""How a network is named on a command line or in a recipe: a folder, or ``py:package.module:function``."""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path
from types import ModuleType

from torch import nn

from modelstitch.errors import NetworkNotFound, did_you_mean
from modelstitch.networks.folder import CONFIG, load_folder
from modelstitch.networks.network import Network


def load_network(reference: str) -> Network:
    """Load the network that a reference leads to, in eval mode.

    Args:
        reference: a network folder, or ``py:package.module:function``, a function that is called without arguments
            and returns a module; the current folder is importable, as with ``python -m``.

    Raises:
        NetworkNotFound: no such folder, module or function, or the function returns something else.
        BadFile: the folder holds no sound network.
    """
    if reference.startswith("py:"):
        return Network(reference, _call(reference).eval())
    folder = Path(reference)
    if not folder.is_dir():
        do = did_you_mean(folder.name, _neighbours(folder), "name a network folder, or py:package.module:function")
        raise NetworkNotFound(f"load the network {reference!r}", "no such folder", do)
    network, config = load_folder(folder)
    return Network(folder.resolve().name, network, config)


def _neighbours(folder: Path) -> list[str]:
    """The network folders beside the one that was asked for."""
    if not folder.parent.is_dir():
        return []
    return sorted(entry.name for entry in folder.parent.iterdir() if (entry / CONFIG).is_file())


def _call(reference: str) -> nn.Module:
    asked = f"load the network {reference!r}"
    module_name, _, function_name = reference.removeprefix("py:").partition(":")
    if not module_name or not function_name:
        raise NetworkNotFound(asked, "no function named", "write py:package.module:function")
    module = _import(module_name, asked)
    function = getattr(module, function_name, None)
    if not callable(function):
        known = [name for name, value in vars(module).items() if callable(value) and not name.startswith("_")]
        do = did_you_mean(function_name, known, f"name a function of {module_name}")
        raise NetworkNotFound(asked, f"no function {function_name!r} in {module.__file__}", do)
    network = function()
    if not isinstance(network, nn.Module):
        found = f"a {type(network).__name__} returned by {function_name}()"
        raise NetworkNotFound(asked, found, "return a torch.nn.Module")
    return network


def _import(name: str, asked: str) -> ModuleType:
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
        raise NetworkNotFound(asked, str(error), do) from error
