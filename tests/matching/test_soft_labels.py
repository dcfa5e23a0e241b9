"""Soft labels: 0 for the top's own answers, the formula written out, what is never read, and what is refused."""

import math

import numpy as np
import pytest
import scipy.special
import torch
from test_fit import TEST, TRAIN, stitch_weights, trained

import modelstitch as ms
from modelstitch.cut import capture
from modelstitch.data import Batch, Samples
from modelstitch.errors import SettingError, TaskMismatch
from modelstitch.matching import SoftLabels, fit
from modelstitch.stitched import Stitched
from modelstitch.stitches import Affine, Identity
from modelstitch.support.seeding import generator
from modelstitch.tasks import Classification, Imitation, MultiLabel, Regression

TASK = Classification()
OTHER_LABELS = Samples("points", TRAIN.inputs, (TRAIN.labels + 1) % 3, classes=3)


@pytest.fixture(scope="module")
def networks():
    return trained(0), trained(1)


@pytest.fixture(scope="module")
def captured(networks):
    return [capture(network, TRAIN.example) for network in networks]


def scores(*shape, seed=0):
    return torch.randn(*shape, generator=generator("soft labels test", *shape, seed)) * 3


def held(top, mask=None):
    return Batch(torch.zeros(len(top)), top, mask)


def fitted(captured, by, train=TRAIN, **options):
    a, b = captured
    return fit(Affine(), a.bottom("block1"), b.top("block1"), train, by=by, **options)


def by_hand(z, t, temperature):
    """The definition, in numpy."""
    log_q, log_p = (scipy.special.log_softmax(one.double().numpy() / temperature, -1) for one in (z, t))
    return temperature**2 * (np.exp(log_p) * (log_p - log_q)).sum(-1)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0, 20.0])
def test_the_loss_is_the_definition(temperature):
    z, t = scores(6, 5).double(), scores(6, 5, seed=1).double()
    by = SoftLabels(temperature=temperature)
    np.testing.assert_allclose(by.losses(z, held(t), TASK), by_hand(z, t, temperature), rtol=1e-9)
    assert by.loss(z, held(t), TASK).item() == pytest.approx(by_hand(z, t, temperature).mean())


def test_the_gradient_is_that_of_the_definition():
    z, t = scores(4, 5).double().requires_grad_(), scores(4, 5, seed=1).double()
    assert torch.autograd.gradcheck(lambda one: SoftLabels(temperature=3.0).losses(one, held(t), TASK), (z,))
    (found,) = torch.autograd.grad(SoftLabels(temperature=3.0).losses(z, held(t), TASK).sum(), z)
    torch.testing.assert_close(found, 3 * (torch.softmax(z / 3, 1) - torch.softmax(t / 3, 1)).detach())


def test_scores_far_apart_keep_a_finite_loss_and_gradient():
    z, t = (scores(4, 5) * 1e4).requires_grad_(), scores(4, 5, seed=1) * 1e4
    loss = SoftLabels().loss(z, held(t), TASK)
    loss.backward()
    assert loss.isfinite()
    assert z.grad.isfinite().all()


def test_at_a_high_temperature_it_is_half_the_squared_distance_of_centred_scores():
    z, t = scores(4, 5).double(), scores(4, 5, seed=1).double()
    apart = (z - t) - (z - t).mean(1, keepdim=True)
    found = SoftLabels(temperature=1e3).losses(z, held(t), TASK)
    torch.testing.assert_close(found, apart.square().sum(1) / (2 * 5), rtol=2e-2, atol=0)


def test_of_texts_every_position_counts_once_and_padding_not_at_all():
    z, t = scores(2, 4, 5), scores(2, 4, 5, seed=1)
    mask = torch.tensor([[1, 1, 1, 0], [1, 0, 0, 0]])
    z[0, 3], t[1, 2] = math.nan, math.nan
    z.requires_grad_()
    by, batch = SoftLabels(temperature=2.0), held(t, mask)
    expected = by_hand(z[mask.bool()].detach(), t[mask.bool()], 2.0)
    np.testing.assert_allclose(by.losses(z, batch, TASK).detach(), [expected[:3].sum(), expected[3]], rtol=1e-5)
    assert by.weights(batch, TASK).tolist() == [3.0, 1.0]
    loss = by.loss(z, batch, TASK)
    loss.backward()
    assert loss.item() == pytest.approx(expected.mean(), rel=1e-5)
    assert z.grad.isfinite().all()
    assert SoftLabels().weights(held(scores(2, 4, 5)), TASK).tolist() == [4.0, 4.0]


