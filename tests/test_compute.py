"""Where to compute, and devices that are not there; room for activations, and sizes that cannot be."""

import itertools
import pickle

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from modelstitch.compute import Compute, home_of
from modelstitch.errors import SettingError


@given(sizes=st.lists(st.integers(1, 10**9), max_size=12), memory=st.floats(0.0, 8.0))
def test_every_cut_is_in_one_run_and_no_run_is_larger_than_it_must_be(sizes, memory):
    parts = Compute(memory=memory).chunks(sizes)
    assert [size for part in parts for size in sizes[part]] == sizes
    for part in parts:
        assert len(sizes[part]) == 1 or sum(sizes[part]) <= memory / 2 * 1e9
    # Two neighbours would not have fitted together.
    for one, other in itertools.pairwise(parts):
        assert sum(sizes[one]) + sizes[other.start] > memory / 2 * 1e9


def test_half_of_the_memory_or_the_disk_holds_what_is_kept():
    assert Compute(memory=3.0).kept_bytes == 1.5e9
    assert Compute(memory=3.0, folder="there", disk=7.0).kept_bytes == 7e9


@pytest.mark.parametrize("size", [-1.0, float("nan"), float("inf")])
@pytest.mark.parametrize("name", ["memory", "disk"])
def test_sizes_that_cannot_be_are_refused(name, size):
    with pytest.raises(SettingError, match=f"to compute with {name}={size}\nfound: no such size\ndo:    give GB"):
        Compute(**{name: size})


@pytest.mark.parametrize("device", ["cpu", torch.device("cpu")])
def test_a_device_is_a_word_or_torch_s_own(device):
    assert Compute(device) == Compute(device=device) == Compute("cpu")
    assert Compute(device).place(torch.nn.Linear(1, 1)) == "cpu"
    assert pickle.loads(pickle.dumps(Compute(device))) == Compute("cpu")


@pytest.mark.parametrize("device", ["cuda", "cuda:7", torch.device("cuda", 7), "mps", "gpu", ""])
def test_a_device_that_is_not_there_is_refused_at_once(monkeypatch, device):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    with pytest.raises(SettingError, match=r"^asked: to compute on .*\nfound: .+\ndo:    see .*`modelstitch doctor`$"):
        Compute(device)


def test_a_gpu_is_looked_for_without_a_tensor_on_it(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    made = []
    monkeypatch.setattr(torch, "zeros", lambda *_, device: made.append(str(device)))
    for device in ("cuda", "cuda:1", "cuda:2", "cpu"):
        Compute(device)
    assert made == ["cuda:2", "cpu"]


class Moved(torch.nn.Linear):
    """Writes down where it was sent, and stays."""

    def to(self, where):
        self.moves = [*getattr(self, "moves", []), where]
        return self


def test_a_network_is_home_again_also_after_an_error():
    network = Moved(2, 1)
    with pytest.raises(ZeroDivisionError), Compute("meta").hosting(network):
        raise ZeroDivisionError(network.moves.append("here"))
    assert network.moves == ["meta", "here", "cpu"]


def test_home_is_where_the_weights_are():
    assert home_of(torch.nn.Linear(1, 1, device="meta")) == "meta"
    assert home_of(torch.nn.Sequential(torch.nn.BatchNorm1d(1, affine=False, device="meta"))) == "meta"
    # Nothing to go by.
    assert home_of(torch.nn.ReLU()) == home_of(lambda x: x) == "cpu"
