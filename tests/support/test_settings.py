"""Settings as text: the round trip, what is left out, and what is refused."""

from __future__ import annotations

import json
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from modelstitch.compute import PRECISIONS
from modelstitch.errors import BadFile, SettingError
from modelstitch.matching import MATCHINGS, STARTS, TOP_MODES, Matching
from modelstitch.stitches import FAMILIES, Affine, Family, Identity
from modelstitch.support.settings import built, spelled

if TYPE_CHECKING:
    from decimal import Decimal


class Gap(ABC):
    name: ClassVar[str]

    @abstractmethod
    def between(self): ...


@dataclass(frozen=True)
class Squared(Gap):
    name: ClassVar[str] = "test_squared"

    def between(self): ...


@dataclass(frozen=True)
class Tempered(Gap):
    temperature: float = 2.0
    name: ClassVar[str] = "test_tempered"

    def __post_init__(self):
        if self.temperature == 0:
            raise ValueError("zero is\nno temperature")
        if self.temperature < 0:
            raise SettingError(f"temperature {self.temperature}", "no such temperature", "choose 0 or more")

    def between(self): ...


@dataclass(frozen=True)
class Plan(ABC):
    name: ClassVar[str] = "test_abstract"

    @abstractmethod
    def run(self): ...


@dataclass(frozen=True)
class Walk(Plan):
    """A setting with a field of each kind."""

    steps: int | None = None
    rate: float | Literal["by_width"] = "by_width"
    by: Gap = Squared()
    terms: tuple[Gap, ...] = ()
    at: tuple[str, ...] = ("output",)
    weights: tuple[tuple[float, ...], ...] = ()
    shuffled: bool = True
    precision: str = "float32"
    # Off is 0 although the default is 3: what an old text leaves out was off.
    patience: int = 3
    # No setting, but what follows from one.
    doubled: int = field(init=False, default=0)
    name: ClassVar[str] = "test_walk"
    off: ClassVar[Mapping[str, Any]] = {"precision": "float32", "patience": 0, "steps": None}

    def __post_init__(self):
        object.__setattr__(self, "doubled", 2 * self.patience)

    def run(self): ...


numbers = st.floats(allow_nan=False, allow_infinity=False)
gaps = st.just(Squared()) | st.builds(Tempered, temperature=st.floats(0, 1e300, exclude_min=True))
walks = st.builds(
    Walk,
    steps=st.none() | st.integers(),
    rate=st.just("by_width") | numbers | st.integers(),
    by=gaps,
    terms=st.lists(gaps, max_size=3).map(tuple),
    at=st.lists(st.text(), max_size=3).map(tuple),
    weights=st.lists(st.lists(numbers, max_size=2).map(tuple), max_size=2).map(tuple),
    shuffled=st.booleans(),
    precision=st.sampled_from(["float32", "bfloat16"]) | st.text(),
    patience=st.integers(0, 5),
)

CATALOGUES = {Family: FAMILIES, Matching: MATCHINGS}
"""Every catalogue of settings, by the class that its settings have in common."""
VALUES = {
    "kernel": st.integers(0, 50).map(lambda half: 2 * half + 1),
    "ridge": st.floats(0, 1e300),
    "epochs": st.none() | st.integers(1),
    "learning_rate": st.just("by_width") | st.floats(0, 1e300),
    "batch_size": st.integers(2),
    "start": st.sampled_from(STARTS),
    "patience": st.none() | st.integers(1),
    "precision": st.sampled_from(PRECISIONS),
    "top": st.sampled_from(TOP_MODES),
    "temperature": st.floats(0, 1e300, exclude_min=True),
}
"""What each field of the catalogues may hold."""
KINDS = {name: (root, kind) for root, catalogue in CATALOGUES.items() for name, kind in catalogue.items()}


def check_round_trip(setting, root):
    again = built(spelled(setting), root)
    assert again == setting
    assert type(again) is type(setting)
    assert spelled(again) == spelled(setting)


@pytest.mark.parametrize(("root", "kind"), KINDS.values(), ids=KINDS)
@given(data=st.data())
def test_every_setting_of_the_catalogues_is_built_again(root, kind, data):
    check_round_trip(data.draw(st.builds(kind, **{one.name: VALUES[one.name] for one in fields(kind)})), root)


@given(walks)
@example(Walk(rate=2**60 + 1))
def test_fields_of_every_kind_are_built_again(walk):
    check_round_trip(walk, Plan)


