"""A path with ``~`` means the home folder, wherever a path is taken; what is no file of ours says so."""

import pytest
import torch
from torch import nn

import modelstitch as ms
from modelstitch.errors import BadFile, DataError, NumericalFailure, TaskMismatch
from modelstitch.networks import save_network
from modelstitch.records import open_failures, query

X = torch.randn(120, 4, generator=torch.Generator().manual_seed(0))
Y = (X.sum(1) > 0).long()
TRAIN, TEST = (X[:80], Y[:80]), (X[80:], Y[80:])


def mlp(seed, head=2):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, head))


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "home").mkdir()
    yield tmp_path / "home"
    assert not (tmp_path / "~").exists()


def test_records_stores_figures_networks_and_activations_lie_in_the_home_folder(home):
    compute = ms.Compute(folder="~/cache")
    told = {"by": ms.Direct(), "controls": (), "compute": compute}
    records = ms.stitch_all(mlp(0), mlp(1), TRAIN, TEST, store=ms.Store("~/run.sqlite"), **told)
    records.save("~/records.jsonl")
    ms.save_figure(records.plot(), "~/figure.html")
    save_network(ms.build("mlp", seed=0), {"architecture": "mlp", "options": {}}, "~/net")
    found = ms.fit(ms.Affine(), ms.bottom(mlp(0), "1", X), ms.top(mlp(1), "1", X), TRAIN, by=ms.Direct())
    found.stitched.save("~/stitched")
    assert {one.name for one in home.iterdir()} >= {"run.sqlite", "records.jsonl", "figure.html", "net", "stitched"}
    assert ms.open_records("~/run.sqlite") == ms.open_records("~/records.jsonl") == records
    assert open_failures("~/run.sqlite") == {}
    assert query("~/run.sqlite", "SELECT count(*) AS n FROM records").rows == [(2,)]
    assert ms.load_stitched("~/stitched")(X[:2]).shape == (2, 2)
    assert ms.load_network("~/net").name == "net"


def test_data_are_looked_for_in_the_home_folder(home):
    for name in ("cifar10", "image_folder"):
        with pytest.raises(DataError, match=str(home / "data")):
            ms.load(name, folder="~/data")
    (home / "t.csv").write_text("x,label\n" + "\n".join(f"{place},{place % 2}" for place in range(40)))
    assert ms.load("~/t.csv").train.name == "t"


@pytest.mark.parametrize("content", ["import os\nprint(1)\n", "a,b\n1,2\n", "{}\n", "[1]\n"])
def test_a_file_without_a_record_is_no_file_of_records(tmp_path, content):
    (tmp_path / "notes.txt").write_text(content)
    with pytest.raises(
        BadFile, match=r"open the records in .*notes\.txt\nfound: no line of it is a record\ndo:    name"
    ):
        ms.open_records(tmp_path / "notes.txt")


def test_a_torn_line_among_records_is_still_named(tmp_path):
    records = ms.stitch_all(mlp(0), mlp(1), TRAIN, TEST, by=ms.Direct(), controls=())
    records.save(tmp_path / "r.jsonl")
    whole = (tmp_path / "r.jsonl").read_bytes()
    (tmp_path / "r.jsonl").write_bytes(whole[:-40])
    with pytest.raises(BadFile, match=r"r\.jsonl, line 2\nfound: no JSON .*\ndo:    delete that line"):
        ms.open_records(tmp_path / "r.jsonl")


def test_a_class_that_only_the_test_set_shows_counts():
    labels = torch.arange(120) % 3
    labels[119] = 3
    records = ms.stitch_all(
        mlp(0, 4), mlp(1, 4), (X[:80], labels[:80]), (X[80:], labels[80:]), by=ms.Direct(), controls=()
    )
    assert records[0].status == "ok"
    assert '"classes": 4' in records[0].task
    with pytest.raises(TaskMismatch, match=r"9 scores an example for 4 classes\ndo:    .*as_samples\(…, classes=9\)"):
        ms.stitch_all(mlp(0, 9), mlp(1, 9), (X[:80], labels[:80]), (X[80:], labels[80:]))


def test_dead_layers_are_named():
    dead = mlp(0)
    with torch.no_grad():
        dead[0].weight.zero_()
        dead[0].bias.fill_(-1)
    with pytest.raises(
        NumericalFailure, match=r"asked: cka of A@1 and B@1\nfound: A@1 is constant.*\ndo:    cut"
    ) as told:
        ms.compare_all(dead, mlp(1), X, measures=["cka"])
    assert str(told.value).count("asked:") == 1
    with pytest.raises(NumericalFailure, match="found: B@1 is constant"):
        ms.compare_all(mlp(1), dead, X, measures=["cka"])


def test_a_cut_that_is_named_twice_is_one_row():
    found = ms.compare_all(mlp(0), mlp(1), X, cuts=(["0", "0", "1"], ["0"]), measures=["cka"])
    assert found.table("cka").shape == (2, 1)
