"""Batch norms that normalise by the whole batch while each process holds a part of it.

The statistics of parts are others than those of the batch, and a network trained on them is another network. Here the
sums are exchanged, forward and backward, so that several processes train what one would. torch's ``SyncBatchNorm`` does
this on GPUs alone; this one runs wherever processes can add tensors.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor, nn

from modelstitch.errors import SettingError
from modelstitch.parallel.exchange import summed
from modelstitch.parallel.ranks import ranks

_KNOWN = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


def whole_batch_norm(
    x: Tensor,
    mean: Tensor | None,
    var: Tensor | None,
    weight: Tensor | None,
    bias: Tensor | None,
    momentum: float,
    eps: float,
) -> Tensor:
    """``torch.nn.functional.batch_norm`` in training, over the examples of all processes.

    Args:
        x: this process's part, channels on axis 1.
        mean: running mean, updated in place.
        var: running variance, updated in place.
        weight: of the channels.
        bias: of the channels.
        momentum: share of the batch in the running statistics.
        eps: added to the variance.
    """
    axes = [0, *range(2, x.dim())]
    shape = [1, -1, *[1] * (x.dim() - 2)]
    # Sixteen bits, which autocast hands on, are too few for a sum.
    values = x.to(torch.promote_types(x.dtype, torch.float32))
    number = values.new_tensor([float(x.numel() // x.shape[1])])
    sums = summed(torch.cat([values.sum(axes), number]))
    n = sums[-1].detach()
    centre = sums[:-1] / n
    # About the mean of all, in a second exchange: sums of squares would lose the digits of a large mean.
    apart = values - centre.view(shape)
    spread = summed(apart.square().sum(axes)) / n
    if mean is not None and var is not None:
        with torch.no_grad():
            mean.lerp_(centre.to(mean), momentum)
            var.lerp_((spread * n / (n - 1)).to(var), momentum)
    scale = torch.rsqrt(spread + eps)
    if weight is not None:
        scale = scale * weight
    normed = apart * scale.view(shape)
    return (normed if bias is None else normed + bias.view(shape)).to(x.dtype)


@contextmanager
def whole_batches(network: nn.Module) -> Iterator[None]:
    """Within it, the network's batch norms in train mode see the batch of all processes; alone, nothing changes.

    Raises:
        SettingError: a batch norm of a kind whose sums are not known.
    """
    norms = [one for one in network.modules() if isinstance(one, nn.modules.batchnorm._BatchNorm)]
    if not ranks().several or not norms:
        yield
        return
    for norm in norms:
        if type(norm) not in _KNOWN:
            found = f"a {type(norm).__name__}, which would see its part of each batch alone"
            do = "train it by one process, or use torch's own batch norms"
            raise SettingError(f"train a network over {ranks().count} processes", found, do)
    for norm in norms:
        # On the instance, where it hides the class's own until the block ends; the module stays the user's.
        norm.__dict__["forward"] = partial(_forward, norm)
    try:
        yield
    finally:
        for norm in norms:
            del norm.__dict__["forward"]


def _forward(norm: nn.modules.batchnorm._BatchNorm, x: Tensor) -> Tensor:
    if not (norm.training and ranks().several):
        own: Tensor = type(norm).forward(norm, x)
        return own
    norm._check_input_dim(x)  # type: ignore[no-untyped-call]
    momentum = norm.momentum
    if norm.num_batches_tracked is not None:
        norm.num_batches_tracked.add_(1)
        momentum = 1 / float(norm.num_batches_tracked) if momentum is None else momentum
    given = (norm.running_mean, norm.running_var, norm.weight, norm.bias)
    return whole_batch_norm(x, *given, momentum or 0.0, norm.eps)
