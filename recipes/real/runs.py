"""What the scripts of this folder share: which stitchings stand side by side, where records go, the command line."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

import modelstitch as ms
from modelstitch.matching import Matching

# What reads the nouns of WordNet stands one folder up.
sys.path.append(str(Path(__file__).resolve().parents[1]))


def shuffled(n: int, seed: int = 0) -> torch.Tensor:
    """The numbers below n in a random order that the seed decides."""
    return torch.randperm(n, generator=torch.Generator().manual_seed(seed))


def side_by_side(a: Any, b: Any, train: Any, test: Any, *, by: Sequence[Matching], **asked: Any) -> ms.Records:
    """Affine stitches by each matching, the first with controls, and then the identity, at every cut both ways.

    Args:
        a: a network.
        b: another.
        train: examples to fit on.
        test: examples to measure on.
        by: the matchings.
        asked: whatever else `modelstitch.stitch_all` takes.
    """
    controls = asked.pop("controls", ("self", "untrained"))
    records = ms.stitch_all(a, b, train, test, family=ms.Affine(), by=by[0], controls=controls, **asked)
    for one in by[1:]:
        records += ms.stitch_all(a, b, train, test, family=ms.Affine(), by=one, controls=(), **asked)
    return records + ms.stitch_all(a, b, train, test, family=ms.Identity(), controls=(), **asked)


def main(name: str, about: str | None, run: Callable[[ms.Store], ms.Records]) -> None:
    """Run a job and write OUT/NAME.jsonl; called again, it goes on where it was.

    Args:
        name: of the job.
        about: what ``--help`` says.
        run: makes the records.
    """
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="the folder of the records")
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    made = run(ms.Store(out / f"{name}.sqlite"))
    # A network that is in two pairs is stitched to itself beside each, which is one record.
    records = ms.Records({record.key: record for record in made}.values(), made.left_out)
    records.save(out / f"{name}.jsonl")
    print(records)
