"""Examples that are no samples: inputs and targets of any form, for the tests of this room."""

from __future__ import annotations

from modelstitch.data import Batch, Examples, Samples
from modelstitch.data.examples import picked
from modelstitch.pretraining import scores_of
from modelstitch.support.tensors import fingerprint, leaves
from modelstitch.tasks import Classification


class Held(Examples):
    """A few tensors."""

    def __init__(self, inputs, targets, name="held"):
        self.name, self.inputs, self.targets = name, inputs, targets

    def __len__(self):
        return len(leaves(self.inputs)[0])

    def batch(self, index):
        return Batch(picked(self.inputs, index), picked(self.targets, index))

    def take(self, index):
        return Held(picked(self.inputs, index), picked(self.targets, index), self.name)

    @property
    def fingerprint(self):
        return fingerprint({str(i): leaf for i, leaf in enumerate([*leaves(self.inputs), self.targets])})

    @property
    def nbytes(self):
        return sum(leaf.nbytes for leaf in leaves(self.inputs))


def error_of(network, samples: Samples) -> float:
    """The test error of a classifier in percent."""
    return scores_of(network, samples, Classification())["error"]
