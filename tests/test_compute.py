"""Room for activations: how cuts are split, and sizes that cannot be."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelstitch.compute import Compute
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
