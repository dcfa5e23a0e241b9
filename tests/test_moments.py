"""Streamed moments against the one-shot float64 answer."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from modelstitch.errors import DataError, NumericalFailure, ShapeMismatch
from modelstitch.moments import Moments, MomentsTable, varying
from modelstitch.support.seeding import generator

SUMS = ("mean_x", "mean_y", "xx", "xy", "yy", "uncentred_xx", "uncentred_xy", "uncentred_yy")
NORMS = ("norms_xx", "norms_xy", "norms_yy")


def paired(n, p=3, q=2, offset=0.0, seed=0, dtype=torch.float32):
    random = generator("moments test", n, p, q, seed)
    x = torch.randn(n, p, generator=random)
    y = x @ torch.randn(p, q, generator=random) + torch.randn(n, q, generator=random)
    return (x + offset).to(dtype), (y - offset).to(dtype)


def oracle(x, y):
    x, y = x.double().numpy(), y.double().numpy()
    a, b = x - x.mean(0), y - y.mean(0)
    sums = (x.mean(0), y.mean(0), a.T @ a, a.T @ b, b.T @ b, x.T @ x, x.T @ y, y.T @ y)
    u, v = (a**2).sum(1), (b**2).sum(1)
    return dict(zip((*SUMS, *NORMS), (*sums, (u * u).sum(), (u * v).sum(), (v * v).sum()), strict=True))


def assert_matches(moments, x, y):
    assert moments.n == len(x)
    for name, wanted in oracle(x, y).items():
        # An entry off the diagonal may cancel to nothing, so the tolerance is relative to the largest one.
        np.testing.assert_allclose(
            np.asarray(getattr(moments, name)), wanted, rtol=1e-10, atol=1e-10 * np.abs(wanted).max(), err_msg=name
        )


def assert_global(accumulator, batches):
    """The global law: any batching gives the one-shot answer."""
    moments = accumulator()
    for x, y in batches:
        moments.update(x, y)
    assert_matches(moments, torch.cat([x for x, _ in batches]), torch.cat([y for _, y in batches]))


def split(x, y, sizes):
    return list(zip(x.split(sizes), y.split(sizes), strict=True))


@settings(deadline=None)
@given(
    sizes=st.lists(st.integers(1, 12), min_size=1, max_size=5),
    p=st.integers(1, 4),
    q=st.integers(1, 4),
    offset=st.sampled_from([0.0, 10.0, -1e4]),
    seed=st.integers(0, 9),
)
def test_any_batching_gives_the_one_shot_answer(sizes, p, q, offset, seed):
    sizes = [*sizes, 1]
    assert_global(Moments, split(*paired(sum(sizes), p, q, offset, seed), sizes))


class DropsLast(Moments):
    """Adds a batch only when the next one comes."""

    held = None

    def update(self, x, y):
        if self.held is not None:
            super().update(*self.held)
        self.held = (x, y)


class AveragesBatches(Moments):
    """Takes the mean of the batches' means, as if all batches were alike."""

    def update(self, x, y):
        self.batches = [*getattr(self, "batches", []), (x.double(), y.double())]
        super().update(x, y)

    @property
    def mean_x(self):
        return torch.stack([x.mean(0) for x, _ in self.batches]).mean(0)


class Textbook(Moments):
    """``Σ x² - n x̄²`` in float64: right without an offset, short of digits with one."""

    total = 0.0
    squares = 0.0

    def update(self, x, y):
        super().update(x, y)
        self.total = self.total + x.double().sum(0)
        self.squares = self.squares + x.double().T @ x.double()

    @property
    def xx(self):
        return self.squares - torch.outer(self.total, self.total) / self.n


@pytest.mark.parametrize("wrong", [DropsLast, AveragesBatches, Textbook])
def test_canary_the_global_law_catches_a_wrong_accumulator(wrong):
    batches = split(*paired(15, offset=1e4), [7, 7, 1])
    assert_global(Moments, batches)
    with pytest.raises(AssertionError, match=r"Not equal to tolerance|assert"):
        assert_global(wrong, batches)


@settings(deadline=None)
@given(first=st.integers(1, 9), second=st.integers(1, 9), offset=st.sampled_from([0.0, 1e4]))
def test_merging_equals_seeing_all_rows(first, second, offset):
    x, y = paired(first + second, offset=offset)
    left, right = Moments(), Moments()
    left.update(x[:first], y[:first])
    right.update(x[first:], y[first:])
    left.merge(right)
    assert_matches(left, x, y)
    assert_matches(right, x[first:], y[first:])


def test_merging_with_nothing_changes_nothing():
    x, y = paired(5)
    moments = Moments()
    moments.merge(Moments())
    assert moments.n == 0
    moments.update(x, y)
    moments.merge(Moments())
    assert_matches(moments, x, y)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_every_input_type_is_summed_in_float64(dtype):
    assert_global(Moments, split(*paired(64, offset=10.0, dtype=dtype), [63, 1]))