@given(st.lists(walks, max_size=3).map(tuple))
def test_a_chain_is_built_again_as_a_tuple(chain):
    check_round_trip(chain, Plan)
    assert spelled(list(chain)) == spelled(chain)


@dataclass(frozen=True)
class Drifting(Walk):
    name: ClassVar[str] = "test_drifting"

    def __post_init__(self):
        super().__post_init__()
        object.__setattr__(self, "patience", self.patience + 1)


def test_a_setting_that_changes_on_the_way_is_seen():
    with pytest.raises(AssertionError, match="patience: 5 != 4"):
        check_round_trip(Drifting(), Plan)


@pytest.mark.parametrize(("root", "kind"), KINDS.values(), ids=KINDS)
def test_a_default_that_is_off_is_the_value_that_off_lists(root, kind):
    defaults = {one.name: one.default for one in fields(kind)}
    assert {name: defaults[name] for name in kind.off} == dict(kind.off)


def test_the_text_is_the_name_then_the_fields_in_their_order():
    assert spelled(Affine(kernel=3)) == '{"name": "affine", "kernel": 3}'
    assert list(json.loads(spelled(Walk()))) == [
        *("name", "rate", "by", "terms", "at", "weights", "shuffled"),
        "patience",
    ]
    assert spelled([Identity(), Affine()]) == '[{"name": "identity"}, {"name": "affine", "kernel": 1}]'


def test_settings_inside_settings_are_named_too():
    told = json.loads(spelled(Walk(by=Tempered(4), terms=(Squared(), Tempered(1.5)))))
    assert told["by"] == {"name": "test_tempered", "temperature": 4.0}
    assert told["terms"] == [{"name": "test_squared"}, {"name": "test_tempered", "temperature": 1.5}]


def test_what_is_off_leaves_no_trace_and_stays_off_whatever_the_default():
    off = Walk(patience=0)
    assert not {"steps", "precision", "patience"} & json.loads(spelled(off)).keys()
    assert built(spelled(off), Plan).patience == 0
    assert built('{"name": "test_walk"}', Plan) == replace(Walk(), patience=0)
    assert json.loads(spelled(Walk(steps=0)))["steps"] == 0


@pytest.mark.parametrize(("one", "other"), [(1, 1.0), (0.0, -0.0), (-2, -2.0)])
def test_equal_settings_have_one_text(one, other):
    assert Walk(rate=one) == Walk(rate=other)
    assert spelled(Walk(rate=one)) == spelled(Walk(rate=other))
    assert spelled(Walk(weights=((one,),))) == spelled(Walk(weights=((other,),)))


def test_whole_numbers_stay_whole_where_the_field_wants_them():
    assert '"steps": 7,' in spelled(Walk(steps=7))
    assert repr(built('{"name": "test_walk", "rate": 1, "steps": 7}', Plan)).startswith("Walk(steps=7, rate=1.0,")


def test_a_class_defined_again_takes_the_place_of_the_older():
    old, new = again(1), again(2)
    assert old is not new
    assert type(built('{"name": "test_again"}', Plan)) is new


def again(version):
    @dataclass(frozen=True)
    class Again(Walk):
        name: ClassVar[str] = "test_again"
        of: ClassVar[int] = version

    return Again


# What is refused


@dataclass(frozen=True)
class Twin(Walk):
    name: ClassVar[str] = "test_twin"


@dataclass(frozen=True)
class OtherTwin(Walk):
    name: ClassVar[str] = "test_twin"


@dataclass(frozen=True)
class Nameless(Walk):
    pass


class Plain:
    name = "test_plain"


@dataclass(frozen=True)
class Hidden(Plan):
    price: Decimal | None = None
    name: ClassVar[str] = "test_hidden"

    def run(self): ...


def walk(**told):
    return json.dumps({"name": "test_walk", **told})


