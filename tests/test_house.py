"""The house: imports go down the stairs, rooms stay small, and nothing names the place where it was built."""

import ast
import importlib
import pkgutil
import re
import subprocess
from pathlib import Path

import pytest

import modelstitch

ROOT = Path(__file__).parents[1]
HOUSE = ROOT / "src" / "modelstitch"
FLOORS = {
    # What every room may raise lies below them all.
    "errors": -2,
    "vocabulary": -1,
    "support": 0,
    **dict.fromkeys(("parallel", "moments", "recipe"), 1),
    **dict.fromkeys(("compute", "cut", "data", "measures", "figures"), 2),
    **dict.fromkeys(("tasks", "stitches", "networks", "records", "symmetries"), 3),
    **dict.fromkeys(("activations", "stitched", "report"), 4),
    **dict.fromkeys(("pretraining", "matching", "penalty", "comparison", "fold"), 5),
    **dict.fromkeys(("stitching",), 6),
    **dict.fromkeys(("connectivity", "sweep"), 7),
    "cli": 8,
    "__main__": 9,
    # The front door shows every room and belongs to none.
    "__init__": 10,
}
MODULES = sorted(HOUSE.rglob("*.py"))


def name_of(path):
    return str(path.relative_to(HOUSE))


def room_of(path):
    return path.relative_to(HOUSE).parts[0].removesuffix(".py")


def rooms_imported(source):
    """Rooms of the house that a module imports, wherever in it the import stands."""
    rooms = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide the floor"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        # A room is a name that stands on a floor; `from modelstitch import Records` goes through the front door.
        dotted = [name.split(".") for name in names if name.split(".")[0] == "modelstitch"]
        rooms |= {parts[1] if parts[1:] and parts[1] in FLOORS else "__init__" for parts in dotted}
    return rooms


def climbs(room, source):
    """The imports of a module that do not go strictly down."""
    return sorted(other for other in rooms_imported(source) - {room} if FLOORS[other] >= FLOORS[room])


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_imports_go_down_the_stairs(path):
    assert room_of(path) in FLOORS, "give the room a floor"
    assert climbs(room_of(path), path.read_text()) == []


def test_the_house_has_few_rooms():
    rooms = {room_of(path) for path in MODULES} - {"__init__", "__main__"}
    assert rooms == FLOORS.keys() - {"__init__", "__main__"}
    assert len(rooms) <= 28


@pytest.mark.parametrize(
    ("room", "source", "found"),
    [
        ("errors", "import modelstitch.cli", ["cli"]),
        ("figures", "from modelstitch import records", ["records"]),
        ("data", "def f():\n    from modelstitch.networks.resnet import resnet18", ["networks"]),
        ("cut", "if TYPE_CHECKING:\n    from modelstitch.stitching import Stitching", ["stitching"]),
        ("sweep", "from modelstitch import stitch_all", ["__init__"]),
    ],
)
def test_the_stairs_see_an_import_that_climbs(room, source, found):
    assert climbs(room, source) == found


def code_lines(node):
    """Lines of a function, its decorators and docstring left out."""
    docstring = ast.get_docstring(node, clean=False) is not None
    first = node.body[0]
    return node.end_lineno - node.lineno + 1 - (docstring and first.end_lineno - first.lineno + 1)


def long_functions(source):
    functions = [n for n in ast.walk(ast.parse(source)) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]
    return [function.name for function in functions if code_lines(function) >= 40]


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_rooms_stay_small(path):
    source = path.read_text()
    assert len(source.splitlines()) < 300, "make it a folder of the same name"
    assert long_functions(source) == []


def test_a_long_function_is_seen_and_a_long_docstring_is_none():
    body = "".join(f"    x = {i}\n" for i in range(39))
    assert long_functions(f"def f():\n{body}") == ["f"]
    assert long_functions("def f():\n    '''" + "\n" * 60 + "'''\n    return 1\n") == []


