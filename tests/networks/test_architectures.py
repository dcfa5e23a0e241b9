"""The networks: their outputs against a second implementation, their names, their seeds."""

from functools import partial

import numpy as np
import pytest
import scipy.stats
import torch

import modelstitch.networks
from modelstitch.cut import capture
from modelstitch.errors import SettingError, ShapeMismatch
from modelstitch.networks import ARCHITECTURES, build, weights_fingerprint
from modelstitch.seeding import generator

IMAGES = {"width": 2, "channels": 1}
SMALL = {
    "mlp": {"widths": (5, 4), "inputs": 64},
    "myrtle": IMAGES,
    "resnet18": IMAGES,
    "resnet164": IMAGES,
    "vit": {"patch": 2, "depth": 2, "width": 6, "heads": 3, "channels": 1, "size": 8},
    "gpt": {"vocabulary": 9, "width": 6, "depth": 2, "heads": 3, "longest": 8},
    "unet": IMAGES,
}


def example_for(name, n=3):
    """Random inputs that the small networks take."""
    draw = generator("examples", name, n)
    if name == "gpt":
        return torch.randint(0, SMALL["gpt"]["vocabulary"], (n, 7), generator=draw)
    return torch.randn(n, 1, 8, 8, generator=draw)


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


def resnet_oracle(x, w, stages, blocks):
    x = conv(x, w["conv1.weight"])
    for stage in range(1, stages + 1):
        for block in range(blocks):
            name, stride = f"layer{stage}.{block}", 2 if stage > 1 and block == 0 else 1
            out = np.maximum(norm(x, w, f"{name}.bn1"), 0)
            skip = conv(out, w[f"{name}.shortcut.weight"], stride) if f"{name}.shortcut.weight" in w else x
            out = np.maximum(norm(conv(out, w[f"{name}.conv1.weight"], stride), w, f"{name}.bn2"), 0)
            x = conv(out, w[f"{name}.conv2.weight"]) + skip
    return np.maximum(norm(x, w, "bn"), 0).mean(axis=(2, 3)) @ w["fc.weight"].T + w["fc.bias"]


def linear(x, w, name):
    return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]


def layer_norm(x, w, name):
    x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5)
    return x * w[f"{name}.weight"] + w[f"{name}.bias"]


def transformer_oracle(tokens, w, depth, heads, causal):
    for name in (f"blocks.{block}" for block in range(depth)):
        qkv = linear(layer_norm(tokens, w, f"{name}.norm1"), w, f"{name}.attention.qkv")
        q, k, v = (np.split(part, heads, axis=-1) for part in np.split(qkv, 3, axis=-1))
        mixed = []
        for head in range(heads):
            scores = np.exp(np.einsum("nac,nbc->nab", q[head], k[head]) / np.sqrt(q[head].shape[-1]))
            scores = np.tril(scores) if causal else scores
            mixed.append(scores / scores.sum(-1, keepdims=True) @ v[head])
        tokens = tokens + linear(np.concatenate(mixed, -1), w, f"{name}.attention.mix")
        hidden = linear(layer_norm(tokens, w, f"{name}.norm2"), w, f"{name}.mlp.0")
        tokens = tokens + linear(hidden * scipy.stats.norm.cdf(hidden), w, f"{name}.mlp.2")
    return layer_norm(tokens, w, "norm")


def vit_oracle(x, w, patch=2, depth=2, heads=3):
    sides = range(0, x.shape[2], patch)
    kernel, shift = w["patches.conv.weight"], w["patches.conv.bias"]
    cut_out = [x[:, :, i : i + patch, j : j + patch] for i in sides for j in sides]
    tokens = np.stack([np.einsum("ncij,kcij->nk", part, kernel) + shift for part in cut_out], 1) + w["patches.place"]
    return linear(transformer_oracle(tokens, w, depth, heads, causal=False).mean(axis=1), w, "fc")


