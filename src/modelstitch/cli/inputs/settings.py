"""Settings as they were typed: families, matchings, tasks and schedules."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from modelstitch.errors import SettingError, StitchError, did_you_mean

if TYPE_CHECKING:
    from modelstitch.matching import Matching
    from modelstitch.pretraining import Schedule
    from modelstitch.stitches import Family
    from modelstitch.tasks import Task

_OPTION = {"family": "--family", "matching": "--by"}


def choose(option: str, value: str, known: Iterable[str]) -> str:
    """The value, when it is one of those known.

    Raises:
        SettingError: it is not.
    """
    known = list(known)
    if value not in known:
        do = did_you_mean(value, known, f"choose one of {', '.join(known)}")
        raise SettingError(f"{option} {value}", "no such choice", do)
    return value


def chosen(family: str, by: str, told: Sequence[str], *, kernel: Any = None, **options: Any) -> tuple[Family, Matching]:
    """The family and the matching of those names; what was set by name goes to the one that has such a setting.

    Args:
        family: its name.
        by: the name of the matching.
        told: further settings of either, as ``NAME=VALUE``.
        kernel: of the family.
        options: of the matching, those that were not given as None.

    Raises:
        SettingError: no such family, matching or setting, or a value that it cannot have.
    """
    from modelstitch.matching import MATCHINGS
    from modelstitch.stitches import FAMILIES

    kinds: list[Any] = [FAMILIES[choose("--family", family, FAMILIES)], MATCHINGS[choose("--by", by, MATCHINGS)]]
    own = [[field.name for field in dataclasses.fields(kind)] for kind in kinds]
    settings = _settings(told)
    for name in settings:
        owners = [fields for fields in own if name in fields]
        if len(owners) != 1:
            found = f"--family {family} takes {_listed(own[0])}; --by {by} takes {_listed(own[1])}"
            do = did_you_mean(name, [*own[0], *own[1]], "leave it out")
            raise SettingError(f"--set {name}", found, "use a recipe, which sets each by itself" if owners else do)
    both = [{name: value for name, value in settings.items() if name in fields} for fields in own]
    return family_of(family, kernel, both[0]), matching_of(by, both[1], **options)


def _settings(told: Sequence[str]) -> dict[str, Any]:
    """What ``NAME=VALUE`` says, each value read as YAML.

    Raises:
        SettingError: something else, or a name twice.
    """
    import yaml

    found: dict[str, Any] = {}
    for one in told:
        name, mark, value = one.partition("=")
        asked, do = f"--set {one}", "write a name and one value: --set ridge=0.1"
        if not mark or not name:
            raise SettingError(asked, "no NAME=VALUE", do)
        if name in found:
            raise SettingError(asked, f"{name} a second time", "set it once")
        try:
            found[name] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise SettingError(asked, str(error).splitlines()[0], do) from error
        if isinstance(found[name], list | dict):
            raise SettingError(asked, "several values", do)
    return found


def family_of(name: str, kernel: int | None, settings: Mapping[str, Any] | None = None) -> Family:
    """The family of that name.

    Raises:
        SettingError: no such family, or it has no kernel.
    """
    from modelstitch.stitches import FAMILIES

    found: Family = _built("family", FAMILIES, name, {"kernel": kernel}, settings)
    return found


def matching_of(by: str, settings: Mapping[str, Any] | None = None, **options: Any) -> Matching:
    """The matching of that name, with those of its options that were given.

    Raises:
        SettingError: no such matching, or an option of the other one.
    """
    from modelstitch.matching import MATCHINGS

    found: Matching = _built("matching", MATCHINGS, by, options, settings)
    return found


def _built(
    kind: str, known: Mapping[str, type], name: str, options: dict[str, Any], settings: Mapping[str, Any] | None
) -> Any:
    """The family or matching of that name with what was given; what it cannot have is refused in words."""
    from modelstitch.recipe import wrong_in

    made = known[choose(_OPTION[kind], name, known)]
    asked, settings = f"{_OPTION[kind]} {name}", settings or {}
    given = {option: value for option, value in options.items() if value is not None}
    for option in given.keys() & settings.keys():
        raise SettingError(f"--set {option}", f"--{_dashed(option)} as well", "leave one of them out")
    for wrong in wrong_in({"name": name, **given, **settings}, kind, {kind: known}):
        raise _refusal(asked, made, wrong, settings)
    return made(**given, **settings)


def _refusal(asked: str, made: Any, wrong: Mapping[str, Any], settings: Mapping[str, Any]) -> StitchError:
    """What to raise for something that is wrong; an option without effect is, since its author expects one."""
    key = str(wrong["loc"][0]) if wrong["loc"] else ""
    option = f"--set {key}" if key in settings else f"--{_dashed(key)}"
    why = wrong.get("ctx", {}).get("error")
    if isinstance(why, StitchError):
        return why
    if wrong["type"] == "extra_forbidden":
        takes = _listed([f"--{_dashed(field.name)}" for field in dataclasses.fields(made)])
        return SettingError(f"{asked} with {option}", f"it takes {takes}", f"leave {option} out")
    told = f"{option}={wrong['input']!r}" if key in settings else f"{option} {wrong['input']}"
    if "known" in wrong:
        words = wrong["known"]
        do = did_you_mean(str(wrong["input"]), words, f"choose one of {', '.join(words)}")
        return SettingError(told, "no such choice", do)
    return SettingError(told, f"no such value: {wrong['msg']}", f"leave {option} out, or give another")


def _dashed(name: str) -> str:
    return name.replace("_", "-")


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names) or "nothing"


def task_of(name: str | None) -> Task | None:
    """The task of that name, or of that JSON, as records write it; None where it is to be guessed.

    Raises:
        SettingError: no such task.
        BadFile: JSON of no task.
    """
    from modelstitch.support.settings import built
    from modelstitch.tasks import TASKS, Task

    if name and name.startswith("{"):
        task: Task = built(name, Task)
        return task
    return None if name is None else TASKS[choose("--task", name, TASKS)]()


def schedule_of(data: str, method: Any, **options: Any) -> Schedule:
    """The data set's own schedule for a method, with what was given in its place.

    Raises:
        SettingError: no such method, or a value that cannot train.
    """
    from modelstitch.pretraining import METHODS, default_schedule

    choose("--method", method, METHODS)

    given = {name: value for name, value in options.items() if value is not None}
    return default_schedule(data.rpartition(":")[2], method, **given)
