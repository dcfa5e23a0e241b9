"""``modelstitch stitch``: two networks at every cut, or one stitching by its notation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from modelstitch.cli import inputs, show
from modelstitch.cli.options import (
    REFERENCES,
    Data,
    DataFolder,
    Device,
    ImageSize,
    Json,
    Kind,
    Label,
    Limit,
    Seed,
    TestData,
    Text,
    Threads,
)
from modelstitch.cli.processes import shared
from modelstitch.errors import SettingError, TaskMismatch
from modelstitch.vocabulary import FAMILIES, MATCHINGS, TASKS

if TYPE_CHECKING:
    from modelstitch.networks import Network
    from modelstitch.stitching import Stitching

_NETWORKS = (
    f"Two networks, for every cut and both ways; or one stitching, 'A@layer2.1 -> B@layer2.1'. Each: {REFERENCES}."
)
_FIGURE = "A figure: .png, .svg, .pdf or .html; may be repeated."
_PATIENCE = "By task: stop after so many epochs without a lower loss on a held-out tenth of the train set."
_RATE = "By task: at the beginning, for all stitches (default: 0.005, less in wide layers)."
_FAMILY = f"{', '.join(FAMILIES)}."
_BY = "; ".join(f"{name}: {word.line}" for name, word in MATCHINGS.items()) + "."
_SET = "NAME=VALUE: a setting of the family or the matching without an option of its own; may be repeated."
_TASK = f"What outputs are judged by: {', '.join(TASKS)}; or JSON with its settings; by default guessed."
_TOP = "Downhill: frozen (default); or a copy of the top trains along, from fresh or trained weights."


@shared
def stitch(
    networks: Annotated[list[str], typer.Argument(help=_NETWORKS)],
    data: Data = None,
    data_folder: DataFolder = None,
    image_size: ImageSize = None,
    text: Text = None,
    label: Label = None,
    test_data: TestData = None,
    task: Annotated[str | None, typer.Option(help=_TASK)] = None,
    family: Annotated[str, typer.Option(help=_FAMILY)] = "affine",
    kernel: Annotated[int | None, typer.Option(help="Side of the stitch's convolution, odd.")] = None,
    by: Annotated[str, typer.Option(help=_BY)] = "task",
    epochs: Annotated[int | None, typer.Option(help="By task: passes over the data (default: 500 steps).")] = None,
    learning_rate: Annotated[float | None, typer.Option(help=_RATE)] = None,
    batch_size: Annotated[int | None, typer.Option(help="By task: examples a step.")] = None,
    start: Annotated[str | None, typer.Option(help="By task: least_squares, identity or random.")] = None,
    patience: Annotated[int | None, typer.Option(help=_PATIENCE)] = None,
    precision: Annotated[str | None, typer.Option(help="By task: float32, or bfloat16 while fitting.")] = None,
    top: Annotated[str | None, typer.Option(help=_TOP)] = None,
    ridge: Annotated[float | None, typer.Option(help="Direct: strength of the penalty on the map.")] = None,
    settings: Annotated[list[str] | None, typer.Option("--set", help=_SET)] = None,
    batch_norm: Annotated[str, typer.Option(help="frozen (as trained) or batch (batch statistics).")] = "frozen",
    seed: Seed = 0,
    compute: Device = None,
    threads: Threads = None,
    memory: Annotated[float | None, typer.Option(help="GB of memory for activations; 2 by default.")] = None,
    cache: Annotated[Path | None, typer.Option(help="Keep up to 20 GB of activations here for later calls.")] = None,
    limit: Limit = None,
    every: Annotated[bool, typer.Option("--all", help="All legal cuts instead of one a block.")] = False,
    kind: Kind = None,
    no_controls: Annotated[bool, typer.Option("--no-controls", help="Leave the controls out.")] = False,
    out: Annotated[Path | None, typer.Option(help="A store: gets each record once measured; resumes.")] = None,
    figure: Annotated[list[Path] | None, typer.Option(help=_FIGURE)] = None,
    as_json: Json = False,
) -> None:
    """Stitch two networks and measure the penalty: how much worse the stitched network is than the top's own."""
    figures, one, setting = inputs.figures_of(figure or []), _only(networks, every, no_controls), _setting(locals())
    split, loaded = inputs.data_for(inputs.networks_of(found := _two(one, networks)), _named(locals()), found)
    run = partial(_one, one, loaded, split) if one else partial(_all, loaded, split, every, no_controls)
    _end(_judged(run, setting, loaded, found), _places(loaded, found), figures, as_json)


