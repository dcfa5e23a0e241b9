"""The networks: their outputs against a second implementation, their names, their seeds."""

import numpy as np
import pytest
import torch

import modelstitch.networks
from modelstitch.errors import SettingError
from modelstitch.networks import ARCHITECTURES, build, weights_fingerprint
from modelstitch.seeding import generator

IMAGES = {"width": 2, "channels": 1}
SMALL = {"mlp": {"widths": (5, 4), "inputs": 64}, "myrtle": IMAGES, "resnet18": IMAGES}


def conv(x, weight, stride=1):
    pad = weight.shape[2] // 2
    x = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    seen = np.lib.stride_tricks.sliding_window_view(x, weight.shape[2:], axis=(2, 3))[:, :, ::stride, ::stride]
    return np.einsum("nchwij,kcij->nkhw", seen, weight)


def norm(x, w, name):
    keys = ("running_mean", "running_var", "weight", "bias")
    mean, var, gain, shift = (w[f"{name}.{key}"].reshape(1, -1, 1, 1) for key in keys)
    return (x - mean) / np.sqrt(var + 1e-5) * gain + shift


def halved(x):
    return x.reshape(*x.shape[:2], x.shape[2] // 2, 2, x.shape[3] // 2, 2).max(axis=(3, 5))


def resnet18_oracle(x, w):
    x = conv(x, w["conv1.weight"])
    for stage in range(1, 5):
        for block in range(2):
            name, stride = f"layer{stage}.{block}", 2 if stage > 1 and block == 0 else 1
            out = np.maximum(norm(x, w, f"{name}.bn1"), 0)
            skip = conv(out, w[f"{name}.shortcut.weight"], stride) if f"{name}.shortcut.weight" in w else x
            out = np.maximum(norm(conv(out, w[f"{name}.conv1.weight"], stride), w, f"{name}.bn2"), 0)
            x = conv(out, w[f"{name}.conv2.weight"]) + skip
    return np.maximum(norm(x, w, "bn"), 0).mean(axis=(2, 3)) @ w["fc.weight"].T + w["fc.bias"]


def myrtle_oracle(x, w):
    for i in range(1, 6):
        x = np.maximum(norm(conv(x, w[f"block{i}.0.weight"]), w, f"block{i}.1"), 0)
        x = halved(x) if i in (2, 3, 4) else x
    return x.max(axis=(2, 3)) @ w["fc.weight"].T + w["fc.bias"]


def mlp_oracle(x, w):
    x = x.reshape(len(x), -1)
    for name in ("layer1.0", "layer2.0"):
        x = np.maximum(x @ w[f"{name}.weight"].T + w[f"{name}.bias"], 0)
    return x @ w["fc.weight"].T + w["fc.bias"]


ORACLES = {"mlp": mlp_oracle, "myrtle": myrtle_oracle, "resnet18": resnet18_oracle}


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_outputs_agree_with_the_definition(name):
    network = build(name, seed=0, **SMALL[name]).eval()
    draw = generator("weights")
    with torch.no_grad():
        # Batch norms start as the identity; here every number must count.
        for tensor in network.state_dict().values():
            if tensor.is_floating_point():
                tensor.copy_(0.2 + torch.rand(tensor.shape, generator=draw) - 0.5 * (tensor.dim() > 1))
    x = torch.randn(3, 1, 8, 8, generator=draw)
    weights = {key: value.double().numpy() for key, value in network.state_dict().items()}
    wanted = ORACLES[name](x.double().numpy(), weights)
    np.testing.assert_allclose(network(x).detach().numpy(), wanted, rtol=1e-4, atol=1e-5 * np.abs(wanted).max())


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("side", [8, 28, 32])
@pytest.mark.parametrize("name", ["myrtle", "resnet18"])
def test_any_image_size_and_any_number_of_channels(name, side, channels):
    network = build(name, seed=0, width=2, channels=channels, classes=7)
    assert network(torch.zeros(2, channels, side, side)).shape == (2, 7)


def test_resnet18_has_the_names_and_the_size_that_papers_speak_of():
    network = build("resnet18", seed=0)
    names = dict(network.named_modules())
    assert {"conv1", "layer1.0", "layer2.1", "layer4.1.conv2", "bn", "fc"} <= names.keys()
    assert [names[f"layer{i}.1.conv2"].out_channels for i in range(1, 5)] == [64, 128, 256, 512]
    convolutions = 9 * (3 * 64 + 4 * 64**2)
    for width in (128, 256, 512):
        convolutions += 9 * (width * width // 2 + 3 * width**2) + width * width // 2
    norms = 2 * (4 * 64 + (64 + 3 * 128) + (128 + 3 * 256) + (256 + 3 * 512) + 512)
    assert sum(p.numel() for p in network.parameters()) == convolutions + norms + 512 * 10 + 10


def test_an_mlp_without_hidden_layers_is_linear():
    assert [name for name, _ in build("mlp", seed=0, widths=()).named_parameters()] == ["fc.weight", "fc.bias"]


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_the_seed_alone_decides_the_weights(name):
    first = build(name, seed=0, **SMALL[name])
    before = torch.random.get_rng_state()
    torch.rand(3)
    prints = [weights_fingerprint(build(name, seed=seed, **SMALL[name])) for seed in (0, 1)]
    assert prints[0] == weights_fingerprint(first) != prints[1]
    torch.random.set_rng_state(before)
    build(name, seed=0, **SMALL[name])
    assert torch.equal(torch.random.get_rng_state(), before)


def test_a_misspelt_architecture_is_corrected():
    with pytest.raises(SettingError, match="did you mean 'resnet18'"):
        build("resnet-18", seed=0)


def test_a_misspelt_option_is_corrected():
    with pytest.raises(SettingError, match="no option 'widths'\ndo:    did you mean 'width'"):
        build("resnet18", seed=0, widths=3)


def test_everything_public_is_there_and_sorted():
    assert sorted(modelstitch.networks.__all__) == modelstitch.networks.__all__
    assert all(hasattr(modelstitch.networks, name) for name in modelstitch.networks.__all__)
