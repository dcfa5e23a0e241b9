"""A recipe over data, networks and a task of the user; and settings that are refused before anything is trained."""

import sys

import pytest

from modelstitch.errors import SettingError
from modelstitch.records import Store
from modelstitch.sweep import estimate, run_recipe
from modelstitch.sweep.kinds import checked_recipe

MODULE = """
import torch
from torch import nn
def numbers():
    x = torch.randn(150, 6, generator=torch.Generator().manual_seed(0))
    y = torch.stack([x.sum(1), x[:, 0] * x[:, 1]], 1)
    return (x[:100], y[:100]), (x[100:], y[100:])
def small():
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 2))
"""
RECIPE = """\
name: own
question: Do they?
data: {name: "py:numbers_of_mine:numbers", train: 80, test: 40}
task: {name: regression}
networks:
  net: {architecture: mlp, options: {widths: [5]}, epochs: 2, learning_rate: 0.01}
  old: {load: "py:numbers_of_mine:small"}
stitchings:
  - pairs: [[net-0, old]]
    both_ways: true
    matchings: [{name: direct}, {name: task, epochs: 1}]
    controls: [self, untrained]
claims:
  - {claim: They do, at_most: 1}
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    (tmp_path / "numbers_of_mine.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    return tmp_path


@pytest.mark.usefixtures("_few_resamples")
def test_data_networks_and_task_may_be_the_users_own(here):
    store = Store(here / "run.sqlite")
    told = estimate(RECIPE, store.path, networks=here / "nets")
    records = run_recipe(RECIPE, store, networks=here / "nets")
    assert store.failures() == {}
    assert len(records) == sum(told.stitchings.values()) > 4
    assert {one.scores[0].score for one in records} == {"r2"}
    assert {one.penalty for one in records.only(control="self")} == {0}
    assert {(one.data, one.n_fit, one.n_test) for one in records} == {("numbers", 80, 40)}
    # Called again, it finds everything.
    assert run_recipe(RECIPE, store, networks=here / "nets") == records


@pytest.mark.parametrize(
    ("old", "new", "found", "do"),
    [
        ("epochs: 2, ", "", "default schedules for digits", "a number of epochs"),
        ("epochs: 2, ", "epochs: 2, samples: 50, ", "examples without class labels", "leave samples, half and labels"),
    ],
)
def test_a_network_that_cannot_learn_them_is_told_before_anything_is_trained(here, old, new, found, do):
    with pytest.raises(SettingError, match=found) as raised:
        run_recipe(RECIPE.replace(old, new), Store(here / "run.sqlite"), networks=here / "nets")
    assert do in raised.value.do
    assert not (here / "nets").exists()


def test_a_matching_that_cannot_fit_a_family_is_told_before_anything_is_trained():
    text = RECIPE.replace("    both_ways", "    families: [{name: permutation}]\n    both_ways")
    with pytest.raises(SettingError, match=r"the recipe own, stitchings 1: .*\nfound: a family that gradient descent"):
        checked_recipe(text)
    assert checked_recipe(text.replace(", {name: task, epochs: 1}", "")).name == "own"
