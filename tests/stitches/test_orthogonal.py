"""Orthogonal stitches: they stay orthogonal while they learn."""

import pytest
import torch
from stitch_cases import CUTS, made, values
from torch import nn

from modelstitch.stitches import Orthogonal
from modelstitch.support.seeding import generator


def check_stays_orthogonal(stitch, weight_of):
    optimiser = torch.optim.SGD(stitch.parameters(), lr=0.1)
    start = weight_of(stitch).detach().clone()
    for seed in range(5):
        x = values(CUTS["vector"], seed=seed)
        optimiser.zero_grad()
        (stitch(x) * x.roll(1, 0)).sum().backward()
        optimiser.step()
    weight = weight_of(stitch).detach()
    assert not torch.allclose(weight, start, atol=1e-2), "nothing was learnt"
    torch.testing.assert_close(weight @ weight.T, torch.eye(3), atol=1e-5, rtol=0)


def test_a_rotation_stays_one_while_it_learns():
    check_stays_orthogonal(made(Orthogonal(), CUTS["vector"], CUTS["vector"]), lambda s: s(torch.eye(3)).T)


def test_a_map_that_learns_freely_is_seen():
    stitch = nn.Linear(3, 3, bias=False)
    nn.init.orthogonal_(stitch.weight, generator=generator("free"))
    with pytest.raises(AssertionError, match="not close"):
        check_stays_orthogonal(stitch, lambda s: s.weight)
