"""What is told from token ids does not cross: the top computes it anew from the ids that it is handed."""

import copy
import pickle

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from fixtures import answer, images, vectors
from modelstitch.activations import Sources
from modelstitch.compute import Compute
from modelstitch.cut import capture
from modelstitch.data import Tokens
from modelstitch.errors import IllegalCut, ShapeMismatch
from modelstitch.fold import fold
from modelstitch.matching import Direct, TaskLoss
from modelstitch.networks import Network
from modelstitch.stitched import Stitched, load_stitched
from modelstitch.stitches import Affine, Identity
from modelstitch.stitching import stitch_all
from modelstitch.stitching.noise import noise
from modelstitch.support.seeding import generator, seeded
from modelstitch.support.tensors import call

WORDS = 11


class Late(nn.Module):
    """Words to vectors, two layers, and before the last something that was made of the ids at the start."""

    def __init__(self, late, at_once=True):
        super().__init__()
        self.embed, self.other, self.place = (nn.Embedding(WORDS, 4) for _ in range(3))
        self.one, self.two, self.last = nn.Linear(4, 5), nn.Linear(5, 4), nn.Linear(4, 3)
        self.scale, self.number = nn.Parameter(torch.rand(4)), nn.Parameter(torch.tensor(0.5))
        self.register_buffer("saved", torch.rand(4))
        self.register_buffer("fixed", torch.rand(4), persistent=False)
        self.late, self.at_once = late, at_once

    def forward(self, ids):
        made = self.late(self, ids) if self.at_once else None
        h = self.two(torch.relu(self.one(self.embed(ids.long()))))
        return self.last(h * (made if self.at_once else self.late(self, ids)))


def ids_of(rows, length=7, dtype=torch.int64):
    ids = torch.randint(1, WORDS, (rows, length), generator=generator("ids", rows, length))
    for row in range(rows):
        ids[row, length - row % 3 :] = 0
    return ids.to(dtype)


def last_word(net, ids):
    position = (torch.arange(ids.shape[1]) * (ids != 0).int()).argmax(-1, keepdim=True)
    return (torch.arange(ids.shape[1]) == position)[..., None]


TOLD = {
    "of ids of another type": lambda net, ids: (ids.int() * 2 == 6).int().argmax(-1)[:, None, None],
    "which words are padding": lambda net, ids: (ids != 0)[..., None],
    "the same, as a type": lambda net, ids: ids.bool()[..., None],
    "compared with a number that is a tensor": lambda net, ids: (ids == torch.tensor(3))[..., None].float(),
    "among several numbers": lambda net, ids: torch.isin(ids, torch.tensor([0, 3, 7])).float()[..., None],
    "how many words": lambda net, ids: (ids != 0).sum(1)[:, None, None] / ids.shape[1],
    "where the last word is": last_word,
    "where the largest id is": lambda net, ids: ids.argmax(1)[:, None, None].float(),
    "a mask between two masks": lambda net, ids: ((ids != 0).cumsum(1)[:, None] == (ids != 0).sum(1)[:, None, None]).mT,
    "times one number": lambda net, ids: (ids != 0)[..., None] * net.number,
    "times a table that is no weight": lambda net, ids: (ids != 0)[..., None] * net.fixed,
}
COUNTS = {
    "the ids as numbers": lambda net, ids: ids[..., None].float(),
    "one of as many as there are words": lambda net, ids: F.one_hot(ids, WORDS)[..., :4],
    "the same, by comparing": lambda net, ids: ids[..., None] == torch.arange(4),
    "which of some words there are": lambda net, ids: torch.isin(torch.arange(4), ids)[None, None],
    "the same comparison, in another shape": lambda net, ids: (ids[..., None] == torch.arange(4)).mT.clone().mT,
    "one of as many as there are words, compared": lambda net, ids: (F.one_hot(ids, WORDS) > 0)[..., :4].float(),
    "where the largest of as many as there are words is": lambda net, ids: F.one_hot(ids, WORDS).argmax(-1)[..., None],
    "which pairs of words are equal, in another shape": lambda net, ids: (ids[:, None] == ids[..., None]).any(1)[
        ..., None
    ],
    "which pairs of words are equal": lambda net, ids: (ids[:, :, None] == ids[:, None, :]).float().sum(1)[..., None],
    "the ids sorted": lambda net, ids: ids.sort(1)[0][..., None].float(),
    "a second embedding": lambda net, ids: net.other(ids),
    "the embedding of a position that is told": lambda net, ids: net.place((ids != 0).cumsum(1)),
    "a mask times a weight": lambda net, ids: (ids != 0)[..., None] * net.scale,
    "a mask times a weight, both changed": lambda net, ids: (ids != 0).float()[..., None] * net.scale.exp(),
    "a mask times what is saved with the network": lambda net, ids: (ids != 0)[..., None] * net.saved,
    "ids behind a mask": lambda net, ids: (ids * (ids > 3))[..., None].float(),
}


