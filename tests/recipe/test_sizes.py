"""A size is laid over a recipe, and the recipes of the paper's figures are whole at every size."""

from fnmatch import fnmatchcase

import pytest

from modelstitch.errors import SettingError
from modelstitch.recipe import paper_recipe, paper_recipes, parse_recipe, read_recipe, time_of
from modelstitch.sweep.plan import plan_of

TEXT = """\
# A header.
name: tall
question: why?
data: {name: digits, train: 100}
networks:
  net: {architecture: mlp, epochs: 7, seeds: [0, 1]}
stitchings:
  - pairs: [[net-0, net-1]]
    controls: [self]
sizes:
  small:
    data: {train: 9}
    networks:
      net: {epochs: 2}
  short:
    stitchings:
      - pairs: [[net-1, net-0]]
  wrong:
    networks:
      net: {epochz: 2}
"""


def test_a_size_changes_what_it_names_and_nothing_else():
    tall, small = parse_recipe(TEXT), parse_recipe(TEXT, size="small")
    net = tall.networks["net"].model_copy(update={"epochs": 2})
    data = tall.data.model_copy(update={"train": 9})
    assert small == tall.model_copy(update={"name": "tall-small", "networks": {"net": net}, "data": data, "sizes": {}})


def test_a_list_is_replaced_whole():
    short = parse_recipe(TEXT, size="short")
    assert [(each.pairs, each.controls) for each in short.stitchings] == [([["net-1", "net-0"]], [])]


def test_the_text_of_a_size_is_a_recipe_of_its_own(tmp_path):
    path = tmp_path / "tall.yaml"
    path.write_text(TEXT)
    recipe, text = read_recipe(path, "small")
    assert parse_recipe(text) == recipe == parse_recipe(TEXT, size="small")
    assert text.startswith("# A header.\n")
    assert read_recipe(path)[1] == TEXT


@pytest.mark.parametrize(
    ("text", "size", "told"),
    [
        (TEXT, "smal", "sizes: small, short, wrong[^?]*did you mean 'small'"),
        (TEXT, "wrong", r"line 20: networks.net.epochz: unknown key"),
        (TEXT.partition("sizes")[0], "small", "sizes: none[^?]*leave the size out"),
        ("", "small", "sizes: none"),
        ("sizes: 3", "small", "sizes: none"),
    ],
)
def test_what_is_wrong_is_named_where_it_stands(text, size, told):
    with pytest.raises(SettingError, match=f"(?s){told}"):
        parse_recipe(text, size=size)


@pytest.mark.parametrize("figure", paper_recipes())
@pytest.mark.parametrize("size", ["full", "small"])
def test_every_figure_of_the_paper_is_whole(figure, size):
    recipe, text = paper_recipe(figure, size)
    assert parse_recipe(text) == recipe
    plan = plan_of(recipe)
    assert sorted(plan.names) == sorted(recipe.network_names()), "every network is used"
    # As the paper had it, and what two cores can do.
    assert recipe.data.name == ("cifar10" if size == "full" else "fashion_mnist")
    assert "full:" in time_of(figure)
    assert "small:" in time_of(figure)


def test_every_claim_speaks_of_networks_that_are_there():
    for figure in paper_recipes():
        plan = plan_of(paper_recipe(figure, "small")[0])
        for claim in plan.recipe.claims:
            assert any(
                fnmatchcase(job.bottom, claim.bottoms) and fnmatchcase(job.top, claim.tops)
                for pair in plan.pairs
                for job in (pair, type(pair)(pair.top, pair.bottom, pair.asked, pair.entry))[: 1 + pair.asked.both_ways]
            ), claim


def test_data_is_a_choice_of_its_own():
    recipe, text = paper_recipe("fig3b", "full", "fashion_mnist", "/some/where")
    assert recipe == parse_recipe(text)
    plain = paper_recipe("fig3b", "full")[0]
    assert (recipe.data.name, recipe.data.folder, recipe.name) == (
        "fashion_mnist",
        "/some/where",
        "fig3b-fashion_mnist",
    )
    assert recipe.networks == plain.networks
    assert paper_recipe("fig3b", "full", "cifar10")[0] == plain


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        (("fig3x", "small"), "did you mean 'fig3"),
        (("fig3b", "smal"), "did you mean 'small'"),
        (("fig3b", "small", "fashion"), "fashion_mnist"),
    ],
)
def test_what_cannot_be_reproduced_is_told(asked, told):
    with pytest.raises(SettingError, match=told):
        paper_recipe(*asked)
