"""What a recipe chooses by name: families, matchings and tasks, each with settings of its own.

A choice is a mapping with a ``name``; its other keys are the fields of the class of that name. The names come from
`modelstitch.vocabulary`. The classes need torch, so whoever reads a recipe to carry it out hands them over (`Kinds`);
each choice is then held to the fields of its class, and built once, so that the class can refuse a value itself.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable, Mapping
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    WithJsonSchema,
    create_model,
)
from pydantic_core import PydanticKnownError

from modelstitch.recipe.advice import words_of
from modelstitch.vocabulary import CONTROLS, FAMILIES, MATCHINGS, TASKS

Rate = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Kinds = Mapping[str, Mapping[str, type]]
"""The classes of ``family``, ``matching`` and ``task``, by name."""
FUNCTION = "py:"
"""How a reference to a function of the user's begins."""
Wrong = dict[str, Any]
"""One thing that is wrong, as pydantic tells it, with the words that are known at its place (``known``)."""

_WORDS = {"family": FAMILIES, "matching": MATCHINGS, "task": TASKS}


def word(known: Iterable[str], pattern: str | None = None) -> Any:
    """The type of one of several words, or of a text that begins with ``pattern``."""
    words = list(known)

    def check(value: str) -> str:
        if value not in words and not (pattern and value.startswith(pattern)):
            raise PydanticKnownError("literal_error", {"expected": ", ".join(map(repr, words))})
        return value

    schema: dict[str, Any] = {"enum": words}
    if pattern:
        schema = {"anyOf": [schema, {"type": "string", "pattern": f"^{pattern}"}]}
    return Annotated[str, AfterValidator(check), WithJsonSchema(schema)]


def _choice(kind: str) -> Any:
    """The type of a mapping whose ``name`` is known to the vocabulary."""
    names = list(_WORDS[kind])
    named: type[BaseModel] = create_model(kind, __config__=ConfigDict(extra="allow"), name=(word(names), ...))

    def check(value: dict[str, Any]) -> dict[str, Any]:
        named.model_validate(value)
        return value

    schema = {"title": kind, "type": "object", "properties": {"name": {"enum": names}}, "required": ["name"]}
    return Annotated[dict[str, Any], AfterValidator(check), WithJsonSchema(schema)]


Family, Matching, Task = _choice("family"), _choice("matching"), _choice("task")
Control = word(CONTROLS)
"""One of the stitchings whose answer is known."""
DataName = word(["digits", "fashion_mnist", "cifar10", "cifar100", "image_folder"], FUNCTION)
"""A data set that modelstitch knows, or a function of the user's."""


def wrong_in(told: Mapping[str, Any], kind: str, kinds: Kinds) -> list[Wrong]:
    """What is wrong with the settings of a choice whose name is known.

    Args:
        told: the name and the settings.
        kind: ``family``, ``matching`` or ``task``.
        kinds: the classes.
    """
    made = kinds[kind][told["name"]]
    schema = _schema_of(made)
    known = ["name", *schema["properties"]]
    given = {key: value for key, value in told.items() if key != "name"}
    unknown: list[Wrong] = [
        {"type": "extra_forbidden", "loc": (key,), "input": given[key], "known": known}
        for key in given
        if key not in schema["properties"]
    ]
    return unknown or _refused(made, given)


def _refused(made: type, given: Mapping[str, Any]) -> list[Wrong]:
    """The values that their fields or the class refuse, each by itself; if there are none, why all are refused."""
    alone = [(key, _error(made, {key: value})) for key, value in given.items()]
    found = [one | {"loc": (key,), "input": given[key]} for key, one in alone if one]
    together = _error(made, given)
    return found or ([together | {"loc": ()}] if together else [])


def _error(made: type, given: Mapping[str, Any]) -> Wrong | None:
    """The first thing that is wrong."""
    try:
        # By way of JSON, in which a list may stand for a tuple, and nothing else stands for anything else.
        _adapter(made).validate_json(json.dumps(given, default=str), strict=True)
    except ValidationError as error:
        first: Wrong = dict(error.errors()[0])
        schema = _schema_of(made)["properties"].get(first["loc"][0], {}) if first["loc"] else {}
        words = [str(each) for node in (schema, *schema.get("anyOf", ())) for each in words_of(node)]
        if words and (first["type"] == "literal_error" or isinstance(first["input"], str)):
            return first | {"type": "literal_error", "known": words, "msg": f"input should be {' or '.join(words)}"}
        return first
    return None


@functools.cache
def _adapter(made: type) -> Any:
    return TypeAdapter(made)


@functools.cache
def _schema_of(made: type) -> dict[str, Any]:
    schema = _adapter(made).json_schema()
    return {"properties": {}, **schema}


def with_settings(schema: Any, kinds: Kinds) -> Any:
    """A recipe's JSON schema in which every choice tells the settings of each class."""
    if isinstance(schema, list):
        return [with_settings(one, kinds) for one in schema]
    if not isinstance(schema, dict):
        return schema
    kind = str(schema.get("title"))
    if kind in kinds and "required" in schema:
        return {"title": kind, "oneOf": [_one_of(kind, name, made) for name, made in kinds[kind].items()]}
    return {key: with_settings(value, kinds) for key, value in schema.items()}


def _one_of(kind: str, name: str, made: type) -> dict[str, Any]:
    """The schema of one class, called and described as everywhere."""
    told = _WORDS[kind].get(name)
    return {
        "title": told.title if told else name,
        "description": told.line if told else "",
        "type": "object",
        "properties": {"name": {"const": name}, **_schema_of(made)["properties"]},
        "required": ["name"],
        "additionalProperties": False,
    }
