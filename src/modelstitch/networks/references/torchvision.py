"""``torchvision:NAME``: a model of torchvision, behind what its published weights were trained with."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import torch

from modelstitch.errors import BadFile, NetworkNotFound, SettingError, did_you_mean
from modelstitch.networks.network import Network
from modelstitch.networks.prepare import prepared
from modelstitch.networks.references.extras import fresh_weights, not_cached, package
from modelstitch.networks.references.reference import Reference

TAKES = ("pretrained", "download", "seed", "classes", "size", "raw")

MEAN, STD, SIZE = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), 224
"""Of ImageNet, by which all that publish nothing else were trained."""


def load(reference: Reference) -> Network:
    """Build the model, and fill it with published weights where they are asked for."""
    models = package("torchvision.models", reference)
    known = models.list_models()
    if reference.name not in known:
        do = did_you_mean(reference.name, known, "see torchvision.models.list_models()")
        raise NetworkNotFound(reference.asked, "no such model in torchvision", do)
    published = getattr(models.get_model_weights(reference.name), "DEFAULT", None)
    if reference.pretrained:
        _check_cached(published, reference)
        # The file is there, so torchvision fetches nothing; it knows how each model is built to fit its weights.
        return _prepared(_built(models, reference, published), published, reference)
    with fresh_weights(reference):
        return _prepared(_built(models, reference, None), published, reference)


def _built(models: Any, reference: Reference, weights: Any) -> Any:
    classes = reference.number("classes")
    options: dict[str, Any] = {} if classes is None else {"num_classes": classes}
    if weights is None and "weights_backbone" in inspect.signature(models.get_model_builder(reference.name)).parameters:
        # Without this it would fetch the weights of its backbone.
        options["weights_backbone"] = None
    try:
        return models.get_model(reference.name, weights=weights, **options)
    except ValueError as error:
        raise SettingError(reference.asked, str(error).splitlines()[0], "leave that option out") from error
    except (RuntimeError, OSError) as error:
        raise BadFile(reference.asked, str(error).splitlines()[0], "fetch the weights again") from error


def _check_cached(published: Any, reference: Reference) -> None:
    """See that the weights are in torch's cache, and are tensors alone: torchvision unpickles them without a limit."""
    if published is None:
        raise NetworkNotFound(reference.asked, "no published weights of it", "leave the option pretrained out")
    place = Path(torch.hub.get_dir()) / "checkpoints" / published.url.rpartition("/")[2]
    if not place.is_file():
        if not reference.has("download"):
            raise not_cached(reference, f"no {place.name} in {place.parent}")
        place.parent.mkdir(parents=True, exist_ok=True)
        try:
            torch.hub.download_url_to_file(published.url, str(place), hash_prefix=place.stem.rpartition("-")[2])
        except (OSError, RuntimeError) as error:
            raise not_cached(reference, f"{published.url} cannot be fetched: {error}") from error
    try:
        torch.load(place, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file fails in many ways
        found = f"{place}: {(str(error).splitlines() or [type(error).__name__])[0]}"
        raise BadFile(reference.asked, found, "delete the file, and fetch it again") from error


def _prepared(module: Any, published: Any, reference: Reference) -> Network:
    told = published.transforms() if published is not None else None
    mean, std = (tuple(getattr(told, key, default)) for key, default in (("mean", MEAN), ("std", STD)))
    # What is no classifier of images of one size (segmentation, say) sees images as large as they are.
    size = (getattr(told, "crop_size", None) or [None])[0] if told is not None else SIZE
    size = reference.number("size") or size
    if not reference.has("raw"):
        resampling: Any = getattr(getattr(told, "interpolation", None), "value", "bilinear")
        module = prepared(module, mean=mean, std=std, size=(size, size) if size else None, resampling=resampling)
    told_of = {"architecture": f"torchvision:{reference.name}", "options": dict(reference.options)}
    return Network(reference.text, module, told_of, torch.zeros(2, 3, size or SIZE, size or SIZE))
