"""``modelstitch train``: one base network, trained once and kept."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from modelstitch.cli import inputs, show
from modelstitch.cli.options import DATA_NAMES, DataFolder, Device, ImageSize, Json, Limit, Seed, Threads
from modelstitch.cli.processes import shared

_TASK = "What the network learns, by the name of a task; by default the only one that fits data and outputs."


@shared
def train(
    architecture: Annotated[str, typer.Argument(help="mlp, myrtle, resnet18, resnet164, vit, gpt or unet.")],
    data: Annotated[str, typer.Option(help=f"{DATA_NAMES}.")],
    out: Annotated[Path, typer.Option(help="The network folder to write.")],
    data_folder: DataFolder = None,
    image_size: ImageSize = None,
    width: Annotated[int | None, typer.Option(help="Channels of the first stage or of a token; or units.")] = None,
    task: Annotated[str | None, typer.Option(help=_TASK)] = None,
    method: Annotated[str, typer.Option(help="supervised, or simclr with a linear classifier.")] = "supervised",
    seed: Seed = 0,
    epochs: Annotated[int | None, typer.Option(help="Passes over the data.")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Of the first half of all steps.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Examples a step.")] = None,
    compute: Device = None,
    threads: Threads = None,
    limit: Limit = None,
    as_json: Json = False,
) -> None:
    """Train a network and keep it in a folder; where it is there already, only read it."""
    from modelstitch.pretraining import train_network

    inputs.use_threads(threads)
    split = inputs.split_of(data, data_folder, limit, size=image_size)
    schedule = inputs.schedule_of(data, method, epochs=epochs, learning_rate=learning_rate, batch_size=batch_size)
    sizes = {} if width is None else {"widths": (width, width)} if architecture == "mlp" else {"width": width}
    there = (out / "config.json").exists()
    asked: dict[str, Any] = {"seed": seed, "method": method, "schedule": schedule, "task": inputs.task_of(task)}
    config = train_network(architecture, split, folder=out, compute=compute, **asked, **sizes)
    if there:
        show.talk(f"already trained: {out}")
    show.trained(config, out, len(split.test), as_json)
