"""SimCLR: the loss against its definition, labels that play no part in the trunk, and a head that gains by it."""

import dataclasses

import numpy as np
import pytest
import torch
from held import error_of
from torch import nn

from modelstitch.data import Samples, digits, distort
from modelstitch.errors import DataError, NumericalFailure, SettingError
from modelstitch.networks import build, weights_fingerprint
from modelstitch.pretraining import Schedule, fit_head, nt_xent, train_simclr
from modelstitch.pretraining.simclr import features, twins
from modelstitch.support.seeding import generator

SPLIT = digits()
FEW = SPLIT.train.first(257)


def embeddings(n=6, d=4):
    draw = generator("embeddings")
    return torch.randn(n, d, generator=draw), torch.randn(n, d, generator=draw)


def nt_xent_oracle(a, b, temperature):
    """Equation 1 of the paper, one pair of views after the other, in float64."""
    z = [row / np.linalg.norm(row) for row in np.concatenate([a, b]).astype(np.float64)]
    n, total = len(a), 0.0
    for i in range(2 * n):
        j = i + n if i < n else i - n
        others = sum(np.exp(z[i] @ z[k] / temperature) for k in range(2 * n) if k != i)
        total -= np.log(np.exp(z[i] @ z[j] / temperature) / others)
    return total / (2 * n)


@pytest.mark.parametrize("temperature", [0.1, 0.5, 2.0])
@pytest.mark.parametrize("n", [2, 3, 6])
def test_the_loss_is_its_definition(n, temperature):
    a, b = embeddings(n)
    found = float(nt_xent(a, b, temperature=temperature))
    assert found == pytest.approx(nt_xent_oracle(a.numpy(), b.numpy(), temperature), rel=1e-5)


def test_the_temperature_is_a_half():
    a, b = embeddings()
    assert float(nt_xent(a, b)) == float(nt_xent(a, b, temperature=0.5)) != float(nt_xent(a, b, temperature=1.0))


def test_the_loss_does_not_know_which_view_came_first():
    a, b = embeddings()
    assert float(nt_xent(a, b)) == pytest.approx(float(nt_xent(b, a)), rel=1e-6)
    order = torch.tensor([3, 1, 0, 5, 4, 2])
    assert float(nt_xent(a[order], b[order])) == pytest.approx(float(nt_xent(a, b)), rel=1e-6)
    assert float(nt_xent(a[order], b)) != pytest.approx(float(nt_xent(a, b)), rel=1e-3)


def test_the_loss_does_not_know_the_length_of_an_embedding():
    a, b = embeddings()
    scale = torch.tensor([0.01, 1.0, 3.0, 10.0, 0.5, 100.0]).view(-1, 1)
    assert float(nt_xent(a * scale, b / scale)) == pytest.approx(float(nt_xent(a, b)), rel=1e-5)
    assert float(nt_xent(a + 1, b)) != pytest.approx(float(nt_xent(a, b)), rel=1e-3)


def test_equal_views_of_unlike_images_are_best():
    a = torch.eye(4)
    assert float(nt_xent(a, a)) < float(nt_xent(a, a.roll(1, 0)))


def test_each_view_is_the_twin_of_its_twin():
    found = twins(5)
    assert torch.equal(found[found], torch.arange(10))
    assert (found - torch.arange(10)).abs().eq(5).all()


def network(**options):
    return build("resnet18", seed=0, **{"width": 2, "channels": 1, **options})


def trunk_of(one):
    return {name: tensor.clone() for name, tensor in one.state_dict().items() if not name.startswith("fc")}


def learned(samples=FEW, seed=0, **schedule):
    one = network()
    settings = Schedule(**{"epochs": 2, "batch_size": 64, **schedule})
    return one, train_simclr(one, samples, schedule=settings, seed=seed)


def test_the_same_seed_gives_the_same_bits_and_another_does_not():
    before = torch.random.get_rng_state()
    (a, curve), (b, again), (c, _) = learned(), learned(), learned(seed=1)
    heads = [fit_head(one, FEW, seed=0) for one in (a, b)]
    assert weights_fingerprint(a) == weights_fingerprint(b) != weights_fingerprint(c)
    assert curve == again
    assert heads[0] == heads[1]
    assert torch.equal(torch.random.get_rng_state(), before)


def test_each_epoch_of_each_seed_has_distortions_of_its_own(monkeypatch):
    seen = []

    def look(images, *, flip, generator):
        seen.append(generator.initial_seed())
        return distort(images, flip=flip, generator=generator)

    monkeypatch.setattr("modelstitch.pretraining.simclr.distort", look)
    for seed in (0, 1):
        learned(seed=seed)
    # Two views of each of five batches, the last of which is left out: it has a single image.
    assert [seen.count(one) for one in dict.fromkeys(seen)] == [8] * 4


