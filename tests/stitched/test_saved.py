"""Saved and loaded: the same bits, without the classes, and nothing but a graph and numbers is ever read."""

import json
import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import nn
from torch.utils import _pytree as pytree

from fixtures import NETWORKS, answer, captured
from modelstitch import build, load_stitched
from modelstitch.cut import capture
from modelstitch.errors import BadFile, CannotExport, NotWritable
from modelstitch.networks.resnet import ResNet
from modelstitch.stitched import Stitched
from modelstitch.stitches import Affine, BNAffineBN, Identity
from modelstitch.support.seeding import seeded
from modelstitch.support.tensors import call, each

TESTS = Path(__file__).parents[1]


class Masked(nn.Module):
    """Two inputs: the second is used in both halves."""

    def __init__(self):
        super().__init__()
        self.one, self.two, self.last = nn.Linear(6, 5), nn.Linear(5, 4), nn.Linear(4, 3)

    def forward(self, x, mask):
        return self.last(torch.tanh(self.two(torch.relu(self.one(x)) * mask[:, :1])) * mask[:, 1:])


def masks(rows):
    torch.manual_seed(rows)
    return {"x": torch.randn(rows, 6), "mask": torch.rand(rows, 2)}


def pictures(rows):
    torch.manual_seed(rows)
    return torch.randn(rows, 1, 8, 8)


def resnet(width):
    """Two stages of one block."""
    with seeded("saved", width):
        return ResNet(2, 1, width, 1, 10)


THREE = {
    "cnn": (lambda: resnet(4), pictures, "layer2.0"),
    "transformer": (
        lambda: build("vit", seed=0, depth=1, width=8, heads=2, channels=1, size=8),
        pictures,
        "blocks.0",
    ),
    "two inputs": (Masked, masks, "one"),
}


def stitched_of(name, family=None):
    make, inputs, cut = THREE[name]
    halves = capture(make(), inputs(2))
    cut = halves.find(cut)
    stitch = (family or BNAffineBN()).build(cut, cut)
    return Stitched(halves.bottom(cut), stitch, halves.top(cut)).eval().requires_grad_(False)


def same(one, other):
    return all(torch.equal(a, b) for a, b in zip(pytree.tree_leaves(one), pytree.tree_leaves(other), strict=True))


def check_saved(stitched, inputs, folder):
    stitched.save(folder)
    loaded = load_stitched(folder)
    assert same(answer(loaded, inputs), answer(stitched, inputs)), "not bit for bit"
    return loaded


@pytest.mark.parametrize("name", THREE)
def test_a_loaded_network_answers_bit_for_bit_and_is_cut_and_saved_again(name, tmp_path):
    stitched, inputs = stitched_of(name), THREE[name][1](3)
    loaded = check_saved(stitched, inputs, tmp_path / "one")
    assert not any(parameter.requires_grad for parameter in loaded.parameters())
    halves, right = capture(loaded, inputs), capture(stitched, inputs)
    assert halves.cuts == right.cuts
    assert halves.graph
    for cut in halves.blocks:
        again = Stitched(halves.bottom(cut), Identity().build(cut, cut), halves.top(cut))
        assert torch.equal(answer(again, inputs), answer(stitched, inputs))
    check_saved(loaded, inputs, tmp_path / "two")
    check_saved(again, inputs, tmp_path / "three")


def test_another_network_is_seen(tmp_path):
    stitched, other = stitched_of("two inputs"), stitched_of("two inputs")
    stitched.save = other.save
    with pytest.raises(AssertionError, match="not bit for bit"):
        check_saved(stitched, masks(3), tmp_path)


