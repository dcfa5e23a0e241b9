"""A recipe carried out: the same records however it is run, whatever dies on the way, and nothing lost to a failure."""

import dataclasses
import multiprocessing
import random
import shutil
import signal
import time

import pytest
import torch
from tiny import COUNT, RECIPE, carry_out, essence, run

from forks import FORKS
from modelstitch.compute import Compute
from modelstitch.data import load
from modelstitch.errors import BadFile, DataError, NotWritable, SettingError
from modelstitch.records import Store
from modelstitch.stitching import stitched_from
from modelstitch.sweep import estimate, executors, run_recipe
from modelstitch.sweep.executors import Processes
from modelstitch.sweep.run import context_of


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """The recipe carried out in one process without a break."""
    folder = tmp_path_factory.mktemp("plain")
    return folder, run(folder)


def test_everything_that_the_recipe_asks_for_is_there(plain):
    folder, records = plain
    store = Store(folder / "run.sqlite")
    assert len(records) == COUNT
    assert {one.status for one in records} == {"ok"}
    assert store.failures() == {}
    assert store.recipes() == [("tiny", RECIPE)]
    assert [one.name for one in store.networks()] == ["net-0", "net-1"]
    assert {row["measure"] for row in store.similarities()} == {"cka_minibatch"}
    assert {(one.n_fit, one.n_test) for one in records} == {(64, 40)}
    assert {one.penalty for one in records.only(control="self")} == {0}


def test_called_again_it_does_nothing_again(plain, monkeypatch):
    folder, records = plain
    monkeypatch.setattr("modelstitch.sweep.network_store.train_network", None.__class__)
    monkeypatch.setattr("modelstitch.stitching.groups.measure", None.__class__)
    monkeypatch.setattr("modelstitch.sweep.jobs.compare_all", None.__class__)
    # Training is asked for again, and finds the folder; that is what this one stands in for.
    monkeypatch.setattr("modelstitch.sweep.network_store.NetworkStore.train", lambda self, one, data: self.root)
    assert essence(run(folder)) == essence(records)
    assert Store(folder / "run.sqlite").failures() == {}


@pytest.mark.usefixtures("_forked")
def test_processes_give_what_one_process_gives(plain, tmp_path, monkeypatch):
    seats, start = [], executors._start
    monkeypatch.setattr(executors, "_start", lambda *asked: seats.append(asked[-1]) or start(*asked))
    assert essence(run(tmp_path, executor=Processes(2))) == essence(plain[1])
    # Two networks side by side; then each job takes a seat that nobody sits in.
    assert seats[:2] == [0, 1]
    assert set(seats) == {0, 1}


def test_a_fresh_process_gives_what_this_one_gives(plain):
    context, store = context_of(RECIPE, networks=plain[0] / "nets"), Store(plain[0] / "run.sqlite")
    (asked,) = context.plan.comparisons
    ((job, found),) = Processes(1).run([asked], context, store)
    assert job == asked
    assert list(found) == list(context.do(asked, store))


@pytest.mark.parametrize(("device", "given"), [("cuda", [0, 1, 0]), ("cuda:1", []), (None, [])])
def test_processes_share_out_the_gpus(plain, monkeypatch, device, given):
    # Stands in for two GPUs: which one each process would take.
    taken = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", taken.append)
    monkeypatch.setattr(executors, "collected", lambda job, context, done: executors.Failure("not looked at"))
    context = context_of(RECIPE, networks=plain[0] / "nets")
    data = dataclasses.replace(context.data, compute=Compute(device=device))
    context = dataclasses.replace(context, data=data)
    for seat in range(3):
        ours, theirs = multiprocessing.Pipe(duplex=False)
        executors._worker(theirs, context.plan.pairs[0], context, frozenset(), 1, seat)
        assert ours.recv().reason == "not looked at"
    assert taken == given


