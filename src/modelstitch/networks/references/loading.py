"""From a reference to a network: which scheme it is of, and what may stand wherever a call takes a network."""

from __future__ import annotations

import dataclasses
from importlib import import_module
from pathlib import Path

from torch import nn

from modelstitch.errors import NetworkNotFound, SettingError, did_you_mean
from modelstitch.networks.folder import CONFIG, load_folder
from modelstitch.networks.network import Network
from modelstitch.networks.references.reference import Reference
from modelstitch.support.files import expanded
from modelstitch.vocabulary import SCHEMES

AnyNetwork = nn.Module | Network | str
"""What calls take for a network: a module, what `load_network` returned, or a reference."""


def load_network(reference: str) -> Network:
    """Load the network that a reference leads to, in eval mode.

    | reference | network |
    |---|---|
    | ``FOLDER`` | a network folder, as ``modelstitch train`` writes it |
    | ``timm:NAME`` | a model of timm |
    | ``torchvision:NAME`` | a model of torchvision |
    | ``hf:NAME``, ``hf:FOLDER`` | a model of transformers, with the head that its configuration names or none |
    | ``file:WEIGHTS.safetensors?architecture=REFERENCE`` | weights for the network of another reference |
    | ``pt2:FILE.pt2`` | an exported program |
    | ``py:package.module:function`` | what a function of yours returns; the current folder is importable |

    Nothing is downloaded without the word ``download``, and no file runs code without the word ``trusted``. Models of
    timm and torchvision have fresh weights unless ``pretrained`` is written, which is said. Image networks prepare raw
    images themselves (`modelstitch.networks.prepare`), unless ``raw`` is written.

    Args:
        reference: a folder, or ``scheme:name?option&option=value``.

    Raises:
        NetworkNotFound: no such folder, model, module or function, or its weights are not on this machine.
        SettingError: no such option, or a package is missing.
        BadFile: the folder or file holds no sound network, or one that may run code.
    """
    scheme, mark, _ = reference.partition(":")
    if mark and scheme in SCHEMES:
        return _by_scheme(Reference.parse(reference))
    folder = expanded(reference)
    if folder.is_dir():
        network, config = load_folder(folder)
        return Network(folder.resolve().name, network, config)
    if mark and not Path(scheme).exists():
        do = did_you_mean(scheme, SCHEMES, f"begin with one of {', '.join(f'{one}:' for one in SCHEMES)}")
        raise NetworkNotFound(f"load the network {reference!r}", f"no scheme {scheme}:, and no such folder", do)
    usage = ", ".join(word.title for word in SCHEMES.values())
    do = did_you_mean(folder.name, _neighbours(folder), f"name a network folder, or {usage}")
    raise NetworkNotFound(f"load the network {reference!r}", "no such folder", do)


def _by_scheme(reference: Reference) -> Network:
    scheme = import_module(f"modelstitch.networks.references.{reference.scheme}")
    if not reference.name:
        raise NetworkNotFound(reference.asked, "no name", f"write {SCHEMES[reference.scheme].title}")
    reference.check(scheme.TAKES)
    found: Network = scheme.load(reference)
    return dataclasses.replace(found, module=found.module.eval())


def _neighbours(folder: Path) -> list[str]:
    """The network folders beside the one that was asked for."""
    if not folder.parent.is_dir():
        return []
    return sorted(entry.name for entry in folder.parent.iterdir() if (entry / CONFIG).is_file())


def module_of(network: AnyNetwork) -> nn.Module:
    """The module of whatever a call was given for a network."""
    return network_of(network, "").module


def network_of(network: object, name: str) -> Network:
    """A network from whatever a call was given for one.

    Args:
        network: a module, a network, or a reference.
        name: what to call a bare module.

    Raises:
        SettingError: something else.
        StitchError: see `load_network`.
    """
    if isinstance(network, str):
        return load_network(network)
    if isinstance(network, nn.Module):
        return Network(name, network)
    if not isinstance(network, Network):
        found, do = f"a {type(network).__name__}", "give a torch.nn.Module, or a reference such as 'timm:resnet18'"
        raise SettingError("to use a network", found, do)
    return network


def both_networks(a: AnyNetwork, b: AnyNetwork, names: tuple[str, str] | None = None) -> tuple[Network, Network]:
    """Two networks from whatever a call was given for them, each under a name of its own.

    Args:
        a: the one.
        b: the other.
        names: what the caller calls them; by default each by its own name, and bare modules A and B.
    """
    first, second = network_of(a, "A"), network_of(b, "B")
    called = names or told_apart((first.name, second.name))
    return dataclasses.replace(first, name=called[0]), dataclasses.replace(second, name=called[1])


def told_apart(names: tuple[str, str]) -> tuple[str, str]:
    """Two names, with the suffixes A and B where they are one.

    Example:
        >>> told_apart(("net", "net")), told_apart(("net", "other"))
        (('net-A', 'net-B'), ('net', 'other'))
    """
    return names if names[0] != names[1] else (f"{names[0]}-A", f"{names[1]}-B")
