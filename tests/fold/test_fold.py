"""Folding: the folded network is the stitched one, in the architecture of the two."""

import copy
from functools import cache

import pytest
import torch
from torch import nn

from fixtures import NETWORKS, captured
from modelstitch.cut import capture
from modelstitch.errors import CannotFold
from modelstitch.fold import fold
from modelstitch.matching import Direct, fit
from modelstitch.networks import build, weights_fingerprint
from modelstitch.stitched import Stitched
from modelstitch.stitches import Affine, BNAffineBN, Diagonal, Identity, Orthogonal, Permutation
from modelstitch.support.seeding import generator, seeded

FAMILIES = (Identity(), Permutation(), Orthogonal(), Diagonal(), Affine(), BNAffineBN())
SHAPE = (1, 8, 8)


def lived(module, key):
    """Every weight far from 0 and from 1, and statistics that no other layer has, so that no mistake is small."""
    stream = generator("fold test", key)
    with torch.no_grad():
        for tensor in module.state_dict().values():
            if tensor.is_floating_point() and tensor.ndim == 1:
                tensor.copy_(torch.rand(tensor.shape, generator=stream) + 0.5)
            elif tensor.is_floating_point():
                tensor.mul_(2)
    return module.eval()


@cache
def pair(architecture):
    """Two networks of an architecture, captured; the first is that of the catalogue where there is one."""
    known = {"resnet18": "preact"}.get(architecture, architecture)
    if known in NETWORKS:
        other = lived(NETWORKS[known].network(7), 7)
        return [captured(known), capture(other, NETWORKS[known].inputs(2))]
    options = {"myrtle": {"width": 3, "channels": 1}, "mlp": {"widths": (5, 4)}}[architecture]
    networks = [lived(build(architecture, seed=seed, **options), seed) for seed in (0, 1)]
    return [capture(network, torch.zeros(2, *SHAPE)) for network in networks]


def inputs_of(halves, rows=16):
    return torch.randn(rows, *halves[0].cuts[0].shape, generator=generator("fold inputs"))


def stitched_at(cut, family, halves):
    with seeded("fold test", str(family)):
        stitch = family.build(halves[0].find(cut), halves[1].find(cut))
    if not isinstance(family, Permutation | Orthogonal):
        lived(stitch, "stitch")
    return Stitched(halves[0].bottom(cut), stitch.eval(), halves[1].top(cut))


def check_folded(stitched, network, inputs):
    """The law: in eval mode the folded network answers what the stitched one answers."""
    with torch.no_grad():
        expected, found = stitched(inputs), network(inputs)
    assert torch.allclose(found, expected, rtol=1e-5, atol=1e-5), "the folded network is another"
    assert expected.std(0).max() > 1e-3, "a network that answers the same to everything tells nothing"


RESNET_CUTS = [
    "conv1",
    *(f"layer{s}.{b}" for s in (1, 2, 3, 4) for b in (0, 1)),
    "pool",
]
PROJECTED = {"layer1.0", "layer1.1", "layer2.1", "layer3.1", "layer4.1"}


@pytest.mark.parametrize("cut", RESNET_CUTS)
@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: type(family).__name__)
def test_resnet_folds_at_every_block_cut(cut, family):
    halves = pair("resnet18")
    stitched = stitched_at(cut, family, halves)
    folded = fold(stitched)
    check_folded(stitched, folded.network, inputs_of(halves))
    own = halves[1].wiring.network
    keys = {name: tensor.shape for name, tensor in own.state_dict().items()}
    found = {name: tensor.shape for name, tensor in folded.network.state_dict().items()}
    assert type(folded.network) is type(own)
    # The identity shortcuts are the one place where the architecture has no layer that could hold the map.
    whole = not (cut in PROJECTED and not isinstance(family, Identity | Permutation))
    assert folded.same_architecture == whole == (found == keys)
    assert folded.projections == (() if whole else (f"{cut}.skip",))
    assert found.keys() - keys.keys() == {f"{path}.weight" for path in folded.projections}


def test_a_network_that_is_not_the_stitched_one_is_seen():
    halves = pair("resnet18")
    stitched = stitched_at("layer2.0", Affine(), halves)
    other = fold(stitched_at("layer2.0", Orthogonal(), halves)).network
    with pytest.raises(AssertionError, match="the folded network is another"):
        check_folded(stitched, other, inputs_of(halves))


@pytest.mark.parametrize(
    ("architecture", "cut", "family", "projections"),
    [
        ("myrtle", "block1.0", BNAffineBN(), ()),  # backwards, into the convolution and the mean of its norm
        ("myrtle", "block1.1", BNAffineBN(), ()),  # backwards, through the norm
        ("myrtle", "block1", Orthogonal(), ()),  # forwards, into a padded convolution
        ("myrtle", "block2", Permutation(), ()),  # backwards, through a maximum
        ("myrtle", "flatten", Affine(), ()),  # forwards, into the classifier
        ("vit", "patches", Affine(), ()),  # backwards, into patches and places
        ("vit", "blocks.0", Affine(), ("blocks.0.skip",)),
        ("vit", "blocks.1", Permutation(), ()),
        ("vit", "mean", BNAffineBN(), ()),
        ("mlp", "layer1", BNAffineBN(), ()),
        ("mlp", "output", Affine(), ()),
    ],
)
def test_the_other_architectures_fold(architecture, cut, family, projections):
    halves = pair(architecture)
    stitched = stitched_at(cut, family, halves)
    folded = fold(stitched)
    check_folded(stitched, folded.network, inputs_of(halves))
    assert folded.projections == projections


