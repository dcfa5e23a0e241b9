"""Every cut against every cut: the numbers, the one pass, and what other packages got wrong."""

from __future__ import annotations

import copy
import math
from collections import OrderedDict
from functools import cache

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import modelstitch.comparison.all_pairs as all_pairs
from modelstitch.activations import laid_out
from modelstitch.comparison import calibrate, compare_all
from modelstitch.cut import Part, capture
from modelstitch.data import Samples
from modelstitch.errors import (
    CutNotFound,
    DataError,
    NumericalFailure,
    SettingError,
    ShapeMismatch,
)
from modelstitch.measures import MEASURES
from modelstitch.support.seeding import generator, seeded
from modelstitch.support.tensors import fingerprint

# The last batch has one example in it.
N = 257
# In batches of 256, the last of them filled up.
RUN = 512
INPUTS = torch.randn(N, 1, 8, 8, generator=generator("comparison test"))
DATA = Samples("noise", INPUTS, torch.arange(N) % 10, 10)


def small(seed):
    """Two maps of different grids, then a vector: quick to capture."""
    with seeded("comparison test network", seed):
        blocks = [
            ("conv1", nn.Sequential(nn.Conv2d(1, 3, 3, padding=1), nn.Tanh())),
            ("conv2", nn.Sequential(nn.Conv2d(3, 5, 3, 2, padding=1), nn.BatchNorm2d(5), nn.Tanh())),
            ("conv3", nn.Sequential(nn.Conv2d(5, 4, 3, padding=1), nn.Tanh())),
            ("flatten", nn.Flatten()),
            ("hidden", nn.Sequential(nn.Linear(64, 6), nn.Tanh())),
            ("fc", nn.Linear(6, 10)),
        ]
        return nn.Sequential(OrderedDict(blocks)).eval()


@pytest.fixture(scope="module")
def networks():
    return small(0), small(1)


@pytest.fixture(scope="module")
def found(networks):
    return compare_all(*networks, DATA, measures=list(MEASURES), layout="pool", sample=64)


@cache
def captured_once(network):
    return capture(network, DATA.example)


def rows_at(network, cut, layout, n=N):
    captured = captured_once(network)
    with torch.no_grad():
        return laid_out(captured.bottom(cut)(INPUTS[:n]), captured.find(cut), layout)


def value(found, measure, a, b):
    (one,) = (each for each in found if (each.measure, each.cut_a, each.cut_b) == (measure, a, b))
    return one.value


@pytest.mark.filterwarnings("ignore::modelstitch.errors.TooFewRows")
@pytest.mark.parametrize("measure", MEASURES)
@pytest.mark.parametrize(("a", "b"), [("conv1", "conv1"), ("conv2", "hidden"), ("hidden", "conv3")])
def test_each_value_is_the_measure_of_the_rows(networks, found, measure, a, b):
    streams = MEASURES[measure].from_moments is not None or MEASURES[measure].streaming is not None
    n = N if streams else 64
    x, y = (rows_at(network, cut, "pool", n) for network, cut in zip(networks, (a, b), strict=True))
    assert value(found, measure, a, b) == pytest.approx(MEASURES[measure](x, y), rel=1e-5, abs=1e-6)
    assert {one.n for one in found if one.measure == measure} == {n}


@pytest.mark.parametrize("layout", ["flatten", "pool", "position"])
def test_the_layout_says_what_a_row_is(networks, layout):
    found = compare_all(*networks, DATA, measures=["cka_debiased"], layout=layout)
    x, y = (rows_at(network, "conv2", layout) for network in networks)
    assert value(found, "cka_debiased", "conv2", "conv2") == pytest.approx(MEASURES["cka_debiased"](x, y), 1e-6)
    assert {one.layout for one in found} == {layout}


def test_canary_the_layouts_differ(networks):
    values = {
        value(compare_all(*networks, DATA, measures=["cka"], layout=layout), "cka", "conv2", "conv2")
        for layout in ("flatten", "pool", "position")
    }
    assert len({round(one, 3) for one in values}) == 3


def test_wide_cuts_keep_the_first_examples_and_say_so(networks, monkeypatch):
    monkeypatch.setattr(all_pairs, "_WIDEST", 100)
    found = compare_all(*networks, DATA, measures=["cka"], sample=40)
    x, y = (rows_at(network, "conv1", "flatten", 40) for network in networks)
    assert value(found, "cka", "conv1", "conv1") == pytest.approx(_quiet(MEASURES["cka"], x, y), abs=1e-9)
    assert {one.n for one in found} == {40}
    assert all("40 rows" in one.note for one in found if one.cut_a == "conv1")


