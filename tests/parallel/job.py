"""What several processes do together in the tests: run as a script by each, and by one process to compare with.

    python job.py WHAT COUNT FOLDER

Networks and data are tiny. Batches of 128 fall unevenly to three processes, and 258 examples leave a last batch of two,
which is too small for them to share.
"""

import os
import pickle
import sys
from pathlib import Path

import torch
from torch import nn

from modelstitch.cut import capture
from modelstitch.data import Samples, digits
from modelstitch.errors import NumericalFailure, SettingError
from modelstitch.matching import Direct, TaskLoss, paired_moments
from modelstitch.networks import build
from modelstitch.parallel import Ranks, among, launch, ranks
from modelstitch.pretraining import Schedule, train_supervised
from modelstitch.records import RecordFile
from modelstitch.seeding import seeded
from modelstitch.sweep import stitch_all
from modelstitch.tensors import fingerprint

EXAMPLES = 258
STITCHING = {
    "task": {"by": TaskLoss(epochs=2)},
    "patience": {"by": TaskLoss(epochs=6, learning_rate=0.3, patience=1, start="random"), "with_controls": False},
    "batch": {"by": TaskLoss(epochs=1), "batch_norm": "batch", "with_controls": False},
    "reestimated": {"by": Direct(), "batch_norm": "batch", "with_controls": False},
}


class CountedFile(RecordFile):
    """A store that knows how often it was written to, and read from, by this process."""

    appended = 0

    def append(self, record):
        self.appended += 1
        super().append(record)


def network(seed: int) -> nn.Module:
    with seeded("parallel", seed):
        return nn.Sequential(
            nn.Conv2d(1, 4, 3, padding=1),
            nn.BatchNorm2d(4),
            nn.ReLU(),
            nn.Conv2d(4, 6, 3, stride=2),
            nn.BatchNorm2d(6),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(6, 10),
        )


def everything(folder: Path) -> dict:
    """Train, stitch and gather; what each process ends with stands beside what the first has found."""
    split = digits()
    train, test = split.train.first(EXAMPLES), split.test
    schedule = Schedule(epochs=6)
    # In float64: over steps that are badly conditioned, such as a batch norm over the last two examples, float32 turns
    # rounding into another training.
    exact = Samples("digits", train.normalised(train.inputs).double(), train.labels, 10, crop=1, flip=True)
    mlp, resnet = build("mlp", seed=0, inputs=64).double(), build("resnet18", seed=0, width=2, channels=1).double()
    curves = {
        name: train_supervised(one, exact, schedule=schedule, seed=0)
        for name, one in {"mlp": mlp, "resnet": resnet}.items()
    }
    # Begun from other weights in each process.
    begun = network(10 + ranks().rank)
    train_supervised(begun, train, schedule=Schedule(epochs=1), seed=0)
    a, b = network(0), network(1)
    # Each process trains them by itself, to the same bits: what is compared is what follows.
    for one in (a, b):
        with among(Ranks()):
            train_supervised(one, train, schedule=Schedule(epochs=20, learning_rate=0.2), seed=0)
    records = {name: stitch_all(a, b, train, test, **setting) for name, setting in STITCHING.items()}
    store = CountedFile(folder / "records.jsonl")
    stored = stitch_all(a, b, train, test, by=Direct(), store=store)
    again = stitch_all(a, b, train, test, by=Direct(), store=store)
    mine = {
        "weights": [fingerprint(one.state_dict()) for one in (mlp, resnet, begun, a, b)],
        "records": [[record.loss for record in found] for found in (*records.values(), stored, again)],
        "appended": store.appended,
        "training": [module.training for module in a.modules()] + ["forward" in vars(m) for m in a.modules()],
        "failure": _failure(a, train),
    }
    return {
        "curves": curves,
        "records": records,
        "stored": stored,
        "count": ranks().count,
        "each": ranks().gathered(mine),
    }


def _failure(one: nn.Module, train: Samples) -> str:
    """The moments of activations of which a single one, and so one process's, is not finite."""
    inputs = train.inputs.float()
    inputs[-1] = float("inf")
    captured = capture(one.eval(), inputs[:2])
    cut = captured.blocks[0]
    try:
        paired_moments(captured, captured, [(cut, cut)], Samples("x", inputs, train.labels, 10))
    except NumericalFailure as failure:
        return str(failure)
    return ""


def dies(_: Path) -> None:
    if ranks().rank == 1:
        os._exit(3)
    train_supervised(network(0), digits().train.first(64), schedule=Schedule(epochs=1), seed=0)


def refuses_alone(_: Path) -> None:
    if ranks().rank == 1:
        raise SettingError("something", "only by the second process", "see to it")
    train_supervised(network(0), digits().train.first(64), schedule=Schedule(epochs=1), seed=0)


def differs(_: Path) -> None:
    split, rank = digits(), ranks().rank
    stitch_all(network(0), network(rank), split.train.first(64), split.test, by=Direct(), with_controls=False)


JOBS = {job.__name__: job for job in (everything, dies, refuses_alone, differs)}

if __name__ == "__main__":
    what, count, folder = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
    torch.set_num_threads(1)
    found = launch(JOBS[what], folder, devices=count)
    # Below the call the first process is alone.
    print(f"written by process {os.environ.get('LOCAL_RANK', '0')}")
    (folder / "found.pickle").write_bytes(pickle.dumps(found))
