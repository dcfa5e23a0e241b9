"""``pt2:FILE.pt2``: an exported program, as ``torch.export.save`` writes it.

Beware: ``torch.export.load`` unpickles weights, constants and example inputs without a limit, and evaluates formulas of
sizes as Python. So an archive is looked through first. It is read only where all tensors are plain bytes, the example
inputs are tensors alone, and every formula is arithmetic; what is read is what was looked at. ``trusted`` skips that.
"""

from __future__ import annotations

import ast
import io
import json
import re
import warnings
import zipfile
from collections.abc import Iterator
from typing import Any

import torch

from modelstitch.errors import BadFile, NetworkNotFound
from modelstitch.networks.network import Network
from modelstitch.networks.references.reference import Reference
from modelstitch.support.files import expanded

TAKES = ("trusted",)

_PLAIN = re.compile(
    r"archive_format|archive_version|byteorder|version|\.data/(version|serialization_id)|models/model\.json"
    r"|data/(weights/(weight_\d+|model_weights_config\.json)|constants/(tensor_\d+|model_constants_config\.json))"
    r"|data/sample_inputs/model\.pt|\.format_version|\.storage_alignment"
)
_CONFIGS = ("data/weights/model_weights_config.json", "data/constants/model_constants_config.json")
_SAMPLES, _GRAPH = "data/sample_inputs/model.pt", "models/model.json"
# What formulas of sizes are made of, as torch writes them.
_FUNCTIONS = re.compile(
    r"FloorDiv|ModularIndexing|Where|PythonMod|Mod|CleanDiv|CeilToInt|FloorToInt|CeilDiv|"
    r"LShift|RShift|PowByNatural|FloatPow|FloatTrueDiv|IntTrueDiv|ToFloat|TruncToInt|RoundToInt|"
    r"Identity|Max|Min|Eq|Ne|Lt|Le|Gt|Ge|"
    r"And|Or|Not|Symbol|Integer|Rational|Float|Add|Mul|"
    r"Pow|Equality|Unequality|StrictLessThan|LessThan|StrictGreaterThan|GreaterThan"
)
_SYMBOL = re.compile(r"(zuf|zf|s|u)\d+")
_ARITHMETIC = (
    *(ast.Expression, ast.BinOp, ast.UnaryOp, ast.BoolOp, ast.Compare, ast.Load, ast.operator, ast.unaryop),
    *(ast.boolop, ast.cmpop),
)


def load(reference: Reference) -> Network:
    """Read the program as a module."""
    path = expanded(reference.name)
    if not path.is_file():
        raise NetworkNotFound(reference.asked, f"no file {path}", "name a file that torch.export.save has written")
    content = path.read_bytes()
    if not reference.has("trusted"):
        content = _looked_through(content, reference)
    try:
        with warnings.catch_warnings():
            # torch speaks of its own internals here.
            warnings.simplefilter("ignore")
            program = torch.export.load(io.BytesIO(content))
            module = program.module()
    except Exception as error:  # a damaged archive fails in many ways
        found = (str(error).splitlines() or [type(error).__name__])[0]
        raise BadFile(
            reference.asked, f"no exported program that this torch reads: {found}", "export it again"
        ) from error
    # In a program eval mode is settled, and torch refuses to be asked for it.
    module.eval = lambda: module  # type: ignore[method-assign]
    return Network(path.stem, module, {"architecture": "pt2", "options": {}}, _example(program))


def _looked_through(content: bytes, reference: Reference) -> bytes:
    """The archive written anew from what was looked at, so that no other reader finds something else in it."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as packed:
            names = packed.namelist()
            root = names[0].partition("/")[0] if names else ""
            found = {name.removeprefix(f"{root}/"): packed.read(name) for name in names}
    except (zipfile.BadZipFile, OSError, NotImplementedError, RuntimeError) as error:
        raise BadFile(
            reference.asked, f"no archive: {error}", "name a file that torch.export.save has written"
        ) from error
    for why in _dangers(found, twice=len(found) < len(names)):
        do = f"if you trust where it comes from, write {reference.also('trusted')}; or export it again by a newer torch"
        raise BadFile(reference.asked, f"{why}: reading it could run code", do)
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as packed:
        for name, one in found.items():
            packed.writestr(f"{root}/{name}", one)
    return made.getvalue()


def _dangers(found: dict[str, bytes], *, twice: bool) -> Iterator[str]:
    """What could run code, or could not be looked at."""
    if twice:
        yield "a part that is there twice"
    for name in found:
        if not _PLAIN.fullmatch(name):
            yield f"a part {name!r}, which is no plain tensor"
    try:
        for name in (*_CONFIGS, _GRAPH):
            told = json.loads(found[name])
            if name != _GRAPH and any(one["use_pickle"] for one in told["config"].values()):
                yield "a pickled tensor"
            for formula in _formulas(told):
                if not _is_arithmetic(formula):
                    yield f"the formula {formula[:40]!r} of a size"
        if b"__enum__" in found[_GRAPH]:
            yield "the name of a class to import"
        torch.load(io.BytesIO(found[_SAMPLES]), weights_only=True)
    except Exception as error:  # whatever cannot be looked at is not read
        yield f"a part that cannot be looked at ({type(error).__name__})"


def _formulas(told: Any) -> Iterator[str]:
    """Every text that torch would evaluate."""
    if isinstance(told, dict):
        for key, value in told.items():
            if key == "expr_str":
                yield str(value)
            yield from _formulas(value)
    elif isinstance(told, list):
        for one in told:
            yield from _formulas(one)


def _is_arithmetic(formula: str) -> bool:
    """Whether a formula holds symbols of sizes, numbers, operators and known functions alone.

    Example:
        >>> _is_arithmetic("FloorDiv(Symbol('s77', integer=True) + 1, 2)"), _is_arithmetic("eval(s77)")
        (True, False)
        >>> _is_arithmetic("Add('exit()')"), _is_arithmetic("s77.real")
        (False, False)
    """
    try:
        nodes = list(ast.walk(ast.parse(formula, mode="eval")))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return all(map(_is_plain, nodes))


def _is_plain(node: ast.AST) -> bool:
    if isinstance(node, ast.Call):
        return isinstance(node.func, ast.Name) and _FUNCTIONS.fullmatch(node.func.id) is not None
    if isinstance(node, ast.Name):
        return any(kind.fullmatch(node.id) for kind in (_FUNCTIONS, _SYMBOL))
    if isinstance(node, ast.Constant):
        # A text that a function is given may be evaluated as well: only the name of a size is let through.
        return isinstance(node.value, (int, float)) or (
            isinstance(node.value, str) and _SYMBOL.fullmatch(node.value) is not None
        )
    return isinstance(node, (*_ARITHMETIC, ast.keyword))


def _example(program: Any) -> Any:
    """The inputs that it was exported with, where they are tensors in order or by keyword."""
    args, kwargs = program.example_inputs or ((), {})
    held: Any = kwargs if kwargs and not args else tuple(args)
    if not held or (args and kwargs):
        return None
    tensors = list(held.values()) if isinstance(held, dict) else list(held)
    if not all(isinstance(one, torch.Tensor) and one.ndim for one in tensors):
        return None
    return held[0] if isinstance(held, tuple) and len(held) == 1 else held