@pytest.mark.usefixtures("_forked")
def test_a_process_that_dies_costs_its_job_alone(plain, tmp_path, monkeypatch):
    folder, _ = plain
    deadly = RECIPE.replace("pairs: [[net-0, net-1]]", "pairs: [[net-0, net-1], [dead, net-1]]")
    deadly = deadly.replace("stitchings:", "  dead: {load: 'py:deadly:build'}\nstitchings:")
    deadly = deadly.replace("measures: [cka_minibatch]", "measures: []")
    (tmp_path / "deadly.py").write_text("import os\ndef build():\n    os.kill(os.getpid(), 9)\n")
    monkeypatch.chdir(tmp_path)
    store = Store(tmp_path / "run.sqlite")
    # The driver asks every network for its weights; a process of its own dies of this one.
    monkeypatch.setattr("modelstitch.sweep.run._usable", lambda name, context, store: True)
    records = run_recipe(deadly, store, networks=folder / "nets", executor=Processes(2))
    assert len(records) == COUNT
    ((job, reason),) = store.failures().items()
    assert job == "stitch dead <-> net-1 (stitchings 1)"
    assert "died twice (exit code -9)" in reason


def test_a_stitch_in_the_store_makes_the_network_that_was_measured(plain):
    folder, records = plain
    store, context = Store(folder / "run.sqlite"), context_of(RECIPE, networks=folder / "nets")
    record = next(one for one in records if "affine" in one.family and not one.control and "task" in one.matching)
    networks = {name: context.network(name).module for name in ("net-0", "net-1")}
    test = load("digits").test.first(40)
    stitched = stitched_from(record, store.stitch(record.key), networks, test.example)
    with torch.no_grad():
        wrong = (stitched(test.normalised(test.inputs)).argmax(1) != test.labels).float().mean()
    assert 100 * float(wrong) == pytest.approx(record.score("error").stitched, abs=1e-4)
    noise = dataclasses.replace(record, control="noise")
    with pytest.raises(SettingError, match="whose bottom was noise"):
        stitched_from(noise, store.stitch(record.key), networks, test.example)
    with pytest.raises(BadFile, match="tensors that do not fit"):
        stitched_from(record, None, networks, test.example)
    with pytest.raises(BadFile, match="no safetensors file"):
        stitched_from(record, b"\x80\x04pickle", networks, test.example)
    with pytest.raises(BadFile, match="while the record speaks of"):
        stitched_from(record, None, {"net-0": networks["net-1"], "net-1": networks["net-0"]}, test.example)


def test_what_fails_is_noted_and_the_rest_goes_on(tmp_path):
    text = RECIPE.replace("options: {widths: [8, 8]}", "options: {widths: [8, 8]}").replace(
        "stitchings:", "  bad: {architecture: mlp, options: {widht: 3}, epochs: 1}\nstitchings:"
    )
    text = text.replace("pairs: [[net-0, net-1]]", "pairs: [[bad-0, net-1], [net-0, net-1]]")
    store = Store(tmp_path / "run.sqlite")
    records = run_recipe(text, store, networks=tmp_path / "nets")
    assert len(records) == COUNT
    failures = store.failures()
    assert "no option 'widht'" in failures["train bad-0"]
    assert failures["stitch bad-0 <-> net-1 (stitchings 1)"] == "no network bad-0: it could not be trained or loaded"
    assert "compare bad-0 and net-1" in failures
    # Mended, the failures go.
    run_recipe(text.replace("widht: 3", "widths: [8]"), store, networks=tmp_path / "nets")
    assert "train bad-0" not in store.failures()


def test_a_damaged_network_is_told_and_the_rest_goes_on(plain, tmp_path):
    shutil.copytree(plain[0] / "nets", tmp_path / "nets")
    weights = sorted((tmp_path / "nets").glob("*/weights.safetensors"))
    content = weights[0].read_bytes()
    weights[0].write_bytes(b"\x80\x04pickle" + content[8:])
    store = Store(tmp_path / "run.sqlite")
    run_recipe(RECIPE, store, networks=tmp_path / "nets")
    told = " ".join(store.failures().values())
    assert "safetensors" in told
    weights[0].write_bytes(content)
    assert len(run_recipe(RECIPE, store, networks=tmp_path / "nets")) == COUNT
    assert store.failures() == {}


