"""A top that trains: a copy with weights and running statistics of its own.

Beware: a half holds its weights as buffers that share the network's memory, under names of its own. Which of them are
weights, and of what, is told by where they lie in memory.
"""

from __future__ import annotations

from torch import nn

from modelstitch.cut import Top, capture_of
from modelstitch.cut.frozen import SwitchingNorm
from modelstitch.matching.matching import TopMode
from modelstitch.networks import untrained


def thawed(top: Top, start: TopMode, seed: int) -> Top:
    """A copy of a top whose weights are parameters that take gradients; the network shares nothing with it.

    Args:
        top: a half in which nothing trains.
        start: ``fresh`` weights and statistics, or those that the network has (``trained``).
        seed: which fresh weights.
    """
    own, view = top.with_batch_statistics(), capture_of(top).view
    path_of = {weight.data_ptr(): path for path, weight in view.named_parameters() if weight.numel()}
    weights = dict((untrained(view, seed=seed) if start == "fresh" else view).named_parameters())
    made: dict[str, nn.Parameter] = {}
    for module in own.run.modules():
        for name, held in [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]:
            path = path_of.get(held.data_ptr())
            if path is None:
                continue
            if path not in made:
                made[path] = nn.Parameter(weights[path].detach().clone(), requires_grad=held.is_floating_point())
            delattr(module, name)
            module.register_parameter(name, made[path])
        if start == "fresh" and isinstance(module, SwitchingNorm):
            module.get_buffer("running_mean").zero_()
            module.get_buffer("running_var").fill_(1)
    return own
