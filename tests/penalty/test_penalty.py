"""The penalty: sign, intervals against a naive bootstrap and against the truth, evaluation, errors."""

from __future__ import annotations

import math
import sys

import numpy as np
import pytest
import scipy.stats
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from modelstitch.data import Arrays, Samples
from modelstitch.errors import DataError, NumericalFailure, SettingError, TaskMismatch
from modelstitch.penalty import Interval, Penalty, evaluate, penalties, penalties_of, penalty
from modelstitch.support.seeding import generator, numpy_generator
from modelstitch.tasks import Classification, Outcome, Score

TASK = Classification()
ERROR = TASK.scores[0]


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=generator("penalty test", *shape, seed))


def outcome(wrong, loss=None):
    wrong = torch.as_tensor(wrong).double()
    loss = wrong if loss is None else torch.as_tensor(loss).double()
    one = torch.ones(len(wrong), dtype=torch.float64)
    return Outcome({"error": torch.stack([wrong, one], 1), "loss": torch.stack([loss, one], 1)}, wrong.long())


def samples(n=20, classes=3, seed=0):
    inputs = normal(n, 4, seed=seed)
    return Samples("toy", inputs, torch.arange(n) % classes, classes=classes)


class Net(nn.Module):
    """Dropout and batch-norm: both answer differently, and one drifts, in training mode."""

    def __init__(self, classes=3):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, classes))

    def forward(self, x):
        return self.body(x)


def of(stitched, top, **options):
    return penalties_of(stitched, top, TASK, **options)


# Evaluation


@pytest.mark.parametrize("batch_size", [1, 7, 512])
def test_evaluation_runs_every_example_once_in_order_and_in_eval_mode(batch_size):
    network, data = Net(), samples()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    found = evaluate(network, data, batch_size=batch_size)
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
    whole = Classification().judge(network.eval()(data.inputs), data.batch(slice(None)))
    assert torch.equal(found.answers, whole.answers)
    assert torch.equal(found.sums["error"], whole.sums["error"])
    torch.testing.assert_close(found.sums["loss"], whole.sums["loss"], rtol=1e-5, atol=1e-8)


def flags(network):
    return [module.training for module in network.modules()]


def test_every_training_flag_is_restored():
    network = Net().train()
    network.body[1].training = False
    before = flags(network)
    evaluate(network, samples())
    assert flags(network) == before


def test_every_training_flag_is_restored_after_an_error():
    network = Net(classes=4).train()
    network.body[1].training = False
    before = flags(network)
    with pytest.raises(TaskMismatch, match="4 scores an example for 3 classes"):
        evaluate(network, samples(), task=Classification(3))
    assert flags(network) == before


def test_a_module_that_overrides_train_is_neither_called_nor_changed():
    class Stubborn(Net):
        def train(self, mode=True):
            raise RuntimeError("train() was called")

    evaluate(Stubborn(), samples())


def test_no_gradient_is_recorded():
    seen = []

    def network(x):
        seen.append(torch.is_grad_enabled())
        return x[:, :3]

    evaluate(network, samples())
    assert set(seen) == {False}
    assert torch.is_grad_enabled()


def test_a_network_that_loses_examples_is_refused():
    with pytest.raises(TaskMismatch, match=r"outputs: float32 of shape \(19, 3\)"):
        evaluate(lambda x: x[1:, :3], samples(), task=Classification())


def test_no_examples_are_refused():
    with pytest.raises(DataError, match="no examples"):
        evaluate(lambda x: x[:, :3], samples(n=0), task=Classification())


def test_non_finite_answers_are_refused():
    with pytest.raises(NumericalFailure, match="60 of 60 outputs not finite"):
        evaluate(lambda x: x[:, :3] * float("nan"), samples(), task=Classification())


def test_every_call_reads_the_same_kinds_of_data():
    network, data = Net().eval(), samples()
    pair = (data.inputs, data.labels)
    loader = DataLoader(TensorDataset(*pair), batch_size=7)
    found = [evaluate(network, source) for source in (data, pair, (data.inputs.numpy(), data.labels.tolist()), loader)]
    assert all(torch.equal(one.sums["loss"], found[0].sums["loss"]) for one in found)
    costs = [penalty(network, Net().eval(), source) for source in (pair, loader)]
    assert costs[0].stitched == costs[1].stitched


