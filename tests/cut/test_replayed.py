"""Replay by hooks: the same answers as the export where both are possible, and what only it can refuse."""

import copy
import dataclasses
import pickle
from collections import OrderedDict

import pytest
import torch
from torch import nn

from fixtures import NETWORKS, Branchy, answer, captured, images, main, network_of, sides, vectors
from modelstitch.cut import capture
from modelstitch.cut.frozen import frozen_view
from modelstitch.cut.replayed import Replayed
from modelstitch.cut.replayed.recording import record
from modelstitch.errors import IllegalCut, NotCuttable


def by_hooks(network, inputs):
    """The network replayed, whether or not it could be exported."""
    args, kwargs = (
        ((), inputs) if isinstance(inputs, dict) else (inputs if isinstance(inputs, tuple) else (inputs,), {})
    )
    return Replayed(frozen_view(network.requires_grad_(False)), args, kwargs, "on purpose")


BOTH = ["plain", "postact", "branching", "transformer", "text"]


def replayed(name):
    return by_hooks(network_of(name), NETWORKS[name].inputs(2))


def check_agrees(replay, export, inputs):
    """Every cut of the replay is one of the export's, with the same tensor there and the same answer above it."""
    for cut in replay.cuts:
        other = export.find(cut.name)
        assert (cut.shape, cut.kind) == (other.shape, other.kind) or None in other.shape, cut.name
        value = replay.bottom(cut)(main(inputs), **sides(inputs))
        assert torch.equal(value, export.bottom(other)(main(inputs), **sides(inputs))), cut.name
        above = replay.top(cut)(value, **sides(inputs))
        assert torch.equal(above, export.top(other)(value, **sides(inputs))), cut.name


@pytest.mark.parametrize("name", BOTH)
def test_replay_and_export_agree(name):
    check_agrees(replayed(name), captured(name), NETWORKS[name].inputs(3))


class Credulous(Replayed):
    """Wrong on purpose: believes that nothing else crosses."""

    def _crosses_alone(self, value, tensor, answer, order):
        return True


def test_a_replay_with_too_many_cuts_is_seen():
    wrong = Credulous(frozen_view(network_of("postact")), (images(2),), {}, "on purpose")
    with pytest.raises(IllegalCut, match=r"cut 'layer1\.0\.(bn|conv)"):
        check_agrees(wrong, captured("postact"), images(2))


def test_token_ids_that_are_all_zero_do_not_hide_what_crosses():
    ids = torch.zeros(2, 7, dtype=torch.long)
    halves = by_hooks(network_of("text"), {"input_ids": ids, "attention_mask": torch.ones_like(ids)})
    assert [cut.name for cut in halves.cuts] == [cut.name for cut in replayed("text").cuts]


@pytest.mark.parametrize(("rows", "length"), [(1, 3), (3, 11)])
def test_sentences_of_other_lengths_are_taken_by_both_halves(rows, length):
    halves, inputs = replayed("text"), NETWORKS["text"].inputs(rows, length)
    for cut in halves.cuts:
        value = halves.bottom(cut)(main(inputs), **sides(inputs))
        assert torch.equal(halves.top(cut)(value, **sides(inputs)), answer(network_of("text"), inputs)), cut.name


class Ends(nn.Module):
    """Modules called after the ends of a network."""

    def __init__(self):
        super().__init__()
        self.input, self.output, self.last = nn.Linear(6, 5), nn.Linear(5, 4), nn.Linear(4, 3)

    def forward(self, x):
        return self.last(torch.relu(self.output(torch.relu(self.input(x)))))


def test_modules_called_input_and_output_do_not_hide_the_ends():
    network, x = Ends(), vectors(3)
    for halves in (by_hooks(network, x), capture(network, x)):
        assert torch.equal(halves.bottom("input")(x), x)
        assert torch.equal(halves.bottom("output")(x), network(x))
        assert torch.equal(halves.bottom("input:2")(x), network.input(x))
        assert torch.equal(halves.top("output:2")(halves.bottom("output:2")(x)), network(x))


def test_the_way_and_the_reason_are_told():
    with pytest.warns(
        UserWarning, match=r"Branchy is replayed by hooks, which is slower, because torch\.export refuses"
    ):
        halves = capture(network_of("branchy"), images(1))
    assert halves.replayed.startswith("torch.export refuses it: ")
    assert captured("plain").replayed == ""


