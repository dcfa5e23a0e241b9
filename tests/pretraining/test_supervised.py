"""Training: against SGD written out, the same for the same seed, and never a number from a failure."""

import math

import numpy as np
import pytest
import torch
from torch import nn

import modelstitch.pretraining
from modelstitch.data import Samples, digits
from modelstitch.errors import DataError, NumericalFailure, SettingError
from modelstitch.networks import build, weights_fingerprint
from modelstitch.pretraining import Schedule, error_percent, train_supervised
from modelstitch.seeding import generator


def points(n: int = 41) -> Samples:
    inputs = torch.randn(n, 3, generator=generator("points"))
    return Samples("points", inputs, (inputs[:, 0] > 0).long() + (inputs[:, 1] > 1).long(), classes=3)


def linear() -> nn.Module:
    return build("mlp", seed=0, widths=(), inputs=3, classes=3)


def sgd_by_hand(weight, bias, samples, schedule, seed):
    """SGD with momentum on the mean cross-entropy of a linear network, float64, from the definition."""
    x, y = samples.inputs.double().numpy(), samples.labels.numpy()
    speed = {"weight": 0.0, "bias": 0.0}
    starts = range(0, len(y) - 1, schedule.batch_size)
    steps, done, losses = schedule.epochs * len(starts), 0, []
    for epoch in range(1, schedule.epochs + 1):
        order = torch.randperm(len(y), generator=generator("order", seed, epoch)).numpy()
        total = seen = 0
        for start in starts:
            rate = schedule.learning_rate * 0.2 ** ((done >= steps // 2) + (done >= steps * 3 // 4))
            picked = order[start : start + schedule.batch_size]
            logits = x[picked] @ weight.T + bias
            shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
            total -= np.log(shares[np.arange(len(picked)), y[picked]]).sum()
            seen += len(picked)
            slope = (shares - np.eye(3)[y[picked]]) / len(picked)
            grads = {"weight": slope.T @ x[picked], "bias": slope.sum(axis=0)}
            for name, value in (("weight", weight), ("bias", bias)):
                speed[name] = schedule.momentum * speed[name] + grads[name] + schedule.weight_decay * value
                value -= rate * speed[name]
            done += 1
        losses.append(total / seen)
    return weight, bias, losses


@pytest.mark.parametrize("n", [40, 41, 45])
def test_it_is_sgd_with_two_drops(n):
    samples, schedule = points(n), Schedule(epochs=5, batch_size=8, learning_rate=0.3, weight_decay=0.01)
    network = linear()
    start = [network.fc.weight.detach().double().numpy(), network.fc.bias.detach().double().numpy()]
    curve = train_supervised(network, samples, schedule=schedule, seed=7)
    weight, bias, losses = sgd_by_hand(*start, samples, schedule, 7)
    np.testing.assert_allclose(network.fc.weight.detach().numpy(), weight, atol=1e-5)
    np.testing.assert_allclose(network.fc.bias.detach().numpy(), bias, atol=1e-5)
    np.testing.assert_allclose([row["loss"] for row in curve], losses, atol=1e-5)
    assert [row["epoch"] for row in curve] == [1, 2, 3, 4, 5]


def test_the_check_by_hand_notices_a_missing_drop():
    samples, schedule = points(40), Schedule(epochs=5, batch_size=8, learning_rate=0.3)
    network = linear()
    start = [network.fc.weight.detach().double().numpy(), network.fc.bias.detach().double().numpy()]
    optimiser = torch.optim.SGD(network.parameters(), lr=0.3, momentum=0.9, weight_decay=1e-4)
    for epoch in range(1, 6):
        order = torch.randperm(40, generator=generator("order", 7, epoch))
        for inputs, labels in samples.batches(8, order):
            optimiser.zero_grad()
            nn.functional.cross_entropy(network(inputs), labels).backward()
            optimiser.step()
    weight, _, _ = sgd_by_hand(*start, samples, schedule, 7)
    assert np.abs(network.fc.weight.detach().numpy() - weight).max() > 1e-3


def small_digits() -> Samples:
    return digits().train.first(257)


def trained(seed: int = 0, **schedule) -> tuple[nn.Module, list[dict[str, int | float]]]:
    network = build("resnet18", seed=0, width=2, channels=1)
    settings = Schedule(**{"epochs": 2, **schedule})
    return network, train_supervised(network, small_digits(), schedule=settings, seed=seed)


def test_the_same_seed_gives_the_same_bits_and_another_does_not():
    (a, curve), (b, again), (c, _) = trained(), trained(), trained(seed=1)
    assert weights_fingerprint(a) == weights_fingerprint(b) != weights_fingerprint(c)
    assert curve == again


def test_training_lowers_the_loss_and_the_error():
    network = build("resnet18", seed=0, width=4, channels=1)
    before = error_percent(network.eval(), small_digits())
    curve = train_supervised(network, small_digits(), schedule=Schedule(epochs=8, batch_size=32), seed=0)
    assert curve[-1]["loss"] < 0.5 * curve[0]["loss"]
    assert error_percent(network, small_digits()) < 0.5 * before


def test_the_network_is_left_in_eval_mode():
    assert not any(module.training for module in trained()[0].modules())


def test_a_last_batch_of_one_is_left_out():
    # 257 digits of 8 pixels a side in batches of 128 end with one example, which batch norm would refuse.
    assert len(trained()[1]) == 2


def test_an_infinite_loss_is_a_failure():
    with pytest.raises(NumericalFailure, match="lower the learning rate"):
        trained(learning_rate=1e30)


def test_samples_are_checked():
    with pytest.raises(DataError, match=r"only class [012]"):
        train_supervised(linear(), points().take(torch.tensor([0])), schedule=Schedule(epochs=1), seed=0)


@pytest.mark.parametrize(
    ("setting", "value"),
    [("epochs", 0), ("batch_size", 1), ("learning_rate", -0.1), ("momentum", math.nan), ("weight_decay", math.inf)],
)
def test_a_schedule_that_cannot_train_is_refused(setting, value):
    with pytest.raises(SettingError, match=f"train with {setting} = {value}"):
        Schedule(**{"epochs": 1, setting: value})


def test_error_is_in_percent_and_counts_every_sample():
    network = nn.Identity()
    network.register_parameter("unused", nn.Parameter(torch.zeros(1)))
    inputs = torch.eye(3)[torch.arange(300) % 3]
    labels = torch.arange(300) % 3
    labels[:30] = (labels[:30] + 1) % 3
    assert error_percent(network, Samples("known", inputs, labels, 3)) == pytest.approx(10.0)


def test_everything_public_is_there():
    assert all(hasattr(modelstitch.pretraining, name) for name in modelstitch.pretraining.__all__)


def frozen_run(freeze):
    network = build("resnet18", seed=1, width=2, channels=1)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    train_supervised(network, digits().train.first(96), schedule=Schedule(epochs=1), seed=0, freeze=freeze)
    now = network.state_dict()
    assert all(weight.requires_grad for weight in network.parameters())
    return {name for name, tensor in before.items() if torch.equal(tensor, now[name])}, set(before)


@pytest.mark.parametrize("freeze", [("conv1", "layer1", "fc"), ("layer[34].*",)])
def test_what_is_frozen_stays_bit_for_bit_its_statistics_too(freeze):
    kept, names = frozen_run(freeze)
    begins = tuple(one.replace(".*", ".") for one in freeze if "[" not in one) or ("layer3.", "layer4.")
    assert kept == {name for name in names if name.startswith(begins)}


def test_canary_without_freezing_everything_moves():
    assert frozen_run(())[0] == set()


@pytest.mark.parametrize(
    ("freeze", "found", "do"),
    [
        (("layer11",), "no module of that name", "did you mean 'layer1.1' or 'layer1'"),
        (("*",), "nothing left to train", "leave"),
    ],
)
def test_freezing_that_means_nothing_is_refused(freeze, found, do):
    with pytest.raises(SettingError, match=found) as raised:
        train_supervised(linear_two(), points(), schedule=Schedule(epochs=1), seed=0, freeze=freeze)
    assert do in raised.value.do


def linear_two() -> nn.Module:
    return build("mlp", seed=0, widths=(4,), inputs=3, classes=3)
