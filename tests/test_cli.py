"""The command line: what each verb prints, and how it ends when the request, the run or the user stops it."""

import dataclasses
import gzip
import itertools
import json
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar

import numpy as np
import pytest
import torch

import modelstitch as ms
from command_line import Ended
from images import write_tree
from modelstitch.cli import EXAMPLES, main
from modelstitch.data import DATA_SETS
from modelstitch.errors import NumericalFailure
from modelstitch.matching import MATCHINGS
from modelstitch.networks import load_folder, save_network
from modelstitch.stitches import FAMILIES, Stitch

SMALL = Path(__file__).parent / "fashion_mnist_small"
VERBS = [verb.__name__ for verb in EXAMPLES]
QUICK_ONE = ("--limit", 100, "--by", "direct", "--json")
QUICK = ("--limit", 100, "--no-controls", "--by", "direct")
PY_NETWORKS = """
import torch
from torch import nn
def seven():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 4), nn.ReLU(), nn.Linear(4, 7))
def ten():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 4), nn.ReLU(), nn.Linear(4, 10))
class Branching(nn.Module):
    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Linear(64, 4), nn.Linear(4, 10)
    def forward(self, x):
        y = torch.relu(self.one(x.flatten(1)))
        return self.two(y if float(y.sum()) > -1 else -y)
"""

SUMS = """
import torch
from torch import nn
def numbers():
    x = torch.randn(150, 6, generator=torch.Generator().manual_seed(0))
    y = torch.stack([x.sum(1), x[:, 0] * x[:, 1]], 1)
    return (x[:100], y[:100]), (x[100:], y[100:])
def small():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 2))
def other():
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 2))
"""


@pytest.fixture
def run(capsys):
    def typed(*arguments):
        with pytest.raises(SystemExit) as left:
            main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        return Ended(left.value.code or 0, out, err)

    return typed


@pytest.fixture(scope="session")
def nets(tmp_path_factory):
    """mlp 0, mlp 1, and a ResNet, each trained for a moment; and functions that make networks."""
    folder = tmp_path_factory.mktemp("cli")
    for name, architecture, seed in (("m0", "mlp", 0), ("m1", "mlp", 1), ("r0", "resnet18", 0)):
        split = ms.load("digits")
        options = {"widths": (4, 4)} if architecture == "mlp" else {"width": 2}
        schedule = ms.Schedule(epochs=1)
        few = ms.Split(split.train.first(150), split.test)
        ms.train_network(architecture, few, seed=seed, folder=folder / name, schedule=schedule, **options)
    (folder / "made_here.py").write_text(PY_NETWORKS)
    return folder


@pytest.fixture
def here(nets, monkeypatch):
    monkeypatch.chdir(nets)
    monkeypatch.setattr(sys, "path", [str(nets), *sys.path])
    return nets


def idx(values):
    array = np.asarray(values, dtype=np.uint8)
    head = bytes([0, 0, 8, array.ndim]) + b"".join(int(size).to_bytes(4, "big") for size in array.shape)
    return gzip.compress(head + array.tobytes())


def write_clothes(folder, train, test):
    """A data set in the format of Fashion-MNIST, from (images, labels) each."""
    folder.mkdir()
    for half, (images, labels) in (("train", train), ("t10k", test)):
        (folder / f"{half}-images-idx3-ubyte.gz").write_bytes(idx(images))
        (folder / f"{half}-labels-idx1-ubyte.gz").write_bytes(idx(labels))


def images(n, seed):
    return np.random.default_rng(seed).integers(0, 256, (n, 28, 28))


# What every verb does


def test_each_verb_is_listed_and_its_help_ends_with_its_example(run):
    front = run("--help")
    for verb, example in EXAMPLES.items():
        assert f"│ {verb.__name__} " in front.out
        shown = run(verb.__name__, "--help")
        assert shown.code == 0
        assert re.sub(r"\s+", " ", shown.out).rstrip().endswith(f"Example: {example}")
        assert example.startswith(f"modelstitch {verb.__name__}")


def test_no_option_is_without_help(run):
    for verb in VERBS:
        lines = run(verb, "--help").out.splitlines()
        assert [line for line in lines if re.fullmatch(r"│ \*? *--[\w-]+ *(<\w+>)? *│", line)] == []


def test_the_help_names_every_family(run):
    shown = run("stitch", "--help").out
    assert [name for name in FAMILIES if name not in shown] == []


def test_the_help_names_every_data_set(run):
    for verb in ("train", "stitch", "compare", "cuts"):
        shown = run(verb, "--help").out
        assert [name for name in DATA_SETS if name not in shown] == []


def test_the_version(run):
    assert run("--version").out == f"modelstitch {ms.__version__}\n"


HELP = """
import sys
from modelstitch.cli import main
for verb in sys.argv[1:]:
    try: main([verb, "--help"] if verb else ["--help"])
    except SystemExit: pass
    print("torch" in sys.modules, file=sys.stderr)
"""


