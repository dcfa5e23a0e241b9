"""A recipe is read as it was meant, or refused with the line and the word that was probably meant."""

import contextlib
import json
import subprocess
import sys
from dataclasses import fields

import jsonschema
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from modelstitch.errors import BadFile, SettingError
from modelstitch.recipe import GivenNetwork, Recipe, parse_recipe, read_recipe, recipe_schema
from modelstitch.recipe.choices import FUNCTION
from modelstitch.support.importing import PREFIX
from modelstitch.sweep import KINDS

GOOD = """\
# Two seeds.
name: quick
question: Do they?
data: {name: digits}
networks:
  net:
    architecture: resnet18
    options: {width: 8}
    seeds: [0, 1]
  old: {load: "py:zoo:net"}
stitchings:
  - pairs: [[net-0, net-1]]
    both_ways: true
    families: [{name: affine, kernel: 3}]
    controls: [self]
claims:
  - {claim: a, at_most: 3}
"""


def test_a_recipe_is_read_as_it_stands():
    recipe = parse_recipe(GOOD)
    assert (recipe.name, recipe.data.name, recipe.data.train) == ("quick", "digits", None)
    assert list(recipe.network_names()) == ["net-0", "net-1", "old"]
    assert recipe.network_names()["net-1"][1] == 1
    assert isinstance(recipe.network_names()["old"][0], GivenNetwork)
    (stitchings,) = recipe.stitchings
    assert (stitchings.pairs, stitchings.both_ways, stitchings.cuts) == ([["net-0", "net-1"]], True, "blocks")
    assert stitchings.families == [{"name": "affine", "kernel": 3}]
    assert recipe.claims[0].at_most == 3


CURVE = "reference: [{{figure: {}, curve: X}}]"


@pytest.mark.parametrize(
    ("old", "new", "found", "do"),
    [
        ("architecture:", "architectur:", r"line 7: networks.net.architectur: unknown key", "did you mean 'architectu"),
        ("    architecture: resnet18\n", "", r"line 6: networks.net: no 'architecture'", "write 'architecture'"),
        ("name: affine", "name: afine", r"line 14: stitchings\[0\].families\[0\].name: 'afine'", "mean 'affine'"),
        ("name: affine, ", "", r"line 14: stitchings\[0\].families\[0\]: no 'name'", "write 'name' there"),
        ("affine, kernel", "identity, kernel", "line 14: .*kernel: unknown key", "use one of name"),
        ("{name: affine, kernel: 3}", "3", r"line 14: stitchings\[0\].families\[0\]: 3", "correct that line"),
        ("kernel: 3", "kernl: 3", r"line 14: stitchings\[0\].families\[0\].kernl: unknown", "did you mean 'kernel'"),
        ("kernel: 3", "kernel: -3", r"line 14: a stitch with kernel -3: a kernel that has no middle", "choose 1, 3, 5"),
        ("net-1]]", "net-2]]", "line 12: no network 'net-2'", "did you mean 'net-1'"),
        ("[[net-0, net-1]]", "[[net-0]]", r"line 12: stitchings\[0\].pairs\[0\]: a list", "correct"),
        ("3}\n", ".inf}\n", r"line 17: claims\[0\].at_most: inf", "correct that line"),
        ("question: Do they?\n", "", "line 1: no 'question'", "write 'question' there"),
        ("[self]", "[selv]", r"line 15: stitchings\[0\].controls\[0\]: 'selv'", "did you mean 'self'"),
        ("true", "perhaps", r"both_ways: 'perhaps'", "correct that line"),
        (
            "{name: digits}",
            "{name: digits, size: 64}",
            "line 4: a size, where the images of digits have",
            "correct that line",
        ),
        ("{name: digits}", "{name: digit}", "line 4: data.name: 'digit'", "did you mean 'digits'"),
        ("old:", "net:", "line 10: 'net' stands here a second time", "plain YAML"),
        ("old:", "<b>:", "line 10: networks.<b>: '<b>'", "correct that line"),
        ("old:", "net-0:", "two networks are called 'net-0'", "rename one"),
        ("seeds: [0, 1]", "seeds: [0, 1, 1]", "two networks are called 'net-1'", "rename one"),
        ("- {claim", "- &x {claim", "line 17: anchors and aliases are not read", "plain YAML"),
        (
            "Do they?",
            "!!python/object/apply:os.getcwd []",
            "line 3: the tag .*getcwd. is not read",
            "plain YAML",
        ),
        ("at_most: 3", "claim: a", "line 17: 'claim' stands here a second time", "plain YAML"),
        (", at_most: 3", "", "line 17: a claim without at_most and at_least: give one or both", "correct that line"),
        ("name: quick", "name: ../quick", "line 2: name: '../quick'", "correct that line"),
        ("name: quick", "name: '$(reboot)'", "line 2: name: ", "correct that line"),
        ("at_most: 3}", "at_most: 3", "line 18: expected", "plain YAML"),
        (
            "at_most: 3}",
            "at_most: 3}\nreference: [{figure: fig2, curve: X}]",
            "line 18: no published figure .fig2.",
            "'fig2",
        ),
        (
            "at_most: 3}",
            "at_most: 3}\nreference: [{figure: fig2A, curve: X}]",
            "line 18: no published curve in fig2A .X.",
            "choose",
        ),
        ("- pairs", "pairs", "line 13: expected <block end>", "plain YAML"),
    ],
)
def test_a_wrong_line_is_named_with_what_was_meant(old, new, found, do):
    assert old in GOOD
    with pytest.raises(SettingError, match=found) as raised:
        parse_recipe(GOOD.replace(old, new, 1), "r.yaml", kinds=KINDS)
    assert do in raised.value.do
    assert "r.yaml" in raised.value.asked


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", "line 1: no 'name'"),
        ("- a", "line 1: : a list"),
        ("just words", "line 1: : 'just words'"),
        ("[" * 3000, "brackets nested hundreds deep"),
        ("\0", "special characters are not allowed"),
        ("#" * 1_000_001, "1,000,001 characters"),
    ],
)
def test_what_is_no_recipe_at_all(text, found):
    with pytest.raises(SettingError, match=found):
        parse_recipe(text)


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=200))
def test_no_text_brings_down_the_reader(text):
    with contextlib.suppress(SettingError):
        parse_recipe(text)


