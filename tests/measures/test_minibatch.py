"""Minibatch CKA: oracle, any batching, many layers at once, precision, dead layers, errors."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from laws import normal

from modelstitch.errors import DataError, NumericalFailure, SettingError, ShapeMismatch
from modelstitch.measures import products
from modelstitch.measures.cka import debiased_cka
from modelstitch.measures.minibatch import CKA_MINIBATCH, GramTable, minibatch_cka


def sides(n, p, q, seed=0):
    x = normal(n, p, seed=seed)
    return x, torch.tanh(x @ normal(p, q, seed=seed + 1)) + 0.5 * normal(n, q, seed=seed + 2)


def hsic(k, m):
    """Song et al.'s unbiased estimator, term by term, of Gram matrices that are not centred."""
    n, ones = len(k), np.ones(len(k))
    k, m = k - np.diag(np.diag(k)), m - np.diag(np.diag(m))
    means = (ones @ k @ ones) * (ones @ m @ ones) / ((n - 1) * (n - 2))
    return (np.trace(k @ m) + means - 2 / (n - 2) * (ones @ k @ m @ ones)) / (n * (n - 3))


def batches(x, size):
    """Full ones, then what remains, which needs four rows to stand alone."""
    cuts = list(range(0, len(x), size))
    if len(cuts) > 1 and len(x) - cuts[-1] < 4:
        cuts.pop()
    return [x[begin:end].double().numpy() for begin, end in zip(cuts, [*cuts[1:], len(x)], strict=True)]


def oracle(x, y, size):
    terms = np.zeros(3)
    for a, b in zip(batches(x, size), batches(y, size), strict=True):
        k, m = a @ a.T, b @ b.T
        terms += len(a) * np.array([hsic(k, m), hsic(k, k), hsic(m, m)])
    return terms[0] / np.sqrt(terms[1] * terms[2])


def tabled(xs, ys, size, steps=(5,)):
    table, begin, turn = GramTable(size), 0, 0
    while begin < len(xs[0]):
        end = begin + steps[turn % len(steps)]
        table.update([x[begin:end] for x in xs], [y[begin:end] for y in ys])
        begin, turn = end, turn + 1
    return table


# Full batches alone; remainders of 1, 3 and 4; one batch not full; one batch with three more; fewer rows than channels.
SHAPES = [(24, 5, 4, 8), (25, 5, 4, 8), (27, 5, 4, 8), (28, 5, 4, 8), (6, 3, 9, 8), (11, 3, 2, 8), (12, 30, 20, 4)]


@pytest.mark.parametrize(("n", "p", "q", "size"), SHAPES)
def test_equals_the_definition(n, p, q, size):
    x, y = sides(n, p, q)
    assert minibatch_cka(x, y, batch_size=size) == pytest.approx(oracle(x, y, size), abs=1e-10)
    assert tabled([x], [y], size).value(0, 0) == pytest.approx(oracle(x, y, size), abs=1e-10)


def plain_mean_of_ratios(x, y):
    return np.mean([debiased_cka(a, b) for a, b in zip(x.split(8), y.split(8), strict=True)])


def last_batch(x, y):
    return debiased_cka(x[-8:], y[-8:])


def remainder_left_out(x, y):
    return oracle(x[:24], y[:24], 8)


def remainder_in_full(x, y):
    terms = np.zeros(3)
    for a, b in zip(batches(x, 8), batches(y, 8), strict=True):
        terms += [hsic(k @ k.T, m @ m.T) for k, m in ((a, b), (a, a), (b, b))]
    return terms[0] / np.sqrt(terms[1] * terms[2])


@pytest.mark.parametrize(
    "wrong", [plain_mean_of_ratios, last_batch, remainder_left_out, remainder_in_full, debiased_cka]
)
def test_canary_the_oracle_tells_a_wrong_measure(wrong):
    x, y = sides(29, 5, 4)
    assert abs(wrong(x, y) - oracle(x, y, 8)) > 1e-3


def test_one_batch_is_the_debiased_value():
    x, y = sides(40, 5, 4)
    assert minibatch_cka(x, y) == CKA_MINIBATCH(x, y) == pytest.approx(debiased_cka(x, y), rel=1e-10)


@settings(max_examples=40)
@given(steps=st.lists(st.integers(1, 30), min_size=1, max_size=4), n=st.integers(4, 60), size=st.integers(4, 20))
def test_the_value_does_not_depend_on_how_the_rows_arrive(steps, n, size):
    x, y = (side.float() for side in sides(n, 5, 4))
    # Bit for bit: the same rows meet in the same products.
    assert tabled([x], [y], size, steps).value(0, 0) == tabled([x], [y], size, [n]).value(0, 0)


