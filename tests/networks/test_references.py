"""Naming a network: a folder, or a function."""

import sys

import pytest

from modelstitch.errors import BadFile, NetworkNotFound
from modelstitch.networks import build, load_network, save_network, weights_fingerprint

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
