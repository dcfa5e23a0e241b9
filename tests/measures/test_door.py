"""The one door: what holds rows of numbers gives the tensor's value, and all else is refused in words."""

from __future__ import annotations

import dataclasses
import warnings

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import torch
from laws import pair
from torch import nn

from modelstitch.errors import DataError, NumericalFailure, StitchError
from modelstitch.measures import MEASURES, error_overlap, linear_probe, noted, permutation_null, prediction_agreement

EACH = pytest.mark.parametrize("measure", MEASURES.values(), ids=MEASURES)
STREAMING = [one for one in MEASURES.values() if one.from_moments is not None or one.streaming is not None]
X, Y = pair(0)
ARRAY, SINGLE = X.numpy(), X.float().numpy()

SAME = {
    "array": ARRAY,
    "transposed in memory": np.asfortranarray(ARRAY),
    "backwards in memory": ARRAY[::-1].copy()[::-1],
    "read-only": np.frombuffer(ARRAY.tobytes()).reshape(ARRAY.shape),
    "big-endian": ARRAY.astype(">f8"),
    "objects": ARRAY.astype(object),
    "frame": pd.DataFrame(ARRAY, columns=list("abcd"), index=range(100, 100 + len(ARRAY))),
    "frame of mixed types": pd.DataFrame(ARRAY).astype({0: object}),
    "lists": X.tolist(),
    "tuples": tuple(map(tuple, X.tolist())),
    "list of arrays": list(ARRAY),
    "list of tensors": list(X),
    "mask of nothing": np.ma.masked_array(ARRAY),
    "parameter": nn.Parameter(X),
    "graph": X.clone().requires_grad_() * 1,
    "view": torch.cat([X, X], 1)[:, : X.shape[1]],
}
SAME_SINGLE = {
    "array": SINGLE,
    "frame": pd.DataFrame(SINGLE),
    "list of tensors": list(X.float()),
}


@EACH
@pytest.mark.parametrize("kind", SAME)
def test_whatever_holds_the_numbers_gives_the_value_of_the_tensor(measure, kind):
    assert measure(SAME[kind], Y) == measure(X, Y)
    assert measure(Y, SAME[kind]) == measure(Y, X)


@EACH
@pytest.mark.parametrize("kind", SAME_SINGLE)
def test_single_precision_stays_what_it_is(measure, kind):
    assert measure(SAME_SINGLE[kind], Y.float().numpy()) == measure(X.float(), Y.float())
    half = X.half()
    assert measure(half.numpy(), Y) == measure(half, Y)


@EACH
def test_whole_numbers_and_booleans_are_numbers(measure):
    whole = (4 * X).round()
    flags = torch.cat([X, -X], 1) > 0
    for numbers, y in ((whole.long(), whole), (whole.long() + 40, whole + 40), (flags, flags.double())):
        value, note = noted(lambda given=y: measure(given, Y))
        for given in (numbers, numbers.numpy(), numbers.tolist(), pd.DataFrame(numbers.numpy())):
            assert noted(lambda given=given: measure(given, Y)) == (value, note)
    counts = (whole.long() + 40).to(torch.uint8)
    assert noted(lambda: measure(counts.numpy(), Y)) == noted(lambda: measure(whole + 40, Y))


class NoRows:
    pass


