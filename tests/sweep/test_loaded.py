"""Networks that a recipe loads: where their channels are, and images that they prepare themselves."""

import pytest

from modelstitch.records import Store
from modelstitch.sweep import estimate, run_recipe

MODULE = """
import torch
from torch import nn
from modelstitch.networks import prepared
class Flat(nn.Module):
    def __init__(self, inputs, classes):
        super().__init__()
        self.hidden, self.head = nn.Linear(inputs, 5), nn.Linear(5, classes)
    def forward(self, x):
        return self.head(torch.tanh(self.hidden(torch.relu(x).flatten(1))))
def bare():
    torch.manual_seed(1)
    return Flat(64, 10)
def own():
    torch.manual_seed(2)
    return prepared(Flat(64, 10), mean=[0.02], std=[0.02])
"""
RECIPE = """\
name: loaded
question: Do they?
data: {name: digits, train: 64, test: 40}
networks:
  bare: {load: "py:loaded_networks:bare", kinds: {relu: map}}
  own: {load: "py:loaded_networks:own", kinds: {relu: map}}
  net: {architecture: mlp, options: {widths: [8, 5]}, epochs: 1}
stitchings:
  - pairs: [[bare, own]]
    cuts: [relu]
    matchings: [{name: direct}]
  - pairs: [[net-0, own], [net-0, bare]]
    cuts: grid
    matchings: [{name: direct}]
measures: [cka_minibatch]
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    (tmp_path / "loaded_networks.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


@pytest.mark.usefixtures("_few_resamples")
def test_networks_that_prepare_images_meet_those_that_do_not(here):
    store = Store(here / "run.sqlite")
    told = estimate(RECIPE, store.path, networks=here / "nets")
    records = run_recipe(RECIPE, store, networks=here / "nets")
    assert store.failures() == {}
    assert len(records) == sum(told.stitchings.values())
    assert {(one.bottom_kind, one.top_kind) for one in records if one.bottom_cut == "relu"} == {("map", "map")}
    # Of one network there are two in the records: as it is, and behind the normalisation that it was trained with.
    assert len({one.bottom_weights for one in records if one.bottom_network == "net-0"}) == 2
    scores = {one.top_network: one.scores[0] for one in records if one.bottom_network == "net-0"}
    assert scores["own"].bottom == scores["bare"].bottom, "the same network on the same images"
    # Called again, it finds everything, similarities too.
    similarities = store.similarities()
    assert run_recipe(RECIPE, store, networks=here / "nets") == records
    assert store.similarities() == similarities


def test_a_kind_that_a_tensor_cannot_have_is_a_failure_of_its_pair(here):
    store = Store(here / "run.sqlite")
    text = RECIPE.replace("{relu: map}", "{relu: 5}", 1).replace(
        "  - pairs: [[net-0, own], [net-0, bare]]", "  - pairs: [[own, own]]"
    )
    run_recipe(text.replace("measures: [cka_minibatch]\n", ""), store, networks=here / "nets")
    ((job, reason),) = store.failures().items()
    assert job == "stitch bare -> own (stitchings 1)"
    assert "kind 5 at relu" in reason
