"""Recurrent layers are one operator in the graph, and cost no more to capture when the sequence is longer."""

import copy

import pytest
import torch
from torch import nn

from modelstitch.cut import capture, recurrent
from modelstitch.cut.frozen import frozen_view
from modelstitch.cut.recurrent import as_leaves


class Reading(nn.Module):
    """A recurrent layer over a sequence, then a class."""

    def __init__(self, kind, **settings):
        super().__init__()
        torch.manual_seed(0)
        self.read = kind(6, 4, **settings)
        self.last = nn.Linear(self.width(settings), 3)
        self.batch_first = settings.get("batch_first", False)

    def width(self, settings):
        return (settings.get("proj_size") or 4) * (2 if settings.get("bidirectional") else 1)

    def forward(self, x):
        x = x if self.batch_first else x.transpose(0, 1)
        found, _ = self.read(x)
        found = found if self.batch_first else found.transpose(0, 1)
        return self.last(torch.relu(found[:, -1]))


pytestmark = pytest.mark.filterwarnings("ignore:LSTM with projections:UserWarning")

SETTINGS = [
    {"batch_first": True},
    {},
    {"batch_first": True, "bidirectional": True, "num_layers": 2},
    {"batch_first": True, "bias": False},
]
KINDS = [(nn.LSTM, one) for one in (*SETTINGS, {"batch_first": True, "proj_size": 2})]
KINDS += [(nn.GRU, one) for one in SETTINGS] + [(nn.RNN, one) for one in SETTINGS]
KINDS += [(nn.RNN, {"batch_first": True, "nonlinearity": "relu"})]


@pytest.mark.parametrize(("kind", "settings"), KINDS)
def test_the_halves_are_the_network_and_the_graph_holds_torch_s_own_operator(kind, settings):
    network = Reading(kind, **settings)
    halves, x = capture(network, torch.randn(2, 9, 6)), torch.randn(5, 9, 6)
    assert not halves.replayed
    assert len(halves.wiring.graph.nodes) < 30
    assert not [n for n in halves.wiring.graph.nodes if "modelstitch" in str(n.target)]
    assert [n for n in halves.wiring.graph.nodes if str(n.target).startswith(("aten.lstm", "aten.gru", "aten.rnn"))]
    with torch.no_grad():
        # Of the frozen network: with gradients recorded torch multiplies matrices in another order.
        right = frozen_view(network)(x)
    assert torch.allclose(right, network(x), atol=1e-6)
    for cut in halves.cuts:
        assert torch.equal(halves.top(cut)(halves.bottom(cut)(x)), right), cut.name


def test_a_recurrent_layer_counts_as_a_layer():
    halves = capture(Reading(nn.LSTM, batch_first=True), torch.randn(2, 9, 6))
    assert halves.find("read").depth == 0.5


def test_the_work_of_a_capture_does_not_grow_with_the_sequence(monkeypatch):
    steps = []
    original = torch._decomp.decompositions.lstm_cell
    monkeypatch.setattr(torch._decomp.decompositions, "lstm_cell", lambda *a, **k: steps.append(1) or original(*a, **k))
    capture(Reading(nn.LSTM, batch_first=True), torch.randn(2, 200, 6))
    assert len(steps) == 0


def test_a_stitched_recurrent_network_is_captured_again():
    halves, x = capture(Reading(nn.LSTM, batch_first=True), torch.randn(2, 9, 6)), torch.randn(5, 9, 6)
    again = capture(halves.top("input"), x)
    assert not again.replayed
    assert [cut.name for cut in again.cuts] == [cut.name for cut in halves.cuts]
    for cut in again.cuts:
        assert torch.equal(again.top(cut)(again.bottom(cut)(x)), halves.top("input")(x)), cut.name


def test_gradients_pass_through_the_top():
    halves = capture(Reading(nn.GRU, batch_first=True), torch.randn(2, 9, 6))
    x = torch.randn(5, 9, 6, requires_grad=True)
    copy.deepcopy(halves.top("input"))(x).sum().backward()
    assert x.grad is not None
    assert x.grad.abs().sum() > 0


def test_packed_sequences_are_left_to_torch():
    packed = nn.utils.rnn.pack_padded_sequence(torch.randn(2, 5, 6), torch.tensor([5, 3]), batch_first=True)
    layer = nn.LSTM(6, 4)
    with torch.no_grad(), as_leaves():
        found = layer(packed)[0].data
    assert torch.equal(found, layer(packed)[0].data)


def test_a_stand_in_tells_the_shapes_and_strides_that_the_operator_has():
    for kind, settings in KINDS:
        layer, x = kind(6, 4, **settings), torch.randn(3, 7, 6)
        with torch.no_grad():
            right, state = layer(x)
        fakes = torch._subclasses.FakeTensorMode(allow_non_fake_inputs=True)
        with torch.no_grad(), fakes, recurrent.as_leaves():
            found, told = layer(fakes.from_tensor(x))
        pairs = zip((right, *_flat(state)), (found, *_flat(told)), strict=True)
        assert all(a.shape == b.shape for a, b in pairs), (kind, settings)
        assert right.stride() == found.stride(), (kind, settings)


def _flat(state):
    return state if isinstance(state, tuple) else (state,)
