"""Options that several verbs share, each with its one spelling and its one line of help."""

from __future__ import annotations

from typing import Annotated

import typer

from modelstitch.cli.inputs import compute_of
from modelstitch.compute import Compute
from modelstitch.vocabulary import SCHEMES

_DEVICE = "cpu, cuda, cuda:1, mps, … By default the CPU."

DATA_NAMES = (
    "digits, fashion_mnist, cifar10, cifar100, image_folder; a file (.csv, .tsv, .parquet, .jsonl, .txt, .npz, "
    ".safetensors) or a folder of the library datasets; or py:package.module:function"
)
REFERENCES = f"a folder that `train` wrote, or {', '.join(word.title for word in SCHEMES.values())}"

Network = Annotated[str, typer.Argument(help=f"{REFERENCES[0].upper()}{REFERENCES[1:]}.")]
Data = Annotated[
    str | None,
    typer.Option(help=f"{DATA_NAMES}; by default what the networks were trained on."),
]
DataFolder = Annotated[
    str | None,
    typer.Option(help="Where the data's files are; by default the usual places are searched."),
]
ImageSize = Annotated[
    int | None,
    typer.Option(help="Side of an image_folder's images in pixels; by default the networks' own, else 224."),
]
Text = Annotated[
    str | None, typer.Option(help="Of a file: the column of texts; the hf: network's own tokenizer reads them.")
]
Label = Annotated[str | None, typer.Option(help="Of a file: the column of targets; by default one called label.")]
TestData = Annotated[str | None, typer.Option(help="A second file to measure on; by default a fifth is held out.")]
Kind = Annotated[
    list[str] | None,
    typer.Option(
        "--kind",
        metavar="NETWORK@CUT=KIND",
        help="Where the channels are at a cut whose kind is unknown: map, tokens or a number; may be repeated.",
    ),
]
Device = Annotated[
    Compute | None,
    # Not the parser makes it: typer would put an error of its own in the place of one that is a ValueError.
    typer.Option("--device", metavar="<str>", parser=str, callback=compute_of, help=_DEVICE),
]
Threads = Annotated[int | None, typer.Option(help="CPU threads; by default one a core. The last digits depend on it.")]
Limit = Annotated[int | None, typer.Option(help="Use the first N train examples only.")]
Seed = Annotated[int, typer.Option(help="Keys everything that is drawn at random.")]
Json = Annotated[bool, typer.Option("--json", help="JSON, one object a line, instead of a table.")]
