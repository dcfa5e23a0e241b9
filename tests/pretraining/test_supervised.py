"""Training: against SGD written out, the same for the same seed, and never a number from a failure."""

import math

import numpy as np
import pytest
import torch
from held import Held, error_of
from torch import nn

import modelstitch.pretraining
from modelstitch.data import Samples, digits
from modelstitch.errors import DataError, NumericalFailure, SettingError, TaskMismatch
from modelstitch.networks import build, weights_fingerprint
from modelstitch.pretraining import Schedule, scores_of, train_supervised
from modelstitch.support.seeding import generator
from modelstitch.tasks import Classification, NextToken, Regression


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
    before = error_of(network.eval(), small_digits())
    curve = train_supervised(network, small_digits(), schedule=Schedule(epochs=8, batch_size=32), seed=0)
    assert curve[-1]["loss"] < 0.5 * curve[0]["loss"]
    assert error_of(network, small_digits()) < 0.5 * before


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
    assert error_of(network, Samples("known", inputs, labels, 3)) == pytest.approx(10.0)


# Other tasks


def line(n: int = 41) -> Held:
    inputs = torch.randn(n, 3, generator=generator("points"))
    return Held(inputs, inputs @ torch.tensor([[1.0, -1.0], [0.5, 2.0], [0.0, 1.0]]))


def regression_by_hand(weight, bias, held, schedule, seed):
    """Gradient steps without momentum on the mean over examples of the task's loss, float64, gradients by hand."""
    x, y = held.inputs.double().numpy(), held.targets.double().numpy()
    means, done, steps = [], 0, schedule.epochs * len(y) // schedule.batch_size
    for epoch in range(1, schedule.epochs + 1):
        order = torch.randperm(len(y), generator=generator("order", seed, epoch)).numpy()
        total = seen = 0
        for start in range(0, len(y), schedule.batch_size):
            picked = order[start : start + schedule.batch_size]
            off = x[picked] @ weight.T + bias - y[picked]
            total += (off**2).sum(1).mean() / SHARE * len(picked)
            seen += len(picked)
            slope = 2 * off / len(picked) / SHARE
            rate = schedule.learning_rate * 0.2 ** ((done >= steps // 2) + (done >= steps * 3 // 4))
            weight -= rate * slope.T @ x[picked]
            bias -= rate * slope.sum(0)
            done += 1
        means.append(total / seen)
    return weight, bias, means


# Regression takes the mean over an example's targets, of which there are two here.
SHARE = 2


def test_a_regression_is_trained_by_its_own_loss():
    held, schedule = line(40), Schedule(2, 8, 0.05, momentum=0.0, weight_decay=0.0)
    network = build("mlp", seed=0, widths=(), inputs=3, classes=2)
    start = [network.fc.weight.detach().double().numpy(), network.fc.bias.detach().double().numpy()]
    curve = train_supervised(network, held, schedule=schedule, seed=7)
    weight, bias, losses = regression_by_hand(*start, held, schedule, 7)
    np.testing.assert_allclose(network.fc.weight.detach().numpy(), weight, atol=1e-5)
    np.testing.assert_allclose(network.fc.bias.detach().numpy(), bias, atol=1e-5)
    np.testing.assert_allclose([row["loss"] for row in curve], losses, rtol=1e-5)
    assert [list(row) for row in curve] == [["epoch", "loss"]] * 2


class Sum(nn.Module):
    """Takes two inputs by name."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(3, 2), nn.Linear(3, 2)

    def forward(self, x, y):
        return self.first(x) + self.second(y)


@pytest.mark.parametrize("form", [tuple, lambda pair: dict(zip("xy", pair, strict=True))], ids=["tuple", "mapping"])
def test_inputs_come_in_any_form(form):
    held = line()
    network = Sum()
    network.load_state_dict({name: torch.zeros_like(one) for name, one in network.state_dict().items()})
    two = Held(form((held.inputs, held.inputs.flip(0))), held.targets)
    curve = train_supervised(network, two, schedule=Schedule(20, 8), seed=0)
    assert curve[-1]["loss"] < 0.1 * curve[0]["loss"]
    assert scores_of(network, two, Regression()).keys() == {score.name for score in Regression().scores}


def test_labels_are_learned_alike_by_samples_and_by_other_examples():
    samples = points()
    networks = [linear(), linear()]
    curves = [
        train_supervised(network, data, schedule=Schedule(2, 8), seed=0)
        for network, data in zip(networks, (samples, Held(samples.inputs, samples.labels)), strict=True)
    ]
    assert weights_fingerprint(networks[0]) == weights_fingerprint(networks[1])
    assert curves[0] == curves[1]


def test_a_text_counts_by_its_tokens():
    """The mean loss of an epoch is over tokens, also where the last batch has fewer of them than the others."""
    tokens = torch.randint(0, 5, (12, 6), generator=generator("tokens"))
    targets = tokens.clone()
    targets[5:, 2:] = -100
    network = nn.Sequential(nn.Embedding(5, 5))
    still = Schedule(1, 5, learning_rate=0.0, weight_decay=0.0)
    (row,) = train_supervised(network, Held(tokens, targets), schedule=still, seed=0)
    outcome = scores_of(network, Held(tokens, targets), NextToken())
    assert row["loss"] == pytest.approx(outcome["nats"], rel=1e-5)


def test_outputs_that_are_none_of_the_tasks_are_refused():
    with pytest.raises(TaskMismatch, match="which no task fits"):
        train_supervised(nn.Conv1d(3, 3, 1), Held(torch.zeros(4, 3, 2), torch.tensor([0, 1, 1, 0])), **ONCE)
    with pytest.raises(TaskMismatch, match="one integer label per example"):
        train_supervised(linear(), line(), **{**ONCE, "task": Classification()})
    with pytest.raises(TaskMismatch, match="what the top's network answers"):
        train_supervised(linear(), Held(torch.zeros(4, 3), None), **ONCE)


ONCE = {"schedule": Schedule(1), "seed": 0, "task": None}


def test_one_example_is_refused():
    with pytest.raises(DataError, match="found: 1 examples"):
        train_supervised(linear(), Held(torch.zeros(1, 3), torch.zeros(1, 3)), **ONCE)


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
