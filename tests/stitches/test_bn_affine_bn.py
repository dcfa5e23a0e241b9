"""The stitch between two batch norms: the statistics that its norms start from."""

import pytest
import torch
from stitch_cases import CUTS, assigned, check_is_the_map, every_cut, made, values, with_channels

from modelstitch.stitches import BNAffineBN
from modelstitch.support.tensors import rows


@every_cut
def test_norms_start_alike_in_train_mode_on_the_rows_they_were_told_of(cut):
    x = values(cut, n=32)
    stitch, expected = assigned(BNAffineBN(), cut, with_channels(cut, 2), x)
    check_is_the_map(stitch.train(), x, cut.kind, expected)


def test_norms_with_other_statistics_are_seen():
    x = values(CUTS["map"], n=32)
    stitch, expected = assigned(BNAffineBN(), CUTS["map"], CUTS["map"], x)
    stitch.before.running_var.mul_(2)
    with pytest.raises(AssertionError, match="not close"):
        check_is_the_map(stitch.eval(), x, "map", expected)


def with_spread(below, spreads, n=32):
    """Inputs whose channels have these standard deviations."""
    seen = values(below, n)
    seen = (seen - rows(seen, below.kind).mean(0)) / rows(seen, below.kind).std(0, correction=0)
    return seen * torch.tensor(spreads)


@pytest.mark.parametrize("mode", ["eval", "train"])
@pytest.mark.parametrize("small", [0.0, 1e-6, 1e-3, 3e-3])
def test_channels_of_little_or_no_variance_pass_both_norms(small, mode):
    cut = CUTS["vector"]
    x = with_spread(cut, [1.0, small, 1.0])
    # The second output sees the quiet channel alone, so the norm after the map meets as little variance.
    weight, bias = torch.tensor([[1.0, 400.0, 0.0], [0.0, 1.0, 0.0]]), torch.tensor([2.0, -1.0])
    stitch = made(BNAffineBN(), cut, with_channels(cut, 2))
    stitch.assign(weight, bias, x.mean(0), torch.cov(x.T, correction=0))
    torch.testing.assert_close(stitch.train(mode == "train")(x), x @ weight.T + bias, atol=1e-5, rtol=1e-4)


def test_the_stitch_of_2021_has_no_norms_for_tokens():
    assert not any("BatchNorm" in type(m).__name__ for m in BNAffineBN().build(CUTS["grid"], CUTS["grid"]).modules())
    names = [type(m).__name__ for m in BNAffineBN().build(CUTS["map"], CUTS["map"]).modules()]
    assert names.count("BatchNorm2d") == 2
