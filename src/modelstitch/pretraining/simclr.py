"""SimCLR: a network learns without labels which two views are of one image; a linear classifier then reads its classes.

After Chen, Kornblith, Norouzi and Hinton (2020, "A simple framework for contrastive learning of visual
representations"), for small images. The trunk is everything below the network's last linear layer, ``fc``; while it
learns, a projection head stands in the place of ``fc`` and is thrown away afterwards. `fit_head` then fits ``fc`` on
frozen features, so that the result is the same architecture. Beware: batch norm's statistics are those of both views
together, and the labels enter through ``fc`` alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize

from modelstitch.compute import Compute, home_of
from modelstitch.data import Batch, Samples, check_samples, distort, epoch_order
from modelstitch.errors import DataError, SettingError
from modelstitch.parallel.exchange import rows_of_all
from modelstitch.pretraining.descent import Curve, Schedule, descend
from modelstitch.pretraining.supervised import BATCH, train_supervised
from modelstitch.support.seeding import generator, seeded
from modelstitch.support.tensors import Inputs, call
from modelstitch.tasks import Classification

TEMPERATURE = 0.5
PROJECTED = 128
"""Channels that the projection head ends in."""
HEAD = Schedule(epochs=50)
"""How `fit_head` learns."""


def nt_xent(a: Float[Tensor, "n d"], b: Float[Tensor, "n d"], *, temperature: float = TEMPERATURE) -> Float[Tensor, ""]:
    """The contrastive loss of two views of ``n`` images.

    With ``z`` the ``2 n`` embeddings, scaled to length 1, and ``j`` the twin of ``i``: the mean over ``i`` of
    ``−log(exp(z_i · z_j / t) / Σ_{k ≠ i} exp(z_i · z_k / t))``. It does not change when ``a`` and ``b`` trade
    places, nor when an embedding is scaled.

    Args:
        a: embeddings of the first views.
        b: of the second views, in the same order.
        temperature: ``t``.

    Returns:
        Nats.

    Reference:
        Chen et al. 2020, equation 1.

    Example:
        >>> import math
        >>> a = torch.eye(2)
        >>> round(float(nt_xent(a, a)), 4) == round(math.log(1 + 2 * math.exp(-2)), 4)
        True
    """
    return cross_entropy(similarities(torch.cat([a, b]), temperature), twins(len(a)).to(a.device))


def similarities(z: Float[Tensor, "m d"], temperature: float) -> Float[Tensor, "m m"]:
    """``z_i · z_k / t`` of embeddings scaled to length 1; minus infinity for an embedding and itself."""
    z = normalize(z)
    return (z @ z.T / temperature).masked_fill(torch.eye(len(z), dtype=torch.bool, device=z.device), -torch.inf)


def twins(n: int) -> Tensor:
    """Where the other view of each image is, among ``n`` first and ``n`` second views."""
    return torch.arange(2 * n).roll(n)


class _Contrast(nn.Module):
    """Each view's similarity to every other: logits of which is its twin."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        width = head_of(network).in_features
        self.network = network
        self.projection = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, PROJECTED))

    def forward(self, views: Float[Tensor, "m c h w"]) -> Float[Tensor, "m all"]:
        # Of several processes each has a part of the views, whose negatives are the views of all.
        everyone, own = rows_of_all(self.projection(features(self.network, views)))
        return similarities(everyone, TEMPERATURE)[own]


