"""The tree of errors: as drawn, three lines each, whole after a trip to another process."""

import pickle
import re

import pytest

from modelstitch import errors
from modelstitch.errors import StitchError, did_you_mean

CHILDREN = [
    found
    for found in vars(errors).values()
    if isinstance(found, type) and issubclass(found, StitchError) and found is not StitchError
]


def test_the_tree_is_drawn_as_it_is():
    drawn = re.findall(r"[├└]── (\w+) +\((\w+)\) +\S", errors.__doc__)
    assert dict(drawn) == {c.__name__: c.__bases__[1].__name__ for c in CHILDREN}


@pytest.mark.parametrize("child", CHILDREN)
def test_every_error_is_also_the_builtin_that_a_caller_expects(child):
    assert child.__bases__[0] is StitchError
    assert child.__bases__[1].__module__ == "builtins"
    with pytest.raises(child.__bases__[1], match="asked: a\nfound: b\ndo:    c"):
        raise child("a", "b", "c")


@pytest.mark.parametrize("child", [StitchError, *CHILDREN])
def test_an_error_is_three_lines_and_survives_pickling(child):
    error = child("one thing", "another", "this")
    assert str(error) == "asked: one thing\nfound: another\ndo:    this"
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is child
    assert (again.asked, again.found, again.do) == ("one thing", "another", "this")
    assert str(again) == str(error)


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("layer2.9", "did you mean 'layer2.1'? Or look"),
        ("layer", "did you mean 'layer2.1' or 'layer1'? Or look"),
        ("zzz", "look"),
    ],
)
def test_did_you_mean_names_what_is_close(name, advice):
    known = {"layer2.9": ["layer2.1", "fc"], "layer": ["layer2.1", "layer1", "stem"], "zzz": ["fc", "stem"]}[name]
    found = did_you_mean(name, iter(known), "look")
    assert sorted(found.split("'")) == sorted(advice.split("'"))