def test_a_network_with_itself_by_the_identity_loses_nothing(captured):
    network = captured[1]
    whole = Stitched(network.bottom("block1"), Identity().build(*[network.find("block1")] * 2), network.top("block1"))
    batch = held(network.top("input")(TRAIN.inputs))
    assert SoftLabels(temperature=4.0).losses(whole(TRAIN.inputs), batch, TASK).tolist() == [0.0] * len(TRAIN)


def divergence(found, top, temperature):
    with torch.no_grad():
        z, t = found.stitched(TRAIN.inputs), top.top("input")(TRAIN.inputs)
    return by_hand(z, t, temperature).mean()


def test_a_fit_lowers_the_divergence_from_the_top(captured):
    start = fitted(captured, SoftLabels(epochs=1, learning_rate=0.0, start="identity", temperature=2.0))
    found = fitted(captured, SoftLabels(epochs=20, batch_size=16, start="identity", temperature=2.0))
    assert divergence(found, captured[1], 2.0) < 0.8 * divergence(start, captured[1], 2.0)
    assert start.curve[0] == pytest.approx(divergence(start, captured[1], 2.0), rel=1e-4)


@pytest.mark.parametrize("options", [{}, {"patience": 2}])
def test_labels_are_never_read(captured, options):
    by = SoftLabels(epochs=3, batch_size=16, **options)
    found, other = (fitted(captured, by, train, task=Classification(3)) for train in (TRAIN, OTHER_LABELS))
    assert found.curve == other.curve
    for one, two in zip(stitch_weights(found).values(), stitch_weights(other).values(), strict=True):
        assert torch.equal(one, two)


def test_the_temperature_matters(captured):
    one, four = (fitted(captured, SoftLabels(epochs=2, batch_size=16, temperature=t)) for t in (1.0, 4.0))
    assert not torch.equal(stitch_weights(one)["layer.weight"], stitch_weights(four)["layer.weight"])


def test_at_temperature_one_it_is_the_loss_of_imitation(captured):
    z, t = scores(6, 5), scores(6, 5, seed=1)
    assert torch.equal(SoftLabels().losses(z, held(t), TASK), Imitation().losses(z, held(t)))


def test_a_stitching_is_fitted_so_and_its_record_says_so(networks):
    told = dict(zip("AB", networks, strict=True))
    record = ms.stitch("A@block1 -> B@block1", told, TRAIN, TEST, by=SoftLabels(epochs=3, temperature=4.0))
    assert record.status == "ok"
    assert '"name": "soft_labels"' in record.matching
    assert '"temperature": 4.0' in record.matching
    assert ms.SoftLabels is SoftLabels


@pytest.mark.parametrize("temperature", [0.0, -1.0, math.inf, math.nan])
def test_an_impossible_temperature_is_refused(temperature):
    with pytest.raises(SettingError, match=r"temperature=.*\nfound: no such temperature\ndo:    choose a finite"):
        SoftLabels(temperature=temperature)


def test_what_every_descent_refuses_is_refused():
    with pytest.raises(SettingError, match="SoftLabels with epochs=0"):
        SoftLabels(epochs=0)


@pytest.mark.parametrize(
    ("outputs", "top", "task"),
    [
        (scores(4, 3), scores(4, 3), MultiLabel()),
        (scores(4, 3), scores(4, 3), Regression()),
        (scores(4), scores(4), Classification()),
        (scores(4, 1), scores(4, 1), Classification()),
        (scores(4, 3).long(), scores(4, 3), Classification()),
        (scores(4, 3), scores(4, 2), Classification()),
        (scores(4, 3), torch.zeros(4).long(), Classification()),
        (scores(4, 3), None, Classification()),
    ],
)
def test_outputs_that_are_no_rows_of_scores_are_refused(outputs, top, task):
    batch = Batch(torch.zeros(4), top)
    with pytest.raises(TaskMismatch, match=r"asked: soft labels for 4 examples\nfound: outputs.*\ndo: "):
        SoftLabels().check_outputs(outputs, batch, task)


def test_a_fit_refuses_them(captured):
    with pytest.raises(TaskMismatch, match="outputs of MultiLabel, which are no scores"):
        fitted(captured, SoftLabels(epochs=1), task=MultiLabel())