def test_help_loads_no_torch():
    told = subprocess.run([sys.executable, "-c", HELP, "", *VERBS], capture_output=True, text=True, check=True)
    assert told.stderr.split() == ["False"] * (1 + len(VERBS))
    assert told.stdout.count("Usage: modelstitch ") == 1 + len(VERBS)


def test_python_m_is_the_same_script():
    shown = subprocess.run(
        [sys.executable, "-m", "modelstitch", "--version"], capture_output=True, text=True, check=True
    )
    assert shown.stdout.startswith("modelstitch ")


# The verbs


def test_train_says_where_and_how_well_and_does_it_once(run, tmp_path):
    asked = ("train", "mlp", "--data", "digits", "--width", 3, "--epochs", 1, "--limit", 100, "--out", tmp_path / "a")
    first, again = run(*asked), run(*asked)
    assert first.code == 0
    assert re.fullmatch(rf"mlp in {tmp_path}/a: [\d.]+ % test error on 299 examples of digits\n", first.out)
    assert again.out == first.out
    assert "already trained" in again.err
    assert "already trained" not in first.err
    config = json.loads(run(*asked, "--json").out)
    assert config["options"]["widths"] == [3, 3]
    assert config["data"]["shape"] == [1, 8, 8]


def test_train_takes_every_option_to_where_it_works(run, tmp_path):
    options = ("--seed", 4, "--learning-rate", 0.01, "--batch-size", 50, "--device", "cpu", "--data-folder", SMALL)
    asked = ("train", "resnet18", "--data", "fashion_mnist", "--width", 2, "--epochs", 1, "--limit", 60)
    config = json.loads(run(*asked, *options, "--out", tmp_path / "a", "--json").out)
    assert config["training"].items() >= {"seed": 4, "epochs": 1, "learning_rate": 0.01, "batch_size": 50}.items()
    assert config["options"]["width"] == 2
    assert config["data"]["shape"] == [1, 28, 28]


def test_train_by_simclr(run, tmp_path):
    asked = ("train", "resnet18", "--method", "simclr", "--data", "digits", "--width", 2, "--epochs", 1, "--limit", 60)
    config = json.loads(run(*asked, "--out", tmp_path / "a", "--json").out)
    assert config["training"].items() >= {"method": "simclr", "epochs": 1, "batch_size": 256}.items()
    assert len(config["training"]["head_curve"]) > 1


def test_cuts_reads_the_shape_from_the_folder(run, here):
    by_block = [json.loads(line) for line in run("cuts", "r0", "--json").out.splitlines()]
    assert [cut["name"] for cut in by_block][:2] == ["conv1", "layer1.0"]
    assert by_block[0]["shape"] == [2, 8, 8]
    shown = run("cuts", "r0").out
    assert all(cut["name"] in shown for cut in by_block)
    assert "2 × 8 × 8" in shown
    assert len(run("cuts", "r0", "--all", "--json").out.splitlines()) > len(by_block)


def test_cuts_takes_a_shape_or_data_for_a_function(run, here):
    by_shape, by_data = (
        run("cuts", "py:made_here:ten", "--shape", "1,8,8"),
        run("cuts", "py:made_here:ten", "--data", "digits"),
    )
    assert by_shape.code == 0
    assert by_shape.out == by_data.out


@pytest.mark.filterwarnings("default")
def test_a_replayed_network_is_announced_on_stderr(run, here):
    ended = run("cuts", "py:made_here:Branching", "--shape", "1,8,8")
    assert ended.code == 0
    assert "note: Branching is replayed by hooks" in ended.err
    assert "note:" not in ended.out


def test_stitch_measures_both_ways_with_controls_and_resumes(run, here, tmp_path):
    asked = ("stitch", "m0", "m1", "--limit", 100, "--epochs", 1, "--out", tmp_path / "r.sqlite", "--json")
    ended = run(*asked)
    assert ended.code == 0
    records = ms.open_records(tmp_path / "r.sqlite")
    records.save(tmp_path / "r.jsonl")
    assert ended.out.encode() == (tmp_path / "r.jsonl").read_bytes()
    assert {record.control for record in records} == {"", "self", "untrained"}
    assert {record.stitching for record in records.only(control="")} >= {
        "m0@layer1 -> m1@layer1",
        "m1@layer1 -> m0@layer1",
    }
    assert {record.data for record in records} == {"digits"}
    assert run(*asked).out == ended.out
    assert ms.open_records(tmp_path / "r.sqlite") == records


def test_connect_writes_points_verdict_and_figure(run, here, tmp_path):
    quick = ("--limit", 100, "--by", "direct", "--points", 3, "--curve-epochs", 1)
    places = [tmp_path / name for name in ("p.csv", "p.json", "p.html")]
    written = ("--out", places[0], "--out", places[1], "--figure", places[2])
    ended = run("connect", "m0", "m1", *quick, *written, "--threshold", 90)
    assert ended.code == 0
    told = json.loads(places[1].read_text())
    assert len(places[0].read_text().splitlines()) == 1 + len(told["points"]) == 1 + 4 + 3 * 3
    assert "barrier, curve: " in ended.out
    assert f"m0 and m1: {told['verdict']} above the worse of the two" in ended.out
    assert f"{told['points'][1]['error']:.2f}" in ended.out
    assert [ended.err.count(f"written: {place}") for place in places] == [1, 1, 1]
    *points, whole = (json.loads(line) for line in run("connect", "m0", "m1", *quick, "--json").out.splitlines())
    assert points == told["points"]
    assert whole["barriers"] == told["barriers"]
    refused = run("connect", "m0", "m1", "--out", "points.txt")
    assert refused.code == 2
    assert "use one of .csv, .json" in refused.err


