"""What a network does to raw examples before its first layer: resized, normalised, as it was trained.

Networks from elsewhere bring their own normalisation and resolution. Here both become the network's first layer, called
``prepare``: two networks then see the same raw examples, images in [0, 1], and cutting, saving and exporting carry the
layer along. Beware: cropping is left to the data, since a network sees the middle of an image that it was given.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from modelstitch.errors import DataError, SettingError
from modelstitch.support.tensors import Inputs, leaves

PREPARE = "prepare"
"""The name of the first layer, and of the cut behind it where it changes the number of values."""
Resampling = Literal["nearest", "bilinear", "bicubic"]

# What rounding may leave outside [0, 1] in images that were resized by bicubic interpolation.
_SLACK = 0.02


Called = tuple[tuple[Any, ...], dict[str, Any]]


class Images(nn.Module):
    """Raw images as a network was trained on them: ``(resize(x) - mean) / std``.

    Images are floats in [0, 1], or bytes, which are divided by 255. Grey ones are repeated for a network of three
    channels. Images of the right size are not resized.

    Args:
        mean: per channel.
        std: per channel.
        size: height and width that the network sees; None leaves the images as large as they are.
        resampling: how images are resized, with antialiasing.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        mean: Sequence[float],
        std: Sequence[float],
        size: tuple[int, int] | None = None,
        resampling: Resampling = "bilinear",
    ) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(std, dtype=torch.float32).view(1, -1, 1, 1))
        self.size, self.resampling = size, resampling

    def forward(self, images: Tensor) -> Tensor:
        """The images as the network's own first layer takes them."""
        x = images if images.is_floating_point() else images.float() / 255
        if self.size is not None and tuple(x.shape[-2:]) != self.size:
            smooth = self.resampling != "nearest"
            x = F.interpolate(x, self.size, mode=self.resampling, antialias=smooth)
            # Bicubic curves overshoot; an image file holds nothing outside its range.
            x = x.clamp(0, 1)
        # Of a grey image one channel is taken from each mean, which repeats it.
        return (x - self.mean) / self.std


class Waves(nn.Module):
    """Sound with mean 0 and variance 1 in every example, which networks such as Wav2Vec2 were trained on."""

    def forward(self, waves: Tensor) -> Tensor:
        """The same sound, each example for itself."""
        centred = waves - waves.mean(-1, keepdim=True)
        return centred / (centred.square().mean(-1, keepdim=True) + 1e-7).sqrt()


def prepared(
    network: nn.Module,
    *,
    mean: Sequence[float],
    std: Sequence[float],
    size: tuple[int, int] | None = None,
    resampling: Resampling = "bilinear",
) -> nn.Module:
    """A network that takes raw images and prepares them itself; give it to any call in place of the network.

    Args:
        network: takes prepared images; untouched, and its weights are shared.
        mean: what it subtracts, per channel, in units of [0, 1].
        std: what it divides by, per channel.
        size: height and width that it takes; None leaves the images as large as they are.
        resampling: how images are resized.

    Raises:
        SettingError: it prepares its inputs already.

    Example:
        >>> net = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
        >>> x = torch.rand(3, 1, 2, 2)
        >>> torch.equal(prepared(net, mean=[0.5], std=[0.25])(x), net((x - 0.5) / 0.25))
        True
    """
    return with_first(network, Images(mean, std, size, resampling))


def with_first(network: nn.Module, first: nn.Module) -> nn.Module:
    """The same network behind a first layer ``prepare``, under the names that its modules had before."""
    if hasattr(network, PREPARE):
        asked, found = f"to prepare the inputs of {type(network).__name__}", f"a part called {PREPARE!r} already"
        raise SettingError(asked, found, "give the network as it was before")
    # A hook, and no module around the network: around it, every cut would change its name.
    made = network.__class__.__new__(network.__class__)
    made.__dict__ = {key: held.copy() if isinstance(held, dict) else held for key, held in network.__dict__.items()}
    made.add_module(PREPARE, first.train(network.training))
    if type(network).forward is nn.Sequential.forward:
        # It calls all its modules in their order.
        made._modules = {PREPARE: first, **network._modules}
    else:
        made.register_forward_pre_hook(_prepare_main, with_kwargs=True)
    return made


def _prepare_main(network: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Called:
    """The main input, which is the first, prepared; the others as they are."""
    if args:
        return (network.prepare(args[0]), *args[1:]), kwargs
    name = next(iter(kwargs))
    return args, {**kwargs, name: network.prepare(kwargs[name])}


def takes_raw(network: nn.Module) -> bool:
    """Whether a network prepares raw images itself."""
    return isinstance(getattr(network, PREPARE, None), Images)


def check_raw(name: str, network: nn.Module, inputs: Inputs) -> None:
    """Refuse images that are not raw for a network that normalises them: it would do so a second time.

    Raises:
        DataError: values outside [0, 1].
    """
    main = leaves(inputs)[0]
    if not takes_raw(network) or not main.is_floating_point() or not main.numel():
        return
    low, high = float(main.min()), float(main.max())
    if low < -_SLACK or high > 1 + _SLACK:
        asked = f"to run {name}, which normalises images itself"
        do = (
            "give images in [0, 1] (modelstitch.load(…, normalise=False)), or load the network without its own "
            "preparation (?raw behind its name)"
        )
        raise DataError(asked, f"values from {low:.3g} to {high:.3g}", do)
