"""What stops a stitching before a number that cannot be trusted, and what must not change one."""

import contextlib
import warnings

import pytest
import torch
from torch import nn

from modelstitch import Affine, Direct, TaskLoss, compare_all, fit, stitch, stitch_all
from modelstitch.cut import capture
from modelstitch.errors import NotCuttable, NumericalFailure, ShapeMismatch
from modelstitch.stitched import Stitched
from modelstitch.stitches import Identity

N = 200


def examples(dtype=torch.float32):
    source = torch.Generator().manual_seed(1)
    x, y = torch.randn(N, 6, generator=source), torch.randint(3, (N,), generator=source)
    return (x[:100].to(dtype), y[:100]), (x[100:].to(dtype), y[100:])


def network(seed=0, dtype=torch.float32):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3)).to(dtype)


class Secret(nn.Module):
    """Remembers, past its layers, whether its input holds a large number."""

    def __init__(self, seed=0):
        super().__init__()
        torch.manual_seed(seed)
        self.a, self.relu, self.b = nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3)

    def forward(self, x):
        large = bool(x.abs().max() > 50)
        h = self.relu(self.a(x))
        return self.b(-h) if large else self.b(h)


def with_one_large_row(index):
    train, (x, y) = examples()
    x[index] = 60
    return train, (x, y)


@pytest.mark.filterwarnings("ignore:.*replayed")
def test_a_replayed_network_is_checked_on_every_test_example():
    train, test = with_one_large_row(90)
    for call in (
        lambda: stitch_all(Secret(0), Secret(1), train, test, by=Direct(), controls=()),
        lambda: stitch("A@relu -> B@relu", {"A": Secret(0), "B": Secret(1)}, train, test, by=Direct()),
    ):
        with pytest.raises(NotCuttable, match=r"cut 'relu' of A as a self-stitch\nfound: outputs that differ"):
            call()
    train, test = examples()
    assert [one.status for one in stitch_all(Secret(0), Secret(1), train, test, by=Direct())]


@pytest.mark.filterwarnings("ignore:.*replayed")
def test_a_self_stitch_unequal_nought_stops_the_run(monkeypatch):
    train, test = with_one_large_row(90)
    monkeypatch.setattr("modelstitch.stitching.pairing.check_identity", lambda *_: None)
    with pytest.raises(NotCuttable, match=r"the self-stitch A@relu -> A@relu\nfound: a penalty of .*, where it is 0"):
        stitch_all(Secret(0), Secret(1), train, test, by=Direct())


@pytest.mark.filterwarnings("ignore:.*replayed")
def test_each_cut_of_a_replayed_network_is_checked_once_for_each_set_of_examples(monkeypatch):
    seen = []
    monkeypatch.setattr("modelstitch.stitching.checks._check_batch", lambda one, cuts, _: seen.append((one.name, cuts)))
    train, test = examples()
    stitch_all(Secret(0), Secret(1), train, test, by=Direct(), controls=("self",))
    assert sorted(name for name, _ in seen) == ["A", "B"]


class Skipping(nn.Module):
    """A mixture of experts of which one without rows does not run."""

    def __init__(self, seed=0):
        super().__init__()
        torch.manual_seed(seed)
        self.a, self.gate, self.b = nn.Linear(6, 5), nn.Linear(5, 2), nn.Linear(5, 3)
        self.e = nn.ModuleList(nn.Linear(5, 5) for _ in range(2))

    def forward(self, x):
        h = self.a(x)
        chosen, out = self.gate(h).argmax(-1), torch.zeros_like(h)
        for index, expert in enumerate(self.e):
            mask = chosen == index
            if mask.any():
                out[mask] = expert(h[mask])
        return self.b(torch.relu(out))


@pytest.mark.filterwarnings("ignore:.*replayed")
def test_experts_that_do_not_always_run_give_numbers_or_three_lines():
    train, test = examples()
    with contextlib.suppress(NotCuttable):
        found = stitch_all(Skipping(0), Skipping(1), train, test, by=Direct())
        assert all(one.scores[0].penalty == 0 for one in found if one.control == "self")
    one = stitch("A@a -> A@a", {"A": Skipping(0)}, train, test, by=Direct())
    assert one.status == "ok"


# Types of numbers

DTYPES = [torch.bfloat16, torch.float16, torch.float64]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("by", [Direct(), TaskLoss(epochs=1)], ids=["direct", "task"])
def test_networks_of_any_type_of_number_are_stitched_end_to_end(dtype, by):
    train, test = examples(dtype)
    found = stitch_all(
        network(0, dtype), network(1, dtype), train, test, by=by, controls=("self", "untrained", "noise")
    )
    assert {one.status for one in found} == {"ok"}
    for one in found:
        if one.control == "self":
            assert [(row.penalty, row.low, row.high) for row in one.scores] == [(0, 0, 0)] * len(one.scores)


