"""Activations that are run or kept: the same bits, the bottom run no more than it must, files that can be trusted."""

import contextlib
import errno
import functools
import importlib
import os

import numpy as np
import pytest
import torch
from torch import nn

from modelstitch.activations.cache import InMemory, Kept, OnDisk
from modelstitch.activations.run import Activations
from modelstitch.compute import Compute
from modelstitch.cut import capture
from modelstitch.data import Samples
from modelstitch.errors import BadFile, NotWritable
from modelstitch.matching import TaskLoss, fit_all
from modelstitch.networks import build
from modelstitch.stitches import Affine
from modelstitch.support.seeding import generator

N, SIZE = 70, 16  # a last batch of six
ENOUGH = 1.0


def points(n=N, seed=0):
    draws = generator("activations test", seed)
    return Samples("points", torch.randn(n, 1, 12, 12, generator=draws), torch.arange(n) % 3, classes=3)


DATA = points()


@functools.cache
def captured(architecture, seed):
    sizes = {"mlp": {"inputs": 144, "widths": (32, 16)}, "resnet18": {"width": 4, "channels": 1}}[architecture]
    return capture(build(architecture, seed=seed, classes=3, **sizes).eval(), DATA.example)


def halves(architecture):
    a, b = captured(architecture, 0), captured(architecture, 1)
    return [(a.bottom(cut), b.top(cut.name)) for cut in a.blocks]


def fitted(architecture, compute, **options):
    by = TaskLoss(epochs=3, batch_size=SIZE, start="random", learning_rate=0.01, **options)
    return fit_all(Affine(), halves(architecture), DATA, by=by, compute=compute)


def assert_same_fits(found, others):
    """The law: whatever is kept, wherever, the stitches are the same, bit for bit."""
    assert [one.curve for one in found] == [other.curve for other in others]
    for one, other in zip(found, others, strict=True):
        for tensor, twin in zip(one.stitch.parameters(), other.stitch.parameters(), strict=True):
            assert torch.equal(tensor, twin)


@pytest.fixture(scope="module")
def uncached():
    return {name: fitted(name, Compute(memory=0.0)) for name in ("mlp", "resnet18")}


@pytest.mark.parametrize("patience", [None, 2])
@pytest.mark.parametrize("architecture", ["mlp", "resnet18"])
def test_kept_in_memory_on_disk_or_not_at_all_the_stitches_are_the_same(architecture, patience, tmp_path):
    none = fitted(architecture, Compute(memory=0.0), patience=patience)
    assert_same_fits(none, fitted(architecture, Compute(memory=ENOUGH), patience=patience))
    on_disk = Compute(folder=tmp_path)
    assert_same_fits(none, fitted(architecture, on_disk, patience=patience))
    # From the files of the call before.
    assert len(list(tmp_path.glob("*.npy"))) == len(halves(architecture))
    assert_same_fits(none, fitted(architecture, on_disk, patience=patience))
    assert not list(tmp_path.glob("*.part"))


def test_canary_the_law_catches_rows_that_are_another_s(uncached, monkeypatch):
    right = InMemory.get
    monkeypatch.setattr(InMemory, "get", lambda self, index: right(self, index.flip(0)))
    with pytest.raises(AssertionError):
        assert_same_fits(uncached["mlp"], fitted("mlp", Compute(memory=ENOUGH)))


def test_canary_the_law_catches_sixteen_bits(uncached, monkeypatch):
    right = InMemory.put
    monkeypatch.setattr(InMemory, "put", lambda self, index, rows: right(self, index, rows.bfloat16().float()))
    with pytest.raises(AssertionError):
        assert_same_fits(uncached["resnet18"], fitted("resnet18", Compute(memory=ENOUGH)))


class Counting(nn.Module):
    """Counts the examples that each of its layers has seen."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(*(nn.Sequential(nn.Linear(8, 8), nn.Tanh()) for _ in range(4)), nn.Linear(8, 3))

    def forward(self, x):
        return self.layers(x)


def source_of(captured, data, compute, keep=True, size=SIZE):
    """What a network gives at its blocks, over data."""
    source = Activations(captured, data, compute)
    if keep:
        source.want(captured.blocks, size)
    return source


@contextlib.contextmanager
def opened(source):
    with source.opened():
        try:
            yield source
        finally:
            source.drop()


def runs_of(compute, orders, keep=True):
    """How often each cut's bottom was run, batch by batch, over some orders."""
    network = capture(Counting().eval(), torch.zeros(2, 8))
    data = Samples("rows", torch.randn(N, 8, generator=generator("rows")), torch.arange(N) % 3, classes=3)
    seen = []
    source = source_of(network, data, compute, keep)
    with opened(source):
        right = source._run

        def counted(cuts, index, full):
            seen.append(len(cuts))
            return right(cuts, index, full)

        source._run = counted
        for order in orders:
            for index, below, batch in source.batches(network.blocks, SIZE, order):
                assert len(below) == len(network.blocks)
                assert {len(one) for one in below} == {len(batch.targets)} == {len(index)}
    return seen


