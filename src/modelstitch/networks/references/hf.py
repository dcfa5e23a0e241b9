"""``hf:NAME_OR_FOLDER``: a model of transformers, with the head that its configuration names, or none.

A folder is read as ``save_pretrained`` wrote it; a name is looked up in the hub's cache. Weights are read as
safetensors only, and no code that comes with a model is run. Image models stand behind what their image processor does
to raw images, sound models behind their feature extractor's normalisation; a text model brings its tokenizer along.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import nn

from modelstitch.errors import BadFile, NetworkNotFound, SettingError
from modelstitch.networks.network import Network
from modelstitch.networks.prepare import Resampling, Waves, prepared, with_first
from modelstitch.networks.references.extras import hub_file, package
from modelstitch.networks.references.reference import Reference
from modelstitch.support.files import expanded
from modelstitch.support.seeding import seeded
from modelstitch.support.tensors import Inputs

TAKES = ("download", "seed", "raw")

_CONFIG, _PROCESSOR = "config.json", "preprocessor_config.json"
# Pillow's numbers, in which processors state how they resize.
_RESAMPLING: dict[int, Resampling] = {0: "nearest", 2: "bilinear"}
_TOKENS, _SIDE, _WAVE, _FRAMES = 8, 224, 4000, 3000


def load(reference: Reference) -> Network:
    """Read the model, and what is done to its inputs."""
    transformers = package("transformers", reference)
    place = _place(reference)
    config = _config(transformers, place, reference)
    model = _class_of(transformers, config, reference)
    module = _fresh(model, config, reference) if reference.has("seed") else _stored(model, config, place, reference)
    main = getattr(module, "main_input_name", "input_ids")
    told = _processor(place, reference)
    if not reference.has("raw"):
        module = _prepared(module, main, told)
    name = place.resolve().name if isinstance(place, Path) else reference.text
    told_of = {"architecture": f"hf:{model.__name__}", "options": dict(reference.options)}
    tokenizer = _tokenizer(transformers, place, reference) if main == "input_ids" else None
    return Network(name, module, told_of, _example(main, config, told), tokenizer=tokenizer)


def _place(reference: Reference) -> Path | str:
    """A folder on this machine, or a name in the hub."""
    folder = expanded(reference.name)
    if folder.is_dir():
        if not (folder / _CONFIG).is_file():
            raise NetworkNotFound(reference.asked, f"no {_CONFIG} in {folder}", "name what save_pretrained wrote")
        return folder
    if reference.name.startswith((".", "/", "~")) or reference.name.count("/") > 1:
        raise NetworkNotFound(reference.asked, "no such folder", "name a folder, or ORGANISATION/NAME of the hub")
    hub_file(reference.name, _CONFIG, reference)
    return reference.name


def _config(transformers: Any, place: Path | str, reference: Reference) -> Any:
    try:
        config = transformers.AutoConfig.from_pretrained(place, local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError, KeyError) as error:
        do = "name a model that transformers itself knows: code that comes with one is not run"
        raise BadFile(reference.asked, (str(error).splitlines() or ["no configuration"])[0], do) from error
    # What a language model remembers for the next token is an output beside the answer.
    config.use_cache = False
    return config


def _class_of(transformers: Any, config: Any, reference: Reference) -> Any:
    """The class that the configuration names; the bare encoder where it names none."""
    for name in getattr(config, "architectures", None) or []:
        try:
            found = getattr(transformers, name, None)
        except ImportError as error:
            # It loads its models one by one, and one of them may lack a package, or meet one that is broken.
            why = (str(error.__cause__ or error).splitlines() or [name])[0]
            do = f"mend that: python -c 'from transformers import {name}'"
            raise SettingError(reference.asked, f"{name}, which does not load: {why}", do) from error
        if found is not None:
            return found
        do = "update transformers, or load it by a function of yours: py:package.module:function"
        raise BadFile(reference.asked, f"the architecture {name!r}, which this transformers does not know", do)
    return transformers.AutoModel._model_mapping[type(config)]


def _fresh(model: Any, config: Any, reference: Reference) -> nn.Module:
    with seeded("network", reference.number("seed")):
        made: nn.Module = model(config)
    return made


def _stored(model: Any, config: Any, place: Path | str, reference: Reference) -> nn.Module:
    if isinstance(place, str):
        hub_file(place, "model.safetensors", reference)
    try:
        module, told = model.from_pretrained(
            place, config=config, use_safetensors=True, local_files_only=True, output_loading_info=True
        )
    except (OSError, ValueError, RuntimeError) as error:
        do = "save it again by save_pretrained: weights are read as safetensors only, since other formats can run code"
        raise BadFile(reference.asked, (str(error).splitlines() or ["no weights"])[0], do) from error
    for key, what in (("missing_keys", "no weights for"), ("mismatched_keys", "weights of another shape for")):
        lost = sorted(str(one) for one in told.get(key, ()))
        if lost:
            found = f"{what} {len(lost)} parts of {model.__name__}, such as {lost[0]}"
            do = "name the folder of a model that was trained with this head"
            raise BadFile(reference.asked, found, do)
    found_module: nn.Module = module
    return found_module


def _processor(place: Path | str, reference: Reference) -> dict[str, Any]:
    """What is done to images or sound before the model; empty where nothing is said."""
    try:
        file = place / _PROCESSOR if isinstance(place, Path) else hub_file(place, _PROCESSOR, reference)
    except NetworkNotFound:
        return {}
    if not file.is_file():
        return {}
    try:
        told: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise BadFile(reference.asked, f"{file}: no JSON ({error})", "save the processor again") from error
    return told


def _prepared(module: nn.Module, main: str, told: dict[str, Any]) -> nn.Module:
    """The model behind what its processor does."""
    if main == "input_values" and told.get("do_normalize"):
        return with_first(module, Waves())
    if main != "pixel_values" or not told:
        return module
    normalises = told.get("do_normalize", True)
    mean, std = (told.get(key) if normalises else None for key in ("image_mean", "image_std"))
    size = _size(told)
    if told.get("do_rescale") is False and "rescale_factor" in told:
        raise SettingError("to prepare images as the processor does", "do_rescale false", "write ?raw")
    resampling = _RESAMPLING.get(told.get("resample", 2), "bicubic")
    return prepared(module, mean=mean or (0.0,), std=std or (1.0,), size=size, resampling=resampling)


def _size(told: dict[str, Any]) -> tuple[int, int] | None:
    """Height and width that the model sees, by any of the spellings that processors have had."""
    crop = told.get("crop_size") if told.get("do_center_crop") else None
    if not crop and told.get("do_resize") is False:
        return None
    size = crop or told.get("size")
    if isinstance(size, int):
        return size, size
    if not isinstance(size, dict):
        return None
    if "height" in size:
        return size["height"], size["width"]
    return (size["shortest_edge"], size["shortest_edge"]) if "shortest_edge" in size else None


def _tokenizer(transformers: Any, place: Path | str, reference: Reference) -> Any:
    """What turns texts into the tokens that the model knows; None where none comes with it."""
    if isinstance(place, Path) and not any(place.glob("*token*")) and not any(place.glob("*vocab*")):
        return None
    try:
        return transformers.AutoTokenizer.from_pretrained(place, local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError, KeyError, ImportError):
        return None


def _example(main: str, config: Any, told: dict[str, Any]) -> Inputs | None:
    """Inputs that the model takes, to find its cuts by; None where they cannot be told."""
    if main == "input_ids":
        ids = torch.ones(2, _TOKENS, dtype=torch.long)
        return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    if main == "pixel_values":
        side = getattr(config, "image_size", None) or _SIDE
        size = _size(told) or ((side, side) if isinstance(side, int) else tuple(side))
        return torch.zeros(2, getattr(config, "num_channels", 3), *size)
    if main == "input_values":
        return torch.linspace(-1, 1, 2 * _WAVE).view(2, _WAVE)
    if main == "input_features" and hasattr(config, "num_mel_bins"):
        return torch.zeros(2, config.num_mel_bins, _FRAMES)
    return None
