"""What every family does: it builds, assigns, solves, copies and saves; and what it refuses."""

import copy
import pickle
from dataclasses import dataclass
from typing import ClassVar

import pytest
import safetensors.torch
import torch
from stitch_cases import (
    ASSIGNABLE,
    CUTS,
    assigned,
    check_is_the_map,
    every_cut,
    every_family,
    made,
    map_of,
    values,
    with_channels,
)

from modelstitch.cut import Cut
from modelstitch.errors import ShapeMismatch
from modelstitch.moments import Moments
from modelstitch.stitches import (
    FAMILIES,
    Affine,
    BNAffineBN,
    Diagonal,
    Family,
    Identity,
    Orthogonal,
    Permutation,
    Stitch,
)
from modelstitch.stitches.affine import KernelFamily
from modelstitch.stitches.closed_form import assignment, procrustes, ridge
from modelstitch.support.seeding import seeded


@every_cut
@pytest.mark.parametrize(("family", "channels"), ASSIGNABLE.values(), ids=ASSIGNABLE)
def test_an_assigned_stitch_is_the_map(family, channels, cut):
    x = values(cut)
    stitch, expected = assigned(family, cut, with_channels(cut, channels), x)
    check_is_the_map(stitch.eval(), x, cut.kind, expected)
    assert stitch(x).shape[1:] == values(with_channels(cut, channels)).shape[1:]


@every_family
@every_cut
def test_every_family_is_built_for_every_kind_and_keeps_the_shape(family, cut):
    assert made(family(), cut, cut)(values(cut)).shape == values(cut).shape


@every_family
def test_what_a_family_says_of_itself_is_so(family):
    stitch = family().build(CUTS["map"], CUTS["map"])
    assert family.trainable == bool(list(stitch.parameters()))
    obstacle = family().obstacle(CUTS["map"], with_channels(CUTS["map"], 2))
    assert family.square == (obstacle is not None)
    assert family.fitted == (family().solve(moments_between()) is not None)


def test_the_catalogue_holds_every_family_by_its_name():
    assert list(FAMILIES) == ["identity", "permutation", "orthogonal", "diagonal", "affine", "bn_affine_bn"]
    assert [family.name for family in FAMILIES.values()] == list(FAMILIES)
    assert str(Affine(kernel=3)) == "Affine(kernel=3)"


# Solving


def moments_between(seed=0):
    """Rows of three channels and rows that are related to them."""
    x = values(CUTS["vector"], n=40, seed=seed)
    moments = Moments()
    moments.update(x, torch.tanh(x).roll(1, 1) @ map_of(Affine(), 3, 3)[0] + 0.1 * x.square())
    return moments


SOLVERS = {
    "permutation": assignment,
    "orthogonal": procrustes,
    # Its own formula is in test_diagonal.py.
    "diagonal": lambda moments: Diagonal().solve(moments, 0.5),
    "affine": lambda moments: ridge(moments, 0.5),
    "bn_affine_bn": lambda moments: ridge(moments, 0.5),
}


@every_family
def test_a_family_solves_for_its_best_map(family):
    moments = moments_between()
    found = family().solve(moments, 0.5)
    if not family.fitted:
        assert found is None
        return
    expected = SOLVERS[family.name](moments)
    assert torch.equal(found.weight, expected.weight)
    assert torch.equal(found.bias, expected.bias)
    assert found.residual == expected.residual


def test_without_a_strength_an_affine_map_is_plain_least_squares():
    moments = moments_between()
    assert torch.equal(Affine().solve(moments).weight, ridge(moments, 0.0).weight)
    assert not torch.equal(Affine().solve(moments).weight, Affine().solve(moments, 0.5).weight)


@pytest.mark.parametrize("family", [family for family in FAMILIES.values() if family.fitted], ids=lambda f: f.name)
def test_what_a_family_finds_its_stitch_can_become(family):
    moments, x = moments_between(), values(CUTS["vector"], n=40)
    found = family().solve(moments)
    stitch = made(family(), CUTS["vector"], CUTS["vector"])
    stitch.assign(found.weight, found.bias, moments.mean_x, moments.xx / moments.n)
    expected = x.double() @ found.weight.T + found.bias
    check_is_the_map(stitch.eval(), x, "vector", expected.float())


