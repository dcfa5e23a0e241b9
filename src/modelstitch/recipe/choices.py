"""What a recipe chooses by name: families, matchings and tasks, each with settings of its own.

A choice is a mapping with a ``name``; its other keys are the settings of the class of that name, which says in its own
words what they can be when the recipe is planned. So a new family is known to recipes without a line here.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any

from pydantic import AfterValidator, Field, WithJsonSchema

from modelstitch.vocabulary import CONTROLS, FAMILIES, MATCHINGS, TASKS

Rate = Annotated[float, Field(gt=0, allow_inf_nan=False)]


def _choice(kind: str, known: Iterable[str]) -> Any:
    """The type of a mapping whose ``name`` is one of those known."""
    names = list(known)

    def check(value: dict[str, Any]) -> dict[str, Any]:
        if value.get("name") not in names:
            raise ValueError(f"{kind}: no {kind} named {value.get('name')!r}; choose among {', '.join(names)}")
        return value

    settings = {"type": "object", "properties": {"name": {"enum": names}}, "required": ["name"]}
    return Annotated[dict[str, Any], AfterValidator(check), WithJsonSchema(settings)]


def _known_control(value: str) -> str:
    if value not in CONTROLS:
        raise ValueError(f"controls: no control named {value!r}; choose among {', '.join(CONTROLS)}")
    return value


Family = _choice("family", FAMILIES)
Matching = _choice("matching", MATCHINGS)
Task = _choice("task", TASKS)

Control = Annotated[str, AfterValidator(_known_control), WithJsonSchema({"enum": list(CONTROLS)})]
"""One of the stitchings whose answer is known."""