def test_the_table_shows_what_the_records_hold(run, here, tmp_path):
    asked = ("stitch", "m0", "m1", "--limit", 100, "--by", "direct", "--out", tmp_path / "r.sqlite")
    shown = run(*asked).out
    for one in ms.open_records(tmp_path / "r.sqlite"):
        if one.control != "self":
            numbers = [f"{one.penalty:+.2f}", f"{one.measure('cka'):.3f}", f"{one.measure('agreement_top'):.3f}"]
            numbers.append(f"{one.scores[0].stitched:.2f}")
            lines = [line for line in shown.splitlines() if one.stitching in line]
            assert any(all(number in line for number in numbers) for line in lines)
    heads = [f"{name}: {load_folder(name)[1]['test_error']:.2f} % test error" for name in ("m0", "m1")]
    assert shown.splitlines()[:2] == heads
    assert "self-stitches" in shown
    assert "exactly 0" in shown
    assert "\x1b" not in shown
    assert "…" not in shown


def test_one_stitching_by_its_notation(run, here, tmp_path):
    asked = ("stitch", "m0@layer1 -> m1@layer2", "--limit", 100, "--by", "direct", "--ridge", 0.1, "--seed", 3)
    ended = run(*asked, "--out", tmp_path / "r.sqlite", "--json")
    (record,) = ms.open_records(tmp_path / "r.sqlite")
    assert json.loads(ended.out)["stitching"] == "m0@layer1 -> m1@layer2"
    assert (record.matching, record.seed, record.n_fit) == ('{"name": "direct", "ridge": 0.1}', 3, 100)
    run(*asked, "--out", tmp_path / "r.sqlite")
    assert list(ms.open_records(tmp_path / "r.sqlite")) == [record]


def test_the_options_of_stitch_reach_the_record(run, here):
    options = ("--family", "bn_affine_bn", "--epochs", 2, "--learning-rate", 0.01, "--batch-size", 64)
    rest = ("--start", "random", "--batch-norm", "batch", "--device", "cpu", "--kernel", 3, "--limit", 64, "--json")
    record = json.loads(run("stitch", "r0@layer1.0 -> r0@layer1.0", *options, *rest).out)
    assert json.loads(record["family"]) == {"name": "bn_affine_bn", "kernel": 3}
    told = {"epochs": 2, "learning_rate": 0.01, "batch_size": 64, "start": "random"}
    assert json.loads(record["matching"]) == {"name": "task", **told}
    assert record["batch_norm"] == "batch"
    assert len(record["curve"]) == 2


def test_how_it_is_computed_can_be_chosen_and_changes_no_record_unless_it_must(run, here, tmp_path):
    asked = ("stitch", "m0@layer1 -> m1@layer1", "--limit", 300, "--epochs", 2, "--json")
    plain = json.loads(run(*asked).out)
    kept = ("--memory", 0.5, "--cache", tmp_path / "cache", "--threads", torch.get_num_threads())
    other = json.loads(run(*asked, *kept).out)
    assert {**plain, "created": "", "seconds": 0} == {**other, "created": "", "seconds": 0}
    # layer1 of both networks and their answers, as far as they have the same bits in batches of any size: which
    # depends on the number of threads.
    assert 1 <= len(list((tmp_path / "cache").glob("*.npy"))) <= 6
    other = json.loads(run(*asked, "--precision", "bfloat16", "--patience", 1).out)
    assert json.loads(other["matching"]).items() >= {"patience": 1, "precision": "bfloat16"}.items()
    assert other["key"] != plain["key"]
    assert other["curve"] != plain["curve"]


def test_a_setting_without_an_option_is_set_by_name(run, here):
    by_option = ("--by", "direct", "--ridge", 0.1, "--kernel", 3)
    by_name = ("--by", "direct", "--set", "ridge=1e-1", "--set", "kernel=3")
    # YAML reads 1e-1 as text: a number has a point.
    check_refusal(run("stitch", "r0@layer1.0 -> r0@layer1.0", *by_name, "--json"), "valid number", "ridge")
    by_name = ("--by", "direct", "--set", "ridge=0.1", "--set", "kernel=3")
    found = [
        json.loads(run("stitch", "r0@layer1.0 -> r0@layer1.0", *told, "--limit", 64, "--json").out)
        for told in (by_option, by_name)
    ]
    assert found[0]["key"] == found[1]["key"]
    assert json.loads(found[1]["matching"]) == {"name": "direct", "ridge": 0.1}