@pytest.mark.parametrize("name", ["text", "structured", "tied", "reparametrised", "windowed"])
def test_other_wirings_and_outputs_are_saved(name, tmp_path):
    halves, inputs = captured(name), NETWORKS[name].inputs(3)
    cut = halves.blocks[0]
    stitched = Stitched(halves.bottom(cut), Affine().build(cut, cut), halves.top(cut)).requires_grad_(False)
    loaded = check_saved(stitched, inputs, tmp_path)
    assert pytree.tree_structure(answer(loaded, inputs)) == pytree.tree_structure(answer(stitched, inputs))


def test_a_stitch_of_the_user_s_own_is_saved(tmp_path):
    class Squash(nn.Module):
        def forward(self, x):
            return torch.tanh(x) * 2

    stitched = stitched_of("cnn")
    stitched.stitch = Squash()
    check_saved(stitched, pictures(3), tmp_path)


def test_memory_layout_is_kept(tmp_path):
    network = resnet(4).to(memory_format=torch.channels_last)
    halves = capture(network, pictures(2))
    cut = halves.find("layer2.0")
    check_saved(Stitched(halves.bottom(cut), Identity().build(cut, cut), halves.top(cut)), pictures(3), tmp_path)


def test_an_output_of_a_class_is_loaded_as_a_dict(tmp_path):
    class Answer(dict):
        pass

    pytree.register_pytree_node(
        Answer,
        lambda one: (list(one.values()), list(one)),
        lambda values, keys: Answer(zip(keys, values, strict=True)),
        serialized_type_name="test_saved.Answer",
    )

    class Answering(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.two = nn.Linear(6, 5), nn.Linear(5, 3)

        def forward(self, x):
            return Answer(logits=self.two(self.one(x)))

    halves = capture(Answering(), torch.zeros(2, 6))
    cut = halves.find("one")
    Stitched(halves.bottom(cut), Identity().build(cut, cut), halves.top(cut)).save(tmp_path)
    found = load_stitched(tmp_path)(torch.zeros(2, 6))
    assert type(found) is dict
    assert list(found) == ["logits"]


def test_it_is_read_in_a_process_that_knows_none_of_the_classes_and_never_unpickles(tmp_path):
    stitched, inputs = stitched_of("two inputs"), masks(3)
    stitched.save(tmp_path / "net")
    safetensors.torch.save_file(inputs, tmp_path / "inputs")
    code = f"""
import pickle, torch, safetensors.torch
from modelstitch.stitched import load_stitched
def refuse(*args, **kwargs):
    raise SystemExit("unpickled")
pickle.load = pickle.loads = pickle.Unpickler = torch.load = refuse
network = load_stitched({str(tmp_path / "net")!r})
inputs = safetensors.torch.load_file({str(tmp_path / "inputs")!r})
# A copy lies in memory as any new tensor; numbers in a file may lie at odd places, where sums round otherwise.
found = network(**{{name: tensor.clone() for name, tensor in inputs.items()}})
safetensors.torch.save_file({{"found": found}}, {str(tmp_path / "found")!r})
"""
    path = os.environ.get("PYTHONPATH", "").replace(str(TESTS), "")
    subprocess.run(
        [sys.executable, "-c", code], env=os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"}, check=True
    )
    found = safetensors.torch.load_file(tmp_path / "found")["found"]
    assert torch.equal(found, call(stitched, inputs))


def test_a_second_save_replaces_the_first_and_leaves_nothing_behind(tmp_path):
    stitched_of("two inputs").save(tmp_path)
    torch.manual_seed(5)
    check_saved(stitched_of("two inputs", Affine()), masks(3), tmp_path)
    assert len(list(tmp_path.iterdir())) == 2


def test_the_device_s_own_numbers_are_copied(tmp_path):
    stitched = stitched_of("two inputs")
    before = answer(stitched, masks(3))
    loaded = check_saved(stitched, masks(3), tmp_path)
    for buffer in loaded.buffers():
        buffer.zero_()
    assert torch.equal(answer(stitched, masks(3)), before)


# What is refused


def test_a_replayed_network_is_not_saved(tmp_path):
    halves = captured("branchy")
    cut = halves.blocks[0]
    stitched = Stitched(halves.bottom(cut), Identity().build(cut, cut), halves.top(cut))
    with pytest.raises(CannotExport, match=r"replayed by hooks, because .*\ndo:    make it exportable by torch.export"):
        stitched.save(tmp_path / "net")
    assert not (tmp_path / "net").exists()


def test_a_place_that_refuses_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(NotWritable):
        stitched_of("two inputs").save(tmp_path / "file" / "net")


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved")
    stitched_of("two inputs").save(folder)
    return folder


@pytest.fixture
def folder(saved, tmp_path):
    """A copy to be damaged."""
    return shutil.copytree(saved, tmp_path / "net")


def edited(folder, change):
    path = folder / "network.json"
    told = json.loads(path.read_text())
    change(told)
    path.write_text(json.dumps(told))


def retarget(target, op="call_function"):
    def change(told):
        node = next(one for one in told["graph"] if one["op"] == "call_function")
        node.update(target=target, op=op)

    return change


EVIL = {
    "a function of Python's": retarget("os.system"),
    "a builtin": retarget("builtins.eval"),
    "an operator that writes": retarget("aten.copy_.default"),
    "an operator that reads files": retarget("aten.from_file.default"),
    "a library of another's": retarget("mine.steal.default"),
    "a method of torch's": retarget("torch.load"),
    "a dunder": retarget("aten.__class__.default"),
    "a call of a module": retarget("weight_x", "call_module"),
    "a call of a method": retarget("numpy", "call_method"),
    "a tensor's path": retarget("__init__.__globals__", "get_attr"),
    "a type that is none": lambda told: told["inputs"][0].__setitem__(2, "load"),
    "a value of unknown kind": lambda told: told["graph"][-1].update(args={"pickle": "gASV"}),
    "a node that is not there": lambda told: told["graph"][-1].update(args={"tuple": [{"node": "nowhere"}]}),
    "no graph": lambda told: told.pop("graph"),
    "a list for a graph of nothing": lambda told: told.update(graph=[1, 2]),
    "another format": lambda told: told.update(format=2),
    "no file of numbers": lambda told: told.update(tensors="tensors-0.safetensors"),
}


@pytest.mark.parametrize("way", EVIL)
def test_a_foreign_description_is_refused_and_nothing_runs(way, folder):
    edited(folder, EVIL[way])
    with pytest.raises(BadFile) as caught:
        load_stitched(folder)
    assert len(str(caught.value).splitlines()) == 3


def damage_numbers(folder):
    path = next(folder.glob("tensors-*"))
    tensors = safetensors.torch.load_file(path)
    next(iter(tensors.values())).view(-1)[0] += 1
    safetensors.torch.save_file(tensors, path)


def cut_short(name):
    def damage(folder):
        path = next(folder.glob(name))
        path.write_bytes(path.read_bytes()[:-20])

    return damage


DAMAGE = {
    "numbers": damage_numbers,
    "half a description": cut_short("network.json"),
    "half the numbers": cut_short("tensors-*"),
    "a pickle": lambda folder: (folder / "network.json").write_bytes(pickle.dumps({"format": 1})),
    "nothing": lambda folder: (folder / "network.json").unlink(),
    "no numbers": lambda folder: next(folder.glob("tensors-*")).unlink(),
}


@pytest.mark.parametrize("way", DAMAGE)
def test_a_damaged_folder_is_refused(way, folder):
    DAMAGE[way](folder)
    with pytest.raises(BadFile) as caught:
        load_stitched(folder)
    assert len(str(caught.value).splitlines()) == 3


def test_inputs_of_another_batch_size_are_answered(folder):
    loaded = load_stitched(folder)
    one = each(lambda tensor: tensor[:1], masks(7))
    torch.testing.assert_close(call(loaded, masks(7))[:1], call(loaded, one))
