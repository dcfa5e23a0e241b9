"""Several processes: they find what one finds, write once, and end together, whatever happens to one of them.

The processes are real, joined by gloo on the CPU. Tolerances: a sum over parts rounds otherwise than the sum over the
whole, in float32 by 1e-7 of it a step. Seen here: stitches agree to 1e-8 of their loss, and 1e-4 is asked for. Base
networks are trained in float64, where 1e-10 was seen and 1e-8 is asked for. With batch statistics a bias below a batch
norm has no gradient but rounding, which Adam turns into whole steps; running statistics lag behind them, and 1e-4 of
the loss was seen, 1e-3 is asked for.
"""

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
from job import STITCHING, everything

from modelstitch.budget import Budget
from modelstitch.errors import SettingError
from modelstitch.matching import fit
from modelstitch.parallel import Ranks, among, launch, ranks

NEAR = {"task": 1e-4, "patience": 1e-4, "batch": 1e-3, "reestimated": 1e-4}
# One example whose two highest scores are within rounding of each other may fall to either class.
FLIPPED = 100 / 299 * 1.01
PROCESSES = 3


def started(*command):
    given = {"capture_output": True, "text": True, "env": {**os.environ, "OMP_NUM_THREADS": "1"}, "check": False}
    # A run that hangs fails the test.
    return subprocess.run([sys.executable, *map(str, command)], timeout=300, **given)


def job(what, count, folder):
    return started(Path(__file__).with_name("job.py"), what, count, folder)


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    return everything(tmp_path_factory.mktemp("alone"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("together")


@pytest.fixture(scope="module")
def ended(folder):
    return job("everything", PROCESSES, folder)


@pytest.fixture(scope="module")
def together(ended, folder):
    assert ended.returncode == 0, ended.stderr
    return pickle.loads((folder / "found.pickle").read_bytes())


@pytest.mark.parametrize("network", ["mlp", "resnet"])
def test_base_networks_learn_what_one_process_teaches_them(alone, together, network):
    assert together["count"] == PROCESSES
    for one, several in zip(alone["curves"][network], together["curves"][network], strict=True):
        assert several["loss"] == pytest.approx(one["loss"], rel=1e-8)
        assert several["error"] == one["error"]


@pytest.mark.parametrize("setting", STITCHING)
def test_stitches_are_those_of_one_process(alone, together, setting):
    one, several = alone["records"][setting], together["records"][setting]
    assert [record.stitching for record in several] == [record.stitching for record in one]
    for expected, found in zip(one, several, strict=True):
        assert found.status == expected.status == "ok"
        assert found.learning_curve == pytest.approx(expected.learning_curve, rel=1e-4)
        assert found.loss == pytest.approx(expected.loss, rel=NEAR[setting])
        assert found.error == pytest.approx(expected.error, abs=FLIPPED)
        assert found.cka == pytest.approx(expected.cka, rel=1e-6)


def test_an_early_stop_is_the_same_for_all_and_does_stop(together):
    lengths = {len(record.learning_curve) for record in together["records"]["patience"]}
    assert min(lengths) < STITCHING["patience"]["by"].epochs


def test_a_network_with_itself_costs_exactly_nothing(together):
    controls = [record for record in together["records"]["task"] if record.control == "self"]
    assert controls
    assert all(record.penalty == 0 and record.loss_penalty == 0 for record in controls)


def test_all_processes_end_with_the_same_weights_and_records(together):
    first = together["each"][0]
    for other in together["each"][1:]:
        assert other["weights"] == first["weights"]
        assert other["records"] == first["records"]
        assert other["failure"] == first["failure"] != ""


def test_networks_are_left_as_they_were(alone, together):
    assert all(each["training"] == alone["each"][0]["training"] for each in together["each"])


def test_one_process_writes_and_goes_on(ended, together, folder):
    assert [each["appended"] for each in together["each"]] == [len(together["stored"]), 0, 0]
    assert len((folder / "records.jsonl").read_text().splitlines()) == len(together["stored"])
    assert ended.stdout == "written by process 0\n"


def test_records_say_how_many_processes_made_them(alone, together):
    assert together["stored"][0].device.endswith(f", {PROCESSES} processes")
    assert "processes" not in alone["stored"][0].device


def test_a_process_that_dies_ends_the_others(tmp_path):
    assert job("dies", 2, tmp_path).returncode != 0
    assert not (tmp_path / "found.pickle").exists()


def test_an_error_of_one_process_is_told_and_ends_the_others(tmp_path):
    done = job("refuses_alone", 2, tmp_path)
    assert done.returncode != 0
    assert "only by the second process" in done.stderr


def test_processes_with_different_networks_are_refused_once(tmp_path):
    done = job("differs", 2, tmp_path)
    assert done.returncode == 1
    assert done.stderr.count("found: processes that were given different things") == 1


def test_the_command_line_trains_and_stitches_over_processes(tmp_path):
    def typed(*arguments, strategy="ddp"):
        several = ("--devices", 2, "--strategy", strategy, "--limit", 130, "--json")
        return started("-m", "modelstitch", *arguments, *several)

    nets = [tmp_path / "a", tmp_path / "b"]
    for seed, net in enumerate(nets):
        done = typed("train", "mlp", "--data", "digits", "--width", 8, "--epochs", 1, "--seed", seed, "--out", net)
        assert done.returncode == 0, done.stderr
        assert len(done.stdout.splitlines()) == 1
        assert json.loads((net / "config.json").read_text())["test_error"] == json.loads(done.stdout)["test_error"]
    records = tmp_path / "records.jsonl"
    done = typed("stitch", *nets, "--by", "direct", "--out", records, strategy="ddp_spawn")
    assert done.returncode == 0, done.stderr
    assert [json.loads(line)["stitching"] for line in done.stdout.splitlines()] == [
        json.loads(line)["stitching"] for line in records.read_text().splitlines()
    ]


def test_the_command_line_tells_an_error_once(tmp_path):
    given = ("--data", "digits", "--out", tmp_path / "net", "--limit", 0, "--devices", 2)
    done = started("-m", "modelstitch", "train", "mlp", *given)
    assert done.returncode == 2
    assert done.stderr.count("asked:") == 1


def test_one_process_is_a_call():
    assert launch(lambda: ranks().count) == 1


def test_without_fabric_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "lightning_fabric", None)
    with pytest.raises(SettingError, match=r"pip install 'modelstitch\[fabric\]'"):
        launch(print, devices=2)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"devices": 0}, "choose 1 or more"),
        ({"devices": 2, "nodes": 0}, "choose 1 or more"),
        ({"devices": 2, "strategy": "fsdp"}, "no such strategy"),
        ({"devices": 2, "device": "cuda:1"}, "without a number"),
    ],
)
def test_what_cannot_be_launched_is_refused(asked, message):
    with pytest.raises(SettingError, match=message):
        launch(print, **asked)


def test_a_launch_within_a_launch_is_refused():
    with among(Ranks(0, 2)), pytest.raises(SettingError, match="launch once"):
        launch(print, devices=2)


def test_activations_in_a_folder_are_refused(tmp_path):
    import torch
    from torch import nn

    import modelstitch as ms

    network, x = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)), torch.randn(4, 3)
    halves = ms.bottom(network, "0", x), ms.top(network, "0", x)
    with among(Ranks(0, 2)), pytest.raises(SettingError, match="leave the folder out"):
        fit(ms.Affine(), *halves, (x, torch.tensor([0, 1, 0, 1])), budget=Budget(folder=tmp_path))