def gpt_oracle(x, w, depth=2, heads=3):
    tokens = w["embedding.token.weight"][x.astype(int)] + w["embedding.place"][: x.shape[1]]
    return linear(transformer_oracle(tokens, w, depth, heads, causal=True), w, "fc")


def unet_oracle(x, w, depth=2):
    def twice(x, name):
        for i in (1, 2):
            x = np.maximum(norm(conv(x, w[f"{name}.conv{i}.weight"]), w, f"{name}.bn{i}"), 0)
        return x

    def level(x, at):
        if at == depth:
            return x
        below = level(twice(halved(x), f"u.down.{at}"), at + 1)
        return twice(np.concatenate([below.repeat(2, 2).repeat(2, 3), x], 1), f"u.up.{at}")

    x = twice(level(twice(x, "stem"), 0), "tail")
    return conv(x, w["fc.weight"]) + w["fc.bias"].reshape(1, -1, 1, 1)


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


ORACLES = {
    "mlp": mlp_oracle,
    "myrtle": myrtle_oracle,
    "resnet18": partial(resnet_oracle, stages=4, blocks=2),
    "resnet164": partial(resnet_oracle, stages=3, blocks=27),
    "vit": vit_oracle,
    "gpt": gpt_oracle,
    "unet": unet_oracle,
}


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_outputs_agree_with_the_definition(name):
    network = build(name, seed=0, **SMALL[name]).eval()
    draw = generator("weights")
    with torch.no_grad():
        # Batch norms start as the identity; here every number must count.
        for tensor in network.state_dict().values():
            if tensor.is_floating_point():
                tensor.copy_(0.2 + torch.rand(tensor.shape, generator=draw) - 0.5 * (tensor.dim() > 1))
                # Eighty blocks of this size would pass the largest float.
                tensor.mul_(0.1 if name == "resnet164" and tensor.dim() == 4 else 1.0)
    x = example_for(name)
    weights = {key: value.double().numpy() for key, value in network.state_dict().items()}
    wanted = ORACLES[name](x.double().numpy(), weights)
    np.testing.assert_allclose(network(x).detach().numpy(), wanted, rtol=1e-4, atol=1e-5 * np.abs(wanted).max())


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("side", [8, 28, 32])
@pytest.mark.parametrize("name", ["myrtle", "resnet18", "resnet164"])
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


def test_resnet164_has_164_layers_and_doubles_its_width_twice():
    names = dict(build("resnet164", seed=0).named_modules())
    layers = [name for name, one in names.items() if isinstance(one, torch.nn.Conv2d | torch.nn.Linear)]
    assert len([name for name in layers if "shortcut" not in name]) == 164
    assert [name for name in layers if "shortcut" in name] == ["layer2.0.shortcut", "layer3.0.shortcut"]
    assert [names[f"layer{i}.26.conv2"].out_channels for i in range(1, 4)] == [16, 32, 64]


def test_resnet164_is_cut_after_each_block_and_its_halves_are_the_whole():
    network = build("resnet164", seed=0, width=2, channels=1).eval()
    x = torch.rand(3, 1, 8, 8, generator=generator("images"))
    captured = capture(network, x)
    blocks = [cut.name for cut in captured.cuts if cut.block]
    named = ["conv1", *(f"layer{stage}.{block}" for stage in (1, 2, 3) for block in range(27))]
    assert blocks[:82] == named
    with torch.no_grad():
        for name in ("conv1", "layer1.26", "layer2.0", "layer3.26"):
            assert torch.equal(captured.top(name)(captured.bottom(name)(x)), network(x))


def test_vit_has_the_size_that_papers_speak_of():
    block = 4 * 768 * 768 + 4 * 768 + 2 * 4 * 768 * 768 + 5 * 768 + 4 * 768
    whole = 3 * 16 * 768 + 768 + 64 * 768 + 12 * block + 2 * 768 + 768 * 10 + 10
    assert sum(p.numel() for p in build("vit", seed=0).parameters()) == whole