@pytest.mark.parametrize("form", [tuple, dict])
def test_inputs_of_every_form_give_the_same_outcome(form):
    """The law of inputs: a tuple or a mapping of the tensors that a network is called with."""
    network, data = Net().eval(), samples()
    inputs = (data.inputs,) if form is tuple else {"x": data.inputs}
    found = evaluate(network, Arrays("formed", inputs, data.labels))
    assert torch.equal(found.sums["loss"], evaluate(network, data).sums["loss"])


def test_examples_that_come_in_another_order_are_put_back():
    class Backwards(Samples):
        def order(self):
            return torch.arange(len(self)).flip(0)

    data = samples()
    network, turned = Net().eval(), Backwards(**vars(data))
    one, other = evaluate(network, data, batch_size=20), evaluate(network, turned, batch_size=20)
    assert torch.equal(one.answers, other.answers)
    torch.testing.assert_close(one.sums["loss"], other.sums["loss"])


def test_without_labels_the_top_network_s_answers_are_the_targets():
    one, other, inputs = Net().eval(), Net().eval(), normal(40, 4)
    same, apart = penalty(one, one, inputs), penalty(other, one, inputs)
    assert (same.score.name, same.value, same.interval) == ("error", 0.0, Interval(0.0, 0.0))
    disagree = (one(inputs).argmax(1) != other(inputs).argmax(1)).float().mean()
    assert apart.value == pytest.approx(100 * float(disagree))


# Sign


def assert_sign(difference):
    """The sign law: a worse stitched network has a positive penalty, a better one a negative."""
    good = outcome(wrong=[0] * 90 + [1] * 10, loss=[0.1] * 90 + [2.0] * 10)
    bad = outcome(wrong=[0] * 60 + [1] * 40, loss=[0.2] * 60 + [2.0] * 40)
    worse, better = difference(bad, good), difference(good, bad)
    for name in ("error", "loss"):
        assert worse[name].value > 0, name
        assert 0 < worse[name].interval.low < worse[name].value < worse[name].interval.high, f"interval of the {name}"
        assert better[name].value == pytest.approx(-worse[name].value), f"mirrored {name}"
    assert (worse["error"].value, worse["error"].n) == (pytest.approx(30.0), 100)
    assert (worse["error"].stitched, worse["error"].top) == (40.0, 10.0), "errors"


def test_worse_is_positive_for_error_and_loss():
    assert_sign(of)


def swapped(stitched, top):
    return of(top, stitched)


def loss_swapped(stitched, top):
    return {**of(stitched, top), "loss": of(top, stitched)["loss"]}


@pytest.mark.parametrize(("wrong", "reason"), [(swapped, "error"), (loss_swapped, "loss")])
def test_canary_the_sign_law_catches_swapped_operands(wrong, reason):
    with pytest.raises(AssertionError, match=reason):
        assert_sign(wrong)


def test_where_more_is_better_less_is_worse():
    class Rightness(Classification):
        @property
        def scores(self):
            return (Score("right", "share of right answers", "points", better="higher", scale=100.0),)

    def right(wrong):
        return Outcome({"right": torch.stack([1 - torch.tensor(wrong).double(), torch.ones(4).double()], 1)})

    found = penalties_of(right([1, 1, 1, 0]), right([1, 0, 0, 0]), Rightness())["right"]
    assert (found.value, found.stitched, found.top) == (50.0, 25.0, 75.0)
    assert 0 <= found.interval.low < found.interval.high


def test_the_penalty_of_networks_is_the_penalty_of_their_outcomes():
    data = samples(60)
    stitched, top = Net(), Net()
    found = penalty(stitched, top, data, seed=3)
    assert found == penalties_of(evaluate(stitched, data), evaluate(top, data), Classification(3), seed=3)["error"]
    assert found.value == pytest.approx(found.stitched - found.top)


