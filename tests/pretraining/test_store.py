"""Base networks on disk: trained once, told apart, never left half written."""

import dataclasses
import json

import pytest
import torch
from held import Held, error_of

from modelstitch.data import DATA_SETS, LabelNoise, Split, Superclasses, digits, subset
from modelstitch.errors import BadFile, SettingError
from modelstitch.networks import load_folder
from modelstitch.pretraining import (
    METHODS,
    SCHEDULES,
    Schedule,
    checkpoint_folder,
    data_options,
    default_schedule,
    scores_of,
    train_network,
)
from modelstitch.seeding import generator
from modelstitch.support.settings import spelled
from modelstitch.tasks import MultiLabel, NextToken, Regression

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
    assert config["test_error"] == error_of(network, small().test)
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


def test_a_vit_takes_its_size_from_the_data(tmp_path):
    options = {"patch": 4, "depth": 2, "width": 4, "heads": 2}
    config = train_network("vit", small(), seed=0, folder=tmp_path, schedule=SCHEDULE, **options)
    assert config["options"] == {"channels": 1, "size": 8, "classes": 10, **options}


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


@pytest.mark.parametrize("at", ["train_supervised", "scores_of"])
def test_an_interruption_leaves_no_folder_and_does_no_harm(tmp_path, monkeypatch, at):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(f"{STORE}.{at}", interrupt)
        with pytest.raises(KeyboardInterrupt):
            train(tmp_path / "a")
    assert list(tmp_path.iterdir()) == []
    assert train(tmp_path / "a") == train(tmp_path / "b")


def test_checkpoints_are_the_network_on_its_way_and_change_nothing(tmp_path):
    schedule = Schedule(epochs=3, batch_size=64)
    plain = train(tmp_path / "plain", schedule=schedule)
    config = train(tmp_path / "kept", schedule=schedule, checkpoints=(1, 3))
    assert config == plain
    assert sorted(path.name for path in (tmp_path / "kept" / "epochs").iterdir()) == ["001", "003"]
    network, first = load_folder(checkpoint_folder(tmp_path / "kept", 1))
    _, last = load_folder(checkpoint_folder(tmp_path / "kept", 3))
    assert last["weights"] == config["weights"] != first["weights"]
    assert first["training"] == {**config["training"], "epoch": 1, "curve": config["training"]["curve"][:1]}
    assert last["test_error"] == config["test_error"]
    assert first["test_error"] == error_of(network, small().test)
    assert {key: first[key] for key in ("architecture", "options", "data")} == {
        key: config[key] for key in ("architecture", "options", "data")
    }


def test_checkpoints_that_are_there_are_read_and_one_that_is_not_is_an_error(tmp_path, monkeypatch):
    schedule = Schedule(epochs=2)
    config = train(tmp_path, schedule=schedule, checkpoints=(1,))
    forbid(monkeypatch)
    assert train(tmp_path, schedule=schedule, checkpoints=(1,)) == config
    assert train(tmp_path, schedule=schedule) == config
    with pytest.raises(SettingError, match=r"after epoch 2 .*\nfound: a trained network without .*epochs/002"):
        train(tmp_path, schedule=schedule, checkpoints=(1, 2))


def test_a_checkpoint_is_not_taken_for_another_network(tmp_path):
    schedule = Schedule(epochs=2)
    train(tmp_path / "a", schedule=schedule, checkpoints=(1,))
    with pytest.raises(SettingError, match=r"found: training = .*'epoch': 1"):
        train(checkpoint_folder(tmp_path / "a", 1), schedule=schedule)
    train(tmp_path / "b", schedule=schedule, seed=1)
    (tmp_path / "a" / "epochs").rename(tmp_path / "b" / "epochs")
    with pytest.raises(SettingError, match=r"found: training = .*'seed': 0"):
        train(tmp_path / "b", schedule=schedule, seed=1, checkpoints=(1,))


@pytest.mark.parametrize("epoch", [0, -1, 2])
def test_a_checkpoint_after_no_such_epoch_is_refused(tmp_path, epoch):
    with pytest.raises(SettingError, match=f"after epoch {epoch}\nfound: 1 epochs\ndo:    choose 1 to 1"):
        train(tmp_path / "a", checkpoints=(epoch,))
    assert not (tmp_path / "a").exists()


def test_a_configuration_names_the_part_and_the_labels_that_were_learned(tmp_path):
    split = Superclasses({"low": (0, 1, 2, 3, 4), "high": (5, 6, 7, 8, 9)})(small())
    split = Split(subset(LabelNoise(0.5)(split).train, 100), split.test)
    config = train_network("resnet18", split, seed=0, folder=tmp_path, schedule=SCHEDULE, width=2)
    assert config["data"]["name"] == "digits-low+high-noise0.5-seed0-100"
    assert config["data"]["train"] == split.train.fingerprint
    assert config["options"]["classes"] == 2