def test_vit_halves_are_the_whole_at_every_legal_cut():
    network = build("vit", seed=0, **SMALL["vit"]).eval()
    x = torch.rand(5, 1, 8, 8, generator=generator("images"))
    captured = capture(network, x)
    assert not captured.replayed
    assert {cut.name: cut.kind for cut in captured.cuts if cut.block} == {
        "patches": "tokens",
        "blocks.0": "tokens",
        "blocks.1": "tokens",
        "mean": "vector",
    }
    with torch.no_grad():
        for cut in captured.cuts:
            assert torch.equal(captured.top(cut)(captured.bottom(cut)(x)), network(x)), cut


CUTS = {
    "gpt": {"embedding": "tokens", "blocks.0": "tokens", "blocks.1": "tokens"},
    "unet": {"stem": "map", "u.cat:2": "map", "u.up.0": "map", "tail": "map"},
}


@pytest.mark.parametrize("name", CUTS)
def test_halves_are_the_whole_at_every_legal_cut(name):
    network = build(name, seed=0, **SMALL[name]).eval()
    captured = capture(network, example_for(name))
    assert not captured.replayed
    assert {cut.name: cut.kind for cut in captured.cuts if cut.block} == CUTS[name]
    inputs = [example_for(name, 5), example_for(name, 1)]
    # A text may be of any length, the longest and the shortest among them.
    inputs += [torch.randint(0, 9, (2, length)) for length in (1, 5, 8)] if name == "gpt" else []
    for x in inputs:
        with torch.no_grad():
            whole = network(x)
            for cut in captured.cuts:
                assert torch.equal(captured.top(cut)(captured.bottom(cut)(x)), whole), cut


def test_a_token_sees_none_after_it():
    network, x = build("gpt", seed=0, **SMALL["gpt"]).eval(), example_for("gpt")
    changed = x.clone()
    changed[:, 4] = (x[:, 4] + 1) % 9
    with torch.no_grad():
        before, after = network(x), network(changed)
    assert torch.allclose(before[:, :4], after[:, :4], atol=1e-6)
    assert all(not torch.allclose(before[:, i], after[:, i], atol=1e-4) for i in range(4, 7))


REFUSED = {
    "gpt": (torch.zeros(2, 9).long(), "a language model for 8 tokens\nfound: a text of 9"),
    "unet": (torch.zeros(2, 1, 8, 6), "a U-Net that goes down to 1/4 of the image\nfound: images of 8 x 6 pixels"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_inputs_of_a_size_that_is_not_taken_are_refused(name):
    x, message = REFUSED[name]
    with pytest.raises(ShapeMismatch, match=message):
        build(name, seed=0, **SMALL[name])(x)


@pytest.mark.parametrize(("name", "options"), [("gpt", {"heads": 5}), ("gpt", {"heads": 0}), ("unet", {"depth": 0})])
def test_options_that_build_nothing_are_refused(name, options):
    with pytest.raises(SettingError, match=r"a language model with|a U-Net of depth 0"):
        build(name, seed=0, **options)


@pytest.mark.parametrize("options", [{"size": 30}, {"heads": 5}, {"patch": 0}])
def test_a_vit_that_does_not_fit_together_is_refused(options):
    with pytest.raises(SettingError, match=r"a vision transformer .*\nfound: images of .* heads on a width of 768"):
        build("vit", seed=0, **options)


def test_a_vit_refuses_images_of_another_size():
    with pytest.raises(ShapeMismatch, match="images of 8 x 8 pixels\nfound: images of 8 x 12"):
        build("vit", seed=0, **SMALL["vit"])(torch.zeros(2, 1, 8, 12))


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


def test_everything_public_is_there():
    assert all(hasattr(modelstitch.networks, name) for name in modelstitch.networks.__all__)
