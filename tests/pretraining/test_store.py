"""Base networks on disk: trained once, told apart, never left half written."""

import dataclasses
import json

import pytest

from modelstitch.data import Split, digits
from modelstitch.errors import BadFile, SettingError
from modelstitch.networks import load_folder
from modelstitch.pretraining import Schedule, error_percent, train_network

SCHEDULE = Schedule(epochs=1)
STORE = "modelstitch.pretraining.store"


def small() -> Split:
    whole = digits()
    return Split(whole.train.first(200), whole.test.first(50))


def train(folder, **changes):
    settings = {"seed": 0, "folder": folder, "schedule": SCHEDULE, "width": 2, **changes}
    return train_network("resnet18", small(), **settings)


def forbid(monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("trained again")

    monkeypatch.setattr(f"{STORE}.train_supervised", refuse)


def test_a_folder_says_how_its_network_came_about(tmp_path):
    config = train(tmp_path / "a")
    network, stored = load_folder(tmp_path / "a")
    assert stored == config
    assert config["options"] == {"channels": 1, "classes": 10, "width": 2}
    assert config["data"]["train"] == small().train.fingerprint
    assert config["data"]["shape"] == [1, 8, 8]
    assert config["training"].items() >= {"seed": 0, **dataclasses.asdict(SCHEDULE)}.items()
    assert len(config["training"]["curve"]) == 1
    assert config["test_error"] == error_percent(network, small().test)
    assert config["versions"].keys() == {"python", "torch"}


def test_what_is_there_is_not_trained_again(tmp_path, monkeypatch):
    config = train(tmp_path)
    forbid(monkeypatch)
    assert train(tmp_path) == config


def test_an_mlp_takes_its_inputs_from_the_data_and_its_widths_as_given(tmp_path, monkeypatch):
    for _ in range(2):
        config = train_network("mlp", small(), seed=0, folder=tmp_path, schedule=SCHEDULE, widths=(3,))
        assert config["options"] == {"inputs": 64, "classes": 10, "widths": [3]}
        forbid(monkeypatch)


OTHERS = {
    "seed": ({"seed": 1}, "training = .*'seed': 0"),
    "schedule": ({"schedule": Schedule(epochs=2)}, "training = .*'epochs': 1"),
    "width": ({"width": 3}, "options = .*'width': 2"),
}


@pytest.mark.parametrize(("changes", "message"), OTHERS.values(), ids=OTHERS)
def test_another_network_in_the_folder_is_not_overwritten(tmp_path, changes, message):
    train(tmp_path)
    before = (tmp_path / "config.json").read_bytes()
    with pytest.raises(SettingError, match=f"found: {message}"):
        train(tmp_path, **changes)
    assert (tmp_path / "config.json").read_bytes() == before


def test_other_data_is_another_network(tmp_path):
    train(tmp_path)
    other = Split(small().train.first(100), small().test)
    with pytest.raises(SettingError, match="found: data = "):
        train_network("resnet18", other, seed=0, folder=tmp_path, schedule=SCHEDULE, width=2)


def test_a_damaged_folder_is_an_error_and_not_a_reason_to_train(tmp_path, monkeypatch):
    train(tmp_path)
    (tmp_path / "weights.safetensors").write_bytes(b"")
    forbid(monkeypatch)
    with pytest.raises(BadFile, match="no safetensors file"):
        train(tmp_path)


@pytest.mark.parametrize("at", ["train_supervised", "error_percent"])
def test_an_interruption_leaves_no_folder_and_does_no_harm(tmp_path, monkeypatch, at):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(f"{STORE}.{at}", interrupt)
        with pytest.raises(KeyboardInterrupt):
            train(tmp_path / "a")
    assert list(tmp_path.iterdir()) == []
    assert train(tmp_path / "a") == train(tmp_path / "b")


def test_unknown_data_needs_a_schedule(tmp_path):
    split = Split(dataclasses.replace(small().train, name="mine"), small().test)
    with pytest.raises(SettingError, match="default schedules for digits, fashion_mnist, cifar10 only"):
        train_network("resnet18", split, seed=0, folder=tmp_path)


def test_a_smaller_copy_takes_the_schedule_of_the_whole(tmp_path, monkeypatch):
    split = Split(dataclasses.replace(small().train, name="fashion_mnist-200+50"), small().test)
    monkeypatch.setattr(f"{STORE}.train_supervised", lambda *_, **settings: [settings["schedule"].epochs])
    config = train_network("resnet18", split, seed=0, folder=tmp_path, width=2)
    assert config["training"]["curve"] == [6]


def test_the_default_on_digits_learns_them(tmp_path):
    config = train_network("resnet18", digits(), seed=0, folder=tmp_path, width=8)
    assert config["test_error"] <= 3.0
    assert json.loads((tmp_path / "config.json").read_text()) == config