def test_a_worse_network_has_a_positive_penalty():
    data = samples(60)
    answers = nn.functional.one_hot(data.labels, 3).double()
    found = penalties(lambda x: -answers, lambda x: answers, data, task=TASK)
    assert (found["error"].value, found["error"].interval) == (100.0, Interval(100.0, 100.0))
    # The loss falls by one logit for the right class and rises by one for each other.
    assert found["loss"].value == pytest.approx(math.log(2 + 1 / math.e) + 1 - math.log(2 + math.e) + 1)


@pytest.mark.parametrize("n", [1, 7, 1000])
def test_the_same_outcome_twice_is_exactly_zero(n):
    found = outcome(torch.arange(n) % 2, normal(n))
    for none in of(found, found).values():
        assert (none.value, none.interval) == (0.0, Interval(0.0, 0.0))


# Intervals


def wobbly(n, seed):
    """Two outcomes that differ on 15 % of the examples: 10 % got worse, 5 % better; the loss grows by 0.1 ± 1."""
    random = numpy_generator("penalty test", n, seed)
    kind = random.random(n)
    loss = random.normal(size=n)
    return (
        outcome(kind < 0.3, loss + random.normal(0.1, 1.0, n)),
        outcome((kind >= 0.1) & (kind < 0.35), loss),
    )


def column(one, name):
    return one.sums[name][:, 0].numpy()


def assert_naive_agrees(difference, resamples=20_000):
    stitched, top = wobbly(300, 0)
    found = difference(stitched, top, resamples=resamples)
    random = numpy_generator("penalty test", "naive")
    drawn = [random.integers(300, size=300) for _ in range(resamples)]
    # A 2.5 % quantile of 20,000 draws has a standard error of 0.02 standard deviations; two of them differ by less than
    # 0.15 with room to spare. Errors lie on a lattice of 100/300 points, and a quantile may fall on its next point.
    for name, scale, step in (("error", 100, 100 / 300), ("loss", 1, 0.0)):
        changes = scale * (column(stitched, name) - column(top, name))
        values = np.array([changes[each].mean() for each in drawn])
        interval, tolerance = found[name].interval, 0.15 * np.std(values) + step
        assert (interval.low, interval.high) == pytest.approx(tuple(np.percentile(values, [2.5, 97.5])), abs=tolerance)


def test_the_intervals_are_those_of_a_naive_bootstrap():
    assert_naive_agrees(of)


def unpaired(stitched, top, resamples):
    """Resamples the two networks' answers apart, as if they were asked different examples."""
    apart = torch.randperm(300, generator=generator("penalty test", "apart"))
    return of(stitched, top.take(apart), resamples=resamples)


def test_canary_the_naive_bootstrap_catches_an_unpaired_interval():
    with pytest.raises(AssertionError, match="assert"):
        assert_naive_agrees(unpaired, resamples=2_000)


def test_the_interval_of_any_score_is_exact():
    """A ratio of sums, drawn again by hand from the same draws: the score of what the drawn examples add."""

    class Weighed(Classification):
        @property
        def scores(self):
            return (Score("spread", "a square root of sums", of=lambda sums: float((sums[0] / sums[1]).sqrt())),)

    n, seed = 40, 3
    ours, theirs = (torch.rand(n, 2, generator=generator("any score", i), dtype=torch.float64) + 0.5 for i in (0, 1))
    found = penalties_of(Outcome({"spread": ours}), Outcome({"spread": theirs}), Weighed(), seed=seed, resamples=500)
    drawn = numpy_generator("bootstrap", seed).integers(n, size=(500, n))
    values = []
    for each in drawn:
        a, b = (rows.numpy()[each].sum(0) for rows in (ours, theirs))
        values.append(np.sqrt(a[0] / a[1]) - np.sqrt(b[0] / b[1]))
    low, high = np.percentile(values, [2.5, 97.5])
    interval = found["spread"].interval
    assert (interval.low, interval.high) == pytest.approx((low, high), rel=1e-12)


def assert_covers(difference):
    hits = np.zeros(2)
    for seed in range(400):
        found = difference(*wobbly(400, seed), resamples=400)
        truths = (("error", 5.0), ("loss", 0.1))
        hits += [found[name].interval.low <= truth <= found[name].interval.high for name, truth in truths]
    # At 95 %, 400 trials hold the truth 380 times, with a standard error of 4.4: 90 % and 99 % are far outside.
    assert ((hits / 400 >= 0.925) & (hits / 400 <= 0.975)).all(), hits