def _quiet(measure, x, y):
    with pytest.warns(match="rows"):
        return measure(x, y)


def test_every_cut_meets_every_cut_under_its_own_name(networks, found):
    names = [cut.name for cut in captured_once(networks[0]).blocks]
    table = found.table("cka")
    assert list(table.index) == list(table.columns) == names
    assert (table.index.name, table.columns.name) == ("A", "B")
    assert len(found) == len(MEASURES) * len(names) ** 2
    assert list(found.to_pandas()["measure"].unique()) == list(MEASURES)


def test_the_cuts_that_are_asked_for_are_the_ones_returned(networks):
    asked = (["hidden", "conv1"], ["conv3"])
    found = compare_all(*networks, DATA, measures=["cka"], layout="pool", cuts=asked)
    assert [(one.cut_a, one.cut_b) for one in found] == [("hidden", "conv3"), ("conv1", "conv3")]
    assert found[0].value == pytest.approx(
        MEASURES["cka"](rows_at(networks[0], "hidden", "pool"), rows_at(networks[1], "conv3", "pool")), abs=1e-9
    )


def counted(monkeypatch, run):
    """How many examples go through halves of networks while it runs."""
    seen = []
    right = Part.forward

    def forward(self, x):
        seen.append(len(x))
        return right(self, x)

    monkeypatch.setattr(Part, "forward", forward)
    run()
    return sum(seen)


@pytest.mark.parametrize("measures", [["cka"], list(MEASURES)], ids=["one", "all"])
def test_each_network_runs_once_whatever_is_asked(networks, monkeypatch, measures):
    seen = counted(monkeypatch, lambda: compare_all(*networks, DATA, measures=measures, layout="pool", sample=30))
    assert seen == 2 * RUN


def test_a_network_beside_itself_runs_once(networks, monkeypatch):
    found = []
    seen = counted(monkeypatch, lambda: found.append(compare_all(networks[0], networks[0], DATA, measures=["cka"])))
    assert seen == RUN
    assert value(found[0], "cka", "hidden", "hidden") == pytest.approx(1, abs=1e-12)


def test_a_shuffling_loader_gives_both_networks_the_same_order(networks):
    loader = DataLoader(TensorDataset(INPUTS, DATA.labels), batch_size=7, shuffle=True)
    found = compare_all(networks[0], copy.deepcopy(networks[0]), loader, measures=["cka_minibatch"])
    assert [value(found, "cka_minibatch", cut, cut) for cut in ("conv1", "conv3")] == pytest.approx([1, 1], abs=1e-6)


def test_an_in_place_relu_after_the_cut_leaves_the_activation_alone():
    torch.manual_seed(0)
    linear = nn.Linear(64, 6)
    inplace = nn.Sequential(nn.Flatten(), linear, nn.ReLU(inplace=True), nn.Linear(6, 10)).eval()
    found = compare_all(inplace, inplace, DATA, measures=["cka"], cuts=(["1"], ["1", "2"]))
    before = linear(INPUTS.flatten(1))
    assert found[1].value == pytest.approx(MEASURES["cka"](before, before.relu()), abs=1e-6)
    assert found[1].value < 0.99


@pytest.mark.parametrize("layout", ["flatten", "position", "pool"])
def test_a_conv_layer_is_itself_with_its_channels_permuted(layout):
    torch.manual_seed(0)
    conv, order = nn.Conv2d(1, 6, 3), torch.randperm(6)
    twin = copy.deepcopy(conv)
    twin.weight, twin.bias = nn.Parameter(conv.weight[order]), nn.Parameter(conv.bias[order])
    a, b = (nn.Sequential(one, nn.ReLU(), nn.Flatten(), nn.Linear(216, 10)).eval() for one in (conv, twin))
    found = compare_all(a, b, DATA, measures=["cka_debiased", "procrustes"], layout=layout, cuts=(["1"], ["1"]))
    assert found[0].value == pytest.approx(1, abs=1e-9)
    assert found[1].value == pytest.approx(0, abs=1e-5)


def test_every_batch_counts(networks):
    """One odd example in the first of two batches moves the value."""
    inputs = INPUTS.clone()
    inputs[3] *= 50
    odd = Samples("odd", inputs, DATA.labels, 10)
    plain, moved = (compare_all(*networks, data, measures=["cka_minibatch"])[5].value for data in (DATA, odd))
    assert abs(plain - moved) > 1e-3


