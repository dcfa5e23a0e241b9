"""What can go wrong, as one tree; every error says what was asked, what was found, and what to do.

    StitchError
    ├── CutNotFound        (LookupError)      no place of that name in the network
    ├── IllegalCut         (ValueError)       more than one tensor crosses there
    ├── NotCuttable        (TypeError)        the network can neither be exported nor replayed
    ├── ShapeMismatch      (ValueError)       the family cannot map one cut onto the other
    ├── CannotFold         (ValueError)       a neighbouring layer cannot take a stitch in
    ├── TaskMismatch       (ValueError)       outputs, targets and task do not belong together
    ├── CannotExport       (ValueError)       a network cannot be written as a graph of operators
    ├── DataError          (ValueError)       empty, one-class, out-of-range, overlapping or non-finite data
    ├── NumericalFailure   (ArithmeticError)  a result is not a finite number, so there is no result
    ├── SettingError       (ValueError)       an option has a value that it cannot have
    ├── NotationError      (ValueError)       a stitching is not written 'A@cut -> B@cut'
    ├── NetworkNotFound    (LookupError)      a network reference leads nowhere
    ├── StitchNotFound     (LookupError)      no fitted stitch is kept under a key
    ├── BadFile            (ValueError)       a file is corrupt, foreign or incomplete
    ├── NotWritable        (PermissionError)  the place to write to refuses
    └── Parted             (RuntimeError)     of several processes on one thing, one alone met an error

The command line prints any of them as it stands and exits with code 2. Two things are warnings: `TooFewRows` and
`FreshWeights`.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class StitchError(Exception):
    """Root of every error that modelstitch raises on purpose.

    Args:
        asked: what the caller wanted.
        found: what stood there instead.
        do: the way out.
    """

    def __init__(self, asked: str, found: str, do: str) -> None:
        # The three parts are the exception's args, so that pickling to another process keeps them.
        super().__init__(asked, found, do)
        self.asked, self.found, self.do = asked, found, do

    def __str__(self) -> str:
        return f"asked: {self.asked}\nfound: {self.found}\ndo:    {self.do}"


class CutNotFound(StitchError, LookupError):
    """No place of that name in the network."""


class IllegalCut(StitchError, ValueError):
    """More than one tensor crosses at that place."""


class NotCuttable(StitchError, TypeError):
    """The network can neither be exported nor replayed."""


class ShapeMismatch(StitchError, ValueError):
    """The family cannot map one cut onto the other."""


class CannotFold(StitchError, ValueError):
    """A neighbouring layer cannot take a stitch in."""


class TaskMismatch(StitchError, ValueError):
    """Outputs, targets and task do not belong together."""


class CannotExport(StitchError, ValueError):
    """A network cannot be written as a graph of operators."""


class DataError(StitchError, ValueError):
    """Data from which no honest number can come."""


class NumericalFailure(StitchError, ArithmeticError):
    """A result is not a finite number, so there is no result."""


class SettingError(StitchError, ValueError):
    """An option has a value that it cannot have."""


class NotationError(StitchError, ValueError):
    """A stitching is not written 'A@cut -> B@cut'."""


class NetworkNotFound(StitchError, LookupError):
    """A network reference leads nowhere."""


class StitchNotFound(StitchError, LookupError):
    """No fitted stitch is kept under that key."""


class BadFile(StitchError, ValueError):
    """A file is corrupt, foreign or incomplete."""


class NotWritable(StitchError, PermissionError):
    """The place to write to refuses."""


class Parted(StitchError, RuntimeError):
    """Of several processes that do one thing together, one alone met an error."""


class TooFewRows(UserWarning):
    """A measure has a value, but on so few rows that it says little."""


class FreshWeights(UserWarning):
    """A network that was named has fresh weights, and nothing said that it should."""


def did_you_mean(name: str, known: Iterable[str], otherwise: str) -> str:
    """The advice line for a name that was not found.

    Args:
        name: what was asked.
        known: the names that exist.
        otherwise: the advice when nothing is close.

    Returns:
        ``did you mean 'x' or 'y'?``, followed by ``otherwise``; or ``otherwise`` alone.

    Example:
        >>> did_you_mean("layer2.9", ["layer2.1", "fc"], "list them with `modelstitch cuts`")
        "did you mean 'layer2.1'? Or list them with `modelstitch cuts`"
    """
    close = difflib.get_close_matches(name, list(known), n=2)
    if not close:
        return otherwise
    return f"did you mean {' or '.join(repr(c) for c in close)}? Or {otherwise}"
