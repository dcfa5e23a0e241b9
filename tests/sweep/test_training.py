"""Networks that begin with others: trained in the order in which they wait, kept apart, and frozen where asked."""

import json
import shutil

import pytest
import torch

from modelstitch.errors import SettingError
from modelstitch.networks import weights_fingerprint
from modelstitch.recipe import parse_recipe
from modelstitch.records import Store
from modelstitch.sweep import estimate, run_recipe
from modelstitch.sweep.executors import Processes
from modelstitch.sweep.plan import plan_of
from modelstitch.sweep.run import context_of

RECIPE = """\
name: freeze
question: Do early layers need more data?
data: {name: digits, train: 64, test: 40}
networks:
  late: {architecture: mlp, options: {widths: [8, 8]}, samples: 200, epochs: 1, start: middle-0, freeze: [fc]}
  middle:
    architecture: mlp
    options: {widths: [8, 8]}
    samples: 300
    epochs: 1
    start: small-0
    freeze: ["layer1", fc]
  small: {architecture: mlp, options: {widths: [8, 8]}, samples: 100, epochs: 2, checkpoint: 1}
stitchings:
  - pairs: [[late-0, late-0]]
    families: [{name: identity}]
    matchings: [{name: direct}, {name: task, epochs: 1, top: fresh}, {name: task, epochs: 1, top: trained}]
"""


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    folder = tmp_path_factory.mktemp("training")
    store = Store(folder / "run.sqlite")
    records = run_recipe(RECIPE, store, networks=folder / "nets")
    return folder, store, records


def networks_of(folder, text=RECIPE):
    context = context_of(text, networks=folder / "nets")
    return {name: context.network(name).module for name in context.plan.names}


def assert_frozen(network, before, paths):
    """The law: what is frozen is bit for bit what it was at the start; everything else has moved."""
    held = before.state_dict()
    same = {name for name, tensor in network.state_dict().items() if torch.equal(tensor, held[name])}
    assert same == {name for name in held if name.split(".")[0] in paths}


def test_a_network_begins_with_another_and_keeps_what_is_frozen(done):
    networks = networks_of(done[0])
    assert_frozen(networks["middle-0"], networks["small-0"], {"layer1", "fc"})
    assert_frozen(networks["late-0"], networks["middle-0"], {"fc"})
    told = {one.name: one.config["training"] for one in done[1].networks()}
    assert told["middle-0"]["start"] == weights_fingerprint(networks["small-0"])
    assert (told["middle-0"]["freeze"], told["small-0"].get("freeze")) == (["layer1", "fc"], None)
    assert done[1].failures() == {}


def test_canary_the_law_of_freezing_sees_what_moved_and_what_did_not(done):
    networks = networks_of(done[0])
    for wrong in ({"layer1"}, {"layer1", "layer2", "fc"}):
        with pytest.raises(AssertionError, match=r"layer2|fc"):
            assert_frozen(networks["middle-0"], networks["small-0"], wrong)


def test_fine_tuned_records_stand_beside_the_stitchings(done):
    records = done[2]
    kinds = {json.loads(one.matching)["top"] if one.matching else None for one in records}
    assert kinds == {None, "fresh", "trained"}
    assert {one.penalty for one in records.only(matching="")} == {0}
    assert len(records) == 2 * 3
    assert {one.status for one in records} == {"ok"}


def test_the_plan_trains_first_what_others_begin_with_though_no_pair_names_it():
    plan = plan_of(parse_recipe(RECIPE))
    assert plan.names == ["small-0", "middle-0", "late-0"]
    assert [(one.needs, one.wave) for one in plan.trainings] == [((), 0), (("small-0",), 1), (("middle-0",), 2)]


@pytest.mark.usefixtures("_forked")
def test_processes_wait_for_what_a_network_begins_with(done, tmp_path):
    run_recipe(RECIPE, Store(tmp_path / "run.sqlite"), networks=tmp_path / "nets", executor=Processes(2))
    found, expected = networks_of(tmp_path), networks_of(done[0])
    assert {k: weights_fingerprint(v) for k, v in found.items()} == {
        k: weights_fingerprint(v) for k, v in expected.items()
    }


@pytest.mark.parametrize(
    ("old", "new"),
    [("samples: 100", "samples: 101"), ("checkpoint: 1", "checkpoint: 2"), ('["layer1", fc]', "[fc]")],
)
def test_another_beginning_makes_another_network(done, old, new):
    folders = []
    for text in (RECIPE, RECIPE.replace(old, new)):
        context = context_of(text, networks=done[0] / "nets")
        folders.append({one.network: context.networks.folder(one, context.data) for one in context.plan.trainings})
    assert folders[0]["late-0"] != folders[1]["late-0"]
    assert folders[0]["middle-0"] != folders[1]["middle-0"]


def test_without_its_beginning_a_network_is_a_failure_and_not_another_one(done, tmp_path):
    text = RECIPE.replace("options: {widths: [8, 8]}, samples: 100", "options: {widht: 8}, samples: 100")
    store = Store(tmp_path / "run.sqlite")
    assert len(run_recipe(text, store, networks=tmp_path / "nets")) == 0
    failures = store.failures()
    assert "no option 'widht'" in failures["train small-0"]
    assert failures["train middle-0"] == "no network small-0: it could not be trained or loaded"
    assert failures["train late-0"] == "no network middle-0: it could not be trained or loaded"
    # Mended, the failures go.
    shutil.copytree(done[0] / "nets", tmp_path / "nets", dirs_exist_ok=True)
    run_recipe(RECIPE, store, networks=tmp_path / "nets")
    assert {name for name in store.failures() if name.startswith("train")} == set()


def test_a_beginning_of_another_shape_is_told(tmp_path):
    text = RECIPE.replace("{widths: [8, 8]}, samples: 100", "{widths: [9, 8]}, samples: 100")
    store = Store(tmp_path / "run.sqlite")
    run_recipe(text, store, networks=tmp_path / "nets")
    assert "size mismatch for layer1" in store.failures()["train middle-0"]


def test_the_outlook_counts_them_all(tmp_path):
    told = estimate(RECIPE, tmp_path / "run.sqlite", networks=tmp_path / "nets")
    assert list(told.networks) == ["small-0", "middle-0", "late-0"]
    assert sum(told.stitchings.values()) == 2 * 3


@pytest.mark.parametrize(
    ("old", "new", "found", "do"),
    [
        ("start: small-0", "start: smal-0", "line 11: no network 'smal-0'", "did you mean 'small-0'"),
        ("start: small-0", "start: old", "line 11: 'old' is loaded, not trained here", "that this recipe trains"),
        ("start: small-0", "start: late-0", "line 5: middle-0 starts from late-0 starts from middle-0", "let one of"),
        ("start: small-0", "start: middle-0", "line 11: middle-0 starts from middle-0", "let one of them"),
    ],
)
def test_a_beginning_that_cannot_be_is_told_with_its_line(old, new, found, do):
    text = RECIPE.replace(old, new).replace("stitchings:", "  old: {load: 'py:zoo:net'}\nstitchings:")
    with pytest.raises(SettingError, match=found) as raised:
        parse_recipe(text)
    assert do in raised.value.do