def test_a_new_matching_is_reached_without_a_new_line(run, here, monkeypatch):
    @dataclasses.dataclass(frozen=True)
    class Warm(ms.TaskLoss):
        name: ClassVar[str] = "warm"
        temperature: float = 1.0

    monkeypatch.setitem(MATCHINGS, "warm", Warm)
    typed = ("stitch", "m0@layer1 -> m1@layer1", "--by", "warm", "--epochs", 1, "--limit", 64, "--json")
    record = json.loads(run(*typed, "--set", "temperature=4.0").out)
    assert json.loads(record["matching"]).items() >= {"name": "warm", "temperature": 4.0, "epochs": 1}.items()
    check_refusal(run(*typed, "--set", "temprature=4.0"), "--by warm takes .*temperature", "did you mean 'temperature'")


@pytest.mark.usefixtures("_few_resamples")
def test_data_and_task_of_the_user(run, here):
    (here / "sums_here.py").write_text(SUMS)
    asked = ("stitch", "py:sums_here:small", "py:sums_here:other", "--data", "py:sums_here:numbers", "--no-controls")
    records = [json.loads(line) for line in run(*asked, "--by", "direct", "--limit", 80, "--json").out.splitlines()]
    assert {json.loads(record["task"])["name"] for record in records} == {"regression"}
    assert {(record["data"], record["n_fit"], record["n_test"]) for record in records} == {("numbers", 80, 50)}
    named = run(*asked, "--by", "direct", "--task", "regression", "--limit", 80, "--json")
    assert {json.loads(line)["key"] for line in named.out.splitlines()} == {record["key"] for record in records}
    weighed = '{"name": "regression", "weigh": "by_variance"}'
    told = run(*asked, "--by", "direct", "--task", weighed, "--limit", 80, "--json").out.splitlines()
    assert {json.loads(line)["task"] for line in told} == {weighed}
    wrong = '{"name": "regression", "way": 1}'
    check_refusal(run(*asked, "--task", wrong), "a field 'way', where its fields are weigh", ".")
    check_refusal(run(*asked, "--task", "regresion"), "no such choice", "did you mean 'regression'")
    check_refusal(run(*asked, "--task", "classification"), ".", ".")


def test_threads_are_set(run, here):
    before = torch.get_num_threads()
    try:
        assert json.loads(run("stitch", "m0@layer1 -> m1@layer1", *QUICK_ONE, "--threads", 2).out)["threads"] == 2
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_folders_of_one_name_are_told_apart(run, here, tmp_path):
    shutil.copytree("m1", tmp_path / "m0")
    lines = run("stitch", "m0", tmp_path / "m0", *QUICK, "--json").out.splitlines()
    assert {json.loads(line)["bottom_network"] for line in lines} == {"m0-A", "m0-B"}


def test_figures_are_written(run, here, tmp_path):
    paths = [tmp_path / "p.svg", tmp_path / "p.html"]
    ended = run("stitch", "m0", "m1", *QUICK, "--figure", paths[0], "--figure", paths[1])
    assert ended.code == 0
    assert all(path.stat().st_size > 1000 for path in paths)
    assert str(paths[0]) in ended.err


def test_a_failed_stitching_gives_its_reason_and_exit_code_1(run, here, monkeypatch):
    def diverge(job, halves, *_):
        return [NumericalFailure("to fit", "a loss of inf", "lower the learning rate") for _ in halves]

    monkeypatch.setattr(sys.modules["modelstitch.matching.fit"].Job, "fit_all", diverge)
    ended = run("stitch", "m0@layer1 -> m1@layer1", "--limit", 100)
    assert ended.code == 1
    assert "failed, see below" in ended.out
    assert "failed: m0@layer1 -> m1@layer1\nasked: to fit\nfound: a loss of inf" in ended.out
    figure = run("stitch", "m0@layer1 -> m1@layer1", "--limit", 100, "--figure", "p.svg")
    check_refusal(figure, "none of 1 records has a value", "reason")


def test_compare_gives_the_numbers_of_the_library(run, here):
    shown = run("compare", "m0", "m1", "--measure", "cka_minibatch,procrustes")
    found = [
        json.loads(line)
        for line in run("compare", "m0", "m1", "--measure", "cka,procrustes", "--json").out.splitlines()
    ]
    a, b = (load_folder(name)[0] for name in ("m0", "m1"))
    expected = ms.compare_all(a, b, ms.load("digits").test, measures=["cka", "procrustes"], names=("m0", "m1"))
    assert [row["value"] for row in found] == [one.value for one in expected]
    assert [(row["measure"], row["cut_a"], row["cut_b"]) for row in found][:3] == [
        *(("cka", "layer1", "layer1"), ("cka", "layer1", "layer2"), ("cka", "layer2", "layer1"))
    ]
    assert f"{expected.table('procrustes').loc['layer2', 'layer1']:.3f}" in shown.out
    assert "299 examples of digits, layout flatten" in shown.out
    assert "distance: less is more alike" in shown.out


