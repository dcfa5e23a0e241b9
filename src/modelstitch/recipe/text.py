"""A recipe read from YAML: every error names the line, what stands there, and what was probably meant."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from modelstitch.errors import BadFile, SettingError, StitchError, did_you_mean
from modelstitch.recipe.advice import Place, known_at
from modelstitch.recipe.choices import Kinds, Wrong, with_settings, wrong_in
from modelstitch.recipe.model import GivenNetwork, Recipe, TrainedNetwork
from modelstitch.recipe.plain import PlainLoader
from modelstitch.recipe.published import Reference, curve_of
from modelstitch.recipe.sizes import at_size, laid_over
from modelstitch.support.files import expanded

Lines = dict[Place, int]
"""Line of every key and every item, counted from 1."""

_MOST = 1_000_000
_SHOWN = 3


def recipe_schema(kinds: Kinds | None = None) -> dict[str, Any]:
    """The JSON schema of a recipe: editors that know YAML complete and check with it.

    Args:
        kinds: as of `parse_recipe`.
    """
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", **Recipe.model_json_schema()}
    found: dict[str, Any] = with_settings(schema, kinds or {})
    return found


def read_recipe(path: str | Path, size: str | None = None, *, kinds: Kinds | None = None) -> tuple[Recipe, str]:
    """The recipe in a file, and its text: as it stands there, or with a size written into it.

    Args:
        path: the file.
        size: one of the recipe's ``sizes``.
        kinds: as of `parse_recipe`.

    Raises:
        BadFile: there is no such file, or it holds no text.
        SettingError: it is no recipe, or has no such size; the line is named.
    """
    do = "name a recipe, a YAML file such as recipes/quickstart.yaml"
    try:
        content = expanded(path).read_bytes()
        text = content.decode()
    except OSError as error:
        raise BadFile(f"read the recipe {path}", error.strerror or str(error), do) from error
    except UnicodeDecodeError as error:
        raise BadFile(f"read the recipe {path}", f"bytes that are no text ({error.reason})", do) from error
    recipe = parse_recipe(text, str(path), size, kinds=kinds)
    return recipe, text if size is None else at_size(text, size)


def parse_recipe(text: str, source: str = "recipe", size: str | None = None, *, kinds: Kinds | None = None) -> Recipe:
    r"""The recipe in a text.

    Args:
        text: YAML, without anchors and tags.
        source: what to call it in errors.
        size: one of its ``sizes``.
        kinds: the classes of families, matchings and tasks, by kind and name, to hold their settings to; without them
            only the names are looked at. `modelstitch.sweep` knows them all.

    Raises:
        SettingError: it is no recipe; the line is named, and what was probably meant.

    Example:
        >>> from modelstitch.errors import SettingError
        >>> try:
        ...     parse_recipe("name: a\nqestion: b")
        ... except SettingError as error:
        ...     print(error.do.partition("?")[0])
        did you mean 'question'
    """
    content, lines = _parsed(text, source, size)
    try:
        recipe = Recipe.model_validate(content)
    except ValidationError as error:
        raise _refused(source, map(dict, error.errors()), lines) from None
    if kinds and (wrong := [one for each in _choices(recipe) for one in _wrong_in(*each, kinds)]):
        raise _refused(source, wrong, lines)
    _check_names(recipe, source, lines)
    return recipe


def _refused(source: str, errors: Iterable[Wrong], lines: Lines) -> SettingError:
    """What to raise: the first few things that are wrong, in the order of the text."""
    # What is missing is often a key misspelt, which stands in the text and can be shown.
    wrong = sorted(errors, key=lambda one: (one["type"] == "missing", _line(lines, one["loc"])))
    told = "; ".join(_told(one, lines) for one in wrong[:_SHOWN])
    more = f"; and {len(wrong) - _SHOWN} more" if len(wrong) > _SHOWN else ""
    return SettingError(f"the recipe {source}", told + more, _advice(wrong[0]))


def _choices(recipe: Recipe) -> Iterator[tuple[Place, str, Mapping[str, Any]]]:
    """Every family, matching and task, with its place."""
    if recipe.task:
        yield ("task",), "task", recipe.task
    for entry, each in enumerate(recipe.stitchings):
        for key, kind, chosen in (("families", "family", each.families), ("matchings", "matching", each.matchings)):
            for number, one in enumerate(chosen):
                yield ("stitchings", entry, key, number), kind, one


def _wrong_in(place: Place, kind: str, told: Mapping[str, Any], kinds: Kinds) -> list[Wrong]:
    return [one | {"loc": (*place, *one["loc"])} for one in wrong_in(told, kind, kinds)]


def _parsed(text: str, source: str, size: str | None) -> tuple[Any, Lines]:
    asked, do = f"the recipe {source}", "write plain YAML, as recipes/quickstart.yaml does"
    if len(text) > _MOST:
        raise SettingError(asked, f"{len(text):,} characters", f"write fewer than {_MOST:,}: a recipe fits a screen")
    try:
        root = yaml.compose(text, Loader=PlainLoader)
        if size is not None:
            root = laid_over(root, size, source)
        lines: Lines = {(): 1}
        content = {} if root is None else _value(root, (), lines)
    except RecursionError:
        raise SettingError(asked, "brackets nested hundreds deep", do) from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        raise SettingError(asked, f"{f'line {mark.line + 1}: ' if mark else ''}{error.problem}", do) from None
    except yaml.YAMLError as error:
        raise SettingError(asked, str(error).splitlines()[0], do) from None
    return content, lines


def _value(node: yaml.Node, place: Place, lines: Lines) -> Any:
    """What a node holds, with the lines of everything in it."""
    lines.setdefault(place, node.start_mark.line + 1)
    if not node.tag.startswith("tag:yaml.org,2002:") or ":python/" in node.tag:
        raise yaml.MarkedYAMLError(problem=f"the tag {node.tag!r} is not read", problem_mark=node.start_mark)
    if isinstance(node, yaml.SequenceNode):
        return [_value(inner, (*place, index), lines) for index, inner in enumerate(node.value)]
    if not isinstance(node, yaml.MappingNode):
        return yaml.SafeLoader("").construct_object(node)
    found = {}
    for key_node, inner in node.value:
        key = str(key_node.value)
        mark = key_node.start_mark
        if key in found:
            raise yaml.MarkedYAMLError(problem=f"{key!r} stands here a second time", problem_mark=mark)
        lines[(*place, key)] = mark.line + 1
        found[key] = _value(inner, (*place, key), lines)
    return found


def _line(lines: Lines, place: Sequence[str | int]) -> int:
    """The line of a place, or of the nearest thing around it that the text holds."""
    return lines[_written(lines, place)]


def _written(lines: Lines, place: Sequence[str | int]) -> Place:
    """The place without the names of alternatives that pydantic puts between, as far as the text goes."""
    found: Place = ()
    for step in place:
        if (*found, step) in lines:
            found = (*found, step)
    return found


def _told(error: Mapping[str, Any], lines: Lines) -> str:
    place = _written(lines, error["loc"])
    where = _dotted(place)
    if error["type"] == "missing":
        where = f"{where}: " if where else ""
        return f"line {_line(lines, place)}: {where}no {error['loc'][-1]!r}"
    if error["type"] == "extra_forbidden":
        return f"line {_line(lines, place)}: {where}: unknown key"
    if error["type"] == "value_error":
        why = error["ctx"]["error"]
        told = f"{why.asked}: {why.found}" if isinstance(why, StitchError) else why
        return f"line {_line(lines, place)}: {told}"
    given = error["input"]
    value = f"{given!r}" if isinstance(given, str | int | float | bool | None) else f"a {type(given).__name__}"
    return f"line {_line(lines, place)}: {where}: {value[:80]} ({_plainly(error['msg'])})"


def _plainly(message: str) -> str:
    return message[:1].lower() + message[1:]


def _dotted(place: Place) -> str:
    """``stitchings[0].pairs``."""
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in place).removeprefix(".")


def _advice(first: Wrong) -> str:
    """What to do about something that is wrong."""
    schema, place = Recipe.model_json_schema(), first["loc"]
    if first["type"] == "missing":
        return f"write {place[-1]!r} there; `modelstitch schema` tells what each key means"
    if first["type"] == "extra_forbidden":
        known = first.get("known") or known_at(schema, place[:-1])
        return did_you_mean(str(place[-1]), known, f"use one of {', '.join(known)}")
    known = first.get("known") or known_at(schema, place)
    if first["type"] == "literal_error" and known:
        return did_you_mean(str(first["input"]), known, f"use one of {', '.join(known)}")
    why = first.get("ctx", {}).get("error")
    if isinstance(why, StitchError):
        return why.do
    return "correct that line; `modelstitch schema` tells what each key may hold"


def _check_names(recipe: Recipe, source: str, lines: Lines) -> None:
    """What no schema can tell: names that must be among the recipe's own."""
    known = list(recipe.network_names())
    for place, name in _named(recipe):
        if name not in known:
            line = _line(lines, place)
            do = did_you_mean(name, known, f"name one of {', '.join(known)}")
            raise SettingError(f"the recipe {source}", f"line {line}: no network {name!r}", do)
    _check_starts(recipe, source, lines)
    declared = [f"{name}-{seed}" for name, one in recipe.networks.items() for seed in getattr(one, "seeds", ())]
    declared += [name for name, one in recipe.networks.items() if isinstance(one, GivenNetwork)]
    twice = next((name for name in declared if declared.count(name) > 1), None)
    if twice:
        found = f"line {_line(lines, ('networks',))}: two networks are called {twice!r}"
        raise SettingError(f"the recipe {source}", found, "a trained network is called NAME-SEED: rename one")
    for entry, curve in enumerate(recipe.reference):
        try:
            curve_of(Reference("", curve.figure, curve.curve))
        except SettingError as error:
            line = _line(lines, ("reference", entry))
            raise SettingError(f"the recipe {source}", f"line {line}: {error.found}", error.do) from None


