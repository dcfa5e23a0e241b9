"""One fit: frozen networks, recovery, nesting, the gradient against Adam written out, batch statistics, errors."""

import copy
import dataclasses
import functools
from collections import OrderedDict
from typing import ClassVar

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from modelstitch.cut import capture
from modelstitch.data import Samples
from modelstitch.errors import DataError, NumericalFailure, SettingError, ShapeMismatch, TaskMismatch
from modelstitch.matching import Descent, Direct, Job, Objective, TaskLoss, fit
from modelstitch.networks import build
from modelstitch.penalty import Interval, penalty
from modelstitch.pretraining import Schedule, train_supervised
from modelstitch.stitches import Affine, BNAffineBN, Identity, Orthogonal, Permutation, Solution
from modelstitch.support.seeding import generator, seeded
from modelstitch.tasks import Classification

N = 65
WIDTH = 4


def points(n=N, seed=0):
    """Images of 6 pixels a side whose class is where they are brightest."""
    inputs = torch.randn(n, 1, 6, 6, generator=generator("fit test", seed))
    labels = torch.stack([inputs[:, 0, :2].sum((1, 2)), inputs[:, 0, 2:4].sum((1, 2)), inputs[:, 0, 4:].sum((1, 2))], 1)
    return Samples("points", inputs, labels.argmax(1), classes=3)


TRAIN = points()
TEST = points(40, seed=1)


def conv_net(seed):
    with seeded("fit test network", seed):
        blocks = [
            ("block1", nn.Sequential(nn.Conv2d(1, WIDTH, 3, padding=1), nn.BatchNorm2d(WIDTH), nn.Tanh())),
            ("block2", nn.Sequential(nn.Conv2d(WIDTH, WIDTH, 3, 2), nn.BatchNorm2d(WIDTH), nn.ReLU())),
            ("flatten", nn.Flatten()),
            ("hidden", nn.Sequential(nn.Linear(4 * WIDTH, 5), nn.Tanh())),
            ("fc", nn.Linear(5, 3)),
        ]
        return nn.Sequential(OrderedDict(blocks))


def trained(seed):
    network = conv_net(seed)
    train_supervised(network, TRAIN, schedule=Schedule(epochs=4, batch_size=16, learning_rate=0.05), seed=seed)
    return network.eval()


@pytest.fixture(scope="module")
def networks():
    return trained(0), trained(1)


@pytest.fixture(scope="module")
def captured(networks):
    return [capture(network, TRAIN.example) for network in networks]


def fitted(captured, family, by, cut="block1", **options):
    a, b = captured
    return fit(family, a.bottom(cut), b.top(cut), TRAIN, by=by, **options)


def stitch_weights(found):
    return {name: tensor.clone() for name, tensor in found.stitch.state_dict().items()}


def assert_same(one, other):
    assert one.keys() == other.keys()
    for name, tensor in one.items():
        assert torch.equal(tensor, other[name]), name


# Frozen


FITS = [
    *[(family, Direct()) for family in (Identity(), Permutation(), Orthogonal(), Affine(), Affine(3), BNAffineBN())],
    *[
        (family, TaskLoss(epochs=1, batch_size=16))
        for family in (Identity(), Orthogonal(), Affine(), Affine(3), BNAffineBN())
    ],
]


def state(network):
    """All that a fit could leave behind in a network, by value."""
    tensors = {**dict(network.named_parameters()), **dict(network.named_buffers())}
    modules = dict(network.named_modules())
    return {
        "values": {name: tensor.detach().clone() for name, tensor in tensors.items()},
        "places": {name: (id(tensor), tensor.data_ptr(), tensor.requires_grad) for name, tensor in tensors.items()},
        "gradients": {name: None if t.grad is None else t.grad.clone() for name, t in tensors.items()},
        "modes": {name: module.training for name, module in modules.items()},
        "hooks": {name: [list(getattr(module, kind)) for kind in HOOKS] for name, module in modules.items()},
    }


HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks", "_state_dict_hooks")