FORM = r"write a JSON object with a name, such as \{"
UNREADABLE = {
    "no JSON": ("kernel=1", Family, "no JSON: Expecting value", FORM),
    "empty": ("", Family, "no JSON: ", FORM),
    "too large": (f'{{"name": "test_walk", "rate": {"9" * 5000}}}', Plan, "no JSON: ", FORM),
    "too deep": ("[" * 100_000, Family, "no JSON: ", FORM),
    "no number": ('{"name": "affine", "kernel": NaN}', Family, "no JSON: NaN is no JSON number", FORM),
    "no object": ('"affine"', Family, "no name, but 'affine'", FORM),
    "no name": ('{"kernel": 1}', Family, r"no name, but \{'kernel': 1\}", FORM),
    "name of no text": ('{"name": ["affine"]}', Family, "no name, but ", FORM),
    "no setting in a chain": ('[{"name": "affine"}, 3]', Family, "no name, but 3", FORM),
    "chain in a chain": ('[[{"name": "affine"}]]', Family, "no name, but ", FORM),
    "near": (
        '{"name": "afine"}',
        Family,
        "no Family named 'afine', but affine, bn_affine_bn, ",
        "did you mean 'affine'",
    ),
    "unknown": ('{"name": "q"}', Family, "no Family named 'q'", "import the module that defines it"),
    "class name": ('{"name": "Affine"}', Family, "no Family named 'Affine'", ".*import the module that defines it"),
    "code": ('{"name": "os.system"}', Family, "no Family named 'os.system'", ".*import the module that defines it"),
    "of another root": ('{"name": "affine"}', Plan, "no Plan named 'affine'", "import the module that defines it"),
    "abstract": ('{"name": "test_abstract"}', Plan, "no Plan named 'test_abstract'", ".*import"),
    "field": ('{"name": "affine", "kernl": 1}', Family, "'affine' with a field 'kernl', .* are kernel", "did you mean"),
    "field of none": (
        '{"name": "identity", "k": 1}',
        Family,
        "'identity' with a field 'k', .* are none",
        "read it with",
    ),
    "value": (
        '{"name": "affine", "kernel": 2}',
        Family,
        "a stitch with kernel 2: a kernel that has no middle",
        "choose",
    ),
    "value inside": (
        walk(by={"name": "test_tempered", "temperature": -1}),
        Plan,
        r"temperature -1.0: no such temperature",
        "choose 0 or more",
    ),
    "type": (
        '{"name": "test_tempered", "temperature": "x"}',
        Gap,
        "fields that 'test_tempered' refuses: '<' not",
        "read",
    ),
    "lines": (
        '{"name": "test_tempered", "temperature": 0}',
        Gap,
        "fields that 'test_tempered' refuses: zero is",
        "read",
    ),
    "name inside": (
        walk(by={"name": "test_square"}),
        Plan,
        "no test_walk.by named 'test_square'",
        "did you mean 'test_sq",
    ),
    "another root inside": (walk(by={"name": "affine"}), Plan, "no test_walk.by named 'affine'", "import"),
    "two": (
        '{"name": "test_twin"}',
        Plan,
        "several classes .*settings.Twin and .*settings.OtherTwin",
        "rename all but one",
    ),
}


@pytest.mark.parametrize(("text", "root", "found", "do"), UNREADABLE.values(), ids=UNREADABLE)
def test_a_text_that_is_no_setting_is_refused(text, root, found, do):
    with pytest.raises(
        BadFile, match=f"asked: to read a {root.__name__} from .*\nfound: {found}.*\ndo:    {do}"
    ) as caught:
        built(text, root)
    assert len(str(caught.value).splitlines()) == 3
    assert len(text) > 90 or repr(text) in caught.value.asked
    assert len(caught.value.asked) < 200


UNSPEAKABLE = {
    "number": (3, "to write 3 as text\nfound: the class int, which is no dataclass with a name of its own"),
    "text": ("affine", "the class str, which is no dataclass"),
    "chain": ([Affine(), 3], "to write 3 as text"),
    "no dataclass": (Plain(), "the class Plain, which is no dataclass with a name of its own"),
    "inherited name": (Nameless(), "the class Nameless, which .*\ndo:    give the class `name: ClassVar\\[str\\]`"),
    "type": (Walk(rate=b"1"), "to write Walk.rate as text\nfound: a value of type bytes\ndo:    use numbers, strings"),
    "nameless inside": (Walk(by=Nameless()), "to write Walk.by as text\nfound: a value of type Nameless"),
    "mapping": (Walk(at={"a": 1}), "a value of type dict"),
    "infinite": (Walk(rate=math.inf), "to write Walk.rate as text\nfound: the number inf\ndo:    use a finite number"),
    "no number inside": (Walk(weights=((math.nan,),)), "to write Walk.weights as text\nfound: the number nan"),
    "annotation": (Hidden(), "the fields of Hidden\nfound: name 'Decimal' is not defined\ndo:    import at run time"),
}


@pytest.mark.parametrize(("setting", "message"), UNSPEAKABLE.values(), ids=UNSPEAKABLE)
def test_what_has_no_text_is_refused(setting, message):
    with pytest.raises(SettingError, match=message):
        spelled(setting)