def names(halves):
    return [cut.name for cut in halves.cuts]


def late(of, dtype=torch.int64, *, at_once=True):
    with seeded("late"):
        network = Late(of, at_once).eval().requires_grad_(False)
    return network, capture(network, ids_of(2, dtype=dtype))


def check_split(network, halves, lengths=(7, 4)):
    """At every cut the halves make the network whole, for other numbers of words and rows too."""
    for length in lengths:
        ids = ids_of(5, length)
        expected = answer(network, ids)
        for cut in halves.cuts:
            top = halves.top(cut)
            value = halves.bottom(cut)(ids)
            assert torch.equal(top.after(value, (), ids), expected), cut.name
            assert torch.equal(top(value, ids) if top.takes_main else top(value), expected)


@pytest.mark.parametrize("at_once", [True, False], ids=["made below", "made above"])
@pytest.mark.parametrize("of", TOLD)
def test_what_is_told_from_ids_does_not_cross(of, at_once):
    network, halves = late(TOLD[of], at_once=at_once)
    assert {"one", "relu", "two"} <= set(names(halves))
    assert [halves.top(name).takes_main for name in ("input", "one", "two", "output")] == [False, True, True, False]
    check_split(network, halves)


@pytest.mark.parametrize("of", COUNTS)
def test_what_is_made_of_the_ids_themselves_or_learnt_crosses(of):
    halves = late(COUNTS[of])[1]
    assert not {"one", "relu", "two"} & set(names(halves))
    with pytest.raises(IllegalCut, match=r"more than one tensor crosses there: .*two"):
        halves.find("two")


def test_what_the_layers_above_make_of_a_mask_with_weights_of_their_own_is_theirs():
    network, halves = late(COUNTS["the embedding of a position that is told"], at_once=False)
    assert halves.top("two").takes_main
    check_split(network, halves)
    assert "two" not in names(late(COUNTS["a second embedding"], at_once=False)[1])


@pytest.mark.parametrize(
    ("dtype", "legal"), [(torch.int64, True), (torch.int32, True), (torch.int16, False), (torch.uint8, False)]
)
def test_ids_have_32_or_64_bits(dtype, legal):
    assert ("two" in names(late(TOLD["which words are padding"], dtype)[1])) is legal


class Counting(nn.Module):
    """Needs the number of words where no words are left, beside which of them are real."""

    def __init__(self):
        super().__init__()
        self.embed, self.one, self.last = nn.Embedding(WORDS, 4), nn.Linear(4, 4), nn.Linear(4, 3)

    def forward(self, ids):
        h = torch.tanh(self.one(self.embed(ids).mean(1)))
        return self.last(h * (torch.arange(ids.shape[1]) * (ids != 0)).amax(1, True))


def counting():
    with seeded("counting"):
        network = Counting().eval().requires_grad_(False)
    return network, capture(network, ids_of(2))


def test_a_top_that_takes_the_ids_tells_their_number_from_them():
    network, halves = counting()
    assert {"mean", "one", "tanh"} <= set(names(halves))
    check_split(network, halves)


def test_noise_in_place_of_a_bottom_leaves_the_tops_their_ids():
    network, data = counting()[0], Tokens("words", ids_of(9).tolist(), torch.arange(9) % 3)
    ready = Network("counting", network).ready(data.example, Compute())
    cut = ready.captured.find("tanh")
    noisy = noise(ready, [cut], Sources(data)).captured
    assert noisy.top(cut).takes_main
    value = noisy.bottom(cut)(ids_of(3))
    assert torch.equal(noisy.top(cut)(value, ids_of(3)), ready.captured.top(cut)(value, ids_of(3)))


# The canary: an image never reaches a top