def test_a_network_of_fewer_classes_may_keep_its_outputs(tmp_path):
    split = Superclasses({"low": (0, 1, 2, 3, 4), "high": (5, 6, 7, 8, 9)})(small())
    config = train_network("mlp", split, seed=0, folder=tmp_path, schedule=SCHEDULE, widths=(3,), classes=10)
    assert config["options"]["classes"] == 10
    assert load_folder(tmp_path)[0].fc.out_features == 10


def test_simclr_is_told_with_both_curves_and_is_another_network(tmp_path, monkeypatch):
    schedule = Schedule(epochs=2, batch_size=64)
    config = train(tmp_path / "a", method="simclr", schedule=schedule, checkpoints=(1,))
    assert config["training"].items() >= {"method": "simclr", "temperature": 0.5, "epochs": 2}.items()
    assert len(config["training"]["curve"]) == 2
    assert config["training"]["head_curve"][-1].keys() == {"epoch", "loss", "error"}
    network, first = load_folder(checkpoint_folder(tmp_path / "a", 1))
    assert first["training"]["curve"] == config["training"]["curve"][:1]
    assert first["test_error"] == error_of(network, small().test) < 80
    assert config == train(tmp_path / "b", method="simclr", schedule=schedule)
    with pytest.raises(SettingError, match=r"found: training = .*'method': 'simclr'"):
        train(tmp_path / "a", schedule=schedule)
    monkeypatch.setattr(f"{STORE}.train_simclr", None)
    assert config == train(tmp_path / "a", method="simclr", schedule=schedule, checkpoints=(1,))


def test_supervised_leaves_no_trace_of_its_method(tmp_path):
    assert train(tmp_path / "a") == train(tmp_path / "a", method="supervised")
    assert "method" not in train(tmp_path / "a")["training"]


def test_a_misspelt_method_is_corrected(tmp_path, monkeypatch):
    # By the inner check: the public annotation already refuses a wrong word under the run-time checks of the tests.
    with pytest.raises(SettingError, match="no such method\ndo:    did you mean 'simclr'"):
        default_schedule("digits", "simcrl")
    monkeypatch.setattr(f"{STORE}.METHODS", ("other",))
    with pytest.raises(SettingError, match="by 'simclr'\nfound: no such method"):
        train(tmp_path / "a", method="simclr")


def test_each_method_has_a_schedule_for_each_data_set():
    assert SCHEDULES.keys() == set(METHODS)
    for method in METHODS:
        assert SCHEDULES[method].keys() == DATA_SETS.keys()
        assert default_schedule("cifar10-half0", method) == SCHEDULES[method]["cifar10"]


def test_unknown_data_needs_a_schedule(tmp_path):
    split = Split(dataclasses.replace(small().train, name="mine"), small().test)
    with pytest.raises(
        SettingError, match="default schedules for digits, fashion_mnist, cifar10, cifar100, image_folder only"
    ):
        train_network("resnet18", split, seed=0, folder=tmp_path)


def test_a_smaller_copy_takes_the_schedule_of_the_whole(tmp_path, monkeypatch):
    split = Split(dataclasses.replace(small().train, name="fashion_mnist-200+50"), small().test)
    monkeypatch.setattr(f"{STORE}.train_supervised", lambda *_, **settings: [{"epoch": settings["schedule"].epochs}])
    config = train_network("resnet18", split, seed=0, folder=tmp_path, width=2)
    assert config["training"]["curve"] == [{"epoch": 6}]


def test_the_default_on_digits_learns_them(tmp_path):
    config = train_network("resnet18", digits(), seed=0, folder=tmp_path, width=8)
    assert config["test_error"] <= 3.0
    assert json.loads((tmp_path / "config.json").read_text()) == config


def test_freezing_is_for_labels_alone(tmp_path):
    with pytest.raises(SettingError, match="supervised alone can"):
        train(tmp_path, method="simclr", freeze=["fc"])


# Other tasks


def numbers(n: int = 60) -> Split:
    inputs = torch.randn(n, 3, 2, generator=generator("numbers"))
    held = Held(inputs, inputs.flatten(1)[:, :2] * 2, "numbers")
    return Split(held.take(slice(0, 40)), held.take(slice(40, n)))


def fitted(folder, split=None, **changes):
    settings = {"seed": 0, "folder": folder, "schedule": SCHEDULE, "widths": (4,), **changes}
    return train_network("mlp", split or numbers(), **settings)


