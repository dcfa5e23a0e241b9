"""The families: the maps they are given, what they keep while they learn, and what they refuse."""

import pytest
import torch
from torch import nn

from modelstitch.cut import Cut
from modelstitch.errors import SettingError, ShapeMismatch
from modelstitch.seeding import generator, seeded
from modelstitch.stitches import FAMILIES, Affine, BNAffineBN, Identity, Orthogonal, Permutation
from modelstitch.tensors import rows

CUTS = {
    "map": Cut("m", (), (3, 4, 5), "map", 0.5, 0.5, True),
    "waveform": Cut("w", (), (3, 6), "map", 0.5, 0.5, True),
    "volume": Cut("v", (), (3, 2, 3, 2), "map", 0.5, 0.5, True),
    "tokens": Cut("t", (), (5, 3), "tokens", 0.5, 0.5, True),
    "grid": Cut("g", (), (4, 4, 3), "tokens", 0.5, 0.5, True),
    "sentence": Cut("s", (), (None, 3), "tokens", 0.5, 0.5, True),
    "vector": Cut("x", (), (3,), "vector", 0.5, 0.5, True),
}
every_cut = pytest.mark.parametrize("cut", CUTS.values(), ids=CUTS)
every_family = pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)


def with_channels(cut, channels):
    shape = (channels, *cut.shape[1:]) if cut.kind == "map" else (*cut.shape[:-1], channels)
    return Cut("other", (), shape, cut.kind, 0.5, 0.5, True)


def values(cut, n=4, seed=0):
    shape = [7 if size is None else size for size in cut.shape]
    return torch.randn(n, *shape, generator=generator("stitches", n, seed)) * 2 + 1


def built(family, bottom, top):
    with seeded("stitch"):
        return family.build(bottom, top)


def map_of(family, p, q, seed=0):
    """A map that the family holds."""
    stream = generator("map", p, q, seed)
    if isinstance(family, Permutation):
        return torch.eye(p)[torch.randperm(p, generator=stream)], torch.zeros(p)
    if isinstance(family, Orthogonal):
        return torch.linalg.qr(torch.randn(p, p, generator=stream)).Q, torch.zeros(p)
    return torch.randn(q, p, generator=stream), torch.randn(q, generator=stream)


def assigned(family, bottom, top, x):
    weight, bias = map_of(family, bottom.channels, top.channels)
    stitch = built(family, bottom, top)
    seen = rows(x, bottom.kind)
    stitch.assign(weight, bias, seen.mean(0), torch.cov(seen.T, correction=0))
    return stitch, seen @ weight.T + bias


ASSIGNABLE = {
    f"{type(family).__name__} {top}": (family, top)
    for family, tops in (
        (Permutation(), (3,)),
        (Orthogonal(), (3,)),
        (Affine(), (3, 2, 5)),
        (BNAffineBN(), (3, 2, 5)),
    )
    for top in tops
}


def check_is_the_map(stitch, x, kind, expected):
    torch.testing.assert_close(rows(stitch(x), kind), expected, atol=1e-4, rtol=1e-4)


@every_cut
@pytest.mark.parametrize(("family", "channels"), ASSIGNABLE.values(), ids=ASSIGNABLE)
def test_an_assigned_stitch_is_the_map(family, channels, cut):
    x = values(cut)
    stitch, expected = assigned(family, cut, with_channels(cut, channels), x)
    check_is_the_map(stitch.eval(), x, cut.kind, expected)
    assert stitch(x).shape[1:] == values(with_channels(cut, channels)).shape[1:]


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


def test_a_wrong_map_is_seen():
    x = values(CUTS["tokens"])
    stitch, expected = assigned(Affine(), CUTS["tokens"], CUTS["tokens"], x)
    with torch.no_grad():
        stitch.layer.weight.copy_(stitch.layer.weight.T.clone())
    with pytest.raises(AssertionError, match="not close"):
        check_is_the_map(stitch, x, "tokens", expected)


@every_cut
def test_identity_is_the_very_tensor(cut):
    x = values(cut)
    assert built(Identity(), cut, cut)(x) is x


def test_identity_takes_no_map():
    stitch = built(Identity(), CUTS["vector"], CUTS["vector"])
    with pytest.raises(SettingError, match="a family without parameters"):
        stitch.assign(torch.eye(3), torch.zeros(3), torch.zeros(3), torch.eye(3))


