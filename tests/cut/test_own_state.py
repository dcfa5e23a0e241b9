"""Nothing of the caller's changes, whatever the network writes: inputs, buffers, what modules remember."""

import numpy as np
import pytest
import torch
from torch import nn

from fixtures import images, vectors
from modelstitch.cut import capture
from modelstitch.cut.frozen import frozen_view
from modelstitch.cut.replayed import Replayed
from modelstitch.cut.untouched import own_state, run_untouched
from modelstitch.errors import NotCuttable

replays = pytest.mark.filterwarnings("ignore:.*is replayed by hooks")


class Base(nn.Module):
    """Two layers and a norm."""

    def __init__(self):
        super().__init__()
        self.one, self.norm, self.relu = nn.Linear(6, 4), nn.BatchNorm1d(4), nn.ReLU(inplace=True)
        self.last = nn.Linear(4, 3)

    def forward(self, x):
        h = self.relu(self.norm(self.one(x)))
        if h.sum() > 1e9:
            h = h / 2
        return self.last(h)


class WritesInput(Base):
    """Normalises where the input lies."""

    def forward(self, x):
        x.sub_(0.5).mul_(2)
        return super().forward(x)


class CountsInBuffer(Base):
    """A buffer that is written, and one that is replaced; the answer depends on both."""

    def __init__(self):
        super().__init__()
        self.register_buffer("seen", torch.zeros(1))
        self.register_buffer("again", torch.zeros(1))

    def forward(self, x):
        self.seen += 1
        self.again = self.again + 1
        return super().forward(x) + self.seen + self.again


class Remembers(Base):
    """A counter, a list and a tensor that are plain attributes."""

    def __init__(self):
        super().__init__()
        self.calls, self.kept, self.scale = 0, [], torch.ones(1)

    def forward(self, x):
        self.calls += 1
        self.kept.append(self.calls)
        self.scale *= 2
        return super().forward(x) * self.calls * self.scale + len(self.kept)


def everything(network, *tensors):
    held = {name: t.numpy().tobytes() for name, t in network.state_dict().items()}
    plain = {k: str(v) for m in network.modules() for k, v in vars(m).items() if not k.startswith("_")}
    versions = [t._version for t in (*network.parameters(), *network.buffers(), *tensors)]
    return held, plain, versions, [t.numpy().tobytes() for t in tensors]


@replays
@pytest.mark.parametrize("kind", [WritesInput, CountsInBuffer, Remembers])
def test_a_network_that_writes_is_cut_and_nothing_of_the_caller_s_changes(kind):
    network = kind().eval().requires_grad_(False)
    example, x = vectors(2), vectors(5)
    before = everything(network, example, x)
    halves = capture(network, example)
    assert everything(network, example, x) == before, "capture"
    assert halves.replayed
    assert [cut.name for cut in halves.cuts][:4] == ["input", "one", "norm", "relu"]
    right = halves.top("input")(x)
    for cut in halves.cuts:
        value = halves.bottom(cut)(x)
        kept = value.clone()
        for _ in range(2):
            assert torch.equal(halves.top(cut)(value), right), cut.name
        assert torch.equal(value, kept), cut.name
        for half, given in ((halves.bottom(cut), x), (halves.top(cut), value)):
            half.with_batch_statistics().train()(given)
        assert torch.equal(value, kept), cut.name
        assert everything(network, example, x) == before, cut.name
    assert torch.equal(right, network(x))


@replays
def test_an_activation_that_asks_for_a_gradient_is_not_written_into():
    network = Base().eval()
    halves, x = capture(network, vectors(2)), vectors(5)
    value = halves.bottom("norm")(x).requires_grad_()
    halves.top("norm")(value).sum().backward()
    torch.testing.assert_close(value.grad, (value > 0).float() @ torch.diag(network.last.weight.sum(0)))


@replays
def test_batch_statistics_move_while_other_buffers_do_not():
    network = CountsInBuffer().eval().requires_grad_(False)
    run = capture(network, vectors(2)).top("one").with_batch_statistics().train()
    value = torch.randn(8, 4) * 3 + 1
    first = run(value)
    (norm,) = (m for m in run.modules() if type(m).__name__ == "SwitchingNorm")
    moved = norm.running_mean.clone()
    assert not torch.equal(moved, network.norm.running_mean)
    assert torch.equal(run(value), first)
    assert not torch.equal(norm.running_mean, moved)
    assert int(run.get_buffer("run.view.seen")) == 0


def test_one_tensor_under_two_names_stays_one():
    network = Base()
    network.left = network.right = nn.Buffer(torch.zeros(2))
    with own_state(network):
        assert network.left is network.right
        network.left += 1
        assert float(network.right[0]) == 1
    assert float(network.left[0]) == 0


def test_the_state_is_put_back_after_an_error():
    network = CountsInBuffer()
    with pytest.raises(RuntimeError):
        run_untouched(network, (images(2),), {})
    assert float(network.seen) == float(network.again) == 0


def test_a_change_is_seen():
    network, x = CountsInBuffer().eval().requires_grad_(False), vectors(2)
    before = everything(network, x)
    network(x)
    assert everything(network, x) != before


# Two runs that differ all the same


class DrawsFrom(Base):
    """Adds numbers from somewhere."""

    def __init__(self, draw):
        super().__init__()
        self.draw = draw

    def forward(self, x):
        return super().forward(x) + self.draw()


CALLS = []


def outside():
    CALLS.append(1)
    return len(CALLS)


@pytest.mark.parametrize(
    ("draw", "found"),
    [
        (lambda: torch.rand(()), "it draws random numbers\ndo:    take the randomness out of its forward"),
        (outside, "it remembers something outside its modules, .*\ndo:    let its modules hold all that changes"),
        (lambda: float(np.random.rand()), "draws from numpy"),  # noqa: NPY002
    ],
    ids=["torch", "a list elsewhere", "numpy"],
)
def test_what_makes_two_runs_differ_is_told(draw, found):
    with torch.random.fork_rng(), pytest.raises(NotCuttable, match=f"two runs on one input differ .*: .*{found}"):
        Replayed(frozen_view(DrawsFrom(draw)), (vectors(2),), {}, "on purpose")
