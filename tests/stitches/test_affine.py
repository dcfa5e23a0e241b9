"""Affine stitches and their kernels: shapes, the tap at which a wide one starts, and what is refused."""

import pytest
import torch
from stitch_cases import CUTS, MAPS, assigned, check_is_the_map, every_map, made, values, with_channels
from torch import nn

from modelstitch.errors import SettingError
from modelstitch.stitches import Affine, BNAffineBN

every_kernel_family = pytest.mark.parametrize("family", [Affine, BNAffineBN])


def test_a_wrong_map_is_seen():
    x = values(CUTS["tokens"])
    stitch, expected = assigned(Affine(), CUTS["tokens"], CUTS["tokens"], x)
    with torch.no_grad():
        stitch.layer.weight.copy_(stitch.layer.weight.T.clone())
    with pytest.raises(AssertionError, match="not close"):
        check_is_the_map(stitch, x, "tokens", expected)


@every_kernel_family
@every_map
@pytest.mark.parametrize("kernel", [1, 3, 5, 7, 9])
def test_every_kernel_keeps_the_shape(family, cut, kernel):
    stitch = made(family(kernel=kernel), cut, with_channels(cut, 2))
    assert stitch(values(cut)).shape == values(with_channels(cut, 2)).shape
    sizes = [m.kernel_size for m in stitch.modules() if isinstance(m, nn.modules.conv._ConvNd)]
    assert sizes == [(kernel,) * len(cut.positions)]


@every_kernel_family
@every_map
# One channel on a side too: there the middle tap is not where any other axis would put it.
@pytest.mark.parametrize(("channels", "out"), [(3, 2), (1, 1), (1, 4), (4, 1)])
@pytest.mark.parametrize("kernel", [3, 5])
def test_a_wider_kernel_starts_as_the_map_of_the_narrow_one(family, cut, channels, out, kernel):
    below, above = with_channels(cut, channels), with_channels(cut, out)
    x = values(below, n=16)
    wide, expected = assigned(family(kernel=kernel), below, above, x)
    narrow, _ = assigned(family(), below, above, x)
    check_is_the_map(wide.eval(), x, "map", expected)
    torch.testing.assert_close(wide(x), narrow.eval()(x), atol=1e-5, rtol=1e-5)


@every_map
def test_a_wide_kernel_that_starts_beside_its_middle_is_seen(cut):
    x = values(cut, n=16)
    stitch, expected = assigned(Affine(kernel=3), cut, cut, x)
    with torch.no_grad():
        stitch.layer.weight.copy_(stitch.layer.weight.roll(1, -1))
    with pytest.raises(AssertionError, match="not close"):
        check_is_the_map(stitch, x, "map", expected)


def test_maps_of_one_two_and_three_axes_are_covered():
    assert sorted(len(cut.positions) for cut in MAPS.values()) == [1, 2, 3]


@every_kernel_family
@pytest.mark.parametrize("kernel", [2, 0, -1, 4])
def test_a_kernel_without_a_middle_is_refused(family, kernel):
    with pytest.raises(SettingError, match=f"a stitch with kernel {kernel}\nfound: a kernel that has no middle"):
        family(kernel=kernel)


@every_kernel_family
@pytest.mark.parametrize("kernel", [1.5, 3.0, True, "3", None])
def test_a_kernel_that_is_no_whole_number_is_refused(family, kernel):
    # Past the run-time checks of types, which users do not have.
    unchecked = object.__new__(family)
    object.__setattr__(unchecked, "kernel", kernel)
    with pytest.raises(SettingError, match=f"a stitch with kernel {kernel!r}\nfound: .*\ndo:    choose 1, 3, 5"):
        unchecked.__post_init__()