def test_export_s_pages_of_complaints_are_not_printed(capfd):
    with pytest.warns(UserWarning, match="replayed"):
        capture(network_of("branchy"), images(1))
    assert capfd.readouterr() == ("", "")


def test_an_illegal_place_is_told_with_a_legal_one():
    with pytest.raises(IllegalCut, match=r"block1\.conv1, and at least one tensor .*\ndo:    .*'stem' or 'block1'"):
        captured("branchy").find("block1.conv1")


class Failing(nn.Module):
    """Works until it is told not to."""

    def __init__(self):
        super().__init__()
        self.one, self.two, self.last = nn.Linear(6, 4), nn.Linear(4, 4), nn.Linear(4, 3)
        self.switch = nn.Buffer(torch.tensor(0.0))

    def forward(self, x):
        x = self.two(self.one(x))
        if float(self.switch) > 0:
            raise RuntimeError("out of order")
        return self.last(x)


def hooks_on(view):
    return [hook for m in view.modules() for hook in (*m._forward_hooks, *m._forward_pre_hooks)]


def test_hooks_are_gone_after_use_and_after_an_exception():
    network = Failing()
    halves = by_hooks(network, vectors(2))
    assert hooks_on(halves.view) == []
    halves.top("one")(halves.bottom("one")(vectors(3)))
    assert hooks_on(halves.view) == []
    below, above = halves.bottom("output"), halves.top("one")
    network.switch += 1
    for run, x, error in ((below, vectors(2), RuntimeError), (above, torch.ones(2, 4), NotCuttable)):
        with pytest.raises(error, match="out of order"):
            run(x)
        assert hooks_on(halves.view) == []


class Random(nn.Module):
    """Noise in eval mode, behind a branch that export refuses."""

    def __init__(self):
        super().__init__()
        self.one = nn.Linear(6, 3)

    def forward(self, x):
        x = self.one(x)
        return x + torch.rand_like(x) if float(x.detach().sum()) < 1e6 else x


def test_randomness_in_eval_mode_is_refused():
    with (
        torch.random.fork_rng(),
        pytest.warns(UserWarning, match="replayed"),
        pytest.raises(NotCuttable, match=r"cut Random\nfound: two runs on one input differ in eval mode"),
    ):
        capture(Random(), vectors(2))


class Opaque:
    """An output that nobody can look into."""

    def __init__(self, logits):
        self.logits = logits


class Hiding(nn.Module):
    """Gives an object of its own."""

    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Linear(6, 4), nn.Linear(4, 3)

    def forward(self, x):
        return Opaque(self.two(self.one(x)))


def test_an_output_whose_tensors_cannot_be_seen_is_refused():
    with pytest.raises(NotCuttable, match="an output in which no tensor can be seen: Opaque"):
        by_hooks(Hiding(), vectors(2))


def test_dropout_stays_off_while_norms_follow_the_batch():
    class Dropping(Branchy):
        def forward(self, x):
            return nn.functional.dropout(super().forward(x), 0.5, self.training)

    halves = by_hooks(Dropping(), images(2))
    run = halves.top("block2").with_batch_statistics().train()
    x = halves.bottom("block2")(images(3))
    assert torch.equal(run(x), run(x))


# In-place operators: a place is a tensor and when it was seen


class InPlace(nn.Module):
    """conv, norm, in-place relu; a branch on the data."""

    def __init__(self):
        super().__init__()
        self.conv, self.bn, self.relu = nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.ReLU(inplace=True)
        self.same, self.fc = nn.Identity(), nn.Linear(3, 3)

    def forward(self, x):
        h = self.same(self.relu(self.bn(self.conv(x))))
        if h.sum() > 1e9:
            h = h / 2
        return self.fc(h.mean((2, 3)))


def test_a_module_and_the_in_place_module_after_it_are_two_places():
    network = InPlace().eval()
    halves, x = by_hooks(network, images(2)), images(5)
    right = network.bn(network.conv(x))
    assert right.min() < 0
    assert torch.equal(halves.bottom("bn")(x), right)
    assert torch.equal(halves.bottom("relu")(x), right.relu())
    below, relu = halves.bottoms(["bn", "relu"])(x)
    assert torch.equal(below, right)
    assert torch.equal(relu, right.relu())
    # What gives the same tensor untouched is the same place.
    assert halves.find("same") == halves.find("relu") != halves.find("bn")
    assert torch.equal(halves.top("bn")(right), network(x))


