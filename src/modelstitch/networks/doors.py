"""The calls that cut a network, for whatever stands for one: a module, what `load_network` returned, or a reference."""

from __future__ import annotations

from collections.abc import Mapping

from modelstitch import cut as cutting
from modelstitch.cut import Bottom, Capture, Cut, Top
from modelstitch.cut.capture import Example
from modelstitch.errors import SettingError
from modelstitch.networks.network import Network
from modelstitch.networks.references import AnyNetwork, network_of
from modelstitch.support.tensors import Kind


def capture(network: AnyNetwork, example: Example | None = None, *, kinds: Mapping[str, Kind] | None = None) -> Capture:
    """Find every legal cut of a network; see `modelstitch.cut.capture`.

    Args:
        network: any module, or a reference; it is read, never changed.
        example: an input as the network takes it; by default the one that comes with a reference.
        kinds: by cut, where its channels are; by default what the network's operators say.
    """
    found, known = _both(network, example)
    return cutting.capture(found.module, known, kinds={**found.kinds, **(kinds or {})})


def cuts(network: AnyNetwork, example: Example | None = None, *, every: bool = False) -> list[Cut]:
    """The legal cuts of a network, in order; see `modelstitch.cut.cuts`.

    Args:
        network: any module, or a reference; untouched.
        example: an input as the network takes it; by default the one that comes with a reference.
        every: all legal cuts with the end points ``input`` and ``output``; by default one a block.
    """
    captured = capture(network, example)
    return list(captured.cuts if every else captured.blocks)


def bottom(network: AnyNetwork, cut: str | Cut, example: Example | None = None, *, kind: Kind | None = None) -> Bottom:
    """The layers of a network up to a cut: A≤l; see `modelstitch.cut.bottom`.

    Args:
        network: any module, or a reference; a bottom needs no head.
        cut: where.
        example: an input as the network takes it; by default the one that comes with a reference.
        kind: where the channels are there; by default what the network's operators say.
    """
    return capture(network, example, kinds=cutting.kinds_at(cut, kind)).bottom(cut)


def top(network: AnyNetwork, cut: str | Cut, example: Example | None = None, *, kind: Kind | None = None) -> Top:
    """The layers of a network after a cut: B>m; see `modelstitch.cut.top`.

    Args:
        network: any module, or a reference.
        cut: where.
        example: an input as the network takes it; by default the one that comes with a reference.
        kind: as in `bottom`.
    """
    return capture(network, example, kinds=cutting.kinds_at(cut, kind)).top(cut)


def _both(network: AnyNetwork, example: Example | None) -> tuple[Network, Example]:
    found = network_of(network, "the network")
    known = found.example if example is None else example
    if known is None:
        do = "give an input as the network takes it, with two examples or more on its first axis"
        raise SettingError(f"to cut {found.name}", "no example of its input", do)
    return found, known
