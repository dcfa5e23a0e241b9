"""Settings as text: families, matchings and tasks written as JSON, and built again from it.

A setting is a frozen dataclass with a ``name``; its fields hold numbers, strings, None, tuples and other settings:

    @dataclass(frozen=True)
    class Affine(Family):
        kernel: int = 1
        name: ClassVar[str] = "affine"
        off: ClassVar[Mapping[str, Any]] = {}

The text names the class and its fields: ``{"name": "affine", "kernel": 1}``. A field at the value that ``off`` lists is
left out, so a new setting that is off changes no text and no key of an old record. Such a field must stay off when it
is read, so ``off`` counts there, not the default. Building a setting looks its name up among the classes that are
already imported and calls that class; nothing in the text is executed.
"""

from __future__ import annotations

import inspect
import json
import math
import reprlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, NoReturn, get_args, get_type_hints

from modelstitch.errors import BadFile, SettingError, StitchError, did_you_mean

_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = 100
_FORM = 'write a JSON object with a name, such as {"name": "affine", "kernel": 1}'
_READER = "read it with the version of modelstitch that wrote it"


def spelled(setting: object) -> str:
    """A setting, or a chain of settings, as JSON.

    Equal settings have equal texts: ``ridge=1`` and ``ridge=1.0`` are written the same where the field is a float.

    Args:
        setting: a frozen dataclass with a ``name``, or a list or tuple of such.

    Returns:
        The name and then the fields in their order, without those that are off; a list for a chain.

    Raises:
        SettingError: no setting, or a field with a value that has no text, such as a tensor or an infinite number.

    Example:
        >>> from modelstitch.stitches import Affine, Identity
        >>> spelled(Affine()), spelled([Identity()])
        ('{"name": "affine", "kernel": 1}', '[{"name": "identity"}]')
    """
    if isinstance(setting, list | tuple):
        return json.dumps([_spelled_one(one) for one in setting])
    return json.dumps(_spelled_one(setting))


def built(text: str, root: type) -> Any:
    """The setting that a text describes: ``built(spelled(x), root) == x``.

    Args:
        text: as from `spelled`. Fields that are left out are off, or else have their default.
        root: the class of which the setting must be, such as ``Family``; it may be abstract.

    Returns:
        An object of that class, or a tuple of them where the text is a list.

    Raises:
        BadFile: no JSON, an unknown name or field, or a value that the class refuses.

    Example:
        >>> from modelstitch.stitches import Family
        >>> built('{"name": "affine", "kernel": 3}', Family)
        Affine(kernel=3)
    """
    asked = f"to read a {root.__name__} from {_SHORT.repr(text)}"
    try:
        found = json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise BadFile(asked, f"no JSON: {error}", _FORM) from error
    place = _Place(asked, root.__name__, (root,))
    return tuple(map(place.built, found)) if isinstance(found, list) else place.built(found)