class Behind(nn.Module):
    """Writes past the version counter."""

    def forward(self, x):
        x.data.mul_(-2)
        return x


def test_writing_where_no_counter_sees_it_makes_two_places_too():
    network = nn.Sequential(nn.Linear(6, 4), Behind(), nn.Linear(4, 3))
    halves = by_hooks(network, vectors(2))
    assert torch.equal(halves.bottom("0")(vectors(2)), network[0](vectors(2)))
    assert torch.equal(halves.bottom("1")(vectors(2)), -2 * network[0](vectors(2)))


class LuckyReLU(nn.Module):
    """On positive numbers an in-place relu changes nothing, yet what follows is another place."""

    def __init__(self):
        super().__init__()
        self.one, self.relu, self.two = nn.Linear(6, 4), nn.ReLU(inplace=True), nn.Linear(4, 3)

    def forward(self, x):
        return self.two(self.relu(self.one(x)))


def test_an_in_place_module_that_changes_nothing_on_the_example_is_a_place_of_its_own():
    network = LuckyReLU()
    nn.init.ones_(network.one.bias)
    halves = by_hooks(network, torch.zeros(2, 6))
    assert halves.find("one") != halves.find("relu")


# How often the network runs


def counted():
    """Eight layers and a last one, and a list of the place and the rows of every run of a layer."""
    seen = []

    class Noting(nn.Linear):
        def forward(self, x):
            seen.append((self.place, len(x)))
            return super().forward(x)

    network = nn.Sequential()
    for place in range(8):
        layer = Noting(6, 6)
        layer.place = place
        network.append(layer).append(nn.Tanh())
    return network.append(nn.Linear(6, 3)), seen


def test_capturing_runs_the_network_once_a_place_and_four_times_more_on_a_few_rows():
    network, seen = counted()
    halves = by_hooks(network, vectors(500))
    runs = [rows for place, rows in seen if place == 0]
    assert len(runs) <= 4 + len(halves.cuts) - 2
    assert max(runs) <= 4


def test_a_bottom_stops_the_network_after_its_deepest_module():
    network, seen = counted()
    halves = by_hooks(network, vectors(2))
    for cut, last in (("4", 2), ("5", 2), ("0", 0), ("14", 7)):
        seen.clear()
        halves.bottom(cut)(vectors(5))
        assert seen == [(place, 5) for place in range(last + 1)], cut
    seen.clear()
    halves.bottoms(["4", "0", "input"])(vectors(5))
    assert seen == [(place, 5) for place in range(3)]
    seen.clear()
    assert torch.equal(halves.bottom("input")(vectors(5)), vectors(5))
    assert seen == []


class Trying(nn.Module):
    """Takes every error of its layers for a reason to go on without them."""

    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Linear(6, 4), nn.Linear(4, 3)

    def forward(self, x):
        try:
            h = self.one(x)
        except Exception:
            h = x[:, :4]
        return self.two(h)


def test_the_stop_is_no_error_that_a_network_catches():
    network = Trying()
    halves = by_hooks(network, vectors(2))
    ran = []
    halves.view.two.register_forward_hook(lambda *_: ran.append("two"))
    assert torch.equal(halves.bottom("one")(vectors(5)), network.one(vectors(5)))
    assert ran == []


# Networks whose way depends on the data


class Skipping(nn.Module):
    """Passes its middle layer once, twice or not at all."""

    def __init__(self):
        super().__init__()
        self.one, self.two, self.last = nn.Linear(6, 4), nn.Linear(4, 4), nn.Linear(4, 3)

    def forward(self, x):
        h = self.one(x)
        for _ in range(int(x.abs().max() > 0) + int(x.max() > 100)):
            h = self.two(h)
        return self.last(h)


def test_a_place_that_the_network_passes_by_is_an_error_and_no_answer():
    halves = by_hooks(Skipping(), vectors(2))
    with pytest.raises(NotCuttable, match=r"one side of 'two'\nfound: .*: 'two' ran once .* here it did not run\n"):
        halves.bottom("two")(torch.zeros(2, 6))


def test_a_place_that_the_network_passes_twice_is_an_error_and_no_answer():
    class Looping(Skipping):
        def forward(self, x):
            return super().forward(x + self.last.bias.sum() * 1000)

    network = Looping()
    nn.init.zeros_(network.last.bias)
    halves = by_hooks(network, vectors(2))
    value = halves.bottom("two")(vectors(2))
    network.last.bias.fill_(1.0)
    with pytest.raises(NotCuttable, match="here it ran 2 times"):
        halves.top("two")(value)


