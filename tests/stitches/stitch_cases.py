"""Cuts of every kind, maps of every family, and the check that a stitch is the map that it was given."""

import pytest
import torch

from modelstitch.cut import Cut
from modelstitch.stitches import FAMILIES, Affine, BNAffineBN, Diagonal, Orthogonal, Permutation
from modelstitch.support.seeding import generator, seeded
from modelstitch.support.tensors import rows

CUTS = {
    "map": Cut("m", (), (3, 4, 5), "map", 0.5, 0.5, True),
    "waveform": Cut("w", (), (3, 6), "map", 0.5, 0.5, True),
    "volume": Cut("v", (), (3, 2, 3, 2), "map", 0.5, 0.5, True),
    "tokens": Cut("t", (), (5, 3), "tokens", 0.5, 0.5, True),
    "grid": Cut("g", (), (4, 4, 3), "tokens", 0.5, 0.5, True),
    "sentence": Cut("s", (), (None, 3), "tokens", 0.5, 0.5, True),
    "vector": Cut("x", (), (3,), "vector", 0.5, 0.5, True),
}
MAPS = {name: cut for name, cut in CUTS.items() if cut.kind == "map"}
every_cut = pytest.mark.parametrize("cut", CUTS.values(), ids=CUTS)
every_map = pytest.mark.parametrize("cut", MAPS.values(), ids=MAPS)
every_family = pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)


def with_channels(cut, channels):
    shape = (channels, *cut.shape[1:]) if cut.kind == "map" else (*cut.shape[:-1], channels)
    return Cut("other", (), shape, cut.kind, 0.5, 0.5, True)


def values(cut, n=4, seed=0):
    shape = [7 if size is None else size for size in cut.shape]
    return torch.randn(n, *shape, generator=generator("stitches", n, seed)) * 2 + 1


def made(family, below, above):
    with seeded("stitch"):
        return family.build(below, above)


def map_of(family, p, q, seed=0):
    """A map that the family holds."""
    stream = generator("map", p, q, seed)
    if isinstance(family, Permutation):
        return torch.eye(p)[torch.randperm(p, generator=stream)], torch.zeros(p)
    if isinstance(family, Orthogonal):
        return torch.linalg.qr(torch.randn(p, p, generator=stream)).Q, torch.zeros(p)
    if isinstance(family, Diagonal):
        return torch.randn(p, generator=stream).diag(), torch.randn(p, generator=stream)
    return torch.randn(q, p, generator=stream), torch.randn(q, generator=stream)


def assigned(family, below, above, x):
    """A stitch that was given a map and the statistics of its rows, and what the map makes of them."""
    weight, bias = map_of(family, below.channels, above.channels)
    stitch = made(family, below, above)
    seen = rows(x, below.kind)
    # Of one channel, `cov` gives a number.
    stitch.assign(weight, bias, seen.mean(0), torch.cov(seen.T, correction=0).reshape(below.channels, -1))
    return stitch, seen @ weight.T + bias


ASSIGNABLE = {
    f"{type(family).__name__} {channels}": (family, channels)
    for family, several in (
        (Permutation(), (3,)),
        (Orthogonal(), (3,)),
        (Diagonal(), (3,)),
        (Affine(), (3, 2, 5)),
        (BNAffineBN(), (3, 2, 5)),
    )
    for channels in several
}


def check_is_the_map(stitch, x, kind, expected):
    torch.testing.assert_close(rows(stitch(x), kind), expected, atol=1e-4, rtol=1e-4)