def _refuse_constant(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON number")


def _spelled_one(setting: object) -> dict[str, Any]:
    kind = type(setting)
    if not _has_name(kind):
        found = f"the class {kind.__qualname__}, which is no dataclass with a name of its own"
        raise SettingError(f"to write {_SHORT.repr(setting)} as text", found, "give the class `name: ClassVar[str]`")
    types, off = _types_of(kind), _off(kind)
    values = {name: getattr(setting, name) for name in types}
    told = {name: value for name, value in values.items() if name not in off or value != off[name]}
    return {"name": vars(kind)["name"]} | {
        name: _spelled_value(value, types[name], f"{kind.__qualname__}.{name}") for name, value in told.items()
    }


def _spelled_value(value: object, types: frozenset[type], field: str) -> object:
    if isinstance(value, list | tuple):
        return [_spelled_value(one, types, field) for one in value]
    if _has_name(type(value)):
        return _spelled_one(value)
    if not (value is None or isinstance(value, str | int | float)):
        do = "use numbers, strings, None, tuples and named settings"
        raise SettingError(f"to write {field} as text", f"a value of type {type(value).__qualname__}", do)
    if isinstance(value, float) and not math.isfinite(value):
        raise SettingError(f"to write {field} as text", f"the number {value}", "use a finite number")
    return _as_field(value, types)


def _as_field(value: object, types: frozenset[type]) -> object:
    """A number as its field holds it, so that 1 and 1.0, 0.0 and -0.0 are the same; anything else unchanged."""
    # Beyond 2⁵³ a float would be another number.
    if isinstance(value, float) or (isinstance(value, int) and abs(value) <= 2**53):
        return float(value) + 0.0 if float in types else value
    return value


@dataclass(frozen=True)
class _Place:
    """Where a setting is expected: what the user asked for, what messages call it, and which classes fit."""

    asked: str
    called: str
    roots: Iterable[type]

    def built(self, found: object) -> object:
        """The setting that one JSON object describes."""
        if not isinstance(found, Mapping) or not isinstance(found.get("name"), str):
            raise self.error(f"no name, but {_SHORT.repr(found)}", _FORM)
        kind = self.kind(found["name"])
        types = _types_of(kind)
        values = dict(_off(kind))
        for name in (key for key in found if key != "name"):
            if name not in types:
                what = f"{found['name']!r} with a field {name!r}, where its fields are {', '.join(types) or 'none'}"
                raise self.error(what, did_you_mean(name, types, _READER))
            values[name] = _Place(self.asked, f"{found['name']}.{name}", types[name]).value(found[name])
        return self.called_with(kind, values)

    def value(self, found: object) -> object:
        """The value of a field."""
        if isinstance(found, list):
            return tuple(map(self.value, found))
        return self.built(found) if isinstance(found, Mapping) else _as_field(found, frozenset(self.roots))

    def kind(self, name: str) -> type:
        """The class of that name."""
        known = [kind for kind in _named_below(self.roots) if vars(kind)["name"] == name]
        if len(known) == 1:
            return known[0]
        if known:
            several = " and ".join(f"{kind.__module__}.{kind.__qualname__}" for kind in known)
            raise self.error(f"several classes named {name!r}: {several}", "rename all but one")
        names = sorted(vars(kind)["name"] for kind in _named_below(self.roots))
        what = f"no {self.called} named {name!r}, but {', '.join(names) or 'none'}"
        raise self.error(what, did_you_mean(name, names, "import the module that defines it"))

    def called_with(self, kind: type, values: Mapping[str, object]) -> object:
        """An object of the class, which may refuse the values."""
        try:
            return kind(**values)
        except StitchError as error:
            raise self.error(f"{error.asked}: {error.found}", error.do) from error
        except (TypeError, ValueError, ArithmeticError) as error:
            why = (str(error).splitlines() or [type(error).__name__])[0]
            raise self.error(f"fields that {vars(kind)['name']!r} refuses: {why}", _READER) from error

    def error(self, found: str, do: str) -> BadFile:
        """What to raise."""
        return BadFile(self.asked, found, do)


def _named_below(roots: Iterable[type]) -> list[type]:
    """The concrete classes of these kinds that have a name of their own; of one defined twice, the newer."""
    waiting, found = list(roots), {}
    for kind in waiting:
        waiting += type.__subclasses__(kind)
        if _has_name(kind) and not inspect.isabstract(kind):
            found[kind.__module__, kind.__qualname__] = kind
    return list(found.values())


def _has_name(kind: type) -> bool:
    # Inherited names do not count: the text would build the parent.
    return is_dataclass(kind) and isinstance(vars(kind).get("name"), str)


def _off(kind: type) -> Mapping[str, Any]:
    off: Mapping[str, Any] = getattr(kind, "off", {})
    return off


def _types_of(kind: Any) -> dict[str, frozenset[type]]:
    """The fields of a setting in their order, with the classes that their annotations name."""
    try:
        hints = get_type_hints(kind)
    except NameError as error:
        do = "import at run time, not only for type checkers, what its annotations name"
        raise SettingError(f"the fields of {kind.__qualname__}", str(error), do) from error
    return {field.name: frozenset(_kinds(hints[field.name])) for field in fields(kind) if field.init}


def _kinds(hint: Any) -> set[type]:
    parts = get_args(hint)
    found = set().union(*map(_kinds, parts)) if parts else {hint}
    return {one for one in found if isinstance(one, type)}