def test_a_full_disk_ends_the_run_and_keeps_what_there_is(plain, tmp_path, monkeypatch):
    store = Store(tmp_path / "run.sqlite")
    appended, append = [], Store.append

    def full(self, record, stitch=None):
        if len(appended) == 5:
            raise NotWritable(f"write {self.path}", "database or disk is full", "make room")
        appended.append(record)
        append(self, record, stitch)

    monkeypatch.setattr(Store, "append", full)
    with pytest.raises(NotWritable, match="disk is full"):
        run_recipe(RECIPE, store, networks=plain[0] / "nets")
    assert len(store.records()) == 5
    assert store.failures() == {}
    monkeypatch.setattr(Store, "append", append)
    assert essence(run_recipe(RECIPE, store, networks=plain[0] / "nets")) == essence(plain[1])


LONGER = RECIPE.replace("    controls: [self, untrained, stem_reset,", "    seeds: [0, 1]\n    controls: [self,")
"""Twice, so that there is time to be killed in; without fresh bottoms, which are captured before the first record."""
COUNT_OF_LONGER = 2 * (2 * 2 * 2 * 2 * 3 + 2 * 2)


def begun(*arguments):
    process = FORKS.Process(target=carry_out, args=arguments)
    process.start()
    return process


def killed_after_progress(path, networks, moments):
    """Start the run, wait until the store has grown, and kill it within a tenth of a second; returns its exit code."""
    before = len(Store(path).keys())
    process = begun(LONGER, path, networks)
    while process.is_alive() and len(Store(path).keys()) == before:
        time.sleep(0.02)
    time.sleep(moments.random() / 10)
    process.kill()
    process.join()
    return process.exitcode


def test_killed_at_any_moment_and_resumed_is_uninterrupted(plain, tmp_path):
    path, nets = tmp_path / "run.sqlite", tmp_path / "nets"
    moments, grown = random.Random(0), []
    # Once before anything is stored, then in the midst of it.
    early = begun(LONGER, path, nets)
    time.sleep(moments.random())
    early.kill()
    early.join()
    for _ in range(3):
        assert killed_after_progress(path, nets, moments) == -signal.SIGKILL
        grown.append(len(Store(path).keys()))
    assert 0 < grown[0] < grown[1] < grown[2] < COUNT_OF_LONGER
    whole = run_recipe(LONGER, Store(plain[0] / "longer.sqlite"), networks=plain[0] / "nets")
    assert len(whole) == COUNT_OF_LONGER
    assert essence(run_recipe(LONGER, Store(path), networks=nets)) == essence(whole)
    assert {entry.name for entry in tmp_path.iterdir()} <= {"run.sqlite", "nets", "run.sqlite-wal", "run.sqlite-shm"}


def test_what_will_be_done_is_told_before_and_nothing_is_made(plain, tmp_path):
    told = estimate(RECIPE, tmp_path / "run.sqlite", networks=tmp_path / "nets")
    assert (sum(told.stitchings.values()), told.stitchings_there, list(told.networks)) == (COUNT, 0, ["net-0", "net-1"])
    assert told.seconds > 0
    assert told.comparisons == 1
    assert list(tmp_path.iterdir()) == []
    again = estimate(RECIPE, plain[0] / "run.sqlite", networks=plain[0] / "nets")
    assert (again.stitchings_there, again.networks, again.seconds) == (COUNT, {}, 0)


@pytest.mark.parametrize(
    ("old", "new", "error", "found"),
    [
        ("cka_minibatch", "cka_minibach", SettingError, "no measure 'cka_minibach'"),
        ("{name: digits,", "{name: fashion_mnist, folder: /nowhere,", DataError, "nowhere"),
        ("test: 40", "test: 1", DataError, "class"),
    ],
)
def test_what_cannot_be_is_told_before_anything_is_trained(tmp_path, old, new, error, found):
    with pytest.raises(error, match=found):
        run(tmp_path, RECIPE.replace(old, new))
    assert not (tmp_path / "nets").exists()