class Skipping(nn.Module):
    """A chain of layers, and the input set beside its end."""

    def __init__(self, beside, width=6):
        super().__init__()
        self.one, self.two, self.last = nn.Linear(width, 5), nn.Linear(5, width), nn.Linear(width, 3)
        self.beside = beside

    def forward(self, x):
        x = x.flatten(1)
        return self.last(self.two(torch.relu(self.one(x.float() / 255))) + self.beside(x))


@pytest.mark.parametrize(
    "beside",
    [lambda x: x, lambda x: x / 255, lambda x: x > 0, lambda x: (x > 0).float(), lambda x: x.argmax(1, True)],
    ids=["itself", "scaled", "its signs", "its signs as numbers", "its largest"],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.uint8], ids=str)
def test_a_skip_of_the_image_leaves_no_cut_beside_it(beside, dtype):
    x = (images(3)[:, :, :2, :2].abs() * 50).to(dtype)
    halves = capture(Skipping(beside, 8), x)
    assert not {"one", "relu", "two"} & set(names(halves))
    assert not any(halves.top(cut).takes_main for cut in halves.cuts)


def test_a_skip_of_measured_whole_numbers_leaves_no_cut_beside_it():
    halves = capture(Skipping(lambda x: x / 255), (vectors(3).abs() * 50).long())
    assert not {"one", "relu", "two"} & set(names(halves))


# Networks that make their own mask


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm, self.qkv, self.proj = nn.LayerNorm(4), nn.Linear(4, 12), nn.Linear(4, 4)

    def forward(self, x, mask):
        q, k, v = (part[:, None] for part in self.qkv(self.norm(x)).chunk(3, -1))
        return x + self.proj(F.scaled_dot_product_attention(q, k, v, attn_mask=mask)[:, 0])


