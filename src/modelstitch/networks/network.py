"""A network as everything above speaks of it: a name, a module, and, once an example is known, its cuts."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from torch import nn

from modelstitch.compute import Compute, home_of
from modelstitch.cut import Capture, capture
from modelstitch.errors import NetworkNotFound
from modelstitch.networks.folder import Config, weights_fingerprint
from modelstitch.support.tensors import Inputs, Kind, each


@dataclass(frozen=True, eq=False)
class Network:
    """A name and a trained module, which is never changed.

    Args:
        name: what records and tables call it.
        module: the user's own, or a copy where it computes on another device.
        config: how it was built and trained, where it came from a network folder.
        example: inputs that it takes, to find its cuts by.
        kinds: by cut, where its channels are; by default what its operators say.
        tokenizer: what turns texts into its inputs, where it came with one.
    """

    name: str
    module: nn.Module
    config: Config | None = None
    example: Inputs | None = None
    kinds: Mapping[str, Kind] = field(default_factory=dict)
    tokenizer: Any = None

    def ready(self, example: Inputs, compute: Compute) -> Network:
        """The same with an example, on the device where it shall compute.

        Args:
            example: two inputs or more, on any device.
            compute: names the device.
        """
        place = compute.place(self.module)
        here = self.module if place == home_of(self.module) else copy.deepcopy(self.module).to(place)
        return replace(self, module=here, example=each(lambda one: one.to(place), example))

    @cached_property
    def captured(self) -> Capture:
        """Its cuts.

        Raises:
            ShapeMismatch: it does not accept the example.
            NotCuttable: it can neither be exported nor replayed.
        """
        assert self.example is not None, "ready() gives the example"
        return capture(self.module, self.example, kinds=self.kinds)

    def cut_as(self, captured: Capture) -> Network:
        """The same, cut otherwise than the module itself would be."""
        other = replace(self)
        other.__dict__["captured"] = captured
        return other

    @cached_property
    def weights(self) -> str:
        """16 hex digits that change with any parameter or buffer."""
        return weights_fingerprint(self.module)

    @property
    def graph(self) -> str:
        """16 hex digits that change with what it computes, whatever its weights."""
        return self.captured.graph

    @property
    def device(self) -> str:
        """Where it computes."""
        return home_of(self.module)


def with_kinds(networks: Sequence[Network], kinds: Mapping[str, Kind] | None) -> list[Network]:
    """Networks that know where their channels are at the cuts that a user names.

    Args:
        networks: each keeps what it knew of other cuts.
        kinds: by place, written ``NETWORK@CUT``.

    Raises:
        NetworkNotFound: a place of none of these networks.
    """
    said: dict[str, dict[str, Kind]] = {one.name: {} for one in networks}
    for place, kind in (kinds or {}).items():
        name, _, cut = place.rpartition("@")
        if name not in said:
            do = f"write them as {{'{networks[0].name}@CUT': 'map'}}; the networks are {', '.join(said)}"
            raise NetworkNotFound(f"the kind of {place!r}", f"no network {name!r}", do)
        said[name][cut] = kind
    return [replace(one, kinds={**one.kinds, **said[one.name]}) for one in networks]
