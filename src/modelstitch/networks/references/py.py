"""``py:package.module:function``: a function of the user's that is called without arguments and returns a module."""

from __future__ import annotations

from torch import nn

from modelstitch.errors import NetworkNotFound
from modelstitch.networks.network import Network
from modelstitch.networks.references.reference import Reference
from modelstitch.support.importing import called

TAKES: tuple[str, ...] = ()


def load(reference: Reference) -> Network:
    """What the function returns."""
    network = called(reference.text, reference.asked, NetworkNotFound)
    if isinstance(network, Network):
        return network
    if not isinstance(network, nn.Module):
        found = f"a {type(network).__name__} returned by it"
        raise NetworkNotFound(reference.asked, found, "return a torch.nn.Module")
    return Network(reference.text, network)