def assert_frozen(networks, act):
    """The law: whatever `act` does, the networks are as they were."""
    before = [state(network) for network in networks]
    result = act()
    for network, was in zip(networks, before, strict=True):
        now = state(network)
        assert_same(was["values"], now["values"])
        for kind in ("places", "modes", "hooks"):
            assert was[kind] == now[kind], kind
        for name, gradient in was["gradients"].items():
            found = now["gradients"][name]
            assert (gradient is None) == (found is None), name
            assert gradient is None or torch.equal(gradient, found), name
    return result


def lived(network):
    """A network in a state of its own: modes mixed, a gradient left over, one weight without."""
    network = copy.deepcopy(network).train()
    network.block2.eval()
    network.fc.weight.grad = torch.ones_like(network.fc.weight)
    network.fc.bias.requires_grad_(False)
    return network


@pytest.fixture(scope="module")
def lived_in(networks):
    both = [lived(network) for network in networks]
    return both, [capture(network, TRAIN.example) for network in both]


@pytest.mark.parametrize("batch_norm", ["frozen", "batch"])
@pytest.mark.parametrize(("family", "by"), FITS, ids=str)
def test_a_fit_changes_neither_network(lived_in, family, by, batch_norm):
    both, halves = lived_in
    found = assert_frozen(both, lambda: fitted(halves, family, by, batch_norm=batch_norm))
    assert not found.stitched.training
    assert not any(parameter.requires_grad for parameter in found.stitched.parameters())


def test_only_the_stitch_moves(captured):
    a, b = captured
    bottom, top = a.bottom("block1"), b.top("block1")
    halves = {f"{side}.{n}": t.clone() for side, part in enumerate((bottom, top)) for n, t in part.state_dict().items()}
    found = fit(Affine(), bottom, top, TRAIN, by=TaskLoss(epochs=1, batch_size=16))
    start = fit(Affine(), bottom, top, TRAIN, by=Direct())
    assert_same(halves, {f"{s}.{n}": t for s, part in enumerate((bottom, top)) for n, t in part.state_dict().items()})
    for name, weight in stitch_weights(start).items():
        assert not torch.equal(weight, found.stitch.state_dict()[name])


def drift(network):
    network.train()(TRAIN.inputs)
    network.train()
    network.block2.eval()


def replace_weight(network):
    network.fc.weight = nn.Parameter(network.fc.weight.detach().clone())


@pytest.mark.parametrize(
    "wrong",
    [
        drift,
        replace_weight,
        nn.Module.eval,
        lambda network: network(TRAIN.inputs).sum().backward(),
        lambda network: network.requires_grad_(False),
        lambda network: network.zero_grad(),
        lambda network: network.block1.register_forward_hook(lambda *_: None),
        lambda network: nn.init.zeros_(network.fc.bias),
    ],
    ids=["statistics", "replaced", "mode", "gradient", "requires_grad", "zero_grad", "hook", "weight"],
)
def test_canary_the_frozen_law_catches(networks, wrong):
    network = lived(networks[0])
    with pytest.raises(AssertionError):
        assert_frozen([network], lambda: wrong(network))


# Recovery


def mixing(kind, channels):
    """A matrix and an offset of the kind, well away from the identity."""
    stream = generator("mixing", kind, channels)
    square = torch.randn(channels, channels, generator=stream)
    if kind == "permutation":
        # Rolled by one, and so not its own inverse: a map in the wrong direction must not pass.
        return torch.eye(channels).roll(1, 0), torch.zeros(channels)
    rotation = torch.linalg.qr(square).Q
    if kind == "rotation":
        return rotation, torch.zeros(channels)
    return rotation * torch.linspace(0.5, 2, channels), torch.randn(channels, generator=stream)


def mixed(network, cut, kind):
    """The network with its channels mixed at the cut: a bottom to undo, as the top does not know of it."""
    network = copy.deepcopy(network)
    layers = network.get_submodule(cut)
    channels = WIDTH if cut.startswith("block") else 5
    weight, bias = mixing(kind, channels)
    layer = nn.Conv2d(channels, channels, 1) if cut.startswith("block") else nn.Linear(channels, channels)
    with torch.no_grad():
        layer.weight.copy_(weight.view_as(layer.weight))
        layer.bias.copy_(bias)
    setattr(network, cut, nn.Sequential(*layers, layer))
    return network.eval()