def test_compare_of_two_cuts_and_by_chance(run, here):
    one = json.loads(run("compare", "m0@layer1", "m1@layer2", "--measure", "procrustes", "--json").out)
    assert (one["cut_a"], one["cut_b"]) == ("layer1", "layer2")
    null = run("compare", "m0@layer1", "m1@layer2", "--measure", "procrustes,rsa", "--null", 9)
    assert f"{one['value']:.3f}" in null.out
    assert "0.100" in null.out
    assert "299 rows shuffled 9 times" in null.out


def test_compare_draws_heat_maps(run, here):
    ended = run("compare", "m0", "m1", "--measure", "cka,cca", "--figure", "heat.svg")
    assert "written: heat.svg" in ended.err
    assert (
        "mean canonical correlation" in Path("heat.svg").read_text().lower()
        or "cca" in Path("heat.svg").read_text().lower()
    )


@pytest.mark.parametrize(
    ("typed", "found"),
    [
        (["m0@layer1", "m1"], "one network and one cut"),
        (["m0", "m1", "--null", 9], "a calibration of one pair"),
        (["m0@layer1", "m1@layer1", "--all"], "one cut on each side"),
        (["m0@layer1", "m1@layer1", "--null", 9, "--figure", "a.png"], "no map to draw"),
        (["m0", "m1", "--measure", "ckaa"], "no measure of that name"),
        (["m0", "m1", "--layout", "flat"], "no such layout"),
        (["m0@layer1", "m1@layer1", "--null", 0], "nothing to compare with"),
    ],
)
def test_a_wrong_comparison_is_refused_in_three_lines(run, here, typed, found):
    check_refusal(run("compare", *typed), found, ".")


def test_the_demo_writes_what_it_says(run, tmp_path, monkeypatch):
    monkeypatch.setattr("modelstitch.cli.run_demo._BY", ms.Direct())
    monkeypatch.setattr("modelstitch.cli.run_demo._ARCHITECTURE", "mlp")
    monkeypatch.setattr("modelstitch.cli.run_demo._OPTIONS", {"widths": (3, 3)})
    few = ms.Split(ms.load("digits").train.first(64), ms.load("digits").test)
    monkeypatch.setattr("modelstitch.cli.run_demo.load", lambda name: few)
    ended = run("demo", "--out", tmp_path / "d", "--seed", 5)
    assert ended.code == 0
    assert "seed5@layer1 -> seed6@layer1" in ended.out
    assert sorted(path.name for path in (tmp_path / "d").iterdir()) == [
        *("nets", "penalty.html", "penalty.png", "records.sqlite")
    ]
    assert "penalty.png" in ended.err


def test_the_doctor_is_content_here(run):
    ended = run("doctor", "--json")
    checks = {check["name"]: check for check in map(json.loads, ended.out.splitlines())}
    assert ended.code == 0
    assert checks["self-check"]["status"] == "ok"
    assert checks["torch"]["found"].startswith(torch.__version__)
    assert checks["data digits"]["status"] == "ok"


@pytest.mark.parametrize(("slower", "status"), [(3.0, "absent"), (0.5, "ok")])
def test_the_doctor_says_whether_bfloat16_pays_on_this_processor(run, monkeypatch, slower, status):
    # A clock that takes turns: a second for float32, then so many for bfloat16.
    lasted = itertools.cycle([0.0, 1.0, 0.0, slower])
    monkeypatch.setattr("modelstitch.cli.examine.time", SimpleNamespace(perf_counter=lambda: next(lasted)))
    checks = {check["name"]: check for check in map(json.loads, run("doctor", "--json").out.splitlines())}
    assert checks["bfloat16"]["status"] == status
    assert f"{slower:.1f}" in checks["bfloat16"]["found"]


def test_the_doctor_sees_halves_that_do_not_make_a_whole(run, monkeypatch):
    class Shifting(Stitch):
        def assign(self, weight, bias, mean, covariance):
            raise NotImplementedError

        def forward(self, x):
            return -x

    monkeypatch.setattr("modelstitch.stitches.Identity._module", lambda *_: Shifting())
    ended = run("doctor")
    assert ended.code == 1
    assert "where it must be 0" in ended.out


