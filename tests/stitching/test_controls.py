"""Controls: self-stitches that cost nothing, twins that keep nothing of what was learnt, noise, and shuffled pairs."""

import copy
import dataclasses

import pytest
import torch
from torch import nn

from modelstitch.activations import Sources
from modelstitch.compute import Compute
from modelstitch.data import Samples
from modelstitch.errors import NotCuttable, NumericalFailure, SettingError
from modelstitch.networks import Network, build, stem_reset, untrained, weights_fingerprint
from modelstitch.stitches import Identity
from modelstitch.stitching import Setting, pairings, run
from modelstitch.stitching.controls import shuffled
from modelstitch.stitching.noise import _Gaussian, noise
from modelstitch.support.seeding import generator, seeded
from modelstitch.tasks import Classification


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
    network = build("mlp", seed=0, widths=(5, 4), inputs=6, classes=3)
    return Network("A", network).ready(points(30, 1).example, Compute())


def self_stitched(one, cuts, train, test, family=None):
    """The network with itself, at these cuts."""
    made = pairings(train, test, Classification(3), Setting(family or Identity()), Compute())
    return run([made.pairing(one, one, [(cut, cut) for cut in cuts], "self")], None)


def assert_free(record):
    """The law: exactly nothing lost, for error and for loss, in value and interval."""
    assert [(each.penalty, each.low, each.high) for each in record.scores] == [(0, 0, 0)] * 2
    assert (record.measure("agreement_top"), record.measure("agreement_bottom")) == (1, 1)


def test_a_self_stitch_costs_nothing_at_every_cut(one):
    for record in self_stitched(one, one.captured.cuts, points(20, 0), points(30, 1)):
        assert_free(record)
        assert (record.control, record.matching, record.status) == ("self", "", "ok")
        assert record.measure("cka") == pytest.approx(1, abs=1e-12)


def test_canary_the_identity_law_catches_a_stitch_that_changes_a_little(one):
    class Nearly(Identity):
        name = "nearly"

        def build(self, bottom, top):
            layer = super().build(bottom, top)
            layer.register_forward_hook(lambda module, inputs, output: output * (1 + 1e-5))
            return layer

    with pytest.raises(NotCuttable, match=r"the self-stitch A@layer1 -> A@layer1\nfound: a penalty of"):
        self_stitched(one, [one.captured.find("layer1")], points(20, 0), points(30, 1), Nearly())


@pytest.mark.parametrize("name", ["resnet18", "mlp"])
def test_a_stem_reset_changes_the_first_layer_and_the_last_alone(name):
    network = lived(NETWORKS[name])
    before = weights_fingerprint(network)
    fresh = stem_reset(network)
    stem = {"resnet18": "conv1.", "mlp": "layer1."}[name]
    now = fresh.state_dict()
    changed = {path for path, tensor in network.state_dict().items() if not torch.equal(tensor, now[path])}
    assert changed == {path for path in network.state_dict() if path.startswith((stem, "fc."))}
    assert weights_fingerprint(network) == before
    assert weights_fingerprint(stem_reset(network)) == weights_fingerprint(fresh)
    assert weights_fingerprint(stem_reset(network, seed=1)) != weights_fingerprint(fresh)


def test_a_network_without_layers_that_reset_has_no_stem():
    with pytest.raises(SettingError, match="no layer that knows how to reset"):
        stem_reset(nn.ReLU())


def test_noise_has_the_moments_of_the_bottom_and_is_one_for_each_example(one):
    data = points(2000, 2)
    cuts = [one.captured.find(name) for name in ("layer1", "layer2")]
    found = noise(one, cuts, Sources(data), seed=3)
    drawn = found.captured.bottoms(cuts)(data.inputs)
    for cut, values in zip(cuts, drawn, strict=True):
        real = one.captured.bottom(cut)(data.inputs)
        spread = real.std(0).clamp_min(1e-3)
        assert (((values.mean(0) - real.mean(0)) / spread).abs() < 0.1).all()
        assert (((values.std(0) - real.std(0)) / spread).abs() < 0.1).all()
        # Nothing of the input: its correlation with every channel is that of chance.
        together = torch.corrcoef(torch.cat([data.inputs, values], 1).T)[:6, 6:]
        assert together.nan_to_num().abs().max() < 0.1
        # The same for an example in any batch and order; another for another example.
        some = torch.tensor([7, 3])
        assert torch.equal(found.captured.bottom(cut)(data.inputs[some]), values[some])
        assert not torch.equal(values[7], values[3])
    again = noise(one, cuts, Sources(data), seed=4).captured.bottom(cuts[0])(data.inputs)
    assert not torch.equal(again, drawn[0])
    assert found.captured.find("layer1") == cuts[0]
    assert torch.equal(found.captured.top("layer1")(drawn[0]), one.captured.top("layer1")(drawn[0]))


def test_noise_of_a_varying_length_is_refused(one):
    cut = dataclasses.replace(one.captured.find("layer1"), shape=(None, 5), kind="tokens")
    with pytest.raises(SettingError, match="a length that varies"):
        _Gaussian([cut], [NumericalFailure("a", "b", "c")], 0)


def test_noise_of_a_varying_length_is_refused_before_any_work(one):
    cut = dataclasses.replace(one.captured.find("layer1"), shape=(None, 5), kind="tokens")
    with pytest.raises(SettingError, match="a length that varies"):
        noise(one, [cut], Sources(points(30, 1)), seed=0)


def test_noise_for_activations_that_are_no_numbers_is_no_number(one):
    cut = one.captured.find("layer1")
    values = _Gaussian([cut], [NumericalFailure("a", "b", "c")], 0)(torch.zeros(2, 6))[0]
    assert values.isnan().all()


def test_in_shuffled_pairs_nobody_meets_itself():
    data = points(31, 5)
    train, partners = shuffled(data, seed=1)
    assert torch.equal(train.inputs, data.inputs)
    assert torch.equal(train.labels, partners.labels)
    assert sorted(partners.ids) == sorted(data.ids)
    assert not any(one == other for one, other in zip(train.ids, partners.ids, strict=True))
    # The labels still go with the partners, as they did before.
    label_of = dict(zip(data.ids, data.labels.tolist(), strict=True))
    assert [label_of[one] for one in partners.ids] == partners.labels.tolist()
    assert shuffled(data, seed=1)[0].fingerprint == train.fingerprint != shuffled(data, seed=2)[0].fingerprint