@pytest.fixture(scope="module")
def mixture(networks, captured):
    """B with its channels mixed at a cut, beside B; capturing takes longer than all the rest."""

    @functools.cache
    def halves(cut, kind):
        return capture(mixed(networks[1], cut, kind), TRAIN.example), captured[1]

    return halves


def assert_recovers(networks, mixture, cut, kind, family):
    """The law: direct matching undoes the mixing, and nothing is lost on examples that it has not seen."""
    b = networks[1]
    found = fitted(mixture(cut, kind), family, Direct(), cut)
    with torch.no_grad():
        torch.testing.assert_close(found.stitched(TEST.inputs), b(TEST.inputs), rtol=1e-3, atol=1e-3)
    cost = penalty(found.stitched, b, TEST)
    assert (cost.value, cost.interval) == (0, Interval(0.0, 0.0))
    assert found.residual < 1e-6


RECOVERIES = [
    ("permutation", Permutation()),
    ("permutation", Orthogonal()),
    ("rotation", Orthogonal()),
    ("rotation", Affine()),
    ("affine", Affine()),
    ("affine", Affine(3)),
    ("affine", BNAffineBN()),
]


@pytest.mark.parametrize(("kind", "family"), RECOVERIES, ids=str)
def test_direct_matching_undoes_mixed_channels(networks, mixture, kind, family):
    assert_recovers(networks, mixture, "block1", kind, family)


@pytest.mark.parametrize(("kind", "family"), [r for r in RECOVERIES if r[1] != Affine(3)], ids=str)
def test_direct_matching_undoes_mixed_units(networks, mixture, kind, family):
    assert_recovers(networks, mixture, "hidden", kind, family)


@pytest.mark.parametrize(("kind", "family"), RECOVERIES[::2], ids=str)
def test_canary_recovery_catches_a_map_in_the_wrong_direction(networks, mixture, monkeypatch, kind, family):
    right = type(family).solve

    def transposed(*given):
        solution = right(*given)
        return Solution(solution.weight.T.contiguous(), solution.bias, solution.residual)

    monkeypatch.setattr(type(family), "solve", transposed)
    with pytest.raises(AssertionError):
        assert_recovers(networks, mixture, "block1", kind, family)


def test_canary_recovery_catches_a_family_too_small(networks, mixture):
    with pytest.raises(AssertionError):
        assert_recovers(networks, mixture, "block1", "affine", Orthogonal())


# Nesting


NESTED = (Permutation(), Orthogonal(), Affine())


def assert_nested(captured, families, cut):
    residuals = [fitted(captured, family, Direct(), cut).residual for family in families]
    assert residuals == sorted(residuals, reverse=True)
    assert residuals[-1] <= 1


@pytest.mark.parametrize("cut", ["block1", "block2", "hidden"])
def test_a_larger_family_never_leaves_more(captured, cut):
    assert_nested(captured, NESTED, cut)


def test_canary_the_nesting_law_catches_families_out_of_order(captured):
    with pytest.raises(AssertionError):
        assert_nested(captured, NESTED[::-1], "block1")


# The gradient


def by_hand(logits, labels, by, weight, bias, seed=0):
    """Adam with a cosine to zero on the mean cross-entropy of a map of given rows: float64, from the definitions."""
    x, y = logits.double().numpy(), labels.numpy()
    values, first, second = [weight, bias], [0.0, 0.0], [0.0, 0.0]
    used = len(y) - (len(y) % by.batch_size == 1)
    starts = range(0, used, by.batch_size)
    steps, done, curve = by.epochs * len(starts), 0, []
    for epoch in range(by.epochs):
        order = torch.randperm(len(y), generator=generator("stitch order", seed, epoch)).numpy()[:used]
        total = 0.0
        for start in starts:
            rate = by.learning_rate * (1 + np.cos(np.pi * done / steps)) / 2
            picked = order[start : start + by.batch_size]
            scores = x[picked] @ values[0].T + values[1]
            shares = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
            total -= np.log(shares[np.arange(len(picked)), y[picked]]).sum()
            slope = (shares - np.eye(3)[y[picked]]) / len(picked)
            done += 1
            for i, gradient in enumerate((slope.T @ x[picked], slope.sum(axis=0))):
                first[i] = 0.9 * first[i] + 0.1 * gradient
                second[i] = 0.999 * second[i] + 0.001 * gradient**2
                mean, spread = first[i] / (1 - 0.9**done), second[i] / (1 - 0.999**done)
                values[i] = values[i] - rate * mean / (np.sqrt(spread) + 1e-8)
        curve.append(total / used)
    return values, curve


