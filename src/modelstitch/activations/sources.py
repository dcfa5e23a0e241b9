"""What networks give over one set of examples: each network once, whoever asks, in shared room."""

from __future__ import annotations

from typing import Any

from modelstitch.activations.cache import Room
from modelstitch.activations.run import Activations
from modelstitch.compute import Compute, Precision
from modelstitch.cut import Capture
from modelstitch.data import Examples


class Sources:
    """The activations of networks over one set of examples.

    Args:
        examples: what they run over.
        compute: where, and how much may be kept.
        room: shared with other sets of the same call; its own by default.
    """

    def __init__(self, examples: Examples, compute: Compute | None = None, room: Room | None = None) -> None:
        self.examples, self.compute = examples, compute or Compute()
        self.room = room or Room(self.compute.kept_bytes)
        self.remembered: dict[object, Any] = {}
        """What others have found out about networks over these examples, by whatever they look it up by."""
        self._of: dict[tuple[Capture, Precision], Activations] = {}
        self._inputs = self

    def of(self, captured: Capture, *, precision: Precision = "float32") -> Activations:
        """What one captured network gives; the same object for whoever asks."""
        if self._inputs is not self:
            return self._inputs.of(captured, precision=precision).with_targets_of(self.examples)
        key = (captured, precision)
        if key not in self._of:
            self._of[key] = Activations(captured, self.examples, self.compute, precision=precision, room=self.room)
        return self._of[key]

    def over(self, examples: Examples) -> Sources:
        """The same for other examples, in the same room."""
        return Sources(examples, self.compute, self.room)

    def with_targets_of(self, examples: Examples) -> Sources:
        """The same inputs, run no second time, with the targets of other examples."""
        other = self.over(examples)
        other._inputs = self._inputs
        return other

    def close(self) -> None:
        """Let go of everything that was kept; what is whole and on disk stays there, what is not is removed."""
        for source in self._inputs._of.values():
            source.drop()

    def __enter__(self) -> Sources:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def forget(self, captured: Capture) -> None:
        """Let go of what was kept of a network that nobody asks for any more."""
        for key in [one for one in self._inputs._of if one[0] is captured]:
            self._inputs._of.pop(key).drop()