# Outputs and inputs of other forms


class Chained(nn.Module):
    """Three layers of which the middle gives a tuple, and an output in a form of choice."""

    def __init__(self, form, beside=lambda h: None):
        super().__init__()
        self.one, self.block, self.fc = nn.Linear(6, 5), Pair(beside), nn.Linear(4, 3)
        self.form = form

    def forward(self, x, shift=0.0):
        h = self.block(torch.relu(self.one(x)) + shift)[0]
        return self.form(self.fc(h))


class Pair(nn.Module):
    """A layer that gives more than its tensor, as transformer blocks do."""

    def __init__(self, beside):
        super().__init__()
        self.lin, self.beside = nn.Linear(5, 4), beside

    def forward(self, x):
        h = torch.tanh(self.lin(x))
        return h, self.beside(h)


@dataclasses.dataclass
class Answer:
    """An output that torch's tree functions cannot look into."""

    logits: torch.Tensor
    cache: object = None


class ModelOutput(OrderedDict):
    """A mapping of a class of its own, as transformers gives them."""


FORMS = {
    "tensor": (lambda y: y, lambda out: out),
    "tuple": (lambda y: (y, None), lambda out: out[0]),
    "dict": (lambda y: {"logits": y, "cache": None}, lambda out: out["logits"]),
    "mapping": (lambda y: ModelOutput(logits=y), lambda out: out["logits"]),
    "dataclass": (lambda y: Answer(y), lambda out: out.logits),
}


@pytest.mark.parametrize("form", FORMS)
def test_an_output_of_any_form_is_cut_and_given_back_in_that_form(form):
    make, logits = FORMS[form]
    network, x = Chained(make), vectors(5)
    halves, right = by_hooks(network, vectors(2)), logits(network(x))
    assert [cut.name for cut in halves.cuts] == ["input", "one", "block.lin", "block", "output"]
    for cut in halves.cuts:
        found = halves.top(cut)(halves.bottom(cut)(x))
        assert type(found) is type(network(x)), cut.name
        assert torch.equal(logits(found), right), cut.name


def test_the_last_module_is_another_name_of_the_output():
    network, x = Chained(FORMS["dict"][0]), vectors(3)
    halves = by_hooks(network, x)
    assert halves.find("fc") == halves.find("output")
    assert torch.equal(halves.bottom("fc")(x), network(x)["logits"])
    assert torch.equal(halves.top("fc")(network(x)["logits"])["logits"], network(x)["logits"])


def test_a_module_that_ran_twice_is_no_name_of_the_output():
    halves = by_hooks(network_of("twice"), vectors(2))
    assert halves.find("last") == halves.find("output")
    layer = nn.Linear(6, 6)
    twice = by_hooks(nn.Sequential(layer, nn.Tanh(), layer), vectors(2))
    assert [(cut.name, cut.aliases) for cut in twice.cuts] == [("input", ()), ("1", ()), ("output", ())]


def test_a_layer_before_a_last_function_is_a_cut():
    network = Chained(lambda y: y.log_softmax(1))
    halves = by_hooks(network, vectors(2))
    assert halves.find("fc") != halves.find("output")
    assert torch.equal(halves.top("fc")(halves.bottom("fc")(vectors(3))), network(vectors(3)))


def test_a_block_that_gives_a_tuple_is_a_cut_where_the_rest_is_not_used():
    halves = by_hooks(Chained(lambda y: y, lambda h: h * 2), vectors(2))
    network = halves.view
    assert torch.equal(halves.bottom("block")(vectors(3)), network.block(torch.relu(network.one(vectors(3))))[0])


def test_a_block_of_whose_tuple_more_is_used_is_no_cut():
    class Greedy(Chained):
        def forward(self, x):
            h, other = self.block(torch.relu(self.one(x)))
            return self.fc(h + other)

    halves = by_hooks(Greedy(lambda y: y, lambda h: h * 2), vectors(2))
    with pytest.raises(IllegalCut, match="more than one tensor crosses there: block"):
        halves.find("block")