@pytest.mark.parametrize("size", [2, 64])  # of 65: 32 steps an epoch, and one
def test_the_default_takes_five_hundred_steps(captured, size):
    by = TaskLoss(batch_size=size, start="identity")
    told = by.settled(N)
    steps = told.epochs * (N // size)
    assert 500 <= steps < 500 + N // size
    found = fitted(captured, Affine(), by, cut="hidden")
    assert len(found.curve) == told.epochs
    assert_same(stitch_weights(found), stitch_weights(fitted(captured, Affine(), told, cut="hidden")))


@pytest.mark.parametrize("size", [16, 13, 100])  # of 65: 16 leaves a last batch of one
def test_task_loss_is_adam_along_a_cosine(networks, captured, size):
    a, b = captured
    by = TaskLoss(epochs=3, learning_rate=0.05, batch_size=size, start="identity")
    found = fit(Affine(), a.bottom("output"), b.top("output"), TRAIN, by=by, seed=5)
    with torch.no_grad():
        logits = networks[0](TRAIN.inputs)
    (weight, bias), curve = by_hand(logits, TRAIN.labels, by, np.eye(3), np.zeros(3), seed=5)
    np.testing.assert_allclose(found.stitch.layer.weight.numpy().reshape(3, 3), weight, rtol=2e-3, atol=2e-4)
    np.testing.assert_allclose(found.stitch.layer.bias.numpy(), bias, rtol=2e-3, atol=2e-4)
    np.testing.assert_allclose(found.curve, curve, rtol=1e-4)


@pytest.mark.parametrize("batch_norm", ["frozen", "batch"])
@pytest.mark.parametrize("start", ["least_squares", "identity", "random"])
@pytest.mark.parametrize("family", [Orthogonal(), Affine(), Affine(3), BNAffineBN()], ids=str)
def test_task_loss_falls(captured, family, start, batch_norm):
    by = TaskLoss(epochs=4, learning_rate=2e-2, batch_size=16, start=start)
    found = fitted(captured, family, by, batch_norm=batch_norm)
    assert len(found.curve) == 4
    assert found.curve[-1] < found.curve[0]
    assert (found.residual is not None) == (start == "least_squares")


def test_the_curve_begins_at_the_loss_of_the_start(captured):
    by = TaskLoss(epochs=1, learning_rate=0.0, batch_size=10)
    found = fitted(captured, Affine(), by)
    with torch.no_grad():
        expected = cross_entropy(fitted(captured, Affine(), Direct()).stitched(TRAIN.inputs), TRAIN.labels)
    assert found.curve == (pytest.approx(expected.item(), rel=1e-5),)


def test_direct_matching_has_no_curve(captured):
    assert fitted(captured, Affine(), Direct()).curve == ()


def test_ridge_shrinks_the_map(captured):
    plain, shrunk = (fitted(captured, Affine(), Direct(ridge=strength)) for strength in (0.0, 10.0))
    assert shrunk.stitch.layer.weight.norm() < plain.stitch.layer.weight.norm()
    assert shrunk.residual > plain.residual


def test_a_wide_kernel_starts_as_the_narrow_one(captured):
    narrow, wide = (fitted(captured, Affine(kernel), Direct()) for kernel in (1, 3))
    assert torch.equal(wide.stitch.layer.weight[:, :, 1:2, 1:2], narrow.stitch.layer.weight)
    assert wide.stitch.layer.weight.count_nonzero() == narrow.stitch.layer.weight.count_nonzero()
    assert wide.residual == narrow.residual
    with torch.no_grad():
        outputs = [found.stitched(TEST.inputs) for found in (narrow, wide)]
    torch.testing.assert_close(*outputs, rtol=1e-4, atol=1e-5)


# Seeds


@pytest.mark.parametrize("family", [Orthogonal(), Affine(), BNAffineBN()], ids=str)
@pytest.mark.parametrize("batch_norm", ["frozen", "batch"])
def test_the_same_seed_gives_the_same_stitch_and_another_another(captured, family, batch_norm):
    by = TaskLoss(epochs=1, batch_size=16, start="random")
    one, again, other = (fitted(captured, family, by, batch_norm=batch_norm, seed=s) for s in (0, 0, 1))
    assert_same(stitch_weights(one), stitch_weights(again))
    assert one.curve == again.curve
    assert one.curve[0] != other.curve[0]
    with pytest.raises(AssertionError):
        assert_same(stitch_weights(one), stitch_weights(other))


def test_a_fit_neither_reads_nor_moves_the_caller_s_random_stream(captured):
    by = TaskLoss(epochs=1, batch_size=16, start="random")
    torch.manual_seed(0)
    before = torch.get_rng_state()
    one = fitted(captured, Affine(), by)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(1)
    assert_same(stitch_weights(one), stitch_weights(fitted(captured, Affine(), by)))


# Batch statistics


def test_batch_mode_re_estimates_the_statistics_as_train_mode_would(networks, captured):
    # block2 of the top is behind the stitch, block1 in the bottom: both drift, on clones.
    found = fitted(captured, Identity(), Direct(), batch_norm="batch", seed=3)
    bottom, top = (copy.deepcopy(network).train() for network in networks)
    order = torch.randperm(N, generator=generator("stitch order", 3, 0))[: N - N % 128 or None]
    with torch.no_grad():
        top.block2(bottom.block1(TRAIN.inputs[order]))
    statistics = {
        side: {n[n.index("running_") :]: t for n, t in part.named_buffers() if ".running_" in n}
        for side, part in (("bottom", found.stitched.bottom), ("top", found.stitched.top))
    }
    for side, norm in (("bottom", bottom.block1[1]), ("top", top.block2[1])):
        for name, value in statistics[side].items():
            torch.testing.assert_close(value, getattr(norm, name), rtol=1e-4, atol=1e-5)
        assert len(statistics[side]) == 2
    before = networks[0].block1[1].running_mean
    assert not torch.allclose(statistics["bottom"]["running_mean"], before, atol=1e-4)


@pytest.mark.parametrize("by", [TaskLoss(epochs=1, batch_size=8), TaskLoss(epochs=1, batch_size=64)])
def test_a_last_batch_of_one_does_no_harm_in_batch_mode(captured, by):
    assert N % by.batch_size == 1
    found = fitted(captured, BNAffineBN(), by, "hidden", batch_norm="batch")
    assert np.isfinite(found.curve).all()
    assert all(torch.isfinite(tensor).all() for tensor in stitch_weights(found).values())


# What it refuses


def test_a_constant_target_has_no_direct_matching(networks):
    dead = copy.deepcopy(networks[1])
    with torch.no_grad():
        dead.block1[1].weight.zero_()
    halves = [capture(network, TRAIN.example) for network in (networks[0], dead)]
    with pytest.raises(NumericalFailure, match="constant target: the same activations for all 2340 rows"):
        fitted(halves, Affine(), Direct())


def test_a_loss_that_is_not_finite_is_no_result(captured):
    by = TaskLoss(epochs=3, learning_rate=3e37, batch_size=16)
    with pytest.raises(NumericalFailure, match=r"a fit downhill: output -> output\nfound: a loss of (nan|inf)"):
        fitted(captured, Affine(), by, "output")


def test_a_permutation_cannot_be_followed_downhill(captured):
    with pytest.raises(SettingError, match="a family that gradient descent cannot fit\ndo:    fit it by Direct"):
        fitted(captured, Permutation(), TaskLoss())


def test_batch_norm_modes_are_two():
    # By the inner check: the public annotation already refuses a wrong word under the run-time checks of the tests.
    unchecked = object.__new__(Job)
    for name, value in {"family": Affine(), "by": Direct(), "batch_norm": "both"}.items():
        object.__setattr__(unchecked, name, value)
    with pytest.raises(SettingError, match="batch_norm='both'\nfound: modes frozen, batch"):
        unchecked.check()


def test_a_family_that_cannot_map_is_refused(captured):
    a, b = captured
    with pytest.raises(ShapeMismatch, match="a map below and a vector above"):
        fit(Affine(), a.bottom("block1"), b.top("hidden"), TRAIN)
    with pytest.raises(ShapeMismatch, match="16 channels below and 5 above"):
        fit(Orthogonal(), a.bottom("flatten"), b.top("hidden"), TRAIN)
    with pytest.raises(ShapeMismatch, match="16 channels below and 5 above\ndo:    start at least_squares"):
        fit(Affine(), a.bottom("flatten"), b.top("hidden"), TRAIN, by=TaskLoss(start="identity"))


def test_task_loss_needs_one_score_a_class(captured):
    four = Samples("four", TRAIN.inputs, torch.arange(N) % 4, classes=4)
    a, b = captured
    with pytest.raises(TaskMismatch, match="3 scores an example for 4 classes"):
        fit(Affine(), a.bottom("block1"), b.top("block1"), four)


def test_a_train_set_is_checked(captured):
    a, b = captured
    empty = (torch.zeros(0, 1, 6, 6), torch.zeros(0, dtype=torch.long))
    with pytest.raises(DataError, match="no examples"):
        fit(Affine(), a.bottom("block1"), b.top("block1"), empty)


@pytest.mark.parametrize("ridge", [-1.0, float("nan"), float("inf")])
def test_ridge_is_zero_or_more(ridge):
    with pytest.raises(SettingError, match=f"ridge={ridge}\nfound: no such strength"):
        Direct(ridge=ridge)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epochs": 0}, "epochs=0\nfound: no such matching\ndo:    choose 1 or more"),
        ({"batch_size": 1}, "batch_size=1\nfound: no such matching\ndo:    choose 2 or more"),
        ({"learning_rate": -1.0}, "learning_rate=-1.0"),
        ({"learning_rate": float("nan")}, "learning_rate=nan"),
    ],
)
def test_task_loss_settings_are_checked(options, message):
    with pytest.raises(SettingError, match=message):
        TaskLoss(**options)