def test_all_layers_with_all_layers():
    xs = [normal(45, p, seed=p) for p in (3, 8, 40)]
    ys = [torch.tanh(xs[0] @ normal(3, 6, seed=1)), xs[2] @ normal(40, 5, seed=2)]
    table = tabled(xs, ys, 16, [7, 1, 12])
    for i, x in enumerate(xs):
        for j, y in enumerate(ys):
            assert table.value(i, j) == pytest.approx(oracle(x, y, 16), abs=1e-10)


def test_a_network_with_itself_makes_each_product_once(monkeypatch):
    xs = [normal(20, p, seed=p) for p in (3, 8)]
    made = []
    original = products._lower
    monkeypatch.setattr(products, "_lower", lambda rows: made.append(1) or original(rows))
    table = GramTable(20)
    table.update(xs, xs)
    assert table.value(0, 1) == pytest.approx(oracle(*xs, 20), abs=1e-10)
    assert table.value(0, 0) == pytest.approx(1.0, abs=1e-12)
    assert len(made) == 2
    with pytest.raises(DataError, match="of one and the same list"):
        table.update(xs, list(xs))


def test_a_value_in_between_changes_nothing_that_follows():
    x, y = sides(50, 5, 4)
    table = GramTable(16)
    for begin in range(0, 50, 10):
        table.update([x[begin : begin + 10]], [y[begin : begin + 10]])
        found = table.value(0, 0), table.value(0, 0)
        assert found == pytest.approx([oracle(x[: begin + 10], y[: begin + 10], 16)] * 2, abs=1e-10)


def test_the_callers_memory_may_be_used_again():
    x, y = sides(30, 5, 4)
    table = GramTable(8)
    for begin in range(0, 30, 3):
        a, b = x[begin : begin + 3].clone(), y[begin : begin + 3].clone()
        table.update([a], [b])
        a.fill_(9.0)
        b.fill_(9.0)
    assert table.value(0, 0) == pytest.approx(oracle(x, y, 8), abs=1e-10)


@pytest.mark.parametrize("offset", [0.0, 10.0, 1e4])
@pytest.mark.parametrize(("p", "q"), [(5, 4), (600, 500)])
def test_regression_a_large_mean_in_float32_costs_no_digits(p, q, offset):
    x, y = sides(70, p, q)
    x, y = (x + offset).float(), (y + offset).float()
    expected = oracle(x.double() - offset, y.double() - offset, 32)
    assert minibatch_cka(x, y, batch_size=32) == pytest.approx(expected, abs=1e-9)
    # Products in float32: what the docstring promises.
    assert tabled([x], [y], 32).value(0, 0) == pytest.approx(expected, abs=1e-6)
    accumulator = CKA_MINIBATCH.accumulator()
    accumulator.update(x, y)
    assert accumulator.compute() == CKA_MINIBATCH(x, y)


def test_a_first_row_far_from_the_others_costs_them_no_digits():
    x, y = sides(60, 600, 500)
    x[::20] += 20.0
    found = tabled([x.float()], [y.float()], 20).value(0, 0)
    # What the docstring promises; about the first row alone, the error would be 9e-6.
    assert found == pytest.approx(oracle(x, y, 20), abs=1e-6)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_rows_are_multiplied_in_float32(dtype):
    x, y = (side.to(dtype) for side in sides(30, 5, 4))
    assert tabled([x], [y], 16).value(0, 0) == pytest.approx(oracle(x, y, 16), abs=1e-6)


def test_products_keep_their_digits_where_float32_is_traded_for_speed(monkeypatch):
    x, y = (side.float() for side in sides(40, 300, 300))
    expected = tabled([x.double()], [y.double()], 16).value(0, 0)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert tabled([x], [y], 16).value(0, 0) == pytest.approx(expected, abs=1e-6)
    # Whatever the processor would do with that setting, float64 is left alone by it.
    types, multiply = [], torch.mm
    monkeypatch.setattr(torch, "mm", lambda a, b, out: types.append(a.dtype) or multiply(a, b, out=out))

    def mixed():
        raise RuntimeError("set for one backend alone")

    for answer, dtype in ((lambda: "highest", "32"), (lambda: "medium", "64"), (mixed, "64")):
        monkeypatch.setattr(torch, "get_float32_matmul_precision", answer)
        types.clear()
        assert tabled([x], [y], 16).value(0, 0) == pytest.approx(expected, abs=1e-6)
        assert {str(one) for one in types} == {f"torch.float{dtype}"}


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_the_scale_neither_overflows_nor_underflows(scale):
    x, y = (side.float() for side in sides(40, 5, 4))
    value = tabled([x], [y], 16).value(0, 0)
    assert tabled([x * scale], [y / scale], 16).value(0, 0) == pytest.approx(value, rel=1e-5)


def test_regression_the_last_batch_of_one_counts_and_does_not_raise():
    x, y = sides(33, 5, 4)
    value = tabled([x], [y], 16, [16]).value(0, 0)
    assert value == pytest.approx(oracle(x, y, 16), abs=1e-10)
    assert abs(value - minibatch_cka(x[:32], y[:32], batch_size=16)) > 1e-4