@pytest.mark.parametrize("rows", [1, 2, 8])
def test_inputs_in_order_and_by_name_are_taken_either_way(rows):
    network, x, shift = Chained(lambda y: y), vectors(rows), vectors(rows)[:, :1]
    right = network(x, shift)
    for inputs in ((x, shift), {"x": x, "shift": shift}):
        halves = by_hooks(network, inputs)
        for cut in halves.cuts:
            below, above = halves._bottom([cut]), halves.top(cut)
            for (value,) in (below(x, shift), below(x=x, shift=shift), below(x, shift=shift)):
                assert torch.equal(above(value, shift=shift), right), cut.name
                assert torch.equal(above(value, shift), right), cut.name


def test_the_main_input_is_told_by_name():
    network, x, shift = Chained(lambda y: y), vectors(4), vectors(4)[:, :1]
    halves = by_hooks(network, {"x": x, "shift": shift})
    assert torch.equal(halves._bottom([halves.find("input")])(shift=shift, x=x)[0], x)


def test_a_side_input_without_a_batch_stays_as_it_is():
    network = Chained(lambda y: y)
    inputs = (vectors(4), torch.ones(1, 5))
    halves = by_hooks(network, inputs)
    for cut in halves.cuts:
        assert torch.equal(halves.top(cut)(halves.bottom(cut)(*inputs), inputs[1]), network(*inputs)), cut.name


# Halves inside networks


class Joined(nn.Module):
    """A bottom and a top, one after the other."""

    def __init__(self, bottom, top):
        super().__init__()
        self.bottom, self.top = bottom, top

    def forward(self, x):
        return self.top(self.bottom(x))


def test_a_network_made_of_replayed_halves_is_cut_inside_both():
    one, other = (by_hooks(NETWORKS["branchy"].network(seed), images(2)) for seed in (0, 1))
    network, x = Joined(one.bottom("block1"), other.top("block1")), images(3)
    inside = record(frozen_view(network), (images(2),), {}).inside
    # The top runs all layers of its network, seven, on noise; only those after the cut work on data.
    assert (inside["bottom"], inside["top"], inside[""]) == (3, 4, 7)
    again = by_hooks(network, images(2))
    names = [cut.name for cut in again.cuts]
    assert names[:4] == ["input", "bottom.run.view.stem", "bottom.run.view.block1", "bottom"]
    assert names[4:] == ["top.run.view.block2", "output"]
    for cut in again.cuts:
        assert torch.equal(again.top(cut)(again.bottom(cut)(x)), network(x)), cut.name
    assert hooks_on(again.view) == hooks_on(one.view) == hooks_on(other.view) == []


def test_a_replayed_half_is_copied_and_shares_nothing_with_the_network():
    halves, x = captured("branchy"), images(3)
    below, above = copy.deepcopy(halves.bottom("block1")), copy.deepcopy(halves.top("block1"))
    assert torch.equal(above(below(x)), network_of("branchy")(x))
    memory = {t.data_ptr() for t in network_of("branchy").state_dict().values()}
    assert not memory & {t.data_ptr() for half in (below, above) for t in half.state_dict().values()}


def test_replayed_halves_are_pickled():
    halves, x = captured("branchy"), images(3)
    for cut in halves.cuts:
        below, above = (pickle.loads(pickle.dumps(half)) for half in (halves.bottom(cut), halves.top(cut)))
        assert torch.equal(above(below(x)), network_of("branchy")(x)), cut.name


class Tiring(nn.Module):
    """Refuses export by a branch on values, and after some runs every further one."""

    def __init__(self, runs):
        super().__init__()
        self.one, self.two, self.runs = nn.Linear(4, 4), nn.Linear(4, 2), runs

    def forward(self, x):
        h = self.one(x)
        # Out of the sight of those who put a network back as it was.
        RUNS.append(1)
        if len(RUNS) > self.runs:
            raise RuntimeError("too tired\nand more lines")
        return self.two(-h if h.sum() > 1e9 else h)


RUNS = []


@pytest.mark.filterwarnings("ignore:Tiring is replayed")
def test_a_network_that_fails_under_hooks_says_so_in_three_lines():
    RUNS.clear()
    capture(Tiring(100), torch.randn(2, 4))
    # The last run tries the one place, and the run before takes what crosses there.
    most = len(RUNS) - 2
    RUNS.clear()
    told = r"to cut Tiring\nfound: that torch.export refuses it: .* fails when it is run by hooks: too tired\ndo:"
    with pytest.raises(NotCuttable, match=told):
        capture(Tiring(most), torch.randn(2, 4))
