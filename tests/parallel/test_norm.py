"""Batch norms over several processes: torch's own where one holds the whole batch, and nobody's modules changed.

That parts add up is tested with real processes, in ``test_launch``.
"""

import pytest
import torch
from torch import nn

from modelstitch.errors import SettingError
from modelstitch.parallel import Ranks, among
from modelstitch.parallel.norm import whole_batches

TWO = Ranks(0, 2)


def norm_and_input(kind, **options):
    torch.manual_seed(0)
    norm = {2: nn.BatchNorm1d, 4: nn.BatchNorm2d, 5: nn.BatchNorm3d}[kind](3, **options)
    if norm.affine:
        nn.init.uniform_(norm.weight, 0.5, 2.0)
        nn.init.uniform_(norm.bias)
    # A mean that is large beside the spread.
    return norm, torch.randn(5, 3, *[4] * (kind - 2)) + 100


def passed(norm, x, here):
    x = x.clone().requires_grad_()
    with among(here), whole_batches(norm):
        for _ in range(2):
            y = norm(x)
    (y * torch.linspace(-1, 1, y.numel()).view_as(y)).sum().backward()
    grads = [x.grad, *(parameter.grad for parameter in norm.parameters())]
    return [y.detach(), *grads, *norm.buffers()]


@pytest.mark.usefixtures("_group")
@pytest.mark.parametrize("kind", [2, 4, 5])
@pytest.mark.parametrize(
    "options", [{}, {"momentum": None}, {"affine": False}, {"track_running_stats": False}], ids=str
)
def test_it_is_torchs_batch_norm(kind, options):
    expected = passed(*norm_and_input(kind, **options), Ranks())
    found = passed(*norm_and_input(kind, **options), TWO)
    for one, other in zip(found, expected, strict=True):
        # Inputs around 100 carry a rounding of 1e-5 of their spread.
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)


@pytest.mark.usefixtures("_group")
def test_sixteen_bits_are_summed_in_more():
    norm, x = norm_and_input(4)
    with among(TWO), whole_batches(norm):
        found = norm(x.bfloat16())
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found.float(), norm(x.bfloat16().float()), rtol=1e-2, atol=1e-2)


def test_in_eval_mode_it_is_the_modules_own():
    norm, x = norm_and_input(4)
    norm.eval()
    with among(TWO), whole_batches(norm):
        found = norm(x)
    assert torch.equal(found, norm(x))


def test_the_modules_are_left_as_they_were():
    norm, _ = norm_and_input(4)
    before = dict(vars(norm))
    with among(TWO), whole_batches(norm):
        assert "forward" in vars(norm)
    assert vars(norm) == before
    with pytest.raises(ValueError, match="expected 4D"), among(TWO), whole_batches(norm):
        norm(torch.zeros(1))
    assert vars(norm) == before


def test_a_norm_of_a_foreign_kind_is_refused():
    class Other(nn.BatchNorm2d):
        pass

    with pytest.raises(SettingError, match="a Other, which would see its part"), among(TWO), whole_batches(Other(3)):
        pass