def test_labels_play_no_part_in_the_trunk():
    other = dataclasses.replace(FEW, labels=FEW.labels.flip(0))
    assert weights_fingerprint(learned()[0]) == weights_fingerprint(learned(other)[0])


def test_the_trunk_learns_and_the_last_layer_stays():
    fresh, (one, curve) = network(), learned()
    assert torch.equal(one.fc.weight, fresh.fc.weight)
    assert torch.equal(one.fc.bias, fresh.fc.bias)
    moved = [name for name, tensor in trunk_of(one).items() if not torch.equal(tensor, fresh.state_dict()[name])]
    assert len(moved) == len(trunk_of(one))
    assert [row["epoch"] for row in curve] == [1, 2]
    assert curve[1]["loss"] < curve[0]["loss"] < np.log(2 * 64 - 1) * 1.3
    assert not any(module.training for module in one.modules())


def test_a_look_after_an_epoch_may_fit_the_head_and_changes_nothing():
    seen = []
    one = network()

    def look(curve):
        fit_head(one, FEW, seed=0)
        seen.append(len(curve))

    train_simclr(one, FEW, schedule=Schedule(epochs=2, batch_size=64), seed=0, after_epoch=look)
    assert seen == [1, 2]
    other = trunk_of(learned()[0])
    assert all(torch.equal(tensor, other[name]) for name, tensor in trunk_of(one).items())


def test_the_head_changes_the_last_layer_alone_and_sees_eval_mode():
    one = network()
    before = trunk_of(one)
    curve = fit_head(one.train(), FEW, seed=0)
    assert all(torch.equal(tensor, before[name]) for name, tensor in trunk_of(one).items())
    assert not torch.equal(one.fc.weight, network().fc.weight)
    assert curve[-1]["loss"] < curve[0]["loss"]
    assert not one.training
    # What the last row says of the learned layer holds of the network, up to the step from one batch to the next.
    assert error_of(one, FEW) == pytest.approx(curve[-1]["error"], abs=3)


def test_features_are_what_the_last_layer_is_given():
    one = network().eval()
    inputs = FEW.example
    with torch.no_grad():
        assert torch.equal(one.fc(features(one, inputs)), one(inputs))
    assert not one.fc._forward_pre_hooks


def test_a_dead_channel_does_no_harm():
    one = build("mlp", seed=0, widths=(5,), inputs=64)
    with torch.no_grad():
        one.layer1[0].weight[0], one.layer1[0].bias[0] = 0.0, -1.0
    fit_head(one, FEW, seed=0)
    assert one.fc.weight.isfinite().all()
    assert error_of(one, FEW) < 60


@pytest.mark.parametrize("name", ["myrtle", "vit", "mlp"])
def test_any_architecture_learns(name):
    options = {"mlp": {"inputs": 64, "widths": (8,)}, "myrtle": {"width": 2, "channels": 1}}
    options["vit"] = {"patch": 2, "depth": 1, "width": 8, "heads": 2, "channels": 1, "size": 8}
    one = build(name, seed=0, **options[name])
    before = trunk_of(one)
    train_simclr(one, FEW, schedule=Schedule(epochs=1, batch_size=64), seed=0)
    assert not any(torch.equal(tensor, before[name]) for name, tensor in trunk_of(one).items())


def test_a_head_on_what_simclr_learned_beats_one_on_untrained_features():
    untrained, trained = network(width=8), network(width=8)
    train_simclr(trained, SPLIT.train, schedule=Schedule(epochs=15, batch_size=256), seed=0)
    errors = []
    for one in (untrained, trained):
        fit_head(one, SPLIT.train, seed=0)
        errors.append(error_of(one, SPLIT.test))
    # 20 % and 6 % when this was written.
    assert errors[1] < 0.6 * errors[0]
    assert errors[1] < 10


def test_a_network_without_a_last_layer_is_refused():
    for train in (train_simclr, lambda one, samples, **_: fit_head(one, samples, seed=0)):
        with pytest.raises(SettingError, match="no linear layer 'fc' but NoneType"):
            train(nn.Sequential(nn.Flatten(), nn.Linear(64, 10)), FEW, schedule=Schedule(epochs=1), seed=0)


def test_samples_that_are_no_images_are_refused():
    floats = Samples("floats", FEW.inputs.float(), FEW.labels, 10)
    with pytest.raises(DataError, match=r"learn 'floats' by simclr\nfound: inputs of type torch\.float32"):
        learned(floats)


def test_an_infinite_loss_is_a_failure():
    with pytest.raises(NumericalFailure, match="lower the learning rate"):
        learned(learning_rate=1e30)
