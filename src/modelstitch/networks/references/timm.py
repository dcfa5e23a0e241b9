"""``timm:NAME``: a model of timm, behind the normalisation and the size that its data configuration states."""

from __future__ import annotations

from typing import Any

import torch

from modelstitch.errors import BadFile, NetworkNotFound, SettingError, did_you_mean
from modelstitch.networks.network import Network
from modelstitch.networks.prepare import prepared
from modelstitch.networks.references.extras import fresh_weights, hub_file, package
from modelstitch.networks.references.reference import Reference

TAKES = ("pretrained", "download", "seed", "classes", "size", "raw")

_RESAMPLING = {"nearest": "nearest", "bilinear": "bilinear"}


def load(reference: Reference) -> Network:
    """Build the model, and fill it with published weights where they are asked for."""
    timm = package("timm", reference)
    name, options = reference.name, _options(reference)
    if not timm.is_model(name):
        do = did_you_mean(name, timm.list_models(), "search them: timm.list_models('*NAME*')")
        raise NetworkNotFound(reference.asked, "no such model in timm", do)
    if reference.pretrained:
        told = timm.models.get_pretrained_cfg(name)
        if told is None or not told.hf_hub_id:
            raise NetworkNotFound(reference.asked, "no published weights of it", "leave the option pretrained out")
        file = hub_file(told.hf_hub_id, "model.safetensors", reference)
        # By its path: by its name timm would look on the network.
        module = _built(timm, reference, {"pretrained": True, "pretrained_cfg_overlay": {"file": str(file)}, **options})
    else:
        with fresh_weights(reference):
            module = _built(timm, reference, options)
    config = timm.data.resolve_model_data_config(module)
    channels, *size = config["input_size"]
    if side := reference.number("size"):
        size = [side, side]
    if not reference.has("raw"):
        resampling: Any = _RESAMPLING.get(config["interpolation"], "bicubic")
        shape = (size[0], size[1])
        module = prepared(module, mean=config["mean"], std=config["std"], size=shape, resampling=resampling)
    told_of = {"architecture": f"timm:{name}", "options": dict(reference.options)}
    return Network(reference.text, module, told_of, torch.zeros(2, channels, *size))


def _options(reference: Reference) -> dict[str, Any]:
    classes = reference.number("classes")
    return {} if classes is None else {"num_classes": classes}


def _built(timm: Any, reference: Reference, options: dict[str, Any]) -> Any:
    side = reference.number("size")
    told = timm.models.get_pretrained_cfg(reference.name)
    if side and told is not None and told.fixed_input_size:
        # A transformer with learned positions: its images are of one size, which is settled when it is built.
        options = {**options, "img_size": side}
    try:
        return timm.create_model(reference.name, **options)
    except TypeError as error:
        raise SettingError(reference.asked, str(error), "leave that option out") from error
    except (RuntimeError, ValueError, OSError) as error:
        raise BadFile(reference.asked, str(error).splitlines()[0], "fetch the weights again") from error