def test_the_doctor_sees_a_cache_that_refuses(run, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    ended = run("doctor")
    assert ended.code == 1
    assert re.search(r"cache +failed", ended.out)


def test_the_doctor_fetches_nothing(run, tmp_path, monkeypatch):
    # The package offers a function of the same name as the module.
    fashion_mnist = sys.modules["modelstitch.data.fashion_mnist"]
    monkeypatch.setattr(fashion_mnist, "DEBIAN", tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("MODELSTITCH_DATA", raising=False)
    monkeypatch.setattr(fashion_mnist, "_open", lambda _: pytest.fail("fetched"))
    ended = run("doctor")
    assert ended.code == 0
    assert re.search(r"data fashion_mnist +absent", ended.out)


def test_a_folder_of_images_is_read_as_large_as_the_networks_saw_it(run, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    place, net = ("--data-folder", write_tree(tmp_path / "tree")), tmp_path / "n"
    asked = ("train", "mlp", "--data", "image_folder", "--width", 3, "--epochs", 1, "--out", net)
    assert json.loads(run(*asked, *place, "--image-size", 8, "--json").out)["data"]["shape"] == [3, 8, 8]
    record = json.loads(run("stitch", f"{net}@layer1 -> {net}@layer1", *place, "--by", "direct", "--json").out)
    assert record["data"] == "image_folder-12+6"
    assert run("cuts", net, "--data", "image_folder", *place).code == 0
    assert run("compare", net, net, *place).code == 0
    check_refusal(run("compare", net, net, *place, "--image-size", 10), "shape", ".")


# Wrong requests: three lines, exit code 2, no traceback

ONE = "m0@layer1 -> m1@layer1"
WRONG = {
    "unknown cut": (["stitch", "r0@layer2.9 -> r0@layer2.1"], "no such place", r"did you mean 'layer2\.\d'"),
    "illegal cut": (["stitch", "r0@layer1.0.bn2 -> r0@layer1.0"], "more than one tensor crosses", "nearest legal cut"),
    "no common shapes": (["stitch", "r0@layer1.0 -> r0@layer2.0"], "positions .* below and", "the same positions"),
    "same channels": (
        *(
            ["stitch", "r0@layer1.0 -> r0@conv1", "--family", "identity", "--kernel", "3"],
            "it takes nothing",
            "--kernel",
        ),
    ),
    "kinds differ": (["stitch", "r0@layer1.0 -> m0@layer1"], "a map below and a vector above", "one kind"),
    "classes differ": (
        ["stitch", "py:made_here:ten@1 -> py:made_here:seven@1", "--data", "digits"],
        "7 scores",
        "one set",
    ),
    "no scheme": (["cuts", "tim:resnet18"], "no scheme tim:", "did you mean 'timm'"),
    "no columns": (["stitch", "r0", "r0", "--data", "digits", "--label", "y"], "no file with columns", "leave label"),
    "other input": (
        ["stitch", "m0", "m1", "--data", "fashion_mnist", "--data-folder", str(SMALL)],
        "it refuses",
        "trained on",
    ),
    "notation": (["stitch", "m0@layer1 - m1@layer1"], "0 arrows and 2 cuts", r"write 'A@layer2\.1 -> B@layer2\.1'"),
    "three networks": (["stitch", "m0", "m1", "m2"], "3 arguments", "name two"),
    "all with one": (["stitch", ONE, "--all"], "one cut on each side", "leave --all out"),
    "controls with one": (["stitch", ONE, "--no-controls"], "one cut on each side", "leave --no-controls out"),
    "unknown network": (["stitch", "m0", "mm1"], "no such folder", "did you mean 'm1'"),
    "unknown network in notation": (["stitch", "m0@layer1 -> mm1@layer1"], "no such folder", "did you mean"),
    "unknown function": (["cuts", "py:made_here:tenn", "--shape", "1,8,8"], "no function 'tenn'", "did you mean 'ten'"),
    "unknown data": (["compare", "m0", "m1", "--data", "digit"], "no data set", "did you mean 'digits'"),
    "no data told": (["stitch", "m0", "py:made_here:ten"], "nothing that it tells of", "--data NAME"),
    "no shape told": (["cuts", "py:made_here:ten"], "nothing that tells the shape", "--shape 3,32,32"),
    "bad shape": (["cuts", "m0", "--shape", "8x8"], "no list of sizes", "--shape 3,32,32"),
    "wrong shape": (["cuts", "m0", "--shape", "1,9,9"], "it refuses", "shape and type"),
    "family": (["stitch", ONE, "--family", "affin"], "no such choice", "did you mean 'affine'"),
    "kernel": (["stitch", ONE, "--kernel", "2"], "no middle", "choose 1, 3, 5"),
    "kernel on a vector": (["stitch", ONE, "--kernel", "3"], "kernel of 3 for a vector", "kernel=1"),
    "by": (["stitch", ONE, "--by", "taks"], "no such choice", "did you mean 'task'"),
    "ridge by task": (["stitch", ONE, "--ridge", "1"], "it takes --epochs", "leave --ridge out"),
    "epochs direct": (["stitch", ONE, "--by", "direct", "--epochs", "1"], "it takes --ridge", "leave --epochs out"),
    "set no value": (["stitch", ONE, "--set", "epochs"], "no NAME=VALUE", "--set ridge=0.1"),
    "set a list": (["stitch", ONE, "--set", "epochs=[1, 2]"], "several values", "one value"),
    "set no YAML": (["stitch", ONE, "--set", "epochs={"], "flow node", "one value"),
    "set twice": (["stitch", ONE, "--set", "epochs=1", "--set", "epochs=2"], "a second time", "set it once"),
    "set beside an option": (["stitch", ONE, "--set", "epochs=1", "--epochs", "2"], "--epochs as well", "leave one"),
    "set what is not there": (["stitch", ONE, "--set", "epohcs=1"], "--by task takes epochs", "did you mean 'epochs'"),
    "set to another kind": (["stitch", ONE, "--set", "epochs=many"], "valid integer", "leave --set epochs out"),
    "set to no word": (["stitch", ONE, "--set", "start=zero"], "no such choice", "choose one of least_squares"),
    "set too low": (["stitch", ONE, "--set", "epochs=0"], "no such matching", "1 or more"),
    "ridge": (["stitch", ONE, "--by", "direct", "--ridge", "-1"], "no such strength", "0 or more"),
    "epochs": (["stitch", ONE, "--epochs", "0"], "no such matching", "1 or more"),
    "start": (["stitch", ONE, "--start", "zero"], "no such choice", "least_squares"),
    "batch norm": (["stitch", ONE, "--batch-norm", "froze"], "no such choice", "did you mean 'frozen'"),
    "permutation by task": (["stitch", ONE, "--family", "permutation"], "gradient descent cannot fit", "Direct"),
    "device": (["stitch", ONE, "--device", "cud"], "no such choice", "did you mean 'cuda'"),
    "absent device": (["stitch", ONE, "--device", "cuda:99"], ".", "modelstitch doctor"),
    "precision": (["stitch", ONE, "--precision", "float16"], "no such choice", "did you mean 'bfloat16'"),
    "patience": (["stitch", ONE, "--patience", "0"], "no such matching", "1 or more"),
    "memory": (["stitch", ONE, "--memory", "-1"], "no such size", "give GB, 0 or more"),
    "cache": (["stitch", ONE, "--cache", "made_here.py"], ".", "name a file in a folder"),
    "threads": (["stitch", ONE, "--threads", "0"], "no thread to compute with", "1 or more"),
    "limit": (["stitch", ONE, "--limit", "0"], "no example left", "1 or more"),
    "figure": (["stitch", ONE, "--figure", "p.bmp"], r"the ending '\.bmp'", r"\.png"),
    "architecture": (
        ["train", "resnet81", "--data", "digits", "--out", "x"],
        "no architecture",
        "did you mean 'resnet18'",
    ),
    "schedule": (["train", "mlp", "--data", "digits", "--out", "x", "--epochs", "0"], "no such training", "1 or more"),
    "method": (
        ["train", "mlp", "--data", "digits", "--out", "x", "--method", "simcrl"],
        "no such choice",
        "did you mean 'simclr'",
    ),
    "data for train": (["train", "mlp", "--data", "mnist", "--out", "x"], "no data set", "choose one of digits"),
    "another network there": (["train", "mlp", "--data", "digits", "--out", "m0"], " = ", "name another folder"),
    "no folder of data": (
        ["compare", "m0", "m1", "--data", "cifar10", "--data-folder", "/none"],
        "no batches",
        "fetch",
    ),
    "records below a file": (["stitch", ONE, "--out", "made_here.py/r.sqlite"], ".", "name a file"),
    "network below a file": (
        *(["train", "mlp", "--data", "digits", "--limit", "100", "--epochs", "1", "--out", "made_here.py/x"], "."),
        "name another folder",
    ),
    "figure below a file": (
        ["stitch", ONE, *map(str, QUICK[:2]), "--figure", "made_here.py/p.svg"],
        ".",
        "name a file",
    ),
    "foreign records": (["stitch", ONE, "--limit", "100", "--out", "made_here.py"], "no SQLite file", "new file"),
}


def check_refusal(ended, found, do):
    assert ended.code == 2, ended
    assert "Traceback" not in ended.err
    lines = ended.err.splitlines()[-3:]
    assert [line[:7] for line in lines] == ["asked: ", "found: ", "do:    "]
    assert re.search(found, lines[1]), lines
    assert re.search(do, lines[2]), lines


@pytest.mark.parametrize(("typed", "found", "do"), WRONG.values(), ids=WRONG)
def test_a_wrong_request_is_refused_in_three_lines(run, here, typed, found, do):
    check_refusal(run(*typed), found, do)


def test_a_network_of_other_classes_lends_bottoms_and_that_is_said(run, here):
    told = ("stitch", "py:made_here:seven", "py:made_here:ten", "--data", "digits", *QUICK)
    ended = run(*told)
    assert ended.code == 0
    assert "py:made_here:seven: no test error" in ended.out
    assert "left out: 1\n  1 × no head: 7 scores an example for 10 classes, such as py:made_here:ten -> " in ended.out
    assert "left out: 1" in run(*told, "--json").err


@pytest.mark.parametrize("typed", [["stich"], ["stitch"], ["stitch", "a", "--epochs", "two"], ["train", "mlp"]])
def test_what_cannot_be_parsed_is_a_usage_error(run, typed):
    ended = run(*typed)
    assert ended.code == 2
    assert "Usage: modelstitch" in ended.err


def nan_weights(folder):
    network, config = load_folder(folder)
    with torch.no_grad():
        next(network.parameters()).fill_(float("nan"))
    save_network(network, {k: v for k, v in config.items() if k != "weights"}, folder)


DAMAGES = {
    "corrupt": (lambda f: (f / "weights.safetensors").write_bytes(b"\xff" * 50), "no safetensors file"),
    "pickle": (lambda f: torch.save({}, f / "weights.safetensors"), "no safetensors file"),
    "foreign": (lambda f: shutil.copy(f.parent / "r0/weights.safetensors", f), "weights that .* named"),
    "no weights": (lambda f: (f / "weights.safetensors").unlink(), "no weights.safetensors"),
    "no JSON": (lambda f: (f / "config.json").write_text("{"), "no JSON"),
    "NaN": (nan_weights, "not finite"),
}


@pytest.mark.parametrize(("damage", "found"), DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_network_is_refused(run, here, tmp_path, damage, found):
    shutil.copytree("r0", tmp_path / "r0")
    shutil.copytree("m1", tmp_path / "m1")
    damage(tmp_path / "m1")
    check_refusal(run("stitch", "m0", tmp_path / "m1", *QUICK), found, ".")


CLOTHES = {
    "label outside": (lambda: ((images(30, 0), [*range(10), 12, *[0] * 19]), (images(9, 1), range(9))), "from 0 to 12"),
    "empty": (lambda: ((images(0, 0), []), (images(9, 1), range(9))), "no examples|no "),
    "one class": (lambda: ((images(30, 0), [3] * 30), (images(9, 1), range(9))), "only class 3"),
}


@pytest.mark.parametrize(("make", "found"), CLOTHES.values(), ids=CLOTHES)
def test_data_without_an_honest_answer_is_refused(run, tmp_path, make, found):
    write_clothes(tmp_path / "d", *make())
    asked = ("train", "mlp", "--data", "fashion_mnist", "--data-folder", tmp_path / "d", "--out", tmp_path / "n")
    check_refusal(run(*asked), found, ".")


def test_examples_in_both_sets_are_refused(run, tmp_path):
    fit, test = (images(40, 0), [*range(10)] * 4), (images(40, 0)[:9], range(9))
    write_clothes(tmp_path / "d", fit, test)
    data = ("--data", "fashion_mnist", "--data-folder", tmp_path / "d")
    assert run("train", "mlp", *data, "--width", 3, "--epochs", 1, "--out", tmp_path / "n").code == 0
    ended = run("stitch", f"{tmp_path}/n@layer1 -> {tmp_path}/n@layer1", *data)
    check_refusal(ended, "9 of the 9 test examples are also among", "without overlap")


def test_data_with_nan_is_refused(nets):
    # No file format that the command line reads can hold a NaN, so this one comes through Python.
    a, b = (load_folder(nets / name)[0] for name in ("m0", "m1"))
    test = ms.load("digits").test
    inputs = torch.randn(20, 1, 8, 8)
    inputs[7] = float("nan")
    with pytest.raises(ms.StitchError, match="found: 1 inputs with a value that is not finite, the first at index 7"):
        ms.stitch_all(a, b, (inputs, torch.arange(20) % 10), test)


# A user who has seen enough


def interrupted(arguments, cwd, until):
    """Run the script, send Ctrl-C once something has come about, and give its end."""
    command = [sys.executable, "-m", "modelstitch", *map(str, arguments)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    # A test run started in the background ignores Ctrl-C, and its children would inherit that.
    process = subprocess.Popen(
        command, cwd=cwd, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL), **pipes
    )
    while not until() and process.poll() is None:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    try:
        out, err = process.communicate(timeout=120)
    finally:
        process.kill()
    return Ended(process.returncode, out, err)


def test_ctrl_c_in_training_leaves_no_folder(nets, tmp_path):
    begun = time.monotonic()
    asked = ("train", "resnet18", "--data", "digits", "--width", 4, "--epochs", 10_000, "--out", tmp_path / "n" / "a")
    # Importing and building takes a few seconds; training as many hours.
    ended = interrupted(asked, nets, lambda: time.monotonic() - begun > 6)
    assert ended.code == 130
    assert ended.err == "interrupted: what was finished is kept, nothing is half written\n"
    assert list(tmp_path.rglob("*")) == []


def some_are_stored(store):
    try:
        return len(ms.open_records(store)) > 0
    except ms.StitchError:
        return False  # Being made.


def test_ctrl_c_in_stitching_leaves_whole_records(nets, tmp_path):
    store = tmp_path / "r.sqlite"
    asked = ("stitch", "m0", "m1", "--epochs", 40, "--out", store)
    ended = interrupted(asked, nets, lambda: store.exists() and some_are_stored(store))
    assert ended.code == 130
    assert "Traceback" not in ended.err
    assert {record.status for record in ms.open_records(store)} == {"ok"}
    # The reader above may have kept SQLite's log beside the store; the next opening takes it in.
    assert {record.status for record in ms.Store(store).records()} == {"ok"}
    assert list(tmp_path.iterdir()) == [store]


def test_a_reader_who_leaves_is_no_error(nets):
    command = f"{sys.executable} -m modelstitch cuts m0 --all --json | true; exit ${{PIPESTATUS[0]}}"
    ended = subprocess.run(["bash", "-c", command], cwd=nets, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")


def test_an_unexpected_error_is_no_wrong_request(nets, monkeypatch):
    def broken(*_, **__):
        raise ZeroDivisionError("a fault of ours")

    monkeypatch.setattr("modelstitch.cli.examine.examine", broken)
    with pytest.raises(ZeroDivisionError, match="a fault of ours"):
        main(["doctor"])