def test_gradients_are_not_kept():
    x, y = paired(4)
    moments = Moments()
    moments.update(x.requires_grad_(), y)
    assert not moments.xx.requires_grad


@pytest.mark.parametrize("constant", [0.0, 0.1, -1e4, 1e30])
def test_a_constant_channel_is_known_from_one_that_hardly_varies(constant):
    x, y = paired(1000)
    x[:, 0] = constant
    x[:, 1] = 1e4
    x[::2, 1] = float(np.nextafter(np.float32(1e4), np.float32(2e4)))
    moments = Moments()
    for batch in split(x, y, 7):
        moments.update(*batch)
    assert moments.varies_x.tolist() == [False, True, True]
    assert moments.varies_y.tolist() == [True, True]


def test_varying_is_relative_to_the_mean():
    mean = torch.tensor([1.0, 1e6]).double()
    assert varying(mean, torch.tensor([1e-13, 1e-13]).double(), 1).tolist() == [True, False]


@pytest.mark.parametrize("side", ["x", "y"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_non_finite_value_is_refused_and_leaves_the_sums_alone(side, value):
    x, y = paired(5)
    moments = Moments()
    moments.update(x, y)
    bad = {"x": x.clone(), "y": y.clone()}
    bad[side][1, 0] = value
    with pytest.raises(NumericalFailure, match=f"1 of 1[05] values of {side} not finite"):
        moments.update(**bad)
    assert_matches(moments, x, y)


def test_values_too_large_to_square_are_refused():
    x, y = paired(3, dtype=torch.float64)
    with pytest.raises(NumericalFailure, match="the squares of x not finite"):
        Moments().update(x * 1e200, y)
    with pytest.raises(NumericalFailure, match="the squares of y not finite"):
        Moments().update(x, y * 1e200)


@pytest.mark.parametrize(("n", "m"), [(0, 0), (3, 4)])
def test_rows_that_do_not_pair_are_refused(n, m):
    with pytest.raises(DataError, match=f"{n} rows of x and {m} rows of y"):
        Moments().update(torch.zeros(n, 2), torch.zeros(m, 2))


@pytest.mark.parametrize("name", [*SUMS, *NORMS, "varies_x", "varies_y"])
def test_reading_before_the_first_batch_is_refused(name):
    with pytest.raises(DataError, match="no rows yet"):
        getattr(Moments(), name)


def test_other_channels_are_refused():
    moments = Moments()
    moments.update(*paired(4, p=3, q=2))
    with pytest.raises(ShapeMismatch, match="moments of 3 channels"):
        moments.update(*paired(4, p=2, q=2))


def layers(widths, n, seed, offset=0.0):
    return [paired(n, p, 1, offset, seed + i)[0] for i, p in enumerate(widths)]


@settings(deadline=None)
@given(sizes=st.lists(st.integers(1, 9), min_size=1, max_size=4), offset=st.sampled_from([0.0, 1e4]))
def test_a_table_holds_the_moments_of_every_pair(sizes, offset):
    xs, ys = layers((3, 5), sum(sizes), 0, offset), layers((2, 3, 4), sum(sizes), 7, offset)
    table = MomentsTable()
    for batch in zip(*(layer.split(sizes) for layer in (*xs, *ys)), strict=True):
        table.update(batch[:2], batch[2:])
    for i, x in enumerate(xs):
        for j, y in enumerate(ys):
            assert_matches(table.at(i, j), x, y)


def test_canary_a_table_of_swapped_layers_is_seen():
    xs, ys = layers((3, 3), 9, 0), layers((3, 3), 9, 7)
    table = MomentsTable()
    table.update(xs[::-1], ys)
    with pytest.raises(AssertionError, match="Not equal to tolerance"):
        assert_matches(table.at(0, 0), xs[0], ys[0])


def test_a_table_refuses_what_does_not_fit_and_stays_as_it_was():
    xs, ys = layers((3, 2), 6, 0), layers((4,), 6, 5)
    table = MomentsTable()
    table.update(xs, ys)
    with pytest.raises(DataError, match="1 and 1 layers after 2 and 1"):
        table.update(xs[:1], ys)
    with pytest.raises(DataError, match="5 rows of x and 6 rows of y"):
        table.update([xs[0], xs[1][:5]], ys)
    with pytest.raises(ShapeMismatch, match="more rows of 2 channels"):
        table.update(xs[::-1], ys)
    with pytest.raises(NumericalFailure, match=r"values of x\[1\] not finite"):
        table.update([xs[0], xs[1] / 0], ys)
    assert_matches(table.at(1, 0), xs[1], ys[0])