# What classes are is the task's own business, and that of who makes data and networks.
SUBJECT = {"labels", "classes", "cross_entropy", "argmax"}
AT_HOME = {"tasks", "data", "networks", "pretraining"}
# A file elsewhere that speaks of it, and why.
ELSEWHERE = {
    "measures/probe.py": "a linear probe is a classifier",
    "measures/functional.py": "error_overlap is of logits and the right answers",
    "recipe/model.py": "a recipe's key `labels` trains networks on other labels",
    "sweep/run_data.py": "carries out that key",
    "stitching/clustered_noise.py": "noise that tells the class",
    "report/verdicts.py": "argmax of the margins of a claim",
}


def subject_words(source):
    """The task's words among the identifiers of a module."""
    names = [
        getattr(node, field, None) for node in ast.walk(ast.parse(source)) for field in ("id", "attr", "arg", "name")
    ]
    return SUBJECT.intersection(name for name in names if isinstance(name, str))


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_the_subject_lives_in_its_room(path):
    if room_of(path) not in AT_HOME:
        assert bool(subject_words(path.read_text())) is (name_of(path) in ELSEWHERE)


@pytest.mark.parametrize(
    "source", ["labels = 1", "x.argmax(1)", "def f(classes): ...", "from torch.nn.functional import cross_entropy"]
)
def test_the_subject_is_seen(source):
    assert subject_words(source)
    assert not subject_words("label = subclasses = 'labels'")


# Where to compute is `Compute`'s to say, and where a network is, the network's. Left are torch's own idiom, to move
# what a class holds, and `launch`, which asks for a kind of device.
MOST_ASKED = 12


def asking_for_a_device(source):
    """Functions with a parameter ``device``."""
    functions = [n for n in ast.walk(ast.parse(source)) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]
    given = [(n.name, [*n.args.posonlyargs, *n.args.args, *n.args.kwonlyargs]) for n in functions]
    return [name for name, parameters in given if any(one.arg == "device" for one in parameters)]


def test_few_functions_ask_for_a_device():
    asking = [f"{name_of(path)}: {name}" for path in MODULES for name in asking_for_a_device(path.read_text())]
    assert len(asking) <= MOST_ASKED, asking


def test_a_function_that_asks_for_a_device_is_seen():
    source = "def f(device): ...\nasync def g(x, /, *, device=None): ...\ndef f(device, /): ..."
    assert sorted(asking_for_a_device(source)) == ["f", "f", "g"]
    assert not asking_for_a_device("def h(compute, devices): device = compute.device")


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_each_module_opens_with_what_it_is(path):
    assert ast.get_docstring(ast.parse(path.read_text()))


PACKAGES = [modelstitch.__name__] + [
    module.name for module in pkgutil.walk_packages(modelstitch.__path__, "modelstitch.") if module.ispkg
]


@pytest.mark.parametrize("package", PACKAGES)
def test_each_package_lists_its_names_sorted(package):
    names = importlib.import_module(package).__all__
    assert list(names) == sorted(set(names), key=place_of)


def place_of(name):
    """The linter's order: constants, then classes, then functions, each by name, in which 18 comes before 164."""
    parts = [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", name)]
    return (not name.isupper(), not name[0].isupper(), parts)


# Written in halves, so that this file is not its own first finding.
PLACES = [
    "/wo" + "rk/",
    "sha" + "red/",
    "/tmp" + "/b/",
    "cla" + "ude",
    "anthro" + "pic",
    "DESI" + "GN.md",
    "STY" + "LE.md",
]


def places_named(text):
    return [place for place in PLACES if place.lower() in text.lower()]


def test_no_file_names_the_place_where_it_was_built():
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    found = {}
    for name in filter(None, tracked.split("\0")):
        path = ROOT / name
        text = path.read_bytes().decode("utf-8", "ignore") if path.is_file() else ""
        # Binary files could hold any short run of letters by chance.
        places = places_named(name) + ([] if "\0" in text else places_named(text))
        if places:
            found[name] = places
    assert found == {}


def test_a_file_that_names_the_place_is_seen():
    assert places_named("see /WO" + "RK/main") == PLACES[:1]
