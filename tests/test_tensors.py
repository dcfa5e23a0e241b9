"""Rows by kind of cut, and fingerprints that change with everything that matters and nothing else."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from modelstitch.support.tensors import fingerprint, rows


@pytest.mark.parametrize(
    ("kind", "shape", "channels"),
    [
        *[("map", (2, 3, 4, 5), 1), ("map", (2, 3, 7), 1), ("map", (2, 3, 2, 2, 2), 1)],
        *[("tokens", (2, 5, 3), -1), ("tokens", (2, 4, 5, 3), -1), ("vector", (2, 3), -1)],
    ],
)
def test_a_row_is_one_position_of_one_example(kind, shape, channels):
    activation = torch.arange(float(np.prod(shape))).view(shape)
    array = np.moveaxis(activation.numpy(), channels, -1)
    expected = [array[place] for place in np.ndindex(array.shape[:-1])]
    np.testing.assert_array_equal(rows(activation, kind).numpy(), expected)


def test_tokens_and_vectors_are_not_copied():
    activation = torch.zeros(2, 5, 3)
    assert rows(activation, "tokens").data_ptr() == activation.data_ptr()


WEIGHTS = {"w": torch.tensor([[1.0, 2.0], [3.0, 4.0]]), "n": torch.tensor(3), "empty": torch.zeros(0, 2)}


@pytest.mark.parametrize(
    "change",
    [
        {"w": torch.tensor([[1.0, 2.0], [3.0, 4.0000005]])},
        {"w": torch.tensor([[1.0, 2.0, 3.0, 4.0]])},
        {"w": torch.tensor([[1.0, 2.0], [3.0, 4.0]]).double()},
        {"w": torch.tensor([[1.0, 2.0], [3.0, 4.0]]).view(torch.int32)},
        {"w": torch.tensor([[1.0, 3.0], [2.0, 4.0]])},
        {"n": torch.tensor([3])},
        {"n": torch.tensor(3, dtype=torch.int32)},
        {"empty": torch.zeros(2, 0)},
        {"more": torch.zeros(1)},
    ],
)
def test_a_fingerprint_changes_with_name_shape_type_and_bit(change):
    assert fingerprint({**WEIGHTS, **change}) != fingerprint(WEIGHTS)


def test_a_fingerprint_sees_a_negative_zero():
    assert fingerprint({"w": torch.tensor([0.0])}) != fingerprint({"w": torch.tensor([-0.0])})


def test_a_fingerprint_sees_names_and_not_their_order_nor_memory_layout_nor_gradients():
    renamed = {("v" if name == "w" else name): tensor for name, tensor in WEIGHTS.items()}
    assert fingerprint(renamed) != fingerprint(WEIGHTS)
    assert fingerprint(dict(reversed(WEIGHTS.items()))) == fingerprint(WEIGHTS)
    transposed = WEIGHTS["w"].T.contiguous().T
    assert not transposed.is_contiguous()
    assert fingerprint({**WEIGHTS, "w": transposed.requires_grad_()}) == fingerprint(WEIGHTS)


def test_half_precision_has_a_fingerprint():
    # numpy has no bfloat16: only its bytes can be read.
    assert len(fingerprint({"w": torch.ones(3, dtype=torch.bfloat16)})) == 16


@given(st.lists(st.floats(width=32, allow_nan=True), min_size=1, max_size=5))
def test_a_fingerprint_is_16_hex_digits_and_repeats(values):
    one, again = (fingerprint({"w": torch.tensor(values)}) for _ in range(2))
    assert one == again
    assert len(one) == 16
    assert int(one, 16) >= 0