def test_files(tmp_path):
    path = tmp_path / "r.yaml"
    path.write_text(GOOD)
    assert read_recipe(path) == (parse_recipe(GOOD), GOOD)
    with pytest.raises(BadFile, match="No such file"):
        read_recipe(tmp_path / "none.yaml")
    path.write_bytes(b"\xff\xfe\xff")
    with pytest.raises(BadFile, match="bytes that are no text"):
        read_recipe(path)


def test_the_schema_says_what_the_reader_says():
    schema = recipe_schema()
    jsonschema.validate(yaml.safe_load(GOOD), json.loads(json.dumps(schema)))
    with pytest.raises(jsonschema.ValidationError, match="both_wys"):
        jsonschema.validate(yaml.safe_load(GOOD.replace("both_ways", "both_wys")), schema)


def choices_of(schema):
    """The schemas of the classes, by kind and name."""
    stitchings = schema["$defs"]["Stitchings"]["properties"]
    places = {"family": stitchings["families"]["items"], "matching": stitchings["matchings"]["items"]}
    places["task"] = next(one for one in schema["properties"]["task"]["anyOf"] if one.get("type") != "null")
    return {kind: {one["properties"]["name"]["const"]: one for one in place["oneOf"]} for kind, place in places.items()}


def test_words_are_those_of_the_rooms_that_know_them():
    from modelstitch.data import DATA_SETS
    from modelstitch.matching import BATCH_NORM_MODES
    from modelstitch.vocabulary import CONTROLS

    definitions = Recipe.model_json_schema()["$defs"]

    def words(part, key):
        found = definitions[part]["properties"][key]
        while "enum" not in found:
            found = found.get("items") or next(one for one in found["anyOf"] if "null" not in one.values())
        return set(found["enum"])

    assert words("Stitchings", "controls") == words("Claim", "control") == set(CONTROLS)
    assert words("Data", "name") == set(DATA_SETS)
    assert words("Stitchings", "batch_norm") == set(BATCH_NORM_MODES)


def test_a_recipe_chooses_among_everything_that_the_rooms_have():
    from modelstitch.vocabulary import FAMILIES, MATCHINGS, TASKS

    known = {"family": FAMILIES, "matching": MATCHINGS, "task": TASKS}
    assert {kind: set(made) for kind, made in KINDS.items()} == {kind: set(words) for kind, words in known.items()}


