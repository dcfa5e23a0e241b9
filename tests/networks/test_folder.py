"""Network folders: what is written comes back bit for bit, and nothing else comes back at all."""

import json
import os
import pickle

import pytest
import safetensors.torch
import torch

from modelstitch.errors import BadFile, NetworkNotFound, NotWritable
from modelstitch.networks import build, load_folder, save_network, weights_fingerprint

OPTIONS = {"width": 2, "channels": 1}
CONFIG = {"architecture": "resnet18", "options": OPTIONS, "test_error": 12.5}


@pytest.fixture
def network():
    return build("resnet18", seed=3, **OPTIONS)


@pytest.fixture
def folder(network, tmp_path):
    save_network(network, CONFIG, tmp_path / "a")
    return tmp_path / "a"


def test_a_network_comes_back_bit_for_bit_in_eval_mode(network, folder):
    loaded, config = load_folder(folder)
    assert weights_fingerprint(loaded) == weights_fingerprint(network)
    assert not any(module.training for module in loaded.modules())
    x = torch.ones(2, 1, 8, 8)
    assert torch.equal(loaded(x), network.eval()(x))
    assert config == {"format": 1, **CONFIG, "weights": weights_fingerprint(network)}


def test_only_the_two_files_are_left_and_others_may_read_them(folder):
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "weights.safetensors"]
    assert all(path.stat().st_mode & 0o444 == 0o444 for path in folder.iterdir())


def test_saving_leaves_the_network_alone(network, tmp_path):
    before = weights_fingerprint(network)
    save_network(network, CONFIG, tmp_path)
    assert weights_fingerprint(network) == before
    assert network.training


def test_weights_in_another_memory_layout_are_the_same_weights(network, tmp_path):
    save_network(network.to(memory_format=torch.channels_last), CONFIG, tmp_path)
    assert weights_fingerprint(load_folder(tmp_path)[0]) == weights_fingerprint(network)


def edit_config(**changes):
    def edit(folder):
        config = {**json.loads((folder / "config.json").read_text()), **changes}
        (folder / "config.json").write_text(json.dumps(config))

    return edit


def edit_weights(change):
    def edit(folder):
        tensors = safetensors.torch.load_file(folder / "weights.safetensors")
        change(tensors)
        safetensors.torch.save_file(tensors, folder / "weights.safetensors")

    return edit


def rewrite(name, content):
    return lambda folder: (folder / name).write_bytes(content)


def cut_short(folder):
    path = folder / "weights.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


DAMAGE = {
    "no config": (lambda folder: (folder / "config.json").unlink(), "no config.json"),
    "no weights": (lambda folder: (folder / "weights.safetensors").unlink(), "no weights.safetensors"),
    "no JSON": (rewrite("config.json", b"{"), "no JSON: Expecting"),
    "no text": (rewrite("config.json", b"\xff\xfe"), "no JSON: .*decode"),
    "a list": (rewrite("config.json", b"[]"), "found: a list"),
    "later format": (edit_config(format=2), "format 2\ndo:    use the version of modelstitch that wrote it"),
    "no architecture": (edit_config(architecture=None), "architecture = None"),
    "no options": (edit_config(options=[1]), r"options = \[1\]"),
    "unknown architecture": (edit_config(architecture="vgg"), "builds no network: no architecture of that name"),
    "unknown option": (edit_config(options={"depth": 3}), "builds no network: no option 'depth'"),
    "impossible option": (edit_config(options={"width": "two"}), "builds no network"),
    "negative option": (edit_config(options={"width": -2}), "builds no network"),
    "other width": (edit_config(options={**OPTIONS, "width": 3}), r"'conv1.weight' with shape \(2, 1, 3, 3\)"),
    "cut short": (cut_short, "no safetensors file"),
    "empty": (rewrite("weights.safetensors", b""), "no safetensors file"),
    "missing key": (edit_weights(lambda t: t.pop("fc.bias")), "no weights named 'fc.bias'"),
    "foreign key": (edit_weights(lambda t: t.update(x=torch.ones(1))), "does not have, named 'x'"),
    "other shape": (edit_weights(lambda t: t.update({"fc.bias": torch.ones(9)})), r"'fc.bias' with shape \(9,\)"),
    "other type": (edit_weights(lambda t: t.update({"fc.bias": torch.ones(10).half()})), "torch.float16 where"),
    "other weights": (edit_weights(lambda t: t["fc.bias"].add_(1)), "weights with fingerprint"),
    "no fingerprint": (edit_config(weights=None), "speaks of None"),
}


@pytest.mark.parametrize(("damage", "message"), DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_folder_is_refused(folder, damage, message):
    damage(folder)
    with pytest.raises(BadFile, match=message):
        load_folder(folder)


class Hostile:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_a_pickle_in_place_of_weights_runs_nothing(folder, tmp_path):
    content = pickle.dumps(Hostile(tmp_path / "victim"))
    (folder / "weights.safetensors").write_bytes(content)
    with pytest.raises(BadFile, match="other formats can run code"):
        load_folder(folder)
    assert not (tmp_path / "victim").exists()
    # The same bytes do harm where they are run, so the refusal above was not for another reason.
    pickle.loads(content)
    assert (tmp_path / "victim").exists()


def test_no_folder_at_all(tmp_path):
    with pytest.raises(NetworkNotFound, match="no such folder"):
        load_folder(tmp_path / "none")


@pytest.mark.parametrize("at", ["safetensors.torch.save_file", "modelstitch.networks.folder.json.dumps"])
def test_an_interrupted_save_leaves_nothing(network, tmp_path, monkeypatch, at):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(at, interrupt)
    with pytest.raises(KeyboardInterrupt):
        save_network(network, CONFIG, tmp_path / "a")
    assert list(tmp_path.iterdir()) == []


def test_an_interruption_between_the_two_files_is_noticed(folder, monkeypatch):
    replace, calls = os.replace, []

    def interrupt(*paths):
        if calls:
            raise KeyboardInterrupt
        calls.append(paths)
        replace(*paths)

    monkeypatch.setattr("modelstitch.networks.folder.os.replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        save_network(build("resnet18", seed=4, **OPTIONS), CONFIG, folder)
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "weights.safetensors"]
    with pytest.raises(BadFile, match="weights with fingerprint"):
        load_folder(folder)


def test_a_folder_that_refuses(network, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    with pytest.raises(NotWritable, match="name another folder"):
        save_network(network, CONFIG, tmp_path / "file")

    def refuse(**_):
        raise PermissionError("read-only file system")

    monkeypatch.setattr("modelstitch.networks.folder.tempfile.mkstemp", refuse)
    with pytest.raises(NotWritable, match="read-only file system"):
        save_network(network, CONFIG, tmp_path / "a")
    assert not (tmp_path / "a").exists()
