"""Networks that carry their examples on another axis than the first inside: halves answer with the examples first."""

import copy

import pytest
import torch
from torch import nn

from fixtures import answer
from modelstitch.cut import capture
from modelstitch.data import as_examples
from modelstitch.matching import Direct, TaskLoss
from modelstitch.stitched import Stitched, load_stitched
from modelstitch.stitches import Affine
from modelstitch.stitching import stitch_all
from modelstitch.support.seeding import generator, seeded


class Encoder(nn.Module):
    """Transformer layers on (length, examples, channels), as they are by default in torch."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Linear(3, 8)
        layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=False)
        self.layers = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(8, 4)

    def forward(self, x, mask=None):
        h = self.layers(self.embed(x.transpose(0, 1)), src_key_padding_mask=mask)
        return self.head(h.mean(0))


class Channels(nn.Module):
    """Convolutions over time with channels before the examples: axes (channels, examples, length) between them."""

    def __init__(self):
        super().__init__()
        self.one, self.two, self.head = nn.Conv1d(3, 6, 3, padding=1), nn.Conv1d(6, 5, 3, padding=1), nn.Linear(5, 4)

    def forward(self, x):
        h = torch.relu(self.one(x.mT)).transpose(0, 1).contiguous().exp()
        return self.head(self.two(h.transpose(0, 1)).amax(2))


def network_of(kind, seed=0):
    with seeded("batch axis", seed):
        return kind().eval().requires_grad_(False)


def sounds(n, seed=0):
    return torch.randn(n, 5, 3, generator=generator("sounds", seed, n))


@pytest.mark.parametrize(
    ("kind", "cut", "shape", "channels"),
    [(Encoder, "layers.layers.0", (5, 8), 1), (Encoder, "embed", (5, 8), 1), (Channels, "exp", (6, 5), 0)],
)
def test_a_bottom_answers_with_the_examples_first_and_the_top_takes_them_so(kind, cut, shape, channels):
    network = network_of(kind)
    halves = capture(network, sounds(2))
    assert halves.replayed == ""
    assert cut in [one.name for one in halves.cuts]
    found = halves.find(cut)
    assert (found.shape, found.axis) == (shape, channels)
    for rows in (1, 2, 7):
        value = halves.bottom(cut)(sounds(rows))
        assert value.shape == (rows, *shape)
        assert value.is_contiguous()
        assert torch.equal(halves.top(cut)(value), answer(network, sounds(rows)))
        # An example is a row: it is the same whoever else is there.
        assert torch.equal(halves.bottom(cut)(sounds(rows)[:1]), value[:1]) or rows > 1
        torch.testing.assert_close(halves.bottom(cut)(sounds(rows)[-1:]), value[-1:])


def test_a_mask_goes_to_both_halves():
    network, mask = network_of(Encoder), torch.arange(5)[None] >= torch.tensor([5, 3])[:, None]
    halves = capture(network, (sounds(2), mask))
    for cut in ("layers.layers.0", "layers"):
        value = halves.bottom(cut)(sounds(2), mask)
        expected = answer(lambda inputs: network(*inputs), (sounds(2), mask))
        assert torch.equal(halves.top(cut)(value, mask), expected)


def test_such_networks_are_stitched_saved_and_copied(tmp_path):
    a, b = (network_of(Encoder, seed) for seed in (0, 1))
    train, test = ((sounds(n, seed), torch.arange(n) % 4) for n, seed in ((60, 1), (40, 2)))
    for by in (Direct(), TaskLoss(epochs=1)):
        found = stitch_all(a, b, as_examples(train), as_examples(test), by=by, controls=["self"])
        assert [one.reason for one in found if one.status != "ok"] == []
        assert {one.top_cut for one in found} >= {"layers.layers.0"}
        assert {one.penalty for one in found.only(control="self")} == {0}
    ours, theirs = (capture(one, sounds(2)) for one in (a, b))
    cut = ours.find("layers.layers.0")
    stitched = Stitched(ours.bottom(cut), Affine().build(cut, cut), theirs.top(cut)).eval()
    expected = stitched(sounds(3))
    stitched.save(tmp_path / "saved")
    assert torch.equal(load_stitched(tmp_path / "saved")(sounds(3)), expected)
    assert torch.equal(copy.deepcopy(stitched)(sounds(3)), expected)
    stitched.export(tmp_path / "net.pt2")
