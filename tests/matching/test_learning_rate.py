"""The learning rate: one number for all stitches, or less where a stitch sums over many channels."""

import pytest
import torch

from modelstitch.cut import capture
from modelstitch.data import Samples
from modelstitch.errors import SettingError
from modelstitch.matching import TaskLoss, fit_all
from modelstitch.networks import build
from modelstitch.stitches import Affine
from modelstitch.support.seeding import generator

WIDTHS = (8, 32, 64, 128)
DRAWS = generator("learning rate test")
TRAIN = Samples("points", torch.randn(40, 6, generator=DRAWS), torch.arange(40) % 3, classes=3)


@pytest.fixture(scope="module")
def halves():
    a, b = (
        capture(build("mlp", seed=seed, widths=WIDTHS, inputs=6, classes=3).eval(), TRAIN.example) for seed in (0, 1)
    )
    return [(a.bottom(cut), b.top(cut.name)) for cut in a.blocks if cut.channels in WIDTHS]


def fitted(halves, **options):
    return fit_all(Affine(), halves, TRAIN, by=TaskLoss(epochs=2, batch_size=16, **options))


def moved_alike(found, others):
    pairs = zip(found, others, strict=True)
    return [
        all(map(torch.equal, one.stitch.state_dict().values(), two.stitch.state_dict().values())) for one, two in pairs
    ]


def test_each_stitch_has_the_rate_of_its_width_bit_for_bit(halves):
    assert [bottom.cut.channels for bottom, _ in halves] == list(WIDTHS)
    together = fitted(halves)
    alone = [fitted([pair], learning_rate=rate)[0] for pair, rate in zip(halves, (5e-3, 4e-3, 2e-3, 1e-3), strict=True)]
    assert all(moved_alike(together, alone))


def test_a_number_is_the_rate_of_all(halves):
    assert moved_alike(fitted(halves), fitted(halves, learning_rate=5e-3)) == [True, False, False, False]


@pytest.mark.parametrize(
    ("channels", "rate"), [(1, 5e-3), (25, 5e-3), (26, 0.128 / 26), (32, 4e-3), (512, 2.5e-4), (768, 0.128 / 768)]
)
def test_the_rule(channels, rate):
    assert TaskLoss().rate(channels) == pytest.approx(rate, rel=1e-12)
    assert TaskLoss(learning_rate=3e-3).rate(channels) == 3e-3
    assert TaskLoss(top="fresh").rate(channels) == 5e-3


def test_a_record_tells_the_rule():
    assert "learning_rate='by_width'" in str(TaskLoss())


def test_a_rule_that_is_not_known_is_refused():
    unchecked = object.__new__(TaskLoss)  # The annotation comes first.
    object.__setattr__(unchecked, "epochs", None)
    object.__setattr__(unchecked, "learning_rate", "by_depth")
    with pytest.raises(SettingError, match="'by_depth'\nfound: no such rule\ndo:    choose a number, or 'by_width'"):
        unchecked.__post_init__()