MAPS = torch.randn(24, 3, 4, 4)
REFUSED = {
    "nothing": (None, "x is None\ndo:    give a tensor, an array, a data frame or a list of lists"),
    "text": ("activations.pt", "x is a str"),
    "bytes": (b"\x00", "x is a bytes"),
    "mapping": ({"layer1": X}, "x is a dict"),
    "number": (3.0, r"x of shape \(\)"),
    "scalar": (torch.tensor(3.0), r"x of shape \(\)"),
    "generator": ((row for row in X), "x is a generator, which holds no rows"),
    "object": (NoRows(), "x is a NoRows"),
    "one axis": (X[:, 0], r"x of shape \(24,\), which is no matrix of rows\ndo:    .*x.reshape\(-1, 1\)"),
    "series": (pd.Series(ARRAY[:, 0]), r"x of shape \(24,\)"),
    "tokens": (MAPS.flatten(2), r"x of shape \(24, 3, 16\).*\ndo:    .*ms\.rows\(x, 'tokens'\)"),
    "map": (MAPS, r"x of shape \(24, 3, 4, 4\).*\ndo:    .*ms\.rows\(x, 'map'\)"),
    "map as an array": (MAPS.numpy(), r"ms\.rows\(x, 'map'\)"),
    "volume": (MAPS[..., None], r"x of shape \(24, 3, 4, 4, 1\).*\ndo:    .*ms\.rows\(x, kind\)"),
    "list of maps": (list(MAPS), r"ms\.rows\(x, 'map'\)"),
    "complex": (torch.complex(X, X), "x of complex numbers .complex128"),
    "complex array": (ARRAY.astype(complex), "x of complex numbers .complex128"),
    "complex list": ((ARRAY + 1j).tolist(), "x of complex numbers"),
    "complex objects": ((ARRAY + 1j).astype(object), "x with complex numbers"),
    "sparse": (X.to_sparse(), r"layout sparse_coo\ndo:    give it dense: x.to_dense\(\)"),
    "scipy's sparse": (scipy.sparse.csr_array(ARRAY), r"sparse csr_array\ndo:    give it dense: x.toarray\(\)"),
    "meta": (X.to("meta"), "x on the device 'meta', without values"),
    "strings": (X.numpy().astype(str), "x of values of type <U"),
    "dates": (np.zeros((24, 4), "datetime64[s]"), "x of values of type datetime64"),
    "strings in lists": ([["a", "b"]] * 24, "x of values of type <U1"),
    "strings in a frame": (pd.DataFrame(ARRAY).assign(name="cat"), "x with a value of type str: 'cat'"),
    "missing in a frame": (pd.DataFrame(ARRAY).assign(m=pd.array([1] * 23 + [None])), "x with a value of type NAType"),
    "ragged": ([[1.0, 2.0], [3.0]] * 12, "x of rows that differ in length"),
    "ragged tensors": ([torch.zeros(2), torch.zeros(3)], r"x of rows that differ in shape: \(2,\), \(3,\)"),
    "masked": (np.ma.masked_array(ARRAY, ARRAY > 1), "x with masked values"),
    "empty list": ([], r"x of shape \(0,\)"),
    "no columns": (X[:, :0], r"x of shape \(24, 0\): no channels"),
    "no rows": (X[:0], "0 rows of x and 24 rows of y"),
}


@EACH
@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_no_matrix_of_numbers_is_refused_in_words(measure, kind):
    given, message = REFUSED[kind]
    given = (row for row in X) if kind == "generator" else given
    with pytest.raises(DataError, match=message) as told:
        measure(given, Y)
    assert str(told.value).count("\n") == 2
    assert told.value.asked == measure.title


def logits_of(labels):
    return torch.nn.functional.one_hot(torch.as_tensor(labels), 4).double()


LABELS = torch.arange(24) % 4
OTHERS = {
    "second side": lambda given: MEASURES["cka"](Y, given),
    "one side": lambda given: MEASURES["rsa"].one_side("x", given),
    "null": lambda given: permutation_null("cka", given, Y, permutations=2),
    "null, second side": lambda given: permutation_null("cka", Y, given, permutations=2),
    "agreement": lambda given: prediction_agreement(given, Y),
    "overlap": lambda given: error_overlap(given, Y, LABELS),
    "overlap, second side": lambda given: error_overlap(Y, given, LABELS),
    "probe": lambda given: linear_probe(given, LABELS, Y, LABELS),
    "probe, test rows": lambda given: linear_probe(Y, LABELS, given, LABELS),
    "moments": lambda given: MEASURES["cka"].accumulator().update(given, Y),
    "batches": lambda given: MEASURES["cka_minibatch"].accumulator().update(given, Y),
}


