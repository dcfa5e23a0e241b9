"""Naming a network: a folder, or a function."""

import contextlib
import importlib
import io
import json
import os
import re
import sys
import warnings
import zipfile
from pathlib import Path

import pytest
import safetensors.torch
import torch

from modelstitch.errors import BadFile, NetworkNotFound, SettingError
from modelstitch.networks import build, doors, load_network, prepared, references, save_network, weights_fingerprint
from modelstitch.networks.references import OPTIONS
from modelstitch.vocabulary import SCHEMES

SOURCE = """
import torch
def tiny():
    return torch.nn.Linear(2, 3)
def number():
    return 3
def broken():
    raise RuntimeError("mine")
constant = 1
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A current folder with a module, forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path])
    (tmp_path / "my_networks_for_test.py").write_text(SOURCE)
    (tmp_path / "needy_for_test.py").write_text("import a_package_that_is_not_there")
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        # Others, such as what torch loads when it first exports, cannot be loaded twice.
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


def save(folder):
    network = build("mlp", seed=0, widths=(3,))
    save_network(network, {"architecture": "mlp", "options": {"widths": [3]}}, folder)
    return network


def test_a_folder_is_called_by_its_name(here):
    network = save(here / "first")
    for reference in ("first", "./first", str(here / "first")):
        loaded = load_network(reference)
        assert (loaded.name, loaded.config["architecture"]) == ("first", "mlp")
        assert weights_fingerprint(loaded.module) == weights_fingerprint(network)


def test_a_function_in_the_current_folder(here):
    loaded = load_network("py:my_networks_for_test:tiny")
    assert (loaded.name, loaded.config, loaded.module.training) == ("py:my_networks_for_test:tiny", None, False)


def test_an_error_in_the_function_is_the_users_own(here):
    with pytest.raises(RuntimeError, match="mine"):
        load_network("py:my_networks_for_test:broken")


ASTRAY = {
    "pyy:my_networks_for_test:tiny": "no scheme pyy:, and no such folder\ndo:    did you mean 'py'",
    "py:": "no name\ndo:    write py:package.module:function",
    "frist": "no such folder\ndo:    did you mean 'first'",
    "deep/er/none": "no such folder\ndo:    name a network folder",
    "py:my_networks_for_test": "no function named\ndo:    write py:package.module:function",
    "py::tiny": "no function named",
    "py:my_networks_for_test:tinny": "no function 'tinny' in .*\ndo:    did you mean 'tiny'",
    "py:my_networks_for_test:constant": "no function 'constant'",
    "py:my_networks_for_test:number": "a int returned by it",
    "py:no_module_for_test.deep:tiny": "No module .*\ndo:    check the spelling, or start where no_module_for_test",
    "py:my_networks_for_test.deep:tiny": "No module named .*\ndo:    check the spelling",
    "py:needy_for_test:tiny": "do:    install a_package_that_is_not_there, which needy_for_test imports",
}


@pytest.mark.parametrize(("reference", "message"), ASTRAY.items(), ids=ASTRAY)
def test_a_reference_that_leads_nowhere(here, reference, message):
    save(here / "first")
    with pytest.raises(NetworkNotFound, match=message):
        load_network(reference)


def test_a_folder_that_holds_no_network(here):
    (here / "empty").mkdir()
    with pytest.raises(BadFile, match=r"no config\.json"):
        load_network("empty")


def test_the_home_folder_is_known(here, monkeypatch):
    monkeypatch.setenv("HOME", str(here))
    saved = build("mlp", seed=0, widths=(3,))
    save_network(saved, {"architecture": "mlp", "options": {"widths": [3]}}, "~/nets/first")
    assert load_network("~/nets/first").weights == weights_fingerprint(saved)
    assert not (here / "~").exists()


def test_every_scheme_of_the_list_has_its_file_and_its_options():
    for scheme in SCHEMES:
        module = importlib.import_module(f"modelstitch.networks.references.{scheme}")
        assert set(module.TAKES) <= set(OPTIONS)
        assert callable(module.load)
    known = {path.stem for path in Path(references.__file__).parent.glob("*.py")}
    assert known == {*SCHEMES, "__init__", "extras", "loading", "reference", "suited"}


def test_a_missing_package_names_the_extra(monkeypatch):
    for scheme, package in (("timm", "timm"), ("torchvision", "torchvision"), ("hf", "transformers")):
        monkeypatch.setitem(sys.modules, package, None)
        with pytest.raises(SettingError, match=rf"no package {package}.*\ndo:    pip install 'modelstitch\[zoo\]'"):
            load_network(f"{scheme}:anything")


def test_a_package_that_does_not_load_says_why(here):
    (here / "timm.py").write_text("raise RuntimeError('operator torchvision::nms does not exist')")
    sys.path.insert(0, str(here))
    with pytest.raises(SettingError, match=r"timm, which does not load: operator torchvision::nms does not exist"):
        load_network("timm:resnet18")


class TestFile:
    def test_weights_belong_to_an_architecture(self, here):
        saved = build("mlp", seed=1, widths=(3,))
        safetensors.torch.save_file(saved.state_dict(), here / "w.safetensors")
        made = load_network("py:my_networks_for_test:tiny").module
        safetensors.torch.save_file(made.state_dict(), here / "tiny.safetensors")
        loaded = load_network("file:tiny.safetensors?architecture=py:my_networks_for_test:tiny")
        assert (loaded.name, loaded.weights) == ("tiny", weights_fingerprint(made))
        other = {"weight": torch.zeros(3, 3), "bias": torch.zeros(3)}
        safetensors.torch.save_file(other, here / "other.safetensors")
        with pytest.raises(BadFile, match=r"'weight' of shape \(3, 3\) where the network has \(3, 2\)"):
            load_network("file:other.safetensors?architecture=py:my_networks_for_test:tiny")
        wide = build("mlp", seed=0)
        safetensors.torch.save_file(wide.state_dict(), here / "wide.safetensors")
        assert load_network("file:wide.safetensors?architecture=mlp").weights == weights_fingerprint(wide)

    @pytest.mark.parametrize(
        ("reference", "error", "message"),
        [
            ("file:w.safetensors", SettingError, "no architecture for these weights\ndo:    write file:w.safetensors"),
            ("file:none.safetensors?architecture=mlp", NetworkNotFound, "no file none.safetensors"),
            ("file:my_networks_for_test.py?architecture=mlp", BadFile, "no safetensors file"),
            ("file:w.safetensors?architecture=mlp", BadFile, "no weights named|left over|of shape"),
            ("file:w.safetensors?seed=1&architecture=mlp", SettingError, "no option 'seed' of file:"),
        ],
    )
    def test_what_does_not_belong_is_refused(self, here, reference, error, message):
        safetensors.torch.save_file({"a": torch.zeros(2)}, here / "w.safetensors")
        with pytest.raises(error, match=message):
            load_network(reference)


class Marked:
    """A pickle that leaves a mark when it is read."""

    def __reduce__(self):
        return os.mkdir, ("ran",)


class TestPt2:
    @pytest.fixture
    def program(self, here):
        module = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU(), torch.nn.Linear(4, 2)).eval()
        n = torch.export.Dim("n")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            exported = torch.export.export(module, (torch.zeros(2, 3),), dynamic_shapes=({0: n},))
            torch.export.save(exported, here / "net.pt2")
        return module

    def rewritten(self, here, change):
        """The archive with some of its parts changed."""
        with zipfile.ZipFile(here / "net.pt2") as packed:
            parts = {name: packed.read(name) for name in packed.namelist()}
        change(parts)
        with zipfile.ZipFile(here / "other.pt2", "w") as packed:
            for name, content in parts.items():
                packed.writestr(name, content)

    # torch copies a form of its own in a way that it calls old.
    @pytest.mark.filterwarnings("ignore:.isinstance.treespec, LeafSpec:FutureWarning")
    def test_an_exported_program_is_a_network(self, program):
        loaded = load_network("pt2:net.pt2")
        x = torch.randn(5, 3)
        assert torch.equal(loaded.module(x), program(x))
        assert [cut.name for cut in doors.cuts(loaded, x, every=True)] == ["input", "0", "1", "output"]

    def spoiled(self, name):
        def samples(parts):
            held = io.BytesIO()
            torch.save(Marked(), held)
            parts[next(one for one in parts if one.endswith("sample_inputs/model.pt"))] = held.getvalue()

        def weights(parts):
            held = io.BytesIO()
            torch.save(Marked(), held)
            config = next(one for one in parts if one.endswith("weights_config.json"))
            told = json.loads(parts[config])
            told["config"]["0.weight"]["use_pickle"] = True
            parts[config] = json.dumps(told).encode()
            parts[next(one for one in parts if one.endswith("weight_0"))] = held.getvalue()

        def formula(parts):
            graph = next(one for one in parts if one.endswith("models/model.json"))
            told = re.sub(rb'"expr_str": "[^"]*"', b"\"expr_str\": \"__import__('os').mkdir('ran')\"", parts[graph])
            parts[graph] = told

        def object_(parts):
            root = next(iter(parts)).partition("/")[0]
            parts[f"{root}/data/constants/custom_obj_0"] = b"x"

        return {"samples": samples, "weights": weights, "formula": formula, "object": object_}[name]

    @pytest.mark.parametrize("name", ["samples", "weights", "formula", "object"])
    def test_an_archive_that_could_run_code_is_not_read(self, here, program, name):
        self.rewritten(here, self.spoiled(name))
        with pytest.raises(BadFile, match=r"reading it could run code\ndo:    if you trust .* pt2:other.pt2\?trusted"):
            load_network("pt2:other.pt2")
        assert not (here / "ran").exists()

    def test_the_canary_leaves_its_mark_where_the_word_is_given(self, here, program):
        self.rewritten(here, self.spoiled("samples"))
        with contextlib.suppress(BadFile):
            load_network("pt2:other.pt2?trusted")
        assert (here / "ran").exists()

    def test_an_unchanged_archive_passes(self, here, program):
        self.rewritten(here, lambda parts: None)
        assert load_network("pt2:other.pt2").name == "other"

    def test_what_is_no_archive(self, here):
        with pytest.raises(BadFile, match="no archive"):
            load_network("pt2:my_networks_for_test.py")
        with pytest.raises(NetworkNotFound, match=r"no file none\.pt2"):
            load_network("pt2:none.pt2")


class TestPrepared:
    def test_raw_images_are_resized_and_normalised_and_the_network_stays_as_it_was(self):
        network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 16, 2))
        before = weights_fingerprint(network)
        made = prepared(network, mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.4), size=(4, 4))
        images = torch.rand(2, 3, 8, 8)
        small = torch.nn.functional.interpolate(images, (4, 4), mode="bilinear", antialias=True)
        mean, std = (torch.tensor(each).view(1, 3, 1, 1) for each in ((0.5, 0.4, 0.3), (0.2, 0.3, 0.4)))
        assert torch.allclose(made(images), network((small - mean) / std), atol=1e-6)
        assert torch.allclose(made((images * 255).byte()), made((images * 255).byte().float() / 255))
        grey = images[:, :1]
        assert torch.equal(made(grey), made(grey.expand(-1, 3, -1, -1)))
        assert (weights_fingerprint(network), len(network._forward_pre_hooks), hasattr(network, "prepare")) == (
            before,
            0,
            False,
        )
        assert weights_fingerprint(made) != before
        with pytest.raises(SettingError, match="a part called 'prepare' already"):
            prepared(made, mean=(0.5,), std=(1.0,))

    def test_cuts_keep_their_names_and_halves_make_the_whole(self):
        network = build("resnet18", seed=0, width=2).eval()
        made = prepared(network, mean=(0.5,) * 3, std=(0.2,) * 3, size=(16, 16))
        images = torch.rand(2, 3, 24, 24)
        captured = doors.capture(made, images)
        plain = {cut.name for cut in doors.cuts(network, torch.rand(2, 3, 16, 16))}
        assert {cut.name for cut in captured.blocks} - {"prepare"} == plain
        for cut in captured.blocks:
            assert torch.equal(captured.top(cut)(captured.bottom(cut)(images)), made(images))
