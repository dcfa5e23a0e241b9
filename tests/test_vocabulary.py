"""The vocabulary: one list of words, the same as the rooms that compute, and none of its own loaded with torch."""

import doctest
import json
import subprocess
import sys

import pytest

from modelstitch import vocabulary
from modelstitch.measures import MEASURES as CATALOGUE
from modelstitch.stitches import FAMILIES
from modelstitch.support.settings import spelled
from modelstitch.tasks import Imitation
from modelstitch.vocabulary import MEASURES, against_top, score_of, spoken, title_of, unit_of


def test_families_are_called_by_their_classes():
    assert {name: word.title for name, word in vocabulary.FAMILIES.items()} == {
        name: kind.__name__ for name, kind in FAMILIES.items()
    }


def test_measures_are_called_as_in_their_catalogue():
    told = {name: word for name, word in MEASURES.items() if word.of_activations}
    assert set(told) == {name for name, one in CATALOGUE.items() if one.from_moments is not None}
    for name, word in told.items():
        promises = CATALOGUE[name].promises
        assert word.title == CATALOGUE[name].title
        assert (word.farthest is None) is promises.higher_is_more_similar
        assert word.farthest is None or word.farthest == pytest.approx(promises.range[1])


@pytest.mark.parametrize("name", ["CONTROLS", "SCORES", "MEASURES", "FAMILIES", "MATCHINGS", "TASKS"])
def test_every_word_says_what_it_is_and_no_two_have_one_title(name):
    words = getattr(vocabulary, name)
    assert all(word.title and word.line for word in words.values())
    assert len({word.title for word in words.values()}) == len(words)


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ({"name": "affine", "kernel": 3}, "Affine(kernel=3)"),
        (
            {"name": "task", "start": "random", "patience": None, "rate": 0.003},
            "TaskLoss(start='random', patience=None, rate=0.003)",
        ),
        ([{"name": "direct"}, {"name": "task", "epochs": 1}], "Direct(), then TaskLoss(epochs=1)"),
        ({"name": "unheard_of", "on": True}, "unheard_of(on=True)"),
    ],
)
def test_a_setting_reads_as_python_would_write_it(told, expected):
    assert spoken(json.dumps(told)) == expected


@pytest.mark.parametrize("text", ["by hand", "[]", "3", '{"kernel": 1}', '{"name": 1}', '["affine"]', "{"])
def test_what_is_no_setting_is_shown_as_it_stands(text):
    assert spoken(text) == text


@pytest.mark.parametrize("by", ["kl", "squared"])
def test_scores_of_a_task_without_labels_are_called_as_the_task_calls_them(by):
    task = spelled(Imitation(by))
    for score in Imitation(by).scores:
        name = score_of(score.name, task)
        assert (title_of(name), unit_of(name)) == (score.title, score.unit)
    assert against_top(task)


def test_no_setting_is_none():
    assert spoken("") == "none"


def test_its_examples_hold():
    assert doctest.testmod(vocabulary.said).failed == 0


def test_the_list_needs_no_torch():
    code = "import sys, modelstitch.vocabulary; sys.exit('torch' in sys.modules or 'pandas' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