def test_regression_unrelated_rows_fewer_than_channels_stay_near_zero():
    values = [minibatch_cka(normal(40, 300, seed=s), normal(40, 300, seed=s + 50), batch_size=20) for s in range(20)]
    assert abs(np.mean(values)) < 3 * np.std(values) / np.sqrt(20)
    assert np.std(values) < 0.1


@pytest.mark.parametrize("value", [0.0, 0.1, 1e4])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_regression_a_dead_layer_costs_the_others_nothing(value, dtype):
    x, y = (side.to(dtype) for side in sides(50, 5, 4))
    dead = torch.full_like(x, value)
    table = tabled([x, dead], [dead, y], 16)
    # Beside a table of as many layers, all alive: a product of another shape may round otherwise in the last bit.
    assert table.value(0, 1) == tabled([x, x], [y, y], 16).value(0, 1)
    with pytest.raises(NumericalFailure, match=r"x\[1\] is constant"):
        table.value(1, 1)
    with pytest.raises(NumericalFailure, match=r"y\[0\] is constant"):
        table.value(0, 0)
    # A dead channel beside live ones changes nothing.
    beside = tabled([torch.cat([x, dead], 1)], [y], 16).value(0, 0)
    assert beside == pytest.approx(table.value(0, 1), abs=1e-6)


def test_a_layer_that_differs_between_batches_alone_has_no_value():
    x, y = sides(32, 3, 4)
    steps = torch.full((32, 3), 0.1) + 7.3 * (torch.arange(32) >= 16)[:, None]
    with pytest.raises(NumericalFailure, match=r"x\[0\] is constant: in every batch"):
        tabled([steps], [y.float()], 16).value(0, 0)
    with pytest.raises(NumericalFailure, match="y is constant: in every batch"):
        minibatch_cka(x, steps, batch_size=16)


def test_nothing_is_left_of_one_row_that_differs():
    x, y = sides(12, 3, 4)
    lonely = torch.full_like(x, 0.1)
    lonely[5, 1] = 1.0
    with pytest.raises(NumericalFailure, match="no covariance of x left without the diagonal"):
        CKA_MINIBATCH(lonely, y)
    with pytest.raises(NumericalFailure, match=r"no covariance of y\[0\] left"):
        tabled([x.float()], [lonely.float()], 256).value(0, 0)


def test_values_too_large_to_square_are_refused():
    x, y = sides(12, 3, 4)
    with pytest.raises(NumericalFailure, match=r"activations of y\[0\] too large to be squared"):
        tabled([x], [y.double() * 1e120], 8).value(0, 0)


@pytest.mark.parametrize("scale", [1e-75, 1e-100, 1e-160, 1e-200, 1e-300])
def test_values_too_small_to_square_are_no_constant(scale):
    x, y = sides(12, 3, 4)
    table = tabled([x, x], [y.double() * scale, torch.full_like(y, 0.1)], 8)
    with pytest.raises(NumericalFailure, match=r"values of y\[0\] too small to be squared"):
        table.value(0, 0)
    with pytest.raises(NumericalFailure, match=r"y\[1\] is constant"):
        table.value(1, 1)


@pytest.mark.parametrize("n", [0, 1, 3])
def test_too_few_rows_are_refused(n):
    x, y = sides(max(n, 1), 3, 3)
    table = GramTable()
    if n:
        table.update([x], [y])
    with pytest.raises(DataError, match=f"{n} paired rows"):
        table.value(0, 0)


def test_refused_rows_leave_the_table_as_it_was():
    x, y = sides(20, 5, 4)
    table = tabled([x], [y], 8)
    before = table.value(0, 0)
    refused = [
        (DataError, "20 rows of x and 19 rows of y|19 rows of x and 20 rows of y", [x], [y[:19]]),
        (DataError, "0 rows of x and 0 rows of y", [x[:0]], [y[:0]]),
        (DataError, "2 and 1 layers after 1 and 1", [x, x], [y]),
        (ShapeMismatch, r"more rows of y\[0\], of 3 channels", [x], [y[:, :3]]),
        (NumericalFailure, r"of y\[0\] not finite", [x], [y.masked_fill(y == y[3, 1], float("nan"))]),
        (NumericalFailure, r"of x\[0\] not finite", [x / 0.0], [y]),
    ]
    for error, match, xs, ys in refused:
        with pytest.raises(error, match=match):
            table.update(xs, ys)
        assert table.value(0, 0) == before
    table.update([x], [y])
    assert table.value(0, 0) == pytest.approx(oracle(torch.cat([x, x]), torch.cat([y, y]), 8), abs=1e-10)


def test_batches_of_fewer_than_four_are_refused():
    x, y = sides(20, 5, 4)
    with pytest.raises(SettingError, match="batch_size=3"):
        minibatch_cka(x, y, batch_size=3)
    with pytest.raises(SettingError, match="batch_size=3"):
        GramTable(3)