def test_task_loss_starts_are_three():
    unchecked = object.__new__(TaskLoss)  # As above: the annotation comes first.
    object.__setattr__(unchecked, "start", "zero")
    with pytest.raises(SettingError, match="start='zero'\nfound: no such start\ndo:    choose one of least_squares"):
        unchecked.__post_init__()


def test_a_bottom_at_the_input_and_networks_of_vectors():
    network = build("mlp", seed=0, widths=(5,), inputs=6, classes=3).eval()
    inputs = torch.randn(20, 6, generator=generator("vectors to fit"))
    halves = capture(network, inputs[:2])
    found = fit(Affine(), halves.bottom("input"), halves.top("input"), (inputs, torch.arange(20) % 3), by=Direct())
    with torch.no_grad():
        torch.testing.assert_close(found.stitched(inputs), network(inputs), rtol=1e-4, atol=1e-5)


# Matchings against the top


@dataclasses.dataclass(frozen=True)
class OutputsOfTop(Descent):
    """The squared distance from the outputs of the top's own network."""

    name: ClassVar[str] = "test_outputs_of_top"
    objective: ClassVar[Objective] = Objective("output", "top", "squared distance")

    def check_outputs(self, outputs, batch, task):
        assert batch.targets.shape == outputs.shape

    def losses(self, outputs, batch, task):
        return (outputs - batch.targets).square().sum(1)

    def weights(self, batch, task):
        return torch.ones(batch.n)


@pytest.mark.parametrize("task", [None, Classification(3)])
def test_a_descent_against_the_top_asks_no_task_what_its_answers_are(captured, task):
    by = OutputsOfTop(epochs=3, batch_size=16, start="identity")
    found = fitted(captured, Affine(), by, task=task)
    assert len(found.curve) == 3
    assert found.curve[-1] < found.curve[0]
