"""How a network is named on a command line or in a recipe: a folder, or ``py:package.module:function``."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from modelstitch.errors import NetworkNotFound, did_you_mean
from modelstitch.networks.folder import CONFIG, load_folder
from modelstitch.networks.network import Network
from modelstitch.support.importing import PREFIX, called


def load_network(reference: str) -> Network:
    """Load the network that a reference leads to, in eval mode.

    Args:
        reference: a network folder, or ``py:package.module:function``, a function that is called without arguments
            and returns a module; the current folder is importable, as with ``python -m``.

    Raises:
        NetworkNotFound: no such folder, module or function, or the function returns something else.
        BadFile: the folder holds no sound network.
    """
    if reference.startswith(PREFIX):
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
    network = called(reference, asked, NetworkNotFound)
    if not isinstance(network, nn.Module):
        raise NetworkNotFound(asked, f"a {type(network).__name__} returned by it", "return a torch.nn.Module")
    return network