@pytest.mark.parametrize("offset", [0.0, 10.0])
def test_a_mean_far_from_zero_costs_no_digits(offset):
    torch.manual_seed(0)
    a, b = (nn.Sequential(nn.Flatten(), nn.Linear(64, 20), nn.Linear(20, 10)).eval() for _ in "ab")
    plain = compare_all(a, b, DATA, measures=["cka", "cka_minibatch"], cuts=(["1"], ["1"]))
    for network in (a, b):
        network[1].bias.data += offset
    moved = compare_all(a, b, DATA, measures=["cka", "cka_minibatch"], cuts=(["1"], ["1"]))
    assert [one.value for one in moved] == pytest.approx([one.value for one in plain], abs=1e-4)


def test_networks_leave_as_they_came():
    # Of their own, so that they are captured here.
    a, b = networks = small(5), small(6)
    a.train()
    before = [fingerprint(network.state_dict()) for network in networks]
    compare_all(a, b, DATA.first(20), measures=["cka_minibatch"])
    assert [fingerprint(network.state_dict()) for network in networks] == before
    assert a.training
    assert not b.training
    assert all(not module._forward_hooks for network in networks for module in network.modules())


def test_a_dead_layer_costs_its_own_pairs_only(networks):
    dead = small(3)
    with torch.no_grad():
        dead.conv2[0].weight.zero_()
    # From there on every activation is the same for every image.
    found = compare_all(dead, networks[1], DATA.first(60), measures=list(MEASURES), layout="pool")
    for one in found:
        assert one.value is None or one.cut_a == "conv1", one
        assert one.cut_a == "conv1" or "constant" in one.note, one
    alive = [one for one in found if one.cut_a == one.cut_b == "conv1"]
    assert all(one.value is not None for one in alive)


def test_broken_weights_are_refused_by_place(networks):
    broken = small(4)
    with torch.no_grad():
        broken.conv2[0].weight[0] = float("nan")
    with pytest.raises(NumericalFailure, match=r"activations at 'conv2' that are not finite"):
        compare_all(networks[0], broken, DATA.first(20), measures=["cka"])


def test_nothing_but_failures_is_an_error(networks):
    with pytest.raises((NumericalFailure, DataError), match="3 paired rows"):
        compare_all(*networks, DATA.first(3), measures=["cka_debiased"])


def test_different_grids_have_no_value_by_position(networks):
    found = compare_all(*networks, DATA.first(20), measures=["cka"], layout="position")
    assert value(found, "cka", "conv2", "conv3") is not None
    (other,) = (one for one in found if (one.cut_a, one.cut_b) == ("conv1", "conv2"))
    assert other.value is None
    assert "8 × 8 and 4 × 4 positions" in other.note
    assert math.isnan(found.table("cka").loc["conv1", "conv2"])


@pytest.mark.parametrize(
    ("asked", "error", "message"),
    [
        ({"measures": ["ckaa"]}, SettingError, "no measure of that name\ndo:    did you mean 'cka"),
        ({"measures": []}, SettingError, "found: no measure"),
        ({"layout": "flat"}, SettingError, "no such layout\ndo:    did you mean 'flatten'"),
        ({"measures": ["rsa"], "layout": "position"}, SettingError, "every position of every example at once"),
        ({"sample": 1}, SettingError, "too few examples"),
        ({"cuts": (["layer9"], ["conv1"])}, CutNotFound, "no such place"),
    ],
)
def test_wrong_requests_are_refused_in_words(networks, asked, error, message):
    with pytest.raises(error, match=message):
        compare_all(*networks, DATA.first(20), **asked)


def test_data_that_a_network_does_not_take_is_refused(networks):
    with pytest.raises(ShapeMismatch, match="to run Sequential on an example"):
        compare_all(*networks, (torch.randn(9, 3, 8, 8), torch.arange(9) % 2))


def test_calibration_tells_a_pair_from_chance(networks):
    same, other = (
        calibrate(networks[0], b, ("conv1", "hidden"), DATA.first(100), measures=["cka_debiased"], permutations=19)[0]
        for b in networks
    )
    assert same.p == other.p == 0.05
    assert abs(same.median) < 0.1
    assert same.n == 100


def test_positions_cannot_be_shuffled(networks):
    with pytest.raises(SettingError, match="rows that are not independent"):
        calibrate(*networks, ("conv1", "conv1"), DATA, measures=["cka"], layout="position")


def test_the_heat_map_has_a_panel_for_each_measure(found):
    drawn = found.plot().to_dict()
    assert len(drawn["concat"]) == len(MEASURES)
    assert drawn["concat"][0]["title"]["text"] == MEASURES["cka"].title


def test_a_measure_that_was_not_taken_has_no_table(found):
    with pytest.raises(SettingError, match="it was not measured\ndo:    did you mean 'cka'"):
        found.table("ckaa")