@pytest.mark.parametrize("entry", OTHERS)
@pytest.mark.parametrize("kind", REFUSED)
def test_every_entry_has_the_same_door(entry, kind):
    given, _ = REFUSED[kind]
    given = (row for row in X) if kind == "generator" else given
    with pytest.raises(StitchError) as told:
        OTHERS[entry](given)
    assert str(told.value).count("\n") == 2


def test_every_entry_takes_arrays_frames_and_lists():
    for given in (ARRAY, pd.DataFrame(ARRAY), X.tolist()):
        assert permutation_null("cka", given, Y, permutations=3) == permutation_null("cka", X, Y, permutations=3)
        assert prediction_agreement(given, Y) == prediction_agreement(X, Y)
        assert MEASURES["cka"].between(*(MEASURES["cka"].one_side("x", one) for one in (given, Y))) == MEASURES["cka"](
            X, Y
        )
        for labels in (LABELS, LABELS.numpy(), LABELS.tolist(), pd.Series(LABELS.numpy())):
            assert error_overlap(given, Y, labels) == error_overlap(X, Y, LABELS)
            assert linear_probe(given, labels, Y.numpy(), labels) == linear_probe(X, LABELS, Y, LABELS)
        for measure in STREAMING:
            sums = [measure.accumulator() for _ in range(2)]
            sums[0].update(given, Y.tolist())
            sums[1].update(X, Y)
            assert sums[0].compute() == sums[1].compute()


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (LABELS.double(), "labels of type float64\ndo:    give one class number an example"),
        ([0.5] * 24, "labels of type float64"),
        (LABELS > 1, "labels of type bool"),
        (logits_of(LABELS).long(), r"labels of shape \(24, 4\)"),
        (["cat"] * 24, "labels of values of type <U3"),
        (None, "labels is None"),
        (LABELS[:23], "24 rows of logits and 23 labels|24 and 23 labels|23 and 24 labels|with 23 and 24 labels"),
        ([], "0 labels|with 0 and 24 labels"),
    ],
)
def test_labels_are_whole_numbers_one_an_example(labels, message):
    for ask in (
        lambda: error_overlap(X, Y, labels),
        lambda: linear_probe(X, labels, Y, LABELS),
    ):
        with pytest.raises(DataError, match=message):
            ask()


@EACH
@pytest.mark.parametrize("value", [1e-3, 0.5, float("nan"), float("inf")])
def test_a_value_outside_the_range_is_a_failure_and_never_a_number(measure, value):
    low, high = measure.promises.range
    for wrong in (high + value, low - value):
        broken = dataclasses.replace(measure, between=lambda x, y, wrong=wrong: wrong)
        for ask, given in ((broken, (X, Y)), (broken.between, (None, None)), (permutation_null, (broken, X, Y))):
            with pytest.raises(NumericalFailure, match="found: the value"):
                ask(*given)
        if measure.from_moments is not None:
            streamed = dataclasses.replace(measure, from_moments=lambda moments, wrong=wrong: wrong)
            sums = streamed.accumulator()
            sums.update(X, Y)
            with pytest.raises(NumericalFailure, match="found: the value"):
                sums.compute()


@EACH
def test_rounding_beyond_the_range_is_taken_off(measure):
    low, high = measure.promises.range
    for wrong, end in ((high + 1e-12, high), (low - 1e-12, low)):
        assert dataclasses.replace(measure, between=lambda x, y, wrong=wrong: wrong)(X, Y) == end


def test_quantized_numbers_are_refused_in_words():
    with warnings.catch_warnings():
        # torch deprecates making them; some are still about.
        warnings.simplefilter("ignore")
        given = torch.quantize_per_tensor(X.float(), 0.1, 0, torch.qint8)
    with pytest.raises(DataError, match=r"x of quantized numbers \(qint8\)\ndo:    give x.dequantize"):
        MEASURES["cka"](given, Y)