def test_another_task_is_told_with_its_scores(tmp_path):
    config = fitted(tmp_path, checkpoints=(1,))
    assert config["task"] == spelled(Regression())
    assert config["options"] == {"inputs": 6, "classes": 2, "widths": [4]}
    assert config["data"].keys() == {"name", "shape", "train", "test"}
    assert list(config["test"]) == [score.name for score in Regression().scores]
    assert "test_error" not in config
    network, stored = load_folder(tmp_path)
    assert scores_of(network, numbers().test, Regression()) == stored["test"] == config["test"]
    assert load_folder(checkpoint_folder(tmp_path, 1))[1]["test"] == config["test"]
    assert fitted(tmp_path, task=Regression()) == config


def test_another_task_is_another_network(tmp_path):
    labelled = Split(*(Held(one.inputs, (one.targets > 0).float(), "numbers") for one in vars(numbers()).values()))
    fitted(tmp_path, labelled, task=MultiLabel())
    with pytest.raises(SettingError, match=r"found: task = .*multi_label"):
        fitted(tmp_path, labelled, task=Regression())
    plain = numbers()
    labelled = Split(*(Held(one.inputs, (one.targets[:, 0] > 0).long(), "numbers") for one in vars(plain).values()))
    fitted(tmp_path / "b", labelled)
    _, config = load_folder(tmp_path / "b")
    assert "test_error" in config
    assert "task" not in config
    (tmp_path / "b" / "config.json").write_text(json.dumps({**config, "task": spelled(MultiLabel())}))
    with pytest.raises(SettingError, match=r"with task = None in .*\nfound: task = .*multi_label"):
        fitted(tmp_path / "b", labelled)


def test_simclr_learns_classes_alone(tmp_path):
    with pytest.raises(SettingError, match="a method for classes"):
        fitted(tmp_path, method="simclr")


@pytest.mark.parametrize(
    ("architecture", "held", "options"),
    [
        ("mlp", Held(torch.zeros(4, 3, 2), torch.zeros(4)), {"inputs": 6, "classes": 1}),
        ("mlp", Held(torch.zeros(4, 3, 2), torch.zeros(4, 5)), {"inputs": 6, "classes": 5}),
        ("mlp", Held(torch.zeros(4, 3, 2), torch.tensor([0, 3, 1, 1])), {"inputs": 6, "classes": 4}),
        ("resnet18", Held(torch.zeros(4, 3, 8, 8), torch.ones(4, 7).long()), {"channels": 3, "classes": 7}),
        ("vit", Held(torch.zeros(4, 3, 8, 8), torch.zeros(4, 7)), {"channels": 3, "size": 8, "classes": 7}),
        ("unet", Held(torch.zeros(4, 3, 8, 8), torch.ones(4, 8, 8).long()), {"channels": 3, "classes": 2}),
        ("unet", Held(torch.zeros(4, 3, 8, 8), torch.zeros(4, 5, 8, 8)), {"channels": 3, "classes": 5}),
        ("gpt", Held(torch.tensor([[0, 6], [1, 2]]), None), {"vocabulary": 7, "longest": 2}),
    ],
)
def test_the_data_decide_what_goes_in_and_comes_out(architecture, held, options):
    assert data_options(architecture, held) == options


def test_a_vocabulary_holds_the_tokens_of_every_set():
    sets = [Held(torch.tensor([[0, 6, 1]]), None), Held(torch.tensor([[0, 9]]), None)]
    assert data_options("gpt", *sets) == {"vocabulary": 10, "longest": 3}


def test_outputs_that_cannot_be_told_are_asked_for():
    with pytest.raises(SettingError, match="targets of type NoneType\ndo:    name it: classes"):
        data_options("mlp", Held(torch.zeros(4, 3), None))


def test_a_language_model_learns_to_count(tmp_path):
    counted = (torch.arange(8) + torch.arange(40)[:, None]) % 10
    texts = Split(*(Held(one, one, "texts") for one in (counted, counted[:5])))
    config = train_network(
        "gpt", texts, seed=0, folder=tmp_path, schedule=Schedule(60, 8, 0.1), width=8, depth=1, heads=2
    )
    assert config["options"] == {"vocabulary": 10, "longest": 8, "width": 8, "depth": 1, "heads": 2}
    assert config["task"] == spelled(NextToken())
    assert config["test"]["nats"] < 0.3
    assert config["test"].keys() == {"nats", "perplexity", "error"}
    assert config["training"]["curve"][0]["loss"] == pytest.approx(2.3, abs=0.3)
