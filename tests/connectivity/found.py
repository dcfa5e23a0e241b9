"""What connectivity finds, made by hand; and examples that are no samples."""

from modelstitch.data import Batch, Examples
from modelstitch.data.examples import picked
from modelstitch.penalty import Interval, Penalty
from modelstitch.tasks import Classification
from modelstitch.tensors import fingerprint

CLASSIFICATION = Classification().scores


def penalty(stitched, value, low, high, score=CLASSIFICATION[0]):
    """A penalty with its interval."""
    sign = 1 if score.better == "lower" else -1
    interval = Interval(float(low), float(high))
    return Penalty(score, float(value), interval, float(stitched), float(stitched - sign * value), 100)


class Held(Examples):
    """Inputs and targets, either of any type."""

    name = "held"

    def __init__(self, inputs, targets):
        self.inputs, self.targets = inputs, targets

    def __len__(self):
        return len(self.inputs)

    def batch(self, index):
        return Batch(picked(self.inputs, index), picked(self.targets, index))

    def take(self, index):
        return Held(picked(self.inputs, index), picked(self.targets, index))

    def with_targets_of(self, others):
        return Held(self.inputs, others.batch(slice(0, len(others))).targets)

    @property
    def fingerprint(self):
        return fingerprint({"x": self.inputs} if self.targets is None else {"x": self.inputs, "y": self.targets})

    @property
    def nbytes(self):
        return self.inputs.nbytes
