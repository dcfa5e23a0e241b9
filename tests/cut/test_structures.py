"""The first tensor of whatever a module gives, and another in its place."""

import dataclasses
from collections import OrderedDict, namedtuple

import pytest
import torch

from modelstitch.cut.replayed.structures import first_tensor, same, tensors_in, with_first

A, B, C = torch.tensor([1.0]), torch.tensor([2.0]), torch.tensor([3.0])
Named = namedtuple("Named", ["a", "b"])


@dataclasses.dataclass(frozen=True)
class Frozen:
    """An output that cannot be written to."""

    none: object
    a: torch.Tensor
    b: torch.Tensor


class Output(OrderedDict):
    """A mapping of a class of its own."""


FORMS = {
    "tuple": lambda a: (None, a, B),
    "nested": lambda a: ["text", {"a": (a, 1)}, B],
    "named": lambda a: Named(a, B),
    "mapping": lambda a: Output(none=None, a=a, b=B),
    "dataclass": lambda a: Frozen(None, a, B),
    "mapping in a tuple": lambda a: (1, Output(a=a), B),
}


@pytest.mark.parametrize("form", FORMS)
def test_the_first_tensor_is_found_and_replaced_and_the_rest_is_the_very_same(form):
    value = FORMS[form](A)
    assert first_tensor(value) is A
    other = with_first(value, C)
    assert type(other) is type(value)
    assert [id(t) for t in tensors_in(other)] == [id(C), id(B)]
    assert [id(t) for t in tensors_in(value)] == [id(A), id(B)], "the value itself has changed"
    assert not same(value, other)
    assert same(with_first(other, A.clone()), value)


@pytest.mark.parametrize("value", [None, 3, "text", [], {}, object(), (None, [1])])
def test_a_value_without_a_tensor_stays_as_it_is(value):
    assert first_tensor(value) is None
    assert with_first(value, C) is value


def test_the_parts_beside_the_first_tensor_are_not_rebuilt():
    cache = [B]
    assert with_first((A, cache), C)[1] is cache


@pytest.mark.parametrize(
    ("one", "other", "right"),
    [
        (torch.tensor([float("nan"), 1]), torch.tensor([float("nan"), 1]), True),
        (torch.tensor([float("nan"), 1]), torch.tensor([float("nan"), 2]), False),
        (torch.ones(2), torch.ones(1), False),
        (torch.ones(2), torch.ones(2, dtype=torch.long), False),
        ((A, B), (A,), False),
    ],
)
def test_same_means_bit_for_bit(one, other, right):
    assert same(one, other) is right