def train_simclr(
    network: nn.Module,
    samples: Samples,
    *,
    schedule: Schedule,
    seed: int,
    compute: Compute | None = None,
    after_epoch: Callable[[Curve], None] | None = None,
) -> Curve:
    """Train all but the last layer of a network, in place, without looking at a label.

    Args:
        network: ends in a linear layer named ``fc``, which stays as it is; see `fit_head`.
        samples: images of bytes.
        schedule: how long and how fast; a step takes both views of ``batch_size`` images.
        seed: keys the projection head, the order of the images and their distortions.
        compute: where, as of `train_supervised`.
        after_epoch: called with the curve so far; it may change the network's mode and its ``fc``, and nothing else.

    Returns:
        One row per epoch: the contrastive loss, and as error the share of views, in percent, to which another image's
        view was more similar than their twin.

    Raises:
        SettingError: the network does not end in a linear layer ``fc``.
        DataError: no images of bytes.
        NumericalFailure: the loss is not finite.
    """
    check_samples(samples)
    if samples.inputs.dim() != 4 or samples.inputs.dtype != torch.uint8:
        found = f"inputs of type {samples.inputs.dtype} and shape {tuple(samples.inputs.shape)}"
        do = "give uint8 images (n, c, h, w): distortions need to know black and white"
        raise DataError(f"learn {samples.name!r} by simclr", found, do)

    def batches(epoch: int) -> Iterator[Batch]:
        order = epoch_order(len(samples), schedule.batch_size, generator("order", seed, epoch))
        draws = generator("distortion", seed, epoch)
        for picked in torch.split(order, schedule.batch_size):
            images = samples.inputs[picked].to(home_of(network))
            views = torch.cat([distort(images, flip=samples.flip, generator=draws) for _ in range(2)])
            yield Batch(samples.normalised(255 * views), twins(len(picked)))

    with seeded("projection", seed):
        contrast = _Contrast(network)
    # The last layer takes no part: without a gradient, the optimiser leaves it alone.
    return descend(
        contrast,
        batches,
        examples=len(samples),
        label=f"{samples.name} simclr",
        task=Classification(),
        schedule=schedule,
        compute=compute,
        after_epoch=after_epoch,
    )


def fit_head(network: nn.Module, samples: Samples, *, seed: int, compute: Compute | None = None) -> Curve:
    """Fit the last linear layer of a network to the labels, on frozen features; it is left in eval mode.

    The features are those of the stored examples in eval mode, each channel brought to mean 0 and variance 1 while the
    layer is learned from zero; the scale is then folded into its weights.

    Args:
        network: ends in a linear layer named ``fc``.
        samples: what to learn.
        seed: keys the order of the examples.
        compute: where, as of `train_supervised`.

    Returns:
        One row per epoch, as of `train_supervised`.

    Raises:
        SettingError: the network does not end in a linear layer ``fc``.
        DataError: the samples cannot be learned from.
        NumericalFailure: the loss is not finite.
    """
    check_samples(samples)
    head = head_of(network)
    network.eval()
    with (compute or Compute()).hosting(network), torch.no_grad():
        batches = (batch.to(home_of(network)) for batch in samples.batches(BATCH))
        found = torch.cat([features(network, batch.inputs).cpu() for batch in batches])
    mean, std = found.mean(0), found.std(0)
    # A dead channel has no scale of its own, and tells nothing.
    std[std == 0] = 1
    with seeded("head", seed):
        linear = nn.Linear(head.in_features, head.out_features)
    nn.init.zeros_(linear.weight)
    nn.init.zeros_(linear.bias)
    scaled = Samples(f"{samples.name} features", (found - mean) / std, samples.labels, samples.classes)
    curve = train_supervised(linear, scaled, schedule=HEAD, seed=seed, compute=compute)
    with torch.no_grad():
        head.weight.copy_(linear.weight / std)
        head.bias.copy_(linear.bias - linear.weight @ (mean / std))
    return curve


def head_of(network: nn.Module) -> nn.Linear:
    """The last linear layer.

    Raises:
        SettingError: there is no linear layer ``fc`` with a bias.
    """
    head = getattr(network, "fc", None)
    if not isinstance(head, nn.Linear) or head.bias is None:
        asked = f"the features below the last layer of {type(network).__name__}"
        raise SettingError(asked, f"no linear layer 'fc' but {type(head).__name__}", "name its last layer fc")
    return head


def features(network: nn.Module, inputs: Inputs) -> Float[Tensor, "n width"]:
    """What goes into the last layer."""
    seen: list[Tensor] = []
    hook = head_of(network).register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    try:
        call(network, inputs)
    finally:
        hook.remove()
    return seen[0]
