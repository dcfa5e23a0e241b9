"""A network on disk: a folder with ``config.json`` (how to build it, how it came about) and ``weights.safetensors``.

Nothing in the folder is ever executed, and nothing is loaded halfway: the weights must be exactly those that the
configuration speaks of, name by name, shape by shape and bit by bit.
"""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
from torch import Tensor, nn

from modelstitch.errors import BadFile, NetworkNotFound, NotWritable, SettingError
from modelstitch.networks.architectures import build
from modelstitch.support.files import expanded
from modelstitch.support.tensors import fingerprint

FORMAT = 1
CONFIG, WEIGHTS = "config.json", "weights.safetensors"

Config = dict[str, Any]
"""What ``config.json`` holds; ``architecture`` and ``options`` are required, the rest tells how it came about."""


def weights_fingerprint(network: nn.Module) -> str:
    """16 hex digits that change with any parameter or buffer of the network."""
    return fingerprint(network.state_dict())


def save_network(network: nn.Module, config: Config, folder: str | Path) -> None:
    """Write a network folder; an interruption leaves the folder without a configuration, or as it was.

    Args:
        network: what ``build(config["architecture"], **config["options"])`` made, with any weights.
        config: at least ``architecture`` and ``options``; ``format`` and the fingerprint of the weights are added.
        folder: where to; made if absent.

    Raises:
        NotWritable: the folder refuses.
    """
    folder = expanded(folder)
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    full = {"format": FORMAT, **config, "weights": fingerprint(tensors)}
    writers: dict[str, Callable[[Path], object]] = {
        WEIGHTS: lambda path: safetensors.torch.save_file(tensors, path),
        CONFIG: lambda path: path.write_text(json.dumps(full, indent=2) + "\n", encoding="utf-8"),
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _write_together(folder, writers)
    except (PermissionError, NotADirectoryError, FileExistsError) as error:
        raise NotWritable(f"save a network in {folder}", str(error), "name another folder") from error


def _write_together(folder: Path, writers: dict[str, Callable[[Path], object]]) -> None:
    """Write all files under temporary names, then rename them in order."""
    temporary: dict[str, Path] = {}
    try:
        for name, write in writers.items():
            handle, place = tempfile.mkstemp(dir=folder, prefix=f".{name}.")
            os.close(handle)
            temporary[name] = Path(place)
            write(temporary[name])
        for name, written in temporary.items():
            # mkstemp makes files that only their owner may read; a network folder is for sharing.
            os.chmod(written, 0o644)
            os.replace(written, folder / name)
    finally:
        for written in temporary.values():
            written.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            folder.rmdir()  # Succeeds only where nothing was written: then the folder was ours, or empty before.


def load_folder(folder: str | Path) -> tuple[nn.Module, Config]:
    """Read a network folder.

    Returns:
        The network in eval mode, and its configuration.

    Raises:
        NetworkNotFound: no such folder.
        BadFile: the configuration or the weights are corrupt, foreign, incomplete, or do not belong together.
    """
    folder = expanded(folder)
    if not folder.is_dir():
        raise NetworkNotFound(f"load the network in {folder}", "no such folder", "check the path")
    config = _read_config(folder / CONFIG)
    asked = f"load the network in {folder}"
    try:
        network = build(config["architecture"], seed=0, **config["options"])
    except (SettingError, TypeError, ValueError, RuntimeError) as error:
        found = error.found if isinstance(error, SettingError) else str(error).splitlines()[0]
        raise BadFile(asked, f"{CONFIG} that builds no network: {found}", "save the network again") from error
    tensors = _read_weights(folder / WEIGHTS)
    _check_match(tensors, network.state_dict(), asked)
    if fingerprint(tensors) != config.get("weights"):
        found = f"weights with fingerprint {fingerprint(tensors)}, while {CONFIG} speaks of {config.get('weights')}"
        raise BadFile(asked, found, "save the network again")
    network.load_state_dict(tensors)
    return network.eval(), config


def _read_config(path: Path) -> Config:
    asked = f"read {path}"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise BadFile(asked, f"no {CONFIG}", "name a folder that `save_network` wrote to the end") from error
    except ValueError as error:
        raise BadFile(asked, f"no JSON: {error}", "save the network again") from error
    if not isinstance(config, dict) or config.get("format") != FORMAT:
        found = f"format {config.get('format')!r}" if isinstance(config, dict) else f"a {type(config).__name__}"
        raise BadFile(asked, found, f"use the version of modelstitch that wrote it; this one reads format {FORMAT}")
    for key, kind in (("architecture", str), ("options", dict)):
        if not isinstance(config.get(key), kind):
            raise BadFile(asked, f"{key} = {config.get(key)!r}", "save the network again")
    return config


def _read_weights(path: Path) -> dict[str, Tensor]:
    asked = f"read {path}"
    do = "save the network again; weights are read as safetensors only, since other formats can run code"
    try:
        return safetensors.torch.load_file(path)
    except FileNotFoundError as error:
        raise BadFile(asked, f"no {WEIGHTS}", "name a folder that `save_network` wrote to the end") from error
    except safetensors.SafetensorError as error:
        raise BadFile(asked, f"no safetensors file: {error}", do) from error


def _check_match(found: dict[str, Tensor], wanted: dict[str, Tensor], asked: str) -> None:
    """Refuse weights that differ from the network's own in name, shape or type."""
    do = "save the network again, or name the folder that these weights came from"
    for name in sorted(found.keys() ^ wanted.keys()):
        state = "no weights named" if name in wanted else "weights that the network does not have, named"
        raise BadFile(asked, f"{state} {name!r}", do)
    for name, tensor in wanted.items():
        pair = [f"{tuple(t.shape)} {t.dtype}" for t in (found[name], tensor)]
        if pair[0] != pair[1]:
            raise BadFile(asked, f"{name!r} with shape {pair[0]} where the network has {pair[1]}", do)