FIVE = [4] * 5  # five batches, four cuts each


class ByPlace(nn.Module):
    """Adds to each example where in its batch it stands: what a kernel does that rounds by the place, but larger."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(144, 16), nn.Linear(16, 3)

    def forward(self, x):
        x = self.first(x.flatten(1))
        return self.second((x + torch.arange(x.shape[0])[:, None] * 1e-3).relu())


def test_what_depends_on_the_place_in_the_batch_is_not_kept():
    network = capture(ByPlace().eval(), DATA.example)
    pairs = [(network.bottom(cut), network.top(cut.name)) for cut in network.cuts[1:-1]]
    source = Activations(network, DATA, Compute())
    source.want([bottom.cut for bottom, _ in pairs], SIZE)
    with source.opened():
        kept = {cut.name for cut in source._kept}
    assert "first" in kept
    assert len(kept) < len(pairs)
    assert network.cuts[-2].name not in kept


class BySize(nn.Module):
    """Adds to each example how many are in its batch: what a kernel does that rounds by the size, but larger."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(144, 16), nn.Linear(16, 3)

    def forward(self, x):
        return self.second((self.first(x.flatten(1)) + x.shape[0] * 1e-3).relu())


def test_a_short_batch_gives_what_a_full_one_would():
    network = capture(BySize().eval(), DATA.example)
    # Above the stitch nothing depends on the size, so that only the bottom can tell.
    pair = [(network.bottom(network.cuts[-2]), network.top(network.cuts[-2].name))]
    by = TaskLoss(epochs=3, batch_size=SIZE, start="random")
    runs = [fit_all(Affine(), pair, DATA, by=by, compute=Compute(memory=memory)) for memory in (0.0, ENOUGH)]
    assert_same_fits(*runs)


def test_what_is_kept_is_not_run_again():
    orders = [torch.randperm(N, generator=generator("order", k)) for k in range(3)]
    # Each order has five batches of other examples; what the probe ran is kept as well, and is no whole batch of them.
    assert runs_of(Compute(memory=ENOUGH), orders) == FIVE
    assert runs_of(Compute(memory=ENOUGH), [torch.arange(N)] * 3) == FIVE[1:]
    assert runs_of(Compute(memory=0.0), orders) == 3 * FIVE
    assert runs_of(Compute(memory=ENOUGH), orders, keep=False) == 3 * FIVE


def test_the_deepest_cuts_are_kept_as_far_as_the_budget_goes():
    two_cuts = 2 * 2 * N * 8 * 4 / 1e9  # half of the memory is for what is kept
    assert runs_of(Compute(memory=two_cuts), [torch.arange(N)] * 2) == [2, *FIVE[1:]] + [2] * 5


def test_a_part_of_the_examples_is_kept_as_a_part():
    assert runs_of(Compute(memory=ENOUGH), [torch.arange(32), torch.arange(N)]) == [4] + [4] * 3


def test_cuts_that_do_not_fit_together_are_fitted_apart_with_the_same_result(uncached, monkeypatch):
    passes = []
    module = importlib.import_module("modelstitch.matching.fit")
    right = module.descend
    monkeypatch.setattr(
        module, "descend", lambda runs, *rest, **more: passes.append(len(runs)) or right(runs, *rest, **more)
    )
    # Room for one batch of the stem's maps, 4 channels of 12 x 12 in float32, beside little else.
    found = fitted("resnet18", Compute(memory=2 * 2.5 * SIZE * 4 * 144 * 4 / 1e9))
    assert passes[0] == 2
    assert sum(passes) == 10
    assert len(passes) > 1
    assert_same_fits(uncached["resnet18"], found)


def test_batch_statistics_are_never_kept(tmp_path):
    by = TaskLoss(epochs=2, batch_size=SIZE)
    fit_all(Affine(), halves("resnet18")[-2:], DATA, by=by, batch_norm="batch", compute=Compute(folder=tmp_path))
    assert not list(tmp_path.iterdir())


# Files


def files_of(folder, data=DATA, seed=0):
    network = captured("mlp", seed)
    with opened(source_of(network, data, Compute(folder=folder))) as source:
        for _ in source.batches(network.blocks, SIZE):
            pass
    return sorted(folder.glob("*"))


def test_other_weights_or_other_data_are_other_files(tmp_path):
    first = files_of(tmp_path)
    assert len(first) == 2
    assert len(files_of(tmp_path, seed=1)) == 4
    assert len(files_of(tmp_path, data=points(seed=1))) == 6
    assert files_of(tmp_path) == files_of(tmp_path)
    assert len(files_of(tmp_path)) == 6


def test_a_file_is_readable_by_numpy_and_holds_the_rows_in_stored_order(tmp_path):
    network, held = captured("mlp", 0), [np.load(path) for path in files_of(tmp_path)]
    with torch.no_grad():
        wanted = [network.bottom(cut)(DATA.inputs) for cut in network.blocks]
    for rows in wanted:
        assert any(one.shape == rows.shape and np.allclose(one, rows, atol=1e-6) for one in held)