def test_the_intervals_hold_the_truth_as_often_as_they_say():
    assert_covers(of)


def of_width(share):
    def changed(stitched, top, resamples):
        found = of(stitched, top, resamples=resamples)["error"]
        half = share * (found.interval.high - found.interval.low) / 2
        return {
            **of(stitched, top, resamples=resamples),
            "error": Penalty(**{**vars(found), "interval": Interval(found.value - half, found.value + half)}),
        }

    return changed


@pytest.mark.parametrize("share", [0.8, 1.25])
def test_canary_the_coverage_catches_an_interval_of_another_width(share):
    with pytest.raises(AssertionError, match="assert"):
        assert_covers(of_width(share))


def test_the_interval_lies_between_the_percentiles_that_are_promised():
    """The level itself: of a penalty that is a count of examples, against the exact binomial."""
    n, share = 2000, 0.3
    wrong = torch.arange(n) < share * n
    found = of(outcome(wrong), outcome(torch.zeros(n)), resamples=20_000)["error"].interval
    exact = scipy.stats.binom(n, share).ppf([0.025, 0.975]) * 100 / n
    # A standard error of the 2.5 % quantile of 20,000 draws is 0.03 points; the 3.5 % quantile is 0.15 points away.
    assert (found.low, found.high) == pytest.approx(tuple(exact), abs=0.1)


def test_the_seed_decides_the_interval_and_nothing_else():
    stitched, top = wobbly(300, 0)
    one, again, other = (of(stitched, top, seed=seed) for seed in (0, 0, 1))
    assert one == again
    assert one != other
    assert [each.value for each in one.values()] == [each.value for each in other.values()]


@pytest.mark.parametrize("at_once", [1, 900, 1000, 2**22])
def test_draws_in_parts_are_the_draws_at_once(monkeypatch, at_once):
    stitched, top = wobbly(300, 0)
    whole = of(stitched, top, resamples=37)
    module = sys.modules["modelstitch.penalty.penalty"]
    monkeypatch.setattr(module, "_DRAWN_AT_ONCE", at_once)
    module._counts.cache_clear()
    in_parts = of(stitched, top, resamples=37)
    counts = module._counts(300, 0, 37)
    module._counts.cache_clear()
    assert sum(map(len, counts)) == 37
    assert {int(total) for part in counts for total in part.sum(1)} == {300}
    for name, one in whole.items():
        other = in_parts[name]
        # Products of one row and of many may round differently.
        found, wanted = (vars(each.interval) for each in (other, one))
        assert (other.value, found) == (one.value, pytest.approx(wanted, rel=1e-12))


@pytest.mark.parametrize("resamples", [0, -1])
def test_an_interval_from_no_resamples_is_refused(resamples):
    with pytest.raises(SettingError, match=f"an interval from {resamples} resamples"):
        of(outcome([0, 1]), outcome([0, 1]), resamples=resamples)


def test_outcomes_of_other_examples_are_refused():
    with pytest.raises(DataError, match="outcomes of 2 and 3 examples"):
        of(outcome([0, 1]), outcome([0, 0, 0]))
    with pytest.raises(DataError, match="outcomes of 0 and 0 examples"):
        of(outcome([]), outcome([]))


def test_a_score_that_is_no_number_is_a_failure():
    bad = outcome([0, 1], loss=[0.0, float("nan")])
    with pytest.raises(NumericalFailure, match="the penalty by test loss"):
        of(bad, outcome([0, 1]))


def test_a_penalty_prints_its_sign_its_interval_and_its_unit():
    found = Penalty(ERROR, 1.3, Interval(0.9, 1.7), 9.3, 8.0, 10_000)
    assert repr(found) == "Penalty(value=+1.30, interval=(+0.90, +1.70), unit='points', n=10000)"
    none = Penalty(Score("ratio", "a ratio"), 0.0, Interval(-0.001, 0.0), 8.0, 8.0, 7)
    assert repr(none) == "Penalty(value=+0.00, interval=(+0.00, +0.00), n=7)"
