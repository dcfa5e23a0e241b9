"""The halves: nothing of the network's changes, weights are shared, and batch norms switch on clones."""

import copy
import subprocess
import sys

import pytest
import torch
from torch import nn

from fixtures import NETWORKS, answer, captured, images, main, network_of, sides, vectors
from modelstitch.cut import capture
from modelstitch.cut.frozen import batch_norm_by, frozen_view
from modelstitch.cut.replayed import Replayed

HOOKS = [name for name in nn.Module().__dict__ if "hook" in name]


def state_of(network):
    """Everything that makes a network what it is, bit for bit."""
    tensors = {
        name: (id(t), t.data_ptr(), t._version, t.requires_grad, t.detach().numpy().tobytes(), id(t.grad), t.is_leaf)
        for name, t in (*network.named_parameters(), *network.named_buffers())
    }
    modules = {
        path: (
            id(module),
            module.training,
            sorted(module.__dict__),
            [(hooks, dict(getattr(module, hooks))) for hooks in HOOKS if isinstance(getattr(module, hooks), dict)],
            list(module._modules),
        )
        for path, module in network.named_modules()
    }
    grads = {name: None if p.grad is None else p.grad.numpy().tobytes() for name, p in network.named_parameters()}
    return tensors, modules, grads


def check_frozen(network, work):
    before = state_of(network)
    work(network)
    for one, other in zip(before, state_of(network), strict=True):
        assert one == other, "the network has changed"


def use_fully(network, halves, inputs):
    """Every way of running halves, gradients and batch statistics included."""
    for cut in halves.cuts:
        below, above = halves.bottom(cut), halves.top(cut)
        value = below(main(inputs), **sides(inputs)).detach()
        if value.is_floating_point():
            value.requires_grad_()
        for top in (above, above.with_batch_statistics().train()):
            found = top(value, **sides(inputs))
            found = found["logits"] if isinstance(found, dict) else found
            if found.requires_grad:
                found.square().sum().backward()
        below.with_batch_statistics().train()(main(inputs), **sides(inputs))


