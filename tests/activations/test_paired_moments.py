"""Paired moments of activations: the global law, pairing by example, one pass a network."""

import dataclasses
import itertools
from collections import Counter, OrderedDict

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from modelstitch.activations import Sources
from modelstitch.activations.moments import paired_moments
from modelstitch.activations.rows import real_rows
from modelstitch.cut import capture
from modelstitch.cut.captured import capture_of
from modelstitch.cut.part import Part
from modelstitch.data import Samples, as_samples
from modelstitch.measures import linear_cka_from_moments
from modelstitch.moments import Moments
from modelstitch.stitches.closed_form import least_squares
from modelstitch.support.seeding import generator, seeded

N = 23


def conv_net(seed, width=3):
    with seeded("statistics test", seed):
        blocks = [
            ("block1", nn.Sequential(nn.Conv2d(1, width, 3, padding=1), nn.BatchNorm2d(width), nn.Tanh())),
            ("block2", nn.Sequential(nn.Conv2d(width, 4, 3, stride=2), nn.ReLU())),
            ("flatten", nn.Flatten()),
            ("fc", nn.Linear(16, 3)),
        ]
        return nn.Sequential(OrderedDict(blocks)).eval()


def images(n=N):
    return torch.randn(n, 1, 6, 6, generator=generator("statistics test", n))


def samples(n=N):
    return Samples("toy", images(n), torch.arange(n) % 3, classes=3)


@pytest.fixture(scope="module")
def captured():
    """Two networks of different widths."""
    return [capture(conv_net(seed, width), images(2)) for seed, width in ((0, 3), (1, 5))]


def moments_of(a, b, pairs, examples, size, monkeypatch):
    monkeypatch.setattr("modelstitch.activations.moments.BATCH", size)
    sources = Sources(examples)
    return paired_moments(sources.of(a), sources.of(b), pairs)


def pairs_of(a, b):
    return [(a.find(name), b.find(name)) for name in ("block2", "block1", "flatten")]


def table(network, name, inputs):
    """Rows by definition: one per example and position, channels last, in float64."""
    layers = OrderedDict(network.named_children())
    with torch.no_grad():
        for layer_name, layer in layers.items():
            inputs = layer(inputs)
            if layer_name == name:
                break
    values = inputs.double().numpy()
    return values.transpose(0, 2, 3, 1).reshape(-1, values.shape[1]) if values.ndim == 4 else values


