"""Exported to one file: read by others, it answers what the network answers, and a wrong file is never written."""

import pytest
import torch
from test_saved import THREE, masks, pictures, stitched_of
from torch import nn

from fixtures import answer, captured
from modelstitch.cut import capture
from modelstitch.errors import CannotExport, SettingError
from modelstitch.stitched import Stitched, export
from modelstitch.stitches import Affine, Identity
from modelstitch.support.seeding import generator, seeded
from modelstitch.support.tensors import call, leaves


def check_close(found, expected):
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", THREE)
def test_a_pt2_answers_what_the_network_answers(name, tmp_path):
    stitched = stitched_of(name)
    stitched.export(tmp_path / "net.pt2")
    read = torch.export.load(tmp_path / "net.pt2").module()
    for rows in (1, 5):
        inputs = THREE[name][1](rows)
        check_close(call(read, inputs), answer(stitched, inputs))


@pytest.mark.parametrize("name", THREE)
def test_an_onnx_file_answers_what_the_network_answers(name, tmp_path):
    import onnxruntime

    stitched = stitched_of(name)
    stitched.export(tmp_path / "net.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "net.onnx", providers=["CPUExecutionProvider"])
    names = [one.name for one in session.get_inputs()]
    for rows in (1, 5):
        inputs = THREE[name][1](rows)
        given = dict(zip(names, (tensor.numpy() for tensor in leaves(inputs)), strict=True))
        (found,) = session.run(None, given)
        check_close(torch.from_numpy(found), answer(stitched, inputs))


def test_a_file_that_answers_otherwise_is_not_written(tmp_path, monkeypatch):
    right = export._pt2

    def wrong(program, asked):
        content, read = right(program, asked)
        return content, lambda inputs: [tensor + 1e-3 for tensor in read(inputs)]

    monkeypatch.setattr(export, "_pt2", wrong)
    with pytest.raises(CannotExport, match=r"answers that differ from the network's by up to 0\.001"):
        stitched_of("two inputs").export(tmp_path / "net.pt2")
    assert not list(tmp_path.iterdir())


def test_a_replayed_network_is_not_exported(tmp_path):
    halves = captured("branchy")
    cut = halves.blocks[0]
    stitched = Stitched(halves.bottom(cut), Identity().build(cut, cut), halves.top(cut))
    with pytest.raises(CannotExport, match=r"cannot be exported: torch\.export refuses it"):
        stitched.export(tmp_path / "net.pt2")


class Padded(nn.Module):
    """Words to vectors; padding, which is word 0, is left out of the mean at the end."""

    def __init__(self, among):
        super().__init__()
        self.among = among
        self.embed, self.one, self.head = nn.Embedding(11, 4), nn.Linear(4, 5), nn.Linear(5, 3)

    def forward(self, ids):
        h = torch.relu(self.one(self.embed(ids)))
        padding = torch.isin(ids, torch.tensor([0, 7])) if self.among else ids == 0
        real = ~padding[..., None]
        return self.head((h * real).sum(1) / real.sum(1))


def padded(among):
    with seeded("padded"):
        networks = [Padded(among).eval().requires_grad_(False) for _ in "ab"]
    a, b = (capture(one, torch.ones(2, 6, dtype=torch.long)) for one in networks)
    assert b.top("one").takes_main
    return Stitched(a.bottom("one"), Affine().build(a.find("one"), b.find("one")), b.top("one")).eval()


def test_what_onnx_has_no_operator_for_is_refused(tmp_path):
    with pytest.raises(CannotExport, match=r"found: a network that ONNX cannot express: .*\ndo:    export it to \.pt2"):
        padded(among=True).export(tmp_path / "net.onnx")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("ending", "among"), [("pt2", True), ("onnx", False)])
def test_a_top_that_takes_ids_is_exported_with_what_it_reads_off_them(ending, among, tmp_path):
    import onnxruntime

    stitched = padded(among)
    stitched.export(tmp_path / f"net.{ending}")
    for rows, length in ((1, 6), (4, 3)):
        ids = torch.randint(1, 11, (rows, length), generator=generator("ids", rows))
        ids[:, -1] = 0
        if ending == "pt2":
            found = torch.export.load(tmp_path / "net.pt2").module()(ids)
        else:
            session = onnxruntime.InferenceSession(tmp_path / "net.onnx", providers=["CPUExecutionProvider"])
            found = torch.from_numpy(session.run(None, {session.get_inputs()[0].name: ids.numpy()})[0])
        check_close(found, answer(stitched, ids))
        other = ids.clone()
        other[:, -1] = 5
        assert (answer(stitched, other) - answer(stitched, ids)).abs().max() > 1e-3, "padding is seen"


def test_another_ending_is_refused(tmp_path):
    with pytest.raises(SettingError, match=r"found: the ending '\.pth'\ndo:    end the name in \.pt2 or \.onnx"):
        stitched_of("two inputs").export(tmp_path / "net.pth")


def test_a_missing_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "onnxscript", None)
    with pytest.raises(SettingError, match=r"found: no package onnx.*\ndo:    pip install 'modelstitch\[onnx\]'"):
        stitched_of("two inputs").export(tmp_path / "net.onnx")


def test_a_loaded_network_is_exported_too(tmp_path):
    from modelstitch import load_stitched

    stitched_of("two inputs").save(tmp_path / "saved")
    load_stitched(tmp_path / "saved").export(tmp_path / "net.pt2")
    read = torch.export.load(tmp_path / "net.pt2").module()
    check_close(call(read, masks(4)), answer(stitched_of_same(tmp_path), masks(4)))
    assert pictures(1).shape == (1, 1, 8, 8)


def stitched_of_same(folder):
    from modelstitch import load_stitched

    return load_stitched(folder / "saved")
