"""Every measure holds what it promises, and what it does not promise is seen to fail."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from laws import assert_keeps, assert_streams, assert_survives, pair

import modelstitch.measures
from modelstitch.errors import SettingError
from modelstitch.measures import INVARIANCES, MEASURES, Measure, linear_cka, noted

pytestmark = pytest.mark.usefixtures("_shapes_unchecked")

EACH = pytest.mark.parametrize("measure", MEASURES.values(), ids=MEASURES)
CKA = MEASURES["cka"].promises
STREAMING = [one for one in MEASURES.values() if one.from_moments is not None or one.streaming is not None]


@EACH
@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 1000))
def test_every_promise_holds_and_nothing_more(measure, seed):
    assert_keeps(measure, measure.promises, seed)


@EACH
def test_awkward_rows_give_an_error_in_words_or_an_honest_value(measure):
    assert_survives(measure)


@pytest.mark.parametrize("measure", STREAMING, ids=lambda one: one.name)
@settings(deadline=None, max_examples=25)
@given(sizes=st.lists(st.integers(1, 30), min_size=1, max_size=4), offset=st.sampled_from([0.0, 10.0, 1e3]))
def test_any_batching_gives_the_one_shot_value(measure, sizes, offset):
    assert_streams(measure, [*sizes, 1], offset)


@EACH
def test_a_mean_far_from_zero_costs_float32_no_digits(measure):
    """Published code gave 0.11 for 0.89 here, in float32 with a mean of 10."""
    x, y = (side.float() for side in pair(3))
    far = [(side + 10).float() for side in (x, y)]
    # What float32 itself loses by the shift, and no more; cosines see the shift, as their promises say.
    near = (far[0].double() - 10, far[1].double() - 10)
    if "translation" in measure.promises.invariances:
        assert measure(*far) == pytest.approx(measure(*near), abs=1e-6)
    assert measure(*far) == pytest.approx(measure(*(side.double() for side in far)), abs=1e-9)


@pytest.mark.parametrize(
    "measure", [one for one in MEASURES.values() if one not in STREAMING], ids=lambda one: one.name
)
def test_what_cannot_stream_says_so(measure):
    with pytest.raises(SettingError, match="needs all rows at once"):
        measure.accumulator()


def uncentred(x, y):
    norm = torch.linalg.matrix_norm
    return float(norm(y.T @ x) ** 2 / norm(x.T @ x) / norm(y.T @ y))


def whitened(x, y):
    """CCA: blind to every invertible map, which CKA does not promise."""
    left, right = (torch.linalg.qr(z - z.mean(0)).Q for z in (x, y))
    return float(torch.linalg.matrix_norm(left.T @ right) ** 2) / x.shape[1]


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        (uncentred, "translation is declared and does not hold"),
        (whitened, "invertible_linear is not declared and holds"),
        (lambda x, y: 2 * linear_cka(x, y), "out of range"),
        (lambda x, y: linear_cka(x, y) * (0.9 if float(x.var()) > float(y.var()) else 1.0), "does not hold|symmetric"),
        (lambda x, y: 1 - linear_cka(x, y), "higher_is_more_similar is wrong"),
    ],
)
def test_canary_the_promise_law_catches_a_wrong_measure(wrong, reason):
    with pytest.raises(AssertionError, match=reason):
        assert_keeps(wrong, CKA, 0)


def test_canary_the_promise_law_catches_a_wrong_declaration():
    distance = dataclasses.replace(CKA, metric=True, higher_is_more_similar=False)
    with pytest.raises(AssertionError, match="metric is wrong: no triangle inequality"):
        assert_keeps(lambda x, y: max(0.0, 1 - linear_cka(x, y)) ** 9, distance, 0)


class LastBatchOnly:
    def update(self, x, y):
        self.batch = (x, y)

    def compute(self):
        return linear_cka(*self.batch)


def test_canary_the_streaming_law_catches_a_measure_of_the_last_batch():
    wrong = dataclasses.replace(MEASURES["cka"], streaming=LastBatchOnly)
    with pytest.raises(AssertionError):
        assert_streams(wrong, [31, 20])


def test_canary_the_edge_law_catches_a_silent_perfect_score():
    silent = Measure(
        "silent",
        "silent",
        dataclasses.replace(CKA, rows_per_channel="any"),
        side=MEASURES["cka"].side,
        between=lambda x, y: 1.0,
    )
    with pytest.raises(AssertionError, match=r"1\.0|silent perfect score"):
        assert_survives(silent)


def test_noted_keeps_reasons_and_warnings():
    measure = MEASURES["cka"]
    few = torch.eye(3, 5)
    value, note = noted(lambda: measure(few, few))
    assert value == pytest.approx(1)
    assert "3 rows with 5 and 5 channels" in note
    assert noted(lambda: measure(*pair(0))) == (measure(*pair(0)), "")
    nothing, reason = noted(lambda: measure(torch.ones(4, 2), torch.eye(4)))
    assert nothing is None
    assert "x is constant" in reason


def test_the_vocabulary_and_the_names_are_sorted_and_complete():
    assert {"orthogonal", "isotropic_scale", "translation", "invertible_linear", "permutation"} == INVARIANCES
    assert all(hasattr(modelstitch.measures, name) for name in modelstitch.measures.__all__)
    assert all(name == one.name for name, one in MEASURES.items())
    assert len({one.title for one in MEASURES.values()}) == len(MEASURES)