@pytest.mark.parametrize(
    ("name", "cut", "family"),
    [
        ("plain", "drop", Affine()),
        ("plain", "features.3", Orthogonal()),
        ("postact", "stem", Permutation()),
        ("postact", "layer1.1", Permutation()),
        ("postact", "mean", Affine()),
        ("functional", "fc2", Affine()),
    ],
)
def test_networks_of_others_fold_where_they_are_linear(name, cut, family):
    halves = pair(name)
    stitched = stitched_at(cut, family, halves)
    check_folded(stitched, fold(stitched).network, inputs_of(halves))


class Wide(nn.Module):
    """A map flattened into a linear layer, and a stream whose bias must go on through two norms and a bare layer."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(1, 3, 3, bias=False)
        self.norm, self.again = nn.BatchNorm2d(3), nn.BatchNorm2d(3)
        self.bare = nn.Conv2d(3, 3, 1, bias=False)
        self.fc = nn.Linear(3 * 9, 3)

    def forward(self, x):
        x = self.stem(x)
        x = x + torch.relu(self.norm(x))
        x = self.again(self.bare(x))
        return self.fc(torch.max_pool2d(torch.relu(x), 2).flatten(1))


@pytest.mark.parametrize("cut", ["stem", "add", "bare", "max_pool2d"])
def test_a_bias_goes_on_to_whoever_reads_it(cut):
    with seeded("wide"):
        halves = [capture(lived(Wide(), seed), torch.zeros(2, *SHAPE)) for seed in (0, 1)]
    stitched = stitched_at(cut, Affine(), halves)
    folded = fold(stitched)
    check_folded(stitched, folded.network, inputs_of(halves))
    assert folded.same_architecture


def test_the_networks_are_untouched_and_the_folded_one_is_apart():
    with seeded("fold apart"):
        a, b = (nn.Sequential(nn.Linear(6, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 3)) for _ in range(2))
    b.train()
    b[0].weight.requires_grad_(False)
    before = [weights_fingerprint(a), weights_fingerprint(b), copy.deepcopy([m.training for m in b.modules()])]
    x = torch.randn(8, 6)
    stitched = stitched_at("2", Affine(), [capture(a, x), capture(b, x)])
    network = fold(stitched).network
    with torch.no_grad():
        for tensor in network.state_dict().values():
            tensor.add_(1)
    assert before == [weights_fingerprint(a), weights_fingerprint(b), [m.training for m in b.modules()]]
    assert not b[0].weight.requires_grad
    assert all(p.requires_grad for p in network.parameters())


@pytest.mark.parametrize("end", ["input", "output"])
def test_at_the_end_points_the_folded_network_is_one_of_the_two(end):
    """The law: cut at the input it is B, weight by weight; cut at the output it is A."""
    halves = pair("resnet18")
    network = fold(stitched_at(end, Identity(), halves)).network
    expected = halves[1 if end == "input" else 0].wiring.network.state_dict()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in network.state_dict().items())


def refusal(found):
    return pytest.raises(CannotFold, match=f"asked: to fold (.|\n)*found: .*{found}(.|\n)*do:    ")


def test_what_cannot_be_folded_says_why():
    halves, vits = pair("myrtle"), pair("vit")
    with refusal("pads with zeros, which no bias can pass"):
        fold(stitched_at("block1", Affine(), halves))
    with refusal("adaptive_max_pool2d in pool reads it channel by channel"):
        fold(stitched_at("block5", Orthogonal(), halves))
    with refusal("blocks.0.skip is not the shortcut of the sum at the cut"):
        fold(stitched_at("blocks.0.add", Affine(), vits))
    with refusal("not affine, or that looks at neighbouring"):
        fold(stitched_at("block1", Affine(kernel=3), halves))
    with refusal("no shortcut module that could be a projection"):
        fold(stitched_at("add", Affine(), [captured_skip(), captured_skip()]))


@cache
def captured_skip():
    class Skip(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.two, self.last = nn.Linear(6, 4), nn.Linear(4, 4), nn.Linear(4, 3)

        def forward(self, x):
            x = self.one(x)
            return self.last(torch.relu(x + self.two(torch.relu(x))))

    with seeded("skip"):
        return capture(lived(Skip(), 0), torch.zeros(2, 6))


def test_only_two_networks_of_one_architecture_at_one_cut_fold():
    halves = pair("mlp")
    with seeded("other"):
        other = capture(build("mlp", seed=0, widths=(5, 5)), torch.zeros(2, *SHAPE))
    with refusal("networks of two architectures"):
        fold(stitched_at("layer1", Affine(), (halves[0], other)))
    shifted = Stitched(
        other.bottom("layer1"), Affine().build(other.find("layer1"), other.find("layer2")), other.top("layer2")
    )
    with refusal("the cut 'layer2' above"):
        fold(shifted)
    resnets = pair("resnet18")
    stitched = stitched_at("conv1", Affine(), resnets)
    with refusal("batch norms with statistics of their own"):
        fold(Stitched(stitched.bottom.with_batch_statistics(), stitched.stitch, stitched.top))
    with refusal("replayed by hooks"):
        fold(stitched_at("block1", Affine(), (captured("branchy"), captured("branchy"))))
    tied = captured("tied")
    with refusal("weights that are used on both sides of the cut: .*weight"):
        fold(stitched_at("relu", Affine(), (tied, tied)))


def test_a_fitted_stitch_folds():
    halves = pair("resnet18")
    train = (inputs_of(halves, 64), torch.arange(64) % 10)
    found = fit(BNAffineBN(), halves[0].bottom("layer2.0"), halves[1].top("layer2.0"), train, by=Direct())
    check_folded(found.stitched, fold(found.stitched).network, inputs_of(halves))