def _two(one: Stitching | None, networks: list[str]) -> list[str]:
    """The references of the networks: those of a stitching, one where both are the same, or those that were named."""
    return list(dict.fromkeys([one.bottom, one.top])) if one else networks


def _judged(
    run: Callable[[dict[str, Any]], Any], setting: dict[str, Any], loaded: Sequence[Network], references: Sequence[str]
) -> Any:
    """The records; where published networks were trained for other answers than the data ask, judged by their own."""
    from modelstitch.networks import is_published
    from modelstitch.tasks import Imitation

    setting["store"] = inputs.store_of(setting["store"])
    setting["kinds"] = inputs.kinds_of(setting["kinds"], loaded, references)
    try:
        return run(setting)
    except TaskMismatch as error:
        if setting["task"] is not None or not all(map(is_published, references)):
            raise
        show.talk(f"note: {error.found}: these networks were trained for other answers than the data's targets")
        show.talk("note: judged by how well the top's own answers are kept, without targets (--task imitation)")
    return run({**setting, "task": Imitation()})


def _places(loaded: Sequence[Network], references: Sequence[str]) -> dict[str, str]:
    """Where each network came from, by the name that records call it."""
    return {one.name: reference for one, reference in zip(loaded, references, strict=True)}


def _end(records: Any, references: dict[str, str], figures: Sequence[Path], as_json: bool) -> None:
    show.records(records, references, as_json)
    show.figures(records, figures)
    show.leave(records)


def _setting(typed: dict[str, Any]) -> dict[str, Any]:
    """What both calls take, from the options by their names."""
    of_matching = ("epochs", "learning_rate", "batch_size", "start", "patience", "precision", "top", "ridge")
    options = {name: typed[name] for name in ("kernel", *of_matching)}
    family, by = inputs.chosen(typed["family"], typed["by"], typed["settings"] or [], **options)
    inputs.use_threads(typed["threads"])
    found = {"family": family, "by": by, "seed": typed["seed"], "task": inputs.task_of(typed["task"])}
    # As they were typed, until the networks and the data are there.
    found |= {"kinds": typed["kind"] or [], "store": typed["out"]}
    found |= {"batch_norm": inputs.choose("--batch-norm", typed["batch_norm"], ("frozen", "batch"))}
    return found | {"compute": inputs.with_room(typed["compute"], typed["memory"], typed["cache"])}


def _named(typed: dict[str, Any]) -> inputs.Named:
    """The data, from the options by their names."""
    told = {name: typed[name] for name in ("limit", "text", "label")}
    places = {"name": typed["data"], "folder": typed["data_folder"], "size": typed["image_size"]}
    return inputs.Named(**told, **places, test=typed["test_data"], next_token=typed["task"] == "next_token")


def _only(networks: list[str], every: bool, no_controls: bool) -> Stitching | None:
    """The one stitching that was written, or None where two networks were named."""
    from modelstitch.stitching import Stitching

    if len(networks) == 2:
        return None
    if len(networks) > 2:
        do = "name two: modelstitch stitch A B; or quote one: modelstitch stitch 'A@layer2.1 -> B@layer2.1'"
        raise SettingError(f"to stitch {' '.join(networks)}", f"{len(networks)} arguments", do)
    if every or no_controls:
        option = "--all" if every else "--no-controls"
        raise SettingError(f"{option} with one stitching", "one cut on each side", f"leave {option} out")
    return Stitching.parse(networks[0])


def _one(one: Stitching, loaded: list[Network], split: Any, setting: dict[str, Any]) -> Any:
    """The record of one stitching, under the names that its networks go by."""
    from modelstitch.records import Records
    from modelstitch.stitching import Stitching
    from modelstitch.stitching import stitch as stitch_one

    known = {each.name: each.module for each in loaded}
    named = Stitching(loaded[0].name, one.bottom_cut, loaded[-1].name, one.top_cut)
    return Records([stitch_one(named, known, split.train, split.test, **setting)])


def _all(loaded: list[Network], split: Any, every: bool, no_controls: bool, setting: dict[str, Any]) -> Any:
    from modelstitch.stitching import stitch_all

    a, b = loaded
    options = {"names": (a.name, b.name), "every": every, **({"controls": ()} if no_controls else {}), **setting}
    return stitch_all(a.module, b.module, split.train, split.test, **options)