def test_the_schema_tells_the_settings_of_every_choice():
    schema = recipe_schema(KINDS)
    told = choices_of(schema)
    for kind, made in KINDS.items():
        for name, one in made.items():
            assert list(told[kind][name]["properties"]) == ["name", *(field.name for field in fields(one))]
            assert told[kind][name]["description"]
    assert told["matching"]["task"]["properties"]["start"]["enum"] == ["least_squares", "identity", "random"]
    jsonschema.validate(yaml.safe_load(GOOD), json.loads(json.dumps(schema)))
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(yaml.safe_load(GOOD.replace("kernel", "kernal")), schema)


MATCHING = GOOD.replace("    controls", "    matchings:\n      - MATCHING\n    controls")


@pytest.mark.parametrize(
    ("told", "found", "do"),
    [
        ("{name: task, epochs: 0}", "line 16: TaskLoss with epochs=0: no such matching", "choose 1 or more"),
        ("{name: task, epohcs: 2}", r"line 16: stitchings\[0\].matchings\[0\].epohcs: unknown", "mean 'epochs'"),
        ("{name: direct, epochs: 2}", r"line 16: .*matchings\[0\].epochs: unknown key", "use one of name, ridge"),
        ("{name: task, epochs: 2.5}", "line 16: .*epochs: 2.5 .*valid integer", "correct that line"),
        ("{name: task, epochs: '2'}", "line 16: .*epochs: '2' .*valid integer", "correct that line"),
        ("{name: task, epochs: [2]}", "line 16: .*epochs: a list .*valid integer", "correct that line"),
        ("{name: task, learning_rate: by_with}", "line 16: .*learning_rate: 'by_with'", "did you mean 'by_width'"),
        ("{name: task, start: 2}", "line 16: .*start: 2 ", "use one of least_squares"),
        ("{name: task, top: frech}", "line 16: .*top: 'frech'", "did you mean 'fresh'"),
        ("{name: direct, ridge: .inf}", "line 16: direct matching with ridge=inf: no such", "choose 0 or more"),
        ("{name: direct, ridge: 2026-01-01}", "line 16: .*ridge: a date .*valid number", "correct that line"),
        ("{name: tusk}", r"line 16: .*matchings\[0\].name: 'tusk'", "did you mean 'task'"),
        ("{epochs: 2}", r"line 16: .*matchings\[0\]: no 'name'", "write 'name' there"),
    ],
)
def test_a_wrong_setting_is_named_with_its_line(told, found, do):
    with pytest.raises(SettingError, match=found) as raised:
        parse_recipe(MATCHING.replace("MATCHING", told), kinds=KINDS)
    assert do in raised.value.do


def test_a_setting_on_a_line_of_its_own_is_found_there_and_a_task_is_checked_too():
    several = MATCHING.replace("MATCHING", "name: task\n        top: fresh\n        patience: 0\n        batch_size: 1")
    with pytest.raises(SettingError, match=r"line 18: .*patience=0.*; line 19: .*batch_size=1"):
        parse_recipe(several, kinds=KINDS)
    with pytest.raises(SettingError, match=r"line 19: task\.by: 'kll'") as raised:
        parse_recipe(GOOD + "task:\n  {name: imitation, by: kll}\n", kinds=KINDS)
    assert "did you mean 'kl'" in raised.value.do
    assert parse_recipe(GOOD + "task: {name: regression}").task == {"name": "regression"}


def test_a_size_that_brings_a_wrong_setting_is_named_where_it_stands():
    text = (
        GOOD + "sizes:\n  small:\n    stitchings:\n      - pairs: [[net-0, net-1]]\n        families: [{name: affin}]\n"
    )
    with pytest.raises(SettingError, match=r"line 22: stitchings\[0\].families\[0\].name: 'affin'"):
        parse_recipe(text, size="small", kinds=KINDS)


def test_data_may_be_a_function_of_the_user():
    assert FUNCTION == PREFIX
    assert (
        parse_recipe(GOOD.replace("{name: digits}", "{name: 'py:mine.data:numbers'}")).data.name
        == "py:mine.data:numbers"
    )


def test_a_recipe_is_read_without_torch():
    code = "import sys, modelstitch.recipe; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
