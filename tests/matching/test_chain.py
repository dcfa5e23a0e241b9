"""A chain of matchings: each part goes on from where the one before it ended."""

import json

import pytest
import torch
from torch import nn

import modelstitch as ms
from modelstitch.data import Samples
from modelstitch.errors import SettingError
from modelstitch.matching import Matching, chained
from modelstitch.support.seeding import generator
from modelstitch.support.settings import built


def mlp(seed):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 5), nn.ReLU(), nn.Linear(5, 3)).eval()


X = torch.randn(80, 6, generator=generator("chain"))
TRAIN = Samples("points", X, (X[:, :3] + X[:, 3:]).argmax(1), 3)
ONE, TWO = ms.TaskLoss(epochs=2, batch_size=16), ms.TaskLoss(epochs=1, batch_size=40, learning_rate=0.01)
STILL = ms.TaskLoss(epochs=1, learning_rate=0.0)


def fitted(by, family=None):
    bottom, top = ms.bottom(mlp(0), "1", X[:2]), ms.top(mlp(1), "1", X[:2])
    return ms.fit(family or ms.Affine(), bottom, top, TRAIN, by=by)


def same(a, b):
    return all(torch.equal(x, y) for x, y in zip(a.stitch.parameters(), b.stitch.parameters(), strict=True))


def test_a_chain_of_one_is_that_one():
    assert chained([ONE]) is ONE
    assert same(fitted([ONE]), fitted(ONE))


def test_a_part_that_moves_nothing_changes_nothing():
    alone, still = fitted(ONE), fitted([ONE, STILL])
    assert same(alone, still)
    assert still.curve[:2] == alone.curve
    assert len(still.curve) == 3


def test_each_part_goes_on_from_where_the_last_one_ended():
    chain = fitted([ONE, TWO])
    assert not same(chain, fitted(ONE))
    assert not same(chain, fitted(TWO))
    # The second begins at a lower loss than it would by itself.
    assert chain.curve[:2] == fitted(ONE).curve
    assert chain.curve[2] < fitted(TWO).curve[0]


def test_direct_then_downhill_is_downhill_from_the_least_squares_start():
    assert same(fitted([ms.Direct(), ONE]), fitted(ONE))


def test_a_record_tells_every_part_and_builds_it_again():
    test = Samples("others", X[:40] + 1, TRAIN.labels[:40], 3)
    record = ms.stitch("A@1 -> B@1", {"A": mlp(0), "B": mlp(1)}, TRAIN, test, by=[ONE, TWO])
    told = json.loads(record.matching)
    assert [part["batch_size"] for part in told] == [16, 40]
    assert built(record.matching, Matching) == (ONE, TWO)
    assert len(record.curve) == 3
    alone = ms.stitch("A@1 -> B@1", {"A": mlp(0), "B": mlp(1)}, TRAIN, test, by=ONE)
    assert alone.key == ms.stitch("A@1 -> B@1", {"A": mlp(0), "B": mlp(1)}, TRAIN, test, by=[ONE]).key != record.key


@pytest.mark.parametrize(
    ("by", "found"),
    [
        ([], "an empty list"),
        ([ONE, ms.Direct()], r"Direct\(ridge=0.0\) after the first"),
        ([ONE, ms.TaskLoss(top="fresh")], "a part that trains the top"),
        ([ONE, ms.TaskLoss(precision="bfloat16")], "parts of several precisions"),
    ],
)
def test_no_such_chain(by, found):
    with pytest.raises(SettingError, match=rf"asked: .*chain.*\nfound: {found}\ndo: "):
        fitted(by)