def assert_global(found, x, y):
    """The one-shot answer in float64, from the definition."""
    assert found.n == len(x)
    np.testing.assert_allclose(found.mean_x, x.mean(0), rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(found.mean_y, y.mean(0), rtol=1e-6, atol=1e-7)
    for name, left, right in (("xx", x, x), ("xy", x, y), ("yy", y, y)):
        expected = (left - left.mean(0)).T @ (right - right.mean(0))
        np.testing.assert_allclose(getattr(found, name), expected, rtol=1e-5, atol=1e-5 * abs(expected).max())


# A last batch of one: 22 leaves 1, 11 leaves 1, and size 1 has nothing else.
@pytest.mark.parametrize("size", [1, 7, 11, 22, N, 100])
def test_streamed_moments_are_the_one_shot_answer(captured, size, monkeypatch):
    a, b = captured
    found = moments_of(a, b, pairs_of(a, b), samples(), size, monkeypatch)
    for (cut, _), sums in zip(pairs_of(a, b), found, strict=True):
        x, y = (table(conv_net(seed, width), cut.name, images()) for seed, width in ((0, 3), (1, 5)))
        assert_global(sums, x, y)


class BatchCentred(Moments):
    """Wrong: forgets that the means of the batches differ."""

    def _add(self, part):
        before = self._sums
        super()._add(part)
        if before is not None:
            scatter = before.across.scatter + part.across.scatter
            self._sums = self._sums._replace(across=dataclasses.replace(self._sums.across, scatter=scatter))


class LosesTheLast(Moments):
    """Wrong: leaves out a batch of one position's worth of rows."""

    def update(self, x, y):
        if len(x) > 36:
            super().update(x, y)


@pytest.mark.parametrize("wrong", [BatchCentred, LosesTheLast])
def test_canary_the_global_law_catches_wrong_sums(captured, monkeypatch, wrong):
    a, b = captured
    monkeypatch.setattr("modelstitch.activations.moments.Moments", wrong)
    (sums,) = moments_of(a, b, [(a.find("block1"), b.find("block1"))], samples(), 11, monkeypatch)
    x, y = (table(conv_net(seed, width), "block1", images()) for seed, width in ((0, 3), (1, 5)))
    with pytest.raises(AssertionError):
        assert_global(sums, x, y)


def assert_each_runs_once(run, monkeypatch):
    """The law: whatever the number of pairs, a bottom sees every sample once."""
    seen = Counter()
    forward = Part.forward

    def counted(self, x):
        # A short batch is filled up with its own examples.
        seen[id(capture_of(self))] += len({row.numpy().tobytes() for row in x})
        return forward(self, x)

    monkeypatch.setattr(Part, "forward", counted)
    run()
    assert sorted(seen.values()) == [N, N]


def test_each_network_runs_once_over_the_samples_whatever_the_number_of_pairs(captured, monkeypatch):
    a, b = captured
    assert_each_runs_once(lambda: moments_of(a, b, pairs_of(a, b), samples(), 7, monkeypatch), monkeypatch)


def test_canary_the_once_law_catches_a_pass_for_each_pair(captured, monkeypatch):
    a, b = captured
    assert len(pairs_of(a, b)) > 1

    def apart():
        return [moments_of(a, b, [pair], samples(), 7, monkeypatch) for pair in pairs_of(a, b)]

    with pytest.raises(AssertionError):
        assert_each_runs_once(apart, monkeypatch)


def test_no_pairs_cost_nothing(captured, monkeypatch):
    assert moments_of(*captured, [], samples(), 7, monkeypatch) == []


def shuffling():
    pairs = TensorDataset(images(), torch.arange(N) % 3)
    return DataLoader(pairs, batch_size=5, shuffle=True, generator=generator("a loader that shuffles"))


def assert_paired_by_example(captured, monkeypatch):
    """A network beside itself: CKA 1 and nothing left to fit, if both saw the same examples in the same order."""
    one = captured[0]
    cut = one.find("block1")
    (sums,) = moments_of(one, one, [(cut, cut)], as_samples(shuffling()), 7, monkeypatch)
    assert linear_cka_from_moments(sums) == 1.0
    assert least_squares(sums).residual < 1e-12


def test_a_source_that_shuffles_is_seen_in_one_order_by_both(captured, monkeypatch):
    assert_paired_by_example(captured, monkeypatch)


def test_canary_the_pairing_law_catches_two_orders(captured, monkeypatch):
    calls = itertools.count()

    def wrong_rows(activation, cut, mask):
        return real_rows(activation.flip(0) if next(calls) % 2 else activation, cut, mask)

    monkeypatch.setattr("modelstitch.activations.moments.real_rows", wrong_rows)
    with pytest.raises(AssertionError):
        assert_paired_by_example(captured, monkeypatch)


@pytest.mark.parametrize("width", [5, 16, 33])
def test_moments_of_swapped_networks_are_the_swapped_moments_bit_for_bit(width):
    # Both directions of a sweep share one pass; alone, each makes its own. Their records must not differ.
    x, y = (torch.randn(60, w, generator=generator("swapped", w)) for w in (width, width + 1))
    forth, back = Moments(), Moments()
    for start in (0, 31):
        forth.update(x[start : start + 31], y[start : start + 31])
        back.update(y[start : start + 31], x[start : start + 31])
    found, expected = least_squares(forth.swapped()), least_squares(back)
    assert torch.equal(forth.swapped().xy, back.xy)
    assert torch.equal(found.weight, expected.weight)
    assert found.residual == expected.residual