@pytest.mark.parametrize(
    ("below", "above", "own"),
    [
        (torch.bfloat16, torch.bfloat16, torch.float32),
        (torch.float16, torch.float16, torch.float32),
        (torch.float64, torch.float64, torch.float64),
        (torch.float32, torch.float32, torch.float32),
    ],
)
def test_a_stitch_is_fitted_in_float32_or_float64_and_hands_over_what_the_top_expects(below, above, own):
    train, _ = examples(below)
    a, b = (capture(network(seed, one), train[0]) for seed, one in ((0, below), (1, above)))
    bottom, top = a.bottom("1"), b.top("1")
    assert (bottom.dtype, top.dtype) == (below, above)
    found = fit(Affine(), bottom, top, train, by=TaskLoss(epochs=1))
    assert {one.dtype for one in found.stitch.parameters()} == {own}
    assert found.stitched(train[0]).dtype == above


def test_a_bottom_and_a_top_of_two_types_of_number_are_joined():
    x = examples()[0][0]
    captured = {one: capture(network(0, one), x.to(one)) for one in (torch.float32, torch.bfloat16)}
    for below, above in ((torch.float32, torch.bfloat16), (torch.bfloat16, torch.float32)):
        bottom, top = captured[below].bottom("1"), captured[above].top("1")
        for family in (Identity(), Affine()):
            answer = Stitched(bottom, family.build(bottom.cut, top.cut), top)(x.to(below))
            assert answer.dtype == above
        answer = Stitched(bottom, Identity().build(bottom.cut, top.cut), top)(x.to(below))
        assert (answer.float() - network(0)(x)).abs().max() < 0.05


# Modes of torch that the caller is in


@pytest.mark.parametrize(
    "mode",
    [torch.no_grad, torch.inference_mode, lambda: torch.autocast("cpu", torch.bfloat16)],
    ids=["no_grad", "inference_mode", "autocast"],
)
def test_a_mode_of_the_caller_changes_no_number(mode):
    def measured():
        train, test = examples()
        found = stitch_all(network(0), network(1), train, test, by=TaskLoss(epochs=1), controls=("self",))
        return [[(row.stitched, row.penalty) for row in one.scores] for one in found]

    right = measured()
    with mode():
        assert measured() == right


def test_networks_and_data_made_in_inference_mode_are_fitted():
    train, test = examples()
    a, b = network(0), network(1)
    right = stitch_all(a, b, train, test, by=TaskLoss(epochs=1), controls=())
    with torch.inference_mode():
        made = network(0), network(1)
        data = [(x.clone(), y.clone()) for x, y in (train, test)]
    found = stitch_all(*made, *data, by=TaskLoss(epochs=1), controls=())
    assert [one.scores for one in found] == [one.scores for one in right]


# Errors that say what is wrong


def test_networks_of_one_layer_have_no_cut_and_say_so():
    train, test = examples()
    with pytest.raises(ShapeMismatch, match=r"stitch A and B\nfound: no cut between input and output of A and B\ndo:"):
        stitch_all(nn.Linear(6, 3), nn.Linear(6, 3), train, test)
    with pytest.raises(ShapeMismatch, match="no cut between input and output of B"):
        stitch_all(network(), nn.Linear(6, 3), train, test)


def test_a_comparison_of_dead_cuts_names_networks_and_cuts():
    class Dead(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(6, 5), nn.Linear(5, 3)

        def forward(self, x):
            return self.b(torch.relu(self.a(x) - 1e6))

    told = r"cka_minibatch of A@relu and B@relu\nfound: A@relu is constant: .*\ndo:    cut elsewhere"
    with pytest.raises(NumericalFailure, match=told) as caught:
        compare_all(Dead(), Dead(), examples()[0][0])
    assert len(str(caught.value).splitlines()) == 3


@pytest.mark.parametrize("error", [RuntimeError, ValueError, KeyError])
def test_a_network_that_refuses_the_data_says_so_whatever_it_raises(error):
    class Refusing(nn.Module):
        def __init__(self):
            super().__init__()
            self.a = nn.Linear(6, 3)

        def forward(self, x):
            raise error("not these")

    train, test = examples()
    with pytest.raises(ShapeMismatch, match=r"it refuses: .*not these"):
        stitch_all(Refusing(), network(), train, test)


def test_counters_in_buffers_stand_where_they_stood():
    class Counting(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(6, 5), nn.Linear(5, 3)
            self.register_buffer("seen", torch.zeros(()))

        def forward(self, x):
            self.seen += 1
            return self.b(torch.relu(self.a(x)))

    train, test = examples()
    counting = Counting()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        stitch_all(counting, network(), train, test, by=Direct())
    assert counting.seen == 0
