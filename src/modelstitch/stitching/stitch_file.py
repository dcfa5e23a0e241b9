"""A fitted stitch as bytes, and back into the stitched network that was measured.

The bytes are a safetensors file: nothing in it is ever executed. It holds the stitch's weights and, where the fit
re-estimated batch norms (``batch_norm="batch"``), the running statistics that bottom and top had in the measurement.
"""

from __future__ import annotations

from collections.abc import Mapping

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from modelstitch.cut import capture
from modelstitch.errors import BadFile, NetworkNotFound, SettingError, did_you_mean
from modelstitch.matching import Matching
from modelstitch.networks import weights_fingerprint
from modelstitch.records import Record
from modelstitch.stitched import Stitched
from modelstitch.stitches import Family
from modelstitch.support.settings import built
from modelstitch.support.tensors import Inputs

_STATISTICS = ("running_mean", "running_var")


def stitch_bytes(stitched: Stitched, batch_norm: str) -> bytes | None:
    """What a fit has learnt; None for a stitch that has learnt nothing, such as the identity.

    Args:
        stitched: as `Fit.stitched`.
        batch_norm: the mode of the fit.
    """
    kept = {f"stitch.{name}": tensor for name, tensor in stitched.stitch.state_dict().items()}
    if batch_norm == "batch":
        kept |= _statistics(stitched)
    plain = {name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in kept.items()}
    return safetensors.torch.save(plain) if plain else None


def _statistics(stitched: Stitched) -> dict[str, Tensor]:
    """The running statistics of bottom and top."""
    halves = {"bottom": stitched.bottom, "top": stitched.top}
    return {
        f"{half}.{name}": tensor
        for half, part in halves.items()
        for name, tensor in part.named_buffers()
        if name.endswith(_STATISTICS)
    }


def stitched_from(record: Record, stitch: bytes | None, networks: Mapping[str, nn.Module], example: Inputs) -> Stitched:
    """The stitched network that a record was measured on, in eval mode.

    Args:
        record: of the stitching.
        stitch: what the store holds for its key (`Store.stitch`); None where nothing was learnt.
        networks: the two that the record names.
        example: a small batch of inputs, normalised as in the experiment.

    Raises:
        NetworkNotFound: one of the two is not given.
        BadFile: a network has other weights than the record speaks of, or the bytes are no stitch of it.
        SettingError: the record failed, so there is no stitch, its bottom was noise, or its top was fine-tuned.
    """
    asked = f"rebuild {record.stitching}"
    if record.status != "ok":
        raise SettingError(asked, "a failed record, which has no stitch", "take a record whose status is 'ok'")
    lost = "a control whose bottom was noise, no network" if record.control == "noise" else ""
    lost = "a top that trained along, which no store keeps" if _trains_top(record) else lost
    if lost:
        raise SettingError(asked, lost, "rebuild a record of another kind")
    captured = {}
    for name, weights in ((record.bottom_network, record.bottom_weights), (record.top_network, record.top_weights)):
        if name not in networks:
            known = ", ".join(networks)
            do = did_you_mean(name, networks, "give it under the name that the record has")
            raise NetworkNotFound(asked, f"no network {name!r}, but {known or 'none'}", do)
        found = weights_fingerprint(networks[name])
        # An untrained control's bottom goes by its architecture's name and has weights of its own; so has a reset one.
        if found != weights:
            what = f"{name} with weights {found}, while the record speaks of {weights}"
            raise BadFile(asked, what, "give the network that was stitched (`modelstitch.untrained` for that control)")
        captured[name] = capture(networks[name], example)
    bottom = captured[record.bottom_network].bottom(record.bottom_cut)
    top = captured[record.top_network].top(record.top_cut)
    stitch_module = built(record.family, Family).build(bottom.cut, top.cut)
    if record.batch_norm == "batch":
        bottom, top = bottom.with_batch_statistics(), top.with_batch_statistics()
    stitched = Stitched(bottom, stitch_module, top)
    _fill(stitched, stitch, record, asked)
    return stitched.eval().requires_grad_(False)


def _trains_top(record: Record) -> bool:
    descent = built(record.matching, Matching).descent if record.matching else None
    return descent is not None and descent.trains_top


def _fill(stitched: Stitched, content: bytes | None, record: Record, asked: str) -> None:
    """Copy what was learnt into its place; anything missing, left over or of another shape is refused."""
    do = "take the stitch of this record's key from the store that holds it"
    try:
        found = {} if content is None else safetensors.torch.load(content)
    except safetensors.SafetensorError as error:
        raise BadFile(asked, f"bytes that are no safetensors file: {error}", do) from error
    places = {f"stitch.{name}": tensor for name, tensor in stitched.stitch.state_dict().items()}
    if record.batch_norm == "batch":
        places |= _statistics(stitched)
    wrong = sorted(found.keys() ^ places.keys())
    wrong += [name for name in found.keys() & places.keys() if found[name].shape != places[name].shape]
    if wrong:
        raise BadFile(asked, f"tensors that do not fit: {', '.join(wrong[:3])}", do)
    with torch.no_grad():
        for name, tensor in places.items():
            tensor.copy_(found[name])
