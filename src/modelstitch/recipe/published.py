"""Published curves, to lay beside one's own: for their shape, not their height.

Beware: networks, data and training differ from yours. The values were read off figures; the file says how well.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from modelstitch.errors import SettingError, did_you_mean


@dataclass(frozen=True)
class Reference:
    """One published curve.

    Args:
        label: how the report names it, such as ``paper: ResNet-18 (CIFAR-10)``.
        figure: where it stands, such as ``fig2A``.
        curve: its name in that figure, such as ``ResNet-18``.
    """

    label: str
    figure: str
    curve: str


@cache
def published() -> dict[str, Any]:
    """The source, how the values were read, and the figures by name, each with its curves."""
    text = files("modelstitch.recipe").joinpath("bansal2021.json").read_text(encoding="utf-8")
    found: dict[str, Any] = json.loads(text)
    return found


def curve_of(reference: Reference) -> list[dict[str, Any]]:
    """The points of a published curve.

    Args:
        reference: which one.

    Returns:
        A row for each point: ``label``, ``quantity`` (``penalty`` in percentage points, or ``cka``), ``place`` (share
        of layers in the bottom, 0 to 1) and ``value``.

    Raises:
        SettingError: the figure or the curve is not there.

    Example:
        >>> curve_of(Reference("paper: ResNet-18", "fig2A", "ResNet-18"))[1]
        {'label': 'paper: ResNet-18', 'quantity': 'penalty', 'place': 0.0556, 'value': 0.04}
    """
    figure = _named(published()["figures"], reference.figure, "figure")
    points = _named(figure["curves"], reference.curve, f"curve in {reference.figure}")
    return [{"label": reference.label, "quantity": figure["y"], "place": x, "value": y} for x, y in points]


def _named(known: dict[str, Any], name: str, what: str) -> Any:
    if name not in known:
        do = did_you_mean(name, known, f"choose among {', '.join(known)}")
        raise SettingError(f"the published {what} {name!r}", f"no published {what} {name!r}", do)
    return known[name]