class Reader(nn.Module):
    """Attention among real words, and the mean over them; what is padding is told from the ids."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(WORDS, 4)
        self.blocks = nn.ModuleList([Block(), Block(), Block()])
        self.fc = nn.Linear(4, 3)

    def forward(self, input_ids, scale=None):
        real = input_ids != 0
        mask = torch.where(real, 0.0, torch.finfo(torch.float32).min)[:, None, None, :]
        x = self.embed(input_ids)
        for block in self.blocks:
            x = block(x, mask)
        x = x if scale is None else x * scale[:, None, None]
        return self.fc((x * real[..., None]).sum(1) / real.sum(1, keepdim=True))


def reader(seed=0):
    with seeded("reader", seed):
        return Reader().eval().requires_grad_(False)


BLOCKS = ["embed", "blocks.0", "blocks.1", "blocks.2"]


def test_a_network_that_makes_its_own_mask_keeps_its_blocks():
    network = reader()
    halves = capture(network, ids_of(2))
    assert [cut.name for cut in halves.blocks][:4] == BLOCKS
    assert all(halves.top(name).takes_main for name in BLOCKS)
    check_split(network, halves)


def test_a_top_takes_the_ids_behind_the_tensor_in_order_or_by_name():
    network, ids, scale = reader(), ids_of(4), torch.rand(4)
    expected = network(ids, scale)
    for inputs in ((ids, scale), {"input_ids": ids, "scale": scale}):
        halves = capture(network, inputs)
        top, value = halves.top("blocks.1"), call(halves.bottom("blocks.1"), inputs)
        for found in (
            top(value, ids, scale),
            top(value, ids, scale=scale),
            top(value, scale=scale, input_ids=ids),
            top.after(value, (scale,), ids),
            top.after(value, {"scale": scale, "other": ids}, ids),
        ):
            assert torch.equal(found, expected)
        with pytest.raises(ShapeMismatch, match="captured with input_ids, input_ids, scale"):
            top(value, scale=scale)
        with pytest.raises(ShapeMismatch, match="give each of them once, for a top the tensor at the cut before them"):
            top.after(value, (scale,))


def joined(below, above, cut, family=None):
    lower, upper = below.find(cut), above.find(cut)
    return Stitched(below.bottom(lower), (family or Identity()).build(lower, upper), above.top(upper)).eval()


def test_a_stitched_network_hands_the_ids_to_both_halves_in_every_form():
    network, ids, scale = reader(), ids_of(4), torch.rand(4)
    for inputs in (ids, (ids, scale), {"input_ids": ids, "scale": scale}):
        halves = capture(network, inputs)
        stitched = joined(halves, halves, "blocks.1")
        assert torch.equal(call(stitched, inputs), call(network, inputs))
        assert [one.name for one in stitched.takes()] == ["input_ids", "scale"][: len(stitched.takes())]


class Renamed(Reader):
    def forward(self, words):
        return super().forward(words)


def test_networks_that_call_their_ids_otherwise_are_joined():
    ids, a, b = ids_of(4), reader(), reader(1)
    other = Renamed().eval().requires_grad_(False)
    other.load_state_dict(b.state_dict())
    right = joined(capture(a, ids), capture(b, ids), "blocks.0")(ids)
    in_order = joined(capture(a, ids), capture(other, ids), "blocks.0")
    assert [one.name for one in in_order.takes()] == ["input_ids"]
    assert torch.equal(in_order(ids), right)
    by_name = joined(capture(a, {"input_ids": ids}), capture(other, {"words": ids}), "blocks.0")
    # By name, the top's own ids are another input: the two may have been cut into words otherwise.
    assert [one.name for one in by_name.takes()] == ["input_ids", "words"]
    assert torch.equal(by_name(input_ids=ids, words=ids), right)
    with pytest.raises(ShapeMismatch, match="captured with words, words"):
        by_name(input_ids=ids)


def test_copies_saved_networks_and_captures_of_captures_answer_alike(tmp_path):
    ids, a, b = ids_of(5), reader(), reader(1)
    stitched = joined(capture(a, ids), capture(b, ids), "blocks.1", Affine()).requires_grad_(False)
    expected = stitched(ids)
    for copied in (copy.deepcopy(stitched), pickle.loads(pickle.dumps(stitched))):
        assert torch.equal(copied(ids), expected)
    stitched.save(tmp_path)
    loaded = load_stitched(tmp_path)
    assert torch.equal(loaded(ids), expected)
    for network in (stitched, loaded):
        again = capture(network, ids)
        assert not again.replayed
        wanted = {"bottom.blocks.0", "stitch", "top.blocks.2"}
        assert wanted <= {name for cut in again.cuts for name in (cut.name, *cut.aliases)}
        check_split(network, again)


def test_tops_with_statistics_of_their_own_take_the_ids_too():
    halves, ids = capture(reader(), ids_of(2)), ids_of(3)
    top, value = halves.top("blocks.1"), halves.bottom("blocks.1")(ids)
    assert torch.equal(top.with_batch_statistics()(value, ids), top(value, ids))


def test_a_stitch_below_a_top_that_takes_the_ids_is_folded():
    (a, halves), b = late(TOLD["which words are padding"]), late(TOLD["which words are padding"])[1]
    stitched = joined(halves, b, "one", Affine())
    with torch.no_grad(), seeded("stitch of a fold"):
        for one in stitched.stitch.parameters():
            one.copy_(torch.randn(one.shape))
    folded = fold(stitched)
    assert folded.same_architecture
    assert torch.allclose(folded.network(ids_of(3)), stitched(ids_of(3)), atol=1e-4)
    assert not torch.allclose(stitched(ids_of(3)), a(ids_of(3)), atol=1e-2)


@pytest.mark.parametrize("by", [Direct(), TaskLoss(epochs=1, batch_size=8)], ids=["solved", "downhill"])
@pytest.mark.parametrize("masked", [False, True], ids=["in order", "by name"])
def test_stitches_are_fitted_and_measured_through_tops_that_take_the_ids(masked, by):
    rows = [row[row != 0].tolist()[: 7 - place % 3] for place, row in enumerate(ids_of(40))]
    train, test = (
        Tokens("words", rows[part], torch.arange(20) % 3, masked=masked) for part in (slice(0, 20), slice(20, 40))
    )
    networks = [Masked(network) if masked else network for network in (reader(), reader(1))]
    records = stitch_all(*networks, train, test, by=by, controls=("self",))
    assert {record.status for record in records} == {"ok"}
    own = [record for record in records if record.control == "self"]
    assert len(own) >= 2 * len(BLOCKS)
    assert {record.penalty for record in own} == {0}


class Masked(nn.Module):
    """The same network under the keywords of a mapping; its mask is told from the ids all the same."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, input_ids, attention_mask):
        return self.network(input_ids)
