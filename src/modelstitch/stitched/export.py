"""A stitched network in one file for other programs, checked against itself before the file is kept.

- ``.pt2``: the archive of ``torch.export``, read by ``torch.export.load(path).module()``. Beware: that function falls
  back on an unrestricted pickle, so read only archives that you trust.
- ``.onnx``: for ONNX Runtime and others; needs the extra ``onnx``.

The number of examples may vary, and the length of token ids where it could when the network was captured.
"""

from __future__ import annotations

import importlib
import io
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from modelstitch.cut import Entry
from modelstitch.cut.exporting import NotExportable, exported_program, silence
from modelstitch.cut.frozen import frozen_view, standard_attention
from modelstitch.errors import CannotExport, SettingError
from modelstitch.stitched.portable import example_of
from modelstitch.support.files import write_whole
from modelstitch.support.tensors import Inputs, call, leaves

# Relative to the largest output.
_CLOSE = 1e-5
_CHECKED = 3  # rows: another number than the network is exported with

Answer = Callable[[Inputs], Sequence[Tensor]]


def export(network: nn.Module, entries: Sequence[Entry], path: str | Path) -> None:
    """Write a network, as it behaves in eval mode, to one file.

    Args:
        network: any that can be exported by ``torch.export``.
        entries: the inputs that it is called with.
        path: ends in ``.pt2`` or ``.onnx``; what lies there is replaced once the new file is known to be right.

    Raises:
        SettingError: another ending, or the extra ``onnx`` is missing.
        CannotExport: the network cannot be exported, or the file would answer otherwise than the network.
        NotWritable: the place refuses.
    """
    asked = f"to export {type(network).__name__} to {path}"
    ways = {".pt2": _pt2, ".onnx": _onnx}
    way = ways.get(Path(path).suffix)
    if way is None:
        raise SettingError(asked, f"the ending {Path(path).suffix!r}", "end the name in .pt2 or .onnx")
    view, example = frozen_view(network), example_of(entries, 2, network)
    args, kwargs = ((), dict(example)) if isinstance(example, dict) else (tuple(leaves(example)), {})
    try:
        program = exported_program(view, args, kwargs)
    except NotExportable as reason:
        do = "make it exportable by torch.export, or pickle it with torch.save"
        raise CannotExport(asked, f"a network that cannot be exported: {reason}", do) from reason
    content, answer = way(program, asked)
    _check(view, answer, example_of(entries, _CHECKED, network), asked)
    write_whole(path, content)


def _pt2(program: torch.export.ExportedProgram, asked: str) -> tuple[bytes, Answer]:
    file = io.BytesIO()
    with silence():
        torch.export.save(program, file)
        file.seek(0)
        read = torch.export.load(file).module()
    return file.getvalue(), lambda inputs: pytree.tree_leaves(call(read, inputs))


def _onnx(program: torch.export.ExportedProgram, asked: str) -> tuple[bytes, Answer]:
    for name in ("onnx", "onnxscript", "onnxruntime"):
        try:
            importlib.import_module(name)
        except ImportError as error:
            found, do = f"no package {name}", "pip install 'modelstitch[onnx]'"
            raise SettingError(asked, found, do) from error
    import onnxruntime

    try:
        with silence():
            made: Any = torch.onnx.export(program, dynamo=True, verbose=False)
        content: bytes = made.model_proto.SerializeToString()
        session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    except Exception as problem:  # a converter fails in as many ways as there are operators
        why = (str(problem).strip() or type(problem).__name__).splitlines()[0]
        raise CannotExport(asked, f"a network that ONNX cannot express: {why}", "export it to .pt2") from problem
    names = [one.name for one in session.get_inputs()]

    def answer(inputs: Inputs) -> list[Tensor]:
        given = [tensor.cpu().numpy() for tensor in leaves(inputs)]
        return [torch.from_numpy(one) for one in session.run(None, dict(zip(names, given, strict=True)))]

    return content, answer


def _check(view: nn.Module, answer: Answer, inputs: Inputs, asked: str) -> None:
    """Refuse a file that answers otherwise than the network, on another number of examples."""
    with torch.no_grad(), standard_attention(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = [one for one in pytree.tree_leaves(call(view, inputs)) if isinstance(one, Tensor)]
        found = answer(inputs)
    for one, other in zip(found, expected, strict=True):
        far = float((one.cpu().double() - other.cpu().double()).abs().max())
        if one.shape != other.shape or not far <= _CLOSE * max(1.0, float(other.abs().max())):
            what = f"answers that differ from the network's by up to {far:.3g}"
            raise CannotExport(asked, what, "report the network; nothing was written")
