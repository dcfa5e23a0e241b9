"""What only the export does: lengths that vary, structures, and handing over to the replay."""

import pytest
import torch
from torch import nn

from fixtures import captured, sentences, vectors
from modelstitch.cut import capture
from modelstitch.cut.frozen import frozen_view, standard_attention
from modelstitch.errors import NotCuttable


def test_every_length_may_vary_for_token_ids():
    assert captured("text").find("input").shape == (None,)
    assert captured("text").find("blocks.1").shape == (None, 4)
    below = captured("text").bottom("blocks.0")
    inputs = sentences(2, 13)
    assert below(inputs["input_ids"], attention_mask=inputs["attention_mask"]).shape == (2, 13, 4)


class Counting(nn.Module):
    """Counts its calls in a buffer, and answers by the count."""

    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Linear(6, 4), nn.Linear(4, 3)
        self.calls = nn.Buffer(torch.zeros(1))

    def forward(self, x):
        self.calls += 1
        return self.two(self.one(x) * self.calls)


def test_a_network_that_counts_its_calls_is_cut_with_the_count_that_it_has():
    network, x = Counting().requires_grad_(False), vectors(2)
    halves = capture(network, x)
    assert halves.replayed == ""
    for _ in range(2):
        found = [halves.top(cut)(halves.bottom(cut)(x)) for cut in halves.cuts]
    assert int(network.calls) == 0
    assert [cut.name for cut in halves.cuts] == ["input", "one", "one.mul", "output"]
    expected = network(x)
    assert int(network.calls) == 1
    assert all(torch.equal(one, expected) for one in found)


class Tracing(nn.Module):
    """Answers otherwise while it is exported."""

    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Linear(6, 4), nn.Linear(4, 3)

    def forward(self, x):
        x = self.two(self.one(x))
        return x * 2 if torch.compiler.is_compiling() else x


def test_a_graph_that_is_not_bit_equal_is_handed_to_the_replay():
    with pytest.warns(UserWarning, match="because the exported graph does not give its outputs bit for bit"):
        halves = capture(Tracing(), vectors(2))
    assert halves.replayed


def test_the_output_keeps_its_structure():
    halves = captured("structured")
    found = halves.top("two")(halves.bottom("two")(vectors(3)))
    assert list(found) == ["logits", "all"]
    assert isinstance(found["all"], list)
    assert isinstance(found["all"][1], tuple)


def test_a_tensor_that_is_returned_and_used_again_is_a_cut_and_not_the_output():
    assert "output" not in [cut.name for cut in captured("structured").cuts]
    assert captured("structured").find("relu:2").shape == (4,)


def test_the_fused_path_of_attention_is_off_only_meanwhile():
    def fail():
        with standard_attention():
            raise RuntimeError(f"fused: {torch.backends.mha.get_fastpath_enabled()}")

    before = torch.backends.mha.get_fastpath_enabled()
    with pytest.raises(RuntimeError, match="fused: False"):
        fail()
    assert torch.backends.mha.get_fastpath_enabled() == before


def test_the_view_is_a_second_tree_over_the_same_memory():
    network = nn.Sequential(nn.Linear(6, 4), nn.Dropout())
    view = frozen_view(network)
    assert view[0] is not network[0]
    assert view[0].weight.data_ptr() == network[0].weight.data_ptr()
    assert not view.training
    assert network.training


class Spanned(nn.Module):
    """Takes as much of a table as a number that it computes says, as DeBERTa does for its relative positions."""

    def __init__(self):
        super().__init__()
        self.embed, self.body, self.head = nn.Embedding(50, 8), nn.Linear(8, 8), nn.Linear(8, 3)
        self.table = nn.Parameter(torch.randn(16, 8))

    def forward(self, ids):
        h = self.body(self.embed(ids))
        span = torch.arange(h.size(1)).max() + 1
        near = self.table[8 - span : 8 + span]
        return self.head(h + (h @ near.t()).softmax(-1).view(h.size(0), -1, near.size(0)) @ near)


def test_a_length_that_no_axis_tells_is_named():
    halves = capture(Spanned(), torch.randint(0, 50, (2, 7)))
    told = r"the layers after a cut alone\nfound: a length, u\d+, that the tensor s.* which crosses there does not tell"
    with pytest.raises(NotCuttable, match=told):
        halves.top("body")