def test_a_run_that_ends_early_leaves_no_file(tmp_path):
    with pytest.raises(RuntimeError, match="enough"):
        _interrupted(tmp_path)
    assert not list(tmp_path.iterdir())


def _interrupted(folder):
    network = captured("mlp", 0)
    with opened(source_of(network, DATA, Compute(folder=folder))) as source:
        for _ in source.batches(network.blocks, SIZE):
            raise RuntimeError("enough")


def test_what_a_killed_process_left_is_taken_over(tmp_path):
    whole = [path.name for path in files_of(tmp_path)]
    for name in whole:
        (tmp_path / name).rename((tmp_path / name).with_suffix(".part"))
    assert [path.name for path in files_of(tmp_path)] == whole


def test_while_another_process_writes_nothing_is_kept(tmp_path):
    key = {"one": "file"}
    first = OnDisk.claim(tmp_path, key, N)
    assert OnDisk.claim(tmp_path, key, N) is None
    first.close()
    second = OnDisk.claim(tmp_path, key, N)
    assert second is not None
    second.close()
    assert not list(tmp_path.iterdir())


def test_a_file_that_holds_other_numbers_is_refused(tmp_path):
    for path in files_of(tmp_path):
        np.save(path, np.load(path) + 1)
    with pytest.raises(BadFile, match=r"(?s)activations kept at 'layer2'.*does not give\ndo:    remove the file"):
        files_of(tmp_path)


@pytest.mark.parametrize(
    ("content", "found"), [(b"no array", "found: "), (None, "found: 3 rows for 70 examples")], ids=["no array", "short"]
)
def test_a_file_that_is_no_such_array_is_refused(tmp_path, content, found):
    for path in files_of(tmp_path):
        if content is None:
            np.save(path, np.zeros((3, 16), np.float32))
        else:
            path.write_bytes(content)
    with pytest.raises(BadFile, match=f"(?s)activations in .*{found}.*\ndo:    remove the file, and it is made again"):
        files_of(tmp_path)


def test_a_full_disk_is_an_error_and_leaves_no_file(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(NotWritable, match=r"found: No space left on device\ndo:    name a file in a folder"):
        files_of(tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_refuses_is_an_error(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(NotWritable, match=r"write .*npy\nfound: "):
        files_of(tmp_path / "file")


def test_the_disk_s_budget_holds(tmp_path):
    network = captured("mlp", 0)
    with opened(source_of(network, DATA, Compute(folder=tmp_path, disk=N * 16 * 4 / 1e9))) as source:
        for _ in source.batches(network.blocks, SIZE):
            pass
    (one,) = tmp_path.iterdir()
    assert np.load(one).shape == (N, 16)


def test_both_kinds_keep_alike(tmp_path):
    rows = torch.arange(12.0).reshape(6, 2)
    kinds: list[Kept] = [InMemory(6), OnDisk.claim(tmp_path, {"some": "key"}, 6)]
    for kept in kinds:
        kept.put(torch.tensor([3, 1]), rows[[3, 1]])
        assert kept.has(torch.tensor([1, 3]))
        assert not kept.has(torch.tensor([1, 2]))
        assert torch.equal(kept.get(torch.tensor([1, 3])), rows[[1, 3]])
        kept.close()


# Sixteen bits


def test_bfloat16_is_near_float32_and_not_the_same(uncached):
    found = fitted("resnet18", Compute(memory=ENOUGH), precision="bfloat16")
    assert [one.curve for one in found] != [one.curve for one in uncached["resnet18"]]
    for one, other in zip(found, uncached["resnet18"], strict=True):
        assert one.curve == pytest.approx(other.curve, rel=0.05)
        assert {tensor.dtype for tensor in one.stitch.parameters()} == {torch.float32}


def test_bfloat16_kept_or_not_is_the_same(tmp_path):
    none = fitted("mlp", Compute(memory=0.0), precision="bfloat16")
    assert_same_fits(none, fitted("mlp", Compute(memory=ENOUGH), precision="bfloat16"))
    assert_same_fits(none, fitted("mlp", Compute(folder=tmp_path), precision="bfloat16"))
    # Not the files of a run in float32.
    assert_same_fits(fitted("mlp", Compute(memory=0.0)), fitted("mlp", Compute(folder=tmp_path)))


def test_tops_of_several_networks_start_from_their_own_moments():
    a, tops = captured("mlp", 0), [captured("mlp", seed) for seed in (1, 2)]
    by = TaskLoss(epochs=1, batch_size=SIZE)
    together = fit_all(Affine(), [(a.bottom("layer1"), top.top("layer1")) for top in tops], DATA, by=by)
    alone = [fit_all(Affine(), [(a.bottom("layer1"), top.top("layer1"))], DATA, by=by)[0] for top in tops]
    assert [one.residual for one in together] == [one.residual for one in alone]
    assert together[0].residual != together[1].residual
    assert_same_fits(together, alone)