@every_cut
def test_a_fresh_permutation_renames_channels_and_no_more(cut):
    stitch = built(Permutation(), cut, cut)
    assert sorted(stitch.order.tolist()) == [0, 1, 2]
    x = rows(values(cut), cut.kind)
    assert torch.equal(rows(stitch(values(cut)), cut.kind), x[:, stitch.order])


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
    check_stays_orthogonal(built(Orthogonal(), CUTS["vector"], CUTS["vector"]), lambda s: s(torch.eye(3)).T)


def test_a_map_that_learns_freely_is_seen():
    stitch = nn.Linear(3, 3, bias=False)
    nn.init.orthogonal_(stitch.weight, generator=generator("free"))
    with pytest.raises(AssertionError, match="not close"):
        check_stays_orthogonal(stitch, lambda s: s.weight)


@pytest.mark.parametrize("family", [Affine, BNAffineBN])
@pytest.mark.parametrize("cut", [CUTS["map"], CUTS["waveform"], CUTS["volume"]], ids=["2", "1", "3"])
def test_a_wider_kernel_starts_as_the_map_of_the_narrow_one(family, cut):
    x, top = values(cut, n=16), with_channels(cut, 2)
    wide, expected = assigned(family(kernel=3), cut, top, x)
    narrow, _ = assigned(family(), cut, top, x)
    check_is_the_map(wide.eval(), x, "map", expected)
    torch.testing.assert_close(wide(x), narrow.eval()(x), atol=1e-5, rtol=1e-5)
    kernels = [m.kernel_size for m in wide.modules() if isinstance(m, nn.modules.conv._ConvNd)]
    assert kernels == [(3,) * len(cut.positions)]


def test_the_stitch_of_2021_has_no_norms_for_tokens():
    assert not any("BatchNorm" in type(m).__name__ for m in BNAffineBN().build(CUTS["grid"], CUTS["grid"]).modules())
    names = [type(m).__name__ for m in BNAffineBN().build(CUTS["map"], CUTS["map"]).modules()]
    assert names.count("BatchNorm2d") == 2


@every_family
@every_cut
def test_every_family_is_built_for_every_kind_and_keeps_the_shape(family, cut):
    assert built(family(), cut, cut)(values(cut)).shape == values(cut).shape


@every_family
def test_what_a_family_says_of_itself_is_so(family):
    stitch = family().build(CUTS["map"], CUTS["map"])
    assert family.trainable == bool(list(stitch.parameters()))
    obstacle = family().obstacle(CUTS["map"], with_channels(CUTS["map"], 2))
    assert family.square == (obstacle is not None)


# What is refused


REFUSED = {
    "kinds": (Affine(), CUTS["waveform"], CUTS["tokens"], "found: a map below and tokens above\ndo: .*of one kind"),
    "positions": (
        Affine(),
        CUTS["map"],
        Cut("n", (), (3, 2, 2), "map", 0.5, 0.5, True),
        r"found: positions \(4, 5\) below and \(2, 2\) above\ndo: .*with the same positions",
    ),
    "lengths": (Affine(), CUTS["sentence"], CUTS["tokens"], r"found: positions \(None,\) below and \(5,\) above"),
    "kernel": (
        Affine(kernel=3),
        CUTS["vector"],
        CUTS["vector"],
        "found: a kernel of 3 for a vector\ndo:    use kernel=1",
    ),
    "kernel bn": (BNAffineBN(kernel=3), CUTS["tokens"], CUTS["tokens"], "found: a kernel of 3 for tokens"),
    "varying": (
        Affine(),
        Cut("n", (), (None,), "vector", 0.5, 0.5, True),
        CUTS["vector"],
        "found: a number of channels that may vary",
    ),
} | {
    f"channels {family.__name__}": (
        family(),
        CUTS["map"],
        with_channels(CUTS["map"], 2),
        "found: 3 channels below and 2 above\ndo:    use Affine",
    )
    for family in (Identity, Permutation, Orthogonal)
}


@pytest.mark.parametrize(("family", "bottom", "top", "message"), REFUSED.values(), ids=REFUSED)
def test_cuts_that_do_not_fit_are_refused(family, bottom, top, message):
    with pytest.raises(ShapeMismatch, match=message) as caught:
        family.build(bottom, top)
    assert str(caught.value).startswith(f"asked: {family} from {bottom} to {top}\n")


@pytest.mark.parametrize("family", [Affine, BNAffineBN])
@pytest.mark.parametrize("kernel", [2, 0, -1, 4])
def test_a_kernel_without_a_middle_is_refused(family, kernel):
    with pytest.raises(SettingError, match=f"a stitch with kernel {kernel}\nfound: a kernel that has no middle"):
        family(kernel=kernel)