def mixed(name):
    """A network in the middle of someone's work: modes and gradient flags mixed, gradients there, a hook set."""
    network = NETWORKS[name].network().train()
    modules = list(network.modules())
    modules[len(modules) // 2].eval()
    parameters = list(network.parameters())
    parameters[0].requires_grad_(False)
    parameters[-1].grad = torch.ones_like(parameters[-1])
    modules[-1].register_forward_hook(lambda module, args, value: None)
    return network


@pytest.mark.parametrize("name", ["plain", "transformer", "text", "tied", "reparametrised", "structured"])
def test_nothing_of_the_network_changes_in_capture_halves_and_gradients(name):
    inputs = NETWORKS[name].inputs(2)
    check_frozen(mixed(name), lambda network: use_fully(network, capture(network, inputs), inputs))


def test_nothing_of_a_replayed_network_changes():
    def work(network):
        with pytest.warns(UserWarning, match="Branchy is replayed by hooks"):
            halves = capture(network, images(2))
        use_fully(network, halves, images(2))

    check_frozen(mixed("branchy"), work)


WRONGS = {
    "statistics drift": lambda network: network.train()(images(2)),
    "mode": lambda network: network.features[0].train(not network.features[0].training),
    "gradient flag": lambda network: network.fc.requires_grad_(False),
    "gradients": lambda network: network(images(2)).sum().backward(),
    "a hook left behind": lambda network: network.fc.register_forward_pre_hook(lambda *_: None),
    "an attribute": lambda network: setattr(network.fc, "kept", 1),
    "a weight": lambda network: network.fc.bias.data.add_(1e-7),
    "a module replaced": lambda network: setattr(network, "fc", copy.deepcopy(network.fc)),
    "a norm in train mode": lambda network: network.features[1].train()(torch.ones(2, 3, 4, 4)),
}


@pytest.mark.parametrize("wrong", WRONGS)
def test_a_change_of_the_network_is_seen(wrong):
    with pytest.raises(AssertionError, match="the network has changed"):
        check_frozen(NETWORKS["plain"].network(), WRONGS[wrong])


# Weights are shared, and take no gradient


@pytest.mark.parametrize("name", ["plain", "branchy", "tied"])
def test_halves_hold_no_copy_of_a_weight(name):
    halves, network = captured(name), network_of(name)
    memory = {t.data_ptr() for t in (*network.parameters(), *network.buffers())}
    for cut in halves.cuts:
        for half in (halves.bottom(cut), halves.top(cut)):
            held = [*half.parameters(), *half.buffers()]
            assert {t.data_ptr() for t in held} <= memory
            assert not any(t.requires_grad for t in held)


def test_a_half_has_nothing_to_train():
    assert list(captured("plain").top("features.3").parameters()) == []


@pytest.mark.parametrize("name", ["plain", "branchy"])
def test_a_weight_changed_in_place_shows_in_the_halves(name):
    network = NETWORKS[name].network().requires_grad_(False)
    if name == "branchy":
        halves = Replayed(frozen_view(network), (images(2),), {}, "on purpose")
        cut = "block1"
    else:
        halves, cut = capture(network, images(2)), "features.3"
    below, above = halves.bottom(cut), halves.top(cut)
    before = above(below(images(2)))
    for weight in network.parameters():
        weight.mul_(1.5)
    after = above(below(images(2)))
    assert torch.equal(after, answer(network, images(2)))
    assert not torch.equal(after, before)


def test_gradients_reach_the_tensor_at_the_cut():
    network = network_of("plain")
    x = captured("plain").bottom("features.3")(images(2)).requires_grad_()
    captured("plain").top("features.3")(x).sum().backward()
    y = x.detach().requires_grad_()
    z = network.features[4:](y.clone())
    network.fc(z.mean((2, 3))).sum().backward()
    torch.testing.assert_close(x.grad, y.grad)


# Hooks of the user's


class Noting:
    """A hook with a memory, as feature extractors have."""

    def __init__(self):
        self.seen = 0

    def note(self, module, args, value):
        self.seen += 1
        return value * 2


def test_a_hook_that_changes_an_output_is_part_of_the_network_and_its_owner_is_left_alone():
    network, owner = network_of("twice"), Noting()
    network = copy.deepcopy(network)
    network.first.register_forward_hook(owner.note)
    halves = capture(network, vectors(2))
    assert owner.seen == 0
    found = halves.top("first")(halves.bottom("first")(vectors(2)))
    assert owner.seen == 0
    assert torch.equal(found, network(vectors(2)))
    assert not torch.equal(found, network_of("twice")(vectors(2)))


# Batch statistics


def norms_in_train_mode(network):
    twin = copy.deepcopy(network)
    for module in twin.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.train()
    return twin


def norms_of(half):
    return [module for module in half.modules() if type(module).__name__ == "SwitchingNorm"]


NORMED = ["plain", "preact", "postact", "dense", "mobile", "branchy"]


@pytest.mark.parametrize("name", NORMED)
def test_in_eval_mode_batch_statistics_change_nothing(name):
    halves, inputs = captured(name), NETWORKS[name].inputs(3)
    for cut in halves.blocks:
        below, above = halves.bottom(cut), halves.top(cut)
        value = below.with_batch_statistics()(inputs)
        assert torch.equal(value, below(inputs))
        assert torch.equal(above.with_batch_statistics()(value), above(value))


def check_train_mode(switching, network, inputs):
    """In train mode a network with switching norms answers as the network with its norms in train mode alone."""
    torch.testing.assert_close(switching.train()(inputs), norms_in_train_mode(network)(inputs), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", NORMED)
def test_in_train_mode_norms_and_nothing_else_follow_the_batch(name):
    inputs = NETWORKS[name].inputs(5)
    check_train_mode(captured(name).top("input").with_batch_statistics(), network_of(name), inputs)


def test_norms_that_do_not_follow_the_batch_are_seen():
    with pytest.raises(AssertionError, match="not close"):
        check_train_mode(captured("plain").top("input"), network_of("plain"), images(5))


def test_dropout_in_train_mode_is_seen():
    with torch.random.fork_rng(), pytest.raises(AssertionError, match="not close"):
        check_train_mode(copy.deepcopy(network_of("plain")), network_of("plain"), images(5))


@pytest.mark.parametrize("name", NORMED)
def test_the_clones_move_as_the_network_s_norms_would_and_the_network_s_do_not(name):
    inputs, network = NETWORKS[name].inputs(5), network_of(name)
    switching = captured(name).top("input").with_batch_statistics().train()
    twin = norms_in_train_mode(network)

    def work(_):
        for _ in range(3):
            switching(inputs)
            twin(inputs)

    check_frozen(network, work)
    expected = [m for m in twin.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    moved = norms_of(switching)
    assert len(moved) == len(expected) > 0
    for norm in expected:
        alike = [m for m in moved if m.running_mean.shape == norm.running_mean.shape]
        assert any(torch.allclose(norm.running_mean, m.running_mean, atol=1e-5) for m in alike)
        assert any(torch.allclose(norm.running_var, m.running_var, atol=1e-5) for m in alike)
    torch.testing.assert_close(switching.eval()(inputs), twin.eval()(inputs), atol=1e-4, rtol=1e-4)


def test_two_copies_have_statistics_of_their_own():
    top = captured("plain").top("input")
    one, other = top.with_batch_statistics(), top.with_batch_statistics()
    one.train()(images(5))
    one.eval()
    assert torch.equal(other(images(2)), top(images(2)))
    assert not torch.equal(one(images(2)), top(images(2)))


@pytest.mark.parametrize("way", ["export", "replay"])
def test_a_norm_that_averages_over_all_batches_moves_too(way):
    network = nn.Sequential(nn.Linear(6, 4), nn.BatchNorm1d(4, momentum=None), nn.Linear(4, 3)).eval()
    halves = (
        capture(network, vectors(2))
        if way == "export"
        else Replayed(frozen_view(network), (vectors(2),), {}, "on purpose")
    )
    switching = halves.top("0").with_batch_statistics().train()
    x = torch.ones(8, 4) * 7 + vectors(8)[:, :4]
    switching(x)
    (norm,) = norms_of(switching)
    torch.testing.assert_close(norm.running_mean, 0.1 * x.mean(0))


def test_a_norm_without_statistics_of_its_own_follows_the_batch_as_it_always_does():
    network = nn.Sequential(nn.Linear(6, 4), nn.BatchNorm1d(4, track_running_stats=False), nn.Linear(4, 3))
    halves = capture(network.requires_grad_(False), vectors(2))
    found = halves.top("0").with_batch_statistics().train()(halves.bottom("0")(vectors(5)))
    assert torch.equal(found, network(vectors(5)))


def test_a_part_says_where_it_was_cut():
    assert "cut='features.3'" in repr(captured("plain").top("features.3"))


# Processes that hold a part of each batch


def test_a_norm_in_train_mode_normalises_as_it_is_asked_to_and_else_as_torch_does():
    top = captured("plain").top("input").with_batch_statistics()
    calls = []

    def whole(x, mean, var, weight, bias, momentum, eps):
        calls.append((x.shape[1], momentum, eps))
        return x

    with batch_norm_by(whole):
        top.eval()(images(3))
        assert calls == []
        asked = top.train()(images(3))
    assert calls == [(3, 0.1, 1e-5), (4, 0.1, 1e-5)]
    assert not torch.equal(top(images(3)), asked)
    assert len(calls) == 2


def test_this_room_knows_of_no_processes():
    code = "import sys, modelstitch.cut; print([name for name in sys.modules if 'modelstitch.parallel' in name])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