@pytest.mark.parametrize("family", [family for family in FAMILIES.values() if family.fitted], ids=lambda f: f.name)
def test_a_stitch_that_is_assigned_forgets_what_it_learnt(family):
    cut = CUTS["vector"]
    x, (weight, bias) = values(cut, n=40), map_of(family(), 3, 3)
    stitch = learnt(family, cut)
    stitch.assign(weight, bias, x.mean(0), torch.cov(x.T, correction=0))
    check_is_the_map(stitch.eval(), x, "vector", x @ weight.T + bias)


# Copies and files


def through_a_file(stitch, family, cut):
    """The weights saved, and read into a stitch that was built with others."""
    with seeded("another stitch"):
        other = family().build(cut, cut)
    other.load_state_dict(safetensors.torch.load(safetensors.torch.save(stitch.state_dict())))
    return other


COPIES = {
    "deepcopy": lambda stitch, family, cut: copy.deepcopy(stitch),
    "pickle": lambda stitch, family, cut: pickle.loads(pickle.dumps(stitch)),
    "file": through_a_file,
}


def check_is_a_copy(stitch, other, x):
    for training in (True, False):
        expected = copy.deepcopy(stitch).train(training)(x)
        assert torch.equal(copy.deepcopy(other).train(training)(x), expected), "it answers otherwise"
    shared = {t.data_ptr() for t in stitch.state_dict().values()} & {t.data_ptr() for t in other.state_dict().values()}
    assert not shared, "they share memory"


def learnt(family, cut):
    """A stitch that is neither fresh nor at a closed form."""
    stitch = made(family(), cut, cut)
    optimiser = torch.optim.SGD(stitch.parameters(), lr=0.1) if family.trainable else None
    for seed in range(2 if optimiser else 0):
        optimiser.zero_grad()
        x = values(cut, seed=seed)
        # No square alone: a rotation keeps it, and would learn nothing.
        (stitch(x) - x.roll(1, 0)).square().mean().backward()
        optimiser.step()
    return stitch


@every_family
@every_cut
@pytest.mark.parametrize("copied", COPIES.values(), ids=COPIES)
def test_a_copied_stitch_answers_bit_for_bit(family, cut, copied):
    stitch = learnt(family, cut)
    check_is_a_copy(stitch, copied(stitch, family, cut), values(cut, seed=5))


@pytest.mark.parametrize("family", [family for family in FAMILIES.values() if family.fitted], ids=lambda f: f.name)
def test_a_copy_that_is_none_is_seen(family):
    cut = with_channels(CUTS["vector"], 8)
    stitch = learnt(family, cut)
    with pytest.raises(AssertionError, match="share memory"):
        check_is_a_copy(stitch, stitch, values(cut))
    with seeded("another stitch"):
        other = family().build(cut, cut)
    with pytest.raises(AssertionError, match="answers otherwise"):
        check_is_a_copy(stitch, other, values(cut))


# What is refused


@dataclass(frozen=True)
class WithoutModule(Family):
    name: ClassVar[str] = "test_without_module"
    trainable: ClassVar[bool] = False
    square: ClassVar[bool] = False

    def solve(self, moments, ridge=0.0): ...


@dataclass(frozen=True)
class WithoutSolution(Family):
    name: ClassVar[str] = "test_without_solution"
    trainable: ClassVar[bool] = False
    square: ClassVar[bool] = False

    def _module(self, below, above): ...


class WithoutAssign(Stitch):
    def forward(self, x): ...


class WithoutForward(Stitch):
    def assign(self, weight, bias, mean, covariance): ...


INCOMPLETE = {
    Family: "_module.*solve",
    KernelFamily: "_module",
    WithoutModule: "_module",
    WithoutSolution: "solve",
    Stitch: "assign.*forward",
    WithoutAssign: "assign",
    WithoutForward: "forward",
}


@pytest.mark.parametrize(("kind", "missing"), INCOMPLETE.items(), ids=lambda one: getattr(one, "__name__", ""))
def test_what_is_incomplete_is_never_made(kind, missing):
    with pytest.raises(TypeError, match=f"abstract class {kind.__name__} .*{missing}"):
        kind()


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
    for family in (Identity, Permutation, Orthogonal, Diagonal)
}


@pytest.mark.parametrize(("family", "below", "above", "message"), REFUSED.values(), ids=REFUSED)
def test_cuts_that_do_not_fit_are_refused(family, below, above, message):
    with pytest.raises(ShapeMismatch, match=message) as caught:
        family.build(below, above)
    assert str(caught.value).startswith(f"asked: {family} from {below} to {above}\n")
