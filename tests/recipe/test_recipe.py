"""A recipe is read as it was meant, or refused with the line and the word that was probably meant."""

import contextlib
import json
import subprocess
import sys

import jsonschema
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from modelstitch.errors import BadFile, SettingError
from modelstitch.recipe import Network, Recipe, parse_recipe, read_recipe, recipe_schema

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
    assert isinstance(recipe.network_names()["old"][0], Network)
    (stitchings,) = recipe.stitchings
    assert (stitchings.pairs, stitchings.both_ways, stitchings.cuts) == ([["net-0", "net-1"]], True, "blocks")
    assert (stitchings.families[0].name, stitchings.families[0].kernel) == ("affine", 3)
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
        ("{name: affine, kernel: 3}", "3", r"line 14: stitchings\[0\].families\[0\]: 3", "mend that line"),
        ("kernel: 3", "kernl: 3", r"line 14: stitchings\[0\].families\[0\].kernl: unknown", "did you mean 'kernel'"),
        ("kernel: 3", "kernel: -3", r"kernel: -3 \(input should be greater than 0\)", "mend that line"),
        ("net-1]]", "net-2]]", "line 12: no network 'net-2'", "did you mean 'net-1'"),
        ("[[net-0, net-1]]", "[[net-0]]", r"line 12: stitchings\[0\].pairs\[0\]: a list", "mend"),
        ("3}\n", ".inf}\n", r"line 17: claims\[0\].at_most: inf", "mend that line"),
        ("question: Do they?\n", "", "line 1: no 'question'", "write 'question' there"),
        ("[self]", "[selv]", r"line 15: stitchings\[0\].controls\[0\]: 'selv'", "did you mean 'self'"),
        ("true", "perhaps", r"both_ways: 'perhaps'", "mend that line"),
        (
            "{name: digits}",
            "{name: digits, size: 64}",
            "line 4: a size, where the images of digits have",
            "mend that line",
        ),
        ("{name: digits}", "{name: digit}", "line 4: data.name: 'digit'", "did you mean 'digits'"),
        ("old:", "net:", "line 10: 'net' stands here a second time", "plain YAML"),
        ("old:", "<b>:", "line 10: networks.<b>: '<b>'", "mend that line"),
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
        (", at_most: 3", "", "line 17: a claim without at_most and at_least: give one or both", "mend that line"),
        ("name: quick", "name: ../quick", "line 2: name: '../quick'", "mend that line"),
        ("name: quick", "name: '$(reboot)'", "line 2: name: ", "mend that line"),
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
        parse_recipe(GOOD.replace(old, new, 1), "r.yaml")
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


def test_words_are_those_of_the_rooms_that_know_them():
    from modelstitch.data import DATA_SETS
    from modelstitch.matching import BATCH_NORM_MODES, PRECISIONS, STARTS, TOP_STARTS
    from modelstitch.stitches import FAMILIES
    from modelstitch.vocabulary import CONTROLS

    definitions = Recipe.model_json_schema()["$defs"]

    def words(part, key):
        found = definitions[part]["properties"][key]
        while "enum" not in found:
            found = found.get("items") or next(one for one in found["anyOf"] if "null" not in one.values())
        return set(found["enum"])

    assert words("Stitchings", "controls") == words("Claim", "control") == set(CONTROLS)
    assert words("Data", "name") == set(DATA_SETS)
    assert words("PlainFamily", "name") | words("AffineFamily", "name") == set(FAMILIES)
    assert words("Stitchings", "batch_norm") == set(BATCH_NORM_MODES)
    assert words("TaskMatching", "start") == words("FineTuneMatching", "start") == set(STARTS)
    assert words("FineTuneMatching", "top") == set(TOP_STARTS)
    assert words("TaskMatching", "precision") == set(PRECISIONS)


def test_a_recipe_is_read_without_torch():
    code = "import sys, modelstitch.recipe; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
