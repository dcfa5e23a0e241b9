"""``file:WEIGHTS.safetensors?architecture=REFERENCE``: weights for the network of another reference."""

from __future__ import annotations

import contextlib
import warnings
from pathlib import Path

import safetensors
import safetensors.torch
from torch import Tensor, nn

from modelstitch.errors import BadFile, FreshWeights, NetworkNotFound, SettingError
from modelstitch.networks.architectures import ARCHITECTURES, build
from modelstitch.networks.network import Network
from modelstitch.networks.prepare import PREPARE
from modelstitch.networks.references.loading import load_network
from modelstitch.networks.references.reference import Reference
from modelstitch.support.files import expanded

TAKES = ("architecture",)

_DO = "name the architecture that these weights belong to, with the options that it was built with"


def load(reference: Reference) -> Network:
    """Build the network of that architecture, and put every weight of the file into its place."""
    architecture = reference.options.get("architecture")
    if not architecture:
        do = f"write {reference.also('architecture=timm:resnet18')}, or any other reference"
        raise SettingError(reference.asked, "no architecture for these weights", do)
    path = expanded(reference.name)
    tensors = _tensors(path, reference)
    made = _network(architecture)
    _fill(made.module, tensors, reference)
    config = {"architecture": architecture, "options": {}}
    return Network(path.stem, made.module, config, made.example, tokenizer=made.tokenizer)


def _tensors(path: Path, reference: Reference) -> dict[str, Tensor]:
    do = "name a safetensors file; weights are read as safetensors only, since other formats can run code"
    if not path.is_file():
        raise NetworkNotFound(reference.asked, f"no file {path}", do)
    try:
        return safetensors.torch.load_file(path)
    except (safetensors.SafetensorError, OSError) as error:
        raise BadFile(reference.asked, f"no safetensors file: {error}", do) from error


def _network(architecture: str) -> Network:
    name, _, options = architecture.partition("?")
    if name in ARCHITECTURES:
        told = Reference.parse(f"ours:{name}?{options}").options
        return Network(name, build(name, seed=0, **{key: _value(one) for key, one in told.items()}))
    with warnings.catch_warnings():
        # Fresh weights are what the file is for.
        warnings.simplefilter("ignore", FreshWeights)
        return load_network(architecture)


def _value(told: str) -> int | float | str:
    for kind in (int, float):
        with contextlib.suppress(ValueError):
            return kind(told)
    return told


def _fill(network: nn.Module, found: dict[str, Tensor], reference: Reference) -> None:
    """Copy the weights; anything missing, left over or of another shape is refused."""
    wanted = {name: one for name, one in network.state_dict().items() if not name.startswith(f"{PREPARE}.")}
    # A tied weight is stored once.
    places = {one.data_ptr() for name, one in wanted.items() if name in found}
    missing = [name for name, one in wanted.items() if name not in found and one.data_ptr() not in places]
    for names, told in ((missing, "no weights named"), ([name for name in found if name not in wanted], "left over:")):
        if names:
            more = f" and {len(names) - 1} more" if names[1:] else ""
            raise BadFile(reference.asked, f"{told} {names[0]!r}{more}", _DO)
    for name, tensor in found.items():
        if tensor.shape != wanted[name].shape:
            pair = f"{tuple(tensor.shape)} where the network has {tuple(wanted[name].shape)}"
            raise BadFile(reference.asked, f"{name!r} of shape {pair}", _DO)
    network.load_state_dict(found, strict=False)
