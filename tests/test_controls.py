"""Controls: self-stitches that cost nothing, and untrained twins that keep nothing of what was learnt."""

import copy

import pytest
import torch
from torch import nn

from modelstitch import controls
from modelstitch.controls import self_stitch, untrained
from modelstitch.data import Samples
from modelstitch.networks import build, weights_fingerprint
from modelstitch.seeding import generator, seeded
from modelstitch.stitching import prepare


def points(n, seed):
    inputs = torch.randn(n, 6, generator=generator("controls test", seed))
    return Samples("points", inputs, torch.arange(n) % 3, classes=3)


class Tokens(nn.Module):
    """A parameter of its own beside modules that can reset themselves."""

    def __init__(self):
        super().__init__()
        self.token = nn.Parameter(torch.randn(1, 1, 4) * 5 + 7)
        self.scale = nn.Parameter(torch.tensor(2.0))
        self.attention = nn.MultiheadAttention(4, 2, batch_first=True)
        self.conv = nn.Conv1d(4, 4, 1)
        self.norm = nn.BatchNorm1d(4)

    def forward(self, x):
        return self.norm(self.conv(self.attention(x, x, x)[0].mT)) * self.scale


def lived(make):
    """A network whose every number is another than at its birth."""
    with seeded("controls network"):
        network = make()
        with torch.no_grad():
            for tensor in (*network.parameters(), *network.buffers()):
                if tensor.is_floating_point():
                    tensor.add_(torch.rand(tensor.shape) + 0.5)
                else:
                    tensor.add_(3)
    return network


NETWORKS = {
    "resnet18": lambda: build("resnet18", seed=0, width=2, channels=1),
    "mlp": lambda: build("mlp", seed=0, widths=(5,), inputs=6),
    "tokens": Tokens,
}


@pytest.fixture(params=NETWORKS)
def network(request):
    return lived(NETWORKS[request.param]).train()


def assert_forgotten(network, fresh):
    """Every weight and every statistic is another number."""
    for (name, one), other in zip(network.state_dict().items(), fresh.state_dict().values(), strict=True):
        assert one.shape == other.shape
        assert not bool((one == other).any()), name


def test_an_untrained_twin_keeps_no_weight_and_no_statistic(network):
    before = copy.deepcopy(network)
    fresh = untrained(network)
    assert_forgotten(network, fresh)
    assert not any(module.training for module in fresh.modules())
    assert all(module.training for module in network.modules())
    assert weights_fingerprint(network) == weights_fingerprint(before)
    for module in fresh.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            assert module.running_mean.count_nonzero() == 0
            assert bool((module.running_var == 1).all())


@pytest.mark.parametrize("kept", ["weight", "statistic"])
def test_canary_forgetting_catches_what_is_kept(kept):
    network = lived(NETWORKS["resnet18"])
    fresh = untrained(network)
    tensor = "fc.weight" if kept == "weight" else "bn.running_mean"
    fresh.state_dict()[tensor].copy_(network.state_dict()[tensor])
    with pytest.raises(AssertionError, match=tensor):
        assert_forgotten(network, fresh)


def test_an_untrained_twin_depends_on_its_seed_alone(network):
    weights = []
    for global_seed, seed in ((0, 0), (1, 0), (0, 1)):
        torch.manual_seed(global_seed)
        stream = torch.get_rng_state()
        weights.append(weights_fingerprint(untrained(network, seed=seed)))
        assert torch.equal(torch.get_rng_state(), stream)
    assert weights[0] == weights[1] != weights[2]


def test_an_untrained_twin_does_not_depend_on_what_was_learnt():
    one, other = (untrained(build("mlp", seed=seed, widths=(5,), inputs=6)) for seed in (0, 1))
    assert weights_fingerprint(one) == weights_fingerprint(other)


def test_a_parameter_of_its_own_keeps_its_scale():
    network = Tokens()
    network.token = nn.Parameter(torch.randn(1, 1, 4000, generator=generator("token")) * 5 + 7)
    fresh = untrained(network)
    assert fresh.token.mean().item() == pytest.approx(7, abs=0.5)
    assert fresh.token.std().item() == pytest.approx(5, abs=0.5)
    correlation = torch.corrcoef(torch.stack([network.token.flatten(), fresh.token.flatten()]))[0, 1]
    assert abs(correlation) < 0.1


@pytest.fixture(scope="module")
def one():
    return prepare(build("mlp", seed=0, widths=(5, 4), inputs=6, classes=3), "A", points(30, 1))


def assert_free(record):
    """The law: exactly nothing lost, for error and for loss, in value and interval."""
    assert (record.penalty, record.penalty_low, record.penalty_high) == (0, 0, 0)
    assert (record.loss_penalty, record.loss_penalty_low, record.loss_penalty_high) == (0, 0, 0)
    assert (record.agreement_top, record.agreement_bottom) == (1, 1)


def test_a_self_stitch_costs_nothing_at_every_cut(one):
    for record in self_stitch(one, one.captured.cuts, points(20, 0), points(30, 1)):
        assert_free(record)
        assert (record.control, record.matching, record.status) == ("self", "none", "ok")
        assert record.cka == pytest.approx(1, abs=1e-12)


def test_canary_the_identity_law_catches_a_stitch_that_changes_a_little(one, monkeypatch):
    class Nearly(controls.Identity):
        def build(self, bottom, top):
            layer = super().build(bottom, top)
            layer.register_forward_hook(lambda module, inputs, output: output * (1 + 1e-5))
            return layer

    monkeypatch.setattr(controls, "Identity", Nearly)
    (record,) = self_stitch(one, [one.captured.find("layer1")], points(20, 0), points(30, 1))
    with pytest.raises(AssertionError):
        assert_free(record)
