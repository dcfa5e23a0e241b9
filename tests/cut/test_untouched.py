"""What a forward writes into its inputs, its buffers and its attributes stays away from the caller's."""

import copy
import warnings

import pytest
import torch
from torch import nn
from torch.nn.utils import prune, weight_norm

from fixtures import images, vectors
from modelstitch.cut import capture, cuts
from modelstitch.data import as_samples
from modelstitch.errors import NotCuttable
from modelstitch.penalty import evaluate


class InPlace(nn.Module):
    """Its first operation overwrites its input."""

    def __init__(self):
        super().__init__()
        self.relu, self.one, self.two = nn.ReLU(inplace=True), nn.Linear(6, 4), nn.Linear(4, 3)

    def forward(self, x):
        return self.two(torch.tanh(self.one(self.relu(x))))


class Normalising(InPlace):
    def forward(self, x):
        x.sub_(0.5).div_(2.0)
        return self.two(torch.tanh(self.one(x)))


class Branching(InPlace):
    """The same for the replay."""

    def forward(self, x):
        self.relu(x)
        h = torch.tanh(self.one(x))
        return self.two(h / 2 if float(h.sum()) > 1e9 else h)


def quietly(network, x):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return capture(network, x)


def check_untouched(work, x):
    before = x.clone()
    work(x)
    assert torch.equal(x, before), "the caller's tensors were rewritten"


def use(network):
    def work(x):
        halves = quietly(network, x)
        for cut in halves.cuts:
            halves.top(cut)(halves.bottom(cut)(x))
        halves.bottoms(halves.cuts)(x)

    return work


@pytest.mark.parametrize("kind", [InPlace, Normalising, Branching])
def test_the_caller_s_inputs_stay_as_they_are(kind):
    torch.manual_seed(0)
    check_untouched(use(kind().requires_grad_(False)), vectors(3))


def test_a_network_that_rewrites_its_input_is_seen():
    with pytest.raises(AssertionError, match="the caller's tensors were rewritten"):
        check_untouched(InPlace(), vectors(3))


def test_evaluation_leaves_data_and_buffers_as_they_are():
    x, labels = vectors(6), torch.tensor([0, 1, 2, 0, 1, 2])
    for network in (InPlace(), Counting(False)):
        check_untouched(lambda x, network=network: evaluate(network, as_samples((x, labels))), x)
    assert float(network.seen) == 0


@pytest.mark.parametrize("kind", [InPlace, Normalising, Branching])
def test_halves_of_such_a_network_answer_what_it_answers(kind):
    torch.manual_seed(0)
    network, x = kind().requires_grad_(False), vectors(3)
    expected = network(x.clone())
    halves = quietly(network, x)
    assert bool(halves.replayed) is (kind is Branching)
    assert all(torch.equal(halves.top(cut)(halves.bottom(cut)(x)), expected) for cut in halves.cuts)


class Counting(nn.Module):
    def __init__(self, replayed):
        super().__init__()
        self.one, self.two, self.replayed = nn.Linear(6, 4), nn.Linear(4, 3), replayed
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, x):
        self.seen += 1
        h = torch.tanh(self.one(x))
        return self.two(h / 2 if self.replayed and float(h.sum()) > 1e9 else h)


@pytest.mark.parametrize("replayed", [False, True])
def test_buffers_are_as_before_after_capture_and_use(replayed):
    network = Counting(replayed).requires_grad_(False)
    buffer = network.seen
    use(network)(vectors(3))
    assert network.seen is buffer
    assert float(network.seen) == 0
    network(vectors(2))
    assert float(network.seen) == 1


class Keeping(nn.Module):
    """Keeps features as a plain attribute, as feature extractors do."""

    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Linear(6, 4), nn.Linear(4, 3)

    def forward(self, x):
        self.features = torch.tanh(self.one(x))
        return self.two(self.features)


def pruned():
    network = nn.Sequential(nn.Linear(6, 4), nn.Tanh(), nn.Linear(4, 3))
    prune.l1_unstructured(network[0], "weight", amount=0.5)
    return network


def old_weight_norm():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        network = nn.Sequential(weight_norm(nn.Linear(6, 4)), nn.Tanh(), nn.Linear(4, 3))
    network(vectors(2))
    return network


def kept():
    network = Keeping()
    network(vectors(2))
    return network


@pytest.mark.parametrize("make", [pruned, old_weight_norm, kept])
def test_tensors_with_a_history_among_attributes_are_no_obstacle(make):
    network, x = make(), vectors(3)
    with pytest.raises(RuntimeError, match="deepcopy"):
        copy.deepcopy(network)
    halves = quietly(network, x)
    assert [cut.name for cut in halves.blocks]
    for cut in halves.cuts:
        torch.testing.assert_close(halves.top(cut)(halves.bottom(cut)(x)), network(x))


@pytest.mark.parametrize("way", ["script", "trace", "a part"])
def test_compiled_networks_are_refused_with_what_to_give_instead(way):
    eager = nn.Sequential(nn.Conv2d(2, 3, 3), nn.ReLU())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = torch.jit.trace(eager, images(2)) if way == "trace" else torch.jit.script(eager)
    network = nn.Sequential(made, nn.Flatten()) if way == "a part" else made
    with pytest.raises(NotCuttable) as caught:
        cuts(network, images(2))
    place = " at '0'" if way == "a part" else ""
    assert str(caught.value).splitlines()[1:] == [
        f"found: a network compiled by torch.jit{place}, whose layers cannot be read",
        "do:    give the eager network that was passed to torch.jit.script or torch.jit.trace",
    ]


class Hooking(nn.Module):
    """Hooks a layer when it first runs, and notes that it did, as transformers does to gather hidden states."""

    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Linear(6, 4), nn.Linear(4, 3)

    def forward(self, x):
        if "hooked" not in vars(self):
            self.one.register_forward_hook(lambda module, inputs, output: output + 1)
            self.hooked = True
        return self.two(self.one(x))


def test_hooks_that_a_network_gives_itself_do_not_pile_up():
    network, x = Hooking(), vectors(3)
    halves = capture(network, x)
    assert not network.one._forward_hooks
    assert not halves.replayed
    found = [halves.top(cut)(halves.bottom(cut)(x)) for cut in halves.cuts]
    right = network.requires_grad_(False)(x)
    assert all(torch.equal(one, right) for one in found)
    assert torch.equal(halves.view(x), right)
