"""One door to randomness: streams depend on their keys alone, on every machine, and leave the caller's alone."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from modelstitch.support.seeding import generator, numpy_generator, seed_of, seeded

keys = st.lists(st.none() | st.booleans() | st.integers() | st.text(), max_size=3)


@given(keys, keys)
def test_equal_keys_and_only_they_give_equal_seeds(one, other):
    # 1 and True are equal in Python, and yet mean different things.
    assert (seed_of(*one) == seed_of(*other)) == (repr(one) == repr(other))
    assert 0 <= seed_of(*one) < 2**63


def test_seeds_and_streams_are_the_same_on_every_machine():
    # Written down once: a record's key names a seed, so the stream behind it must never change.
    assert seed_of("shuffle", 0) == 2239557203570927322
    assert numpy_generator("shuffle", 0).integers(1000, size=4).tolist() == [718, 841, 788, 937]
    assert torch.randint(1000, (4,), generator=generator("shuffle", 0)).tolist() == [277, 943, 654, 144]


def test_streams_of_other_keys_are_others():
    one, again, other = (torch.rand(8, generator=generator("stream", k)) for k in (0, 0, 1))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)
    assert (numpy_generator("stream", 0).random(8) != numpy_generator("stream", 1).random(8)).all()


def test_a_seeded_block_is_the_same_wherever_it_runs_and_leaves_the_global_stream_alone():
    weights = []
    for global_seed in (0, 1):
        torch.manual_seed(global_seed)
        before = torch.get_rng_state()
        with seeded("block", 0):
            weights.append(nn.Linear(3, 3).weight)
        assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(*weights)


def test_the_global_stream_is_restored_after_an_error():
    def failing():
        with seeded("block"):
            torch.rand(1)
            raise ValueError("inside")

    before = torch.get_rng_state()
    with pytest.raises(ValueError, match="inside"):
        failing()
    assert torch.equal(torch.get_rng_state(), before)
