"""The command line: one script, few verbs; each reads what was typed, calls one public function, and prints.

Standard output is data, standard error is talk. Exit codes: 0 ok, 1 the run failed, 2 the request was wrong, 130
interrupted. Beware: a verb loads torch when it runs and not before, so that help answers at once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated

import typer

from modelstitch.cli.compare import compare
from modelstitch.cli.connect import connect
from modelstitch.cli.cuts import cuts
from modelstitch.cli.demo import demo
from modelstitch.cli.doctor import doctor
from modelstitch.cli.endings import Verbs
from modelstitch.cli.merge import merge
from modelstitch.cli.records import records
from modelstitch.cli.report import report
from modelstitch.cli.reproduce import reproduce
from modelstitch.cli.stitch import stitch
from modelstitch.cli.sweep import schema, sweep
from modelstitch.cli.train import train
from modelstitch.support.version import VERSION

app = typer.Typer(cls=Verbs, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)

EXAMPLES: dict[Callable[..., None], str] = {
    demo: "modelstitch demo",
    train: "modelstitch train resnet18 --data digits --width 8 --seed 0 --out nets/seed0",
    cuts: "modelstitch cuts nets/seed0",
    stitch: "modelstitch stitch nets/seed0 nets/seed1 --out records.sqlite --figure penalty.png",
    compare: "modelstitch compare nets/seed0 nets/seed1 --measure cka_minibatch,procrustes --figure heat.html",
    connect: "modelstitch connect nets/seed0 nets/seed1 --data digits --out points.csv --figure connectivity.png",
    sweep: "modelstitch sweep recipes/quickstart.yaml --dry-run",
    reproduce: "modelstitch reproduce fig3b --size small --dry-run",
    report: "modelstitch report runs/quickstart.sqlite --figures figures",
    schema: "modelstitch schema > recipe.schema.json",
    records: "modelstitch records records.sqlite --csv --out records.csv",
    merge: "modelstitch merge all.sqlite seeds01.sqlite seeds23.sqlite",
    doctor: "modelstitch doctor",
}
"""Every verb, with the line that its help ends with."""

ALSO: dict[Callable[..., None], tuple[str, ...]] = {
    cuts: ("modelstitch cuts timm:vit_tiny_patch16_224",),
    stitch: (
        "modelstitch stitch timm:resnet18 timm:resnet34 --data image_folder --data-folder flowers",
        "modelstitch stitch hf:./encoder_a hf:./encoder_b --data texts.csv --text body --label topic",
        "modelstitch stitch hf:./gpt_a hf:./gpt_b --data lines.txt --task next_token",
    ),
}
"""Further lines of that kind, above the example."""

for _verb, _example in EXAMPLES.items():
    app.command(epilog="\n\n".join([*ALSO.get(_verb, ()), f"Example: {_example}"]))(_verb)


def _show_version(asked: bool) -> bool:
    if asked:
        typer.echo(f"modelstitch {VERSION}")
        raise typer.Exit
    return asked


@app.callback(epilog="Example: modelstitch demo")
def _front(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version and stop.")
    ] = False,
) -> None:
    """Join the bottom of one trained network to the top of another, and measure what is lost."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and leave with its exit code.

    Args:
        arguments: what was typed after ``modelstitch``; by default what the process was started with.
    """
    app(None if arguments is None else list(arguments), prog_name="modelstitch")


__all__ = ["EXAMPLES", "app", "main"]