def _check_starts(recipe: Recipe, source: str, lines: Lines) -> None:
    """A network can begin with another that is trained here, and with none that waits for it."""
    begins = {name: one.start for name, (one, _) in recipe.network_names().items() if isinstance(one, TrainedNetwork)}
    for name, one in recipe.networks.items():
        if not isinstance(one, TrainedNetwork) or one.start is None:
            continue
        line = f"line {_line(lines, ('networks', name, 'start'))}"
        if one.start not in begins:
            found = f"{line}: {one.start!r} is loaded, not trained here"
            raise SettingError(f"the recipe {source}", found, "start from a network that this recipe trains")
        chain = [one.start]
        while (before := begins.get(chain[-1])) is not None and before not in chain:
            chain.append(before)
        # Told where the ring itself is, not where something leads into it.
        if before is not None and name in {one.rpartition("-")[0] for one in chain}:
            found = f"{line}: {' starts from '.join([*chain, before])}"
            raise SettingError(f"the recipe {source}", found, "let one of them start from fresh weights")


def _named(recipe: Recipe) -> Iterator[tuple[Place, str]]:
    for network, one in recipe.networks.items():
        if isinstance(one, TrainedNetwork) and one.start is not None:
            yield ("networks", network, "start"), one.start
    for entry, each in enumerate(recipe.stitchings):
        for number, pair in enumerate(each.pairs):
            for side, name in enumerate(pair):
                yield ("stitchings", entry, "pairs", number, side), name
