"""What several processes do together in the tests, and one alone to compare with; networks and data are tiny.

Run as a script, which is how ``ddp`` starts it again for the second process, it does everything and writes what the
first has found: ``python job.py FOLDER``. Batches of 128 leave a last batch of three, of which one process gets two;
the held-out tenth ends in a batch of one, which is too small to share.
"""

import importlib
import os
import pickle
import sys
from datetime import timedelta
from pathlib import Path

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from modelstitch.activations import Sources, moments_or_failures
from modelstitch.compute import Compute
from modelstitch.data import Samples, Split, digits
from modelstitch.errors import NumericalFailure, SettingError
from modelstitch.matching import Direct, TaskLoss
from modelstitch.networks import Network, build
from modelstitch.parallel import Ranks, among, launch, ranks
from modelstitch.parallel.exchange import rows_of_all
from modelstitch.pretraining import Schedule, fit_head, simclr, train_network, train_simclr, train_supervised
from modelstitch.records import Store
from modelstitch.stitches import Affine
from modelstitch.stitching import Setting, controls, pairings, run
from modelstitch.support.seeding import generator, seeded
from modelstitch.support.tensors import fingerprint
from modelstitch.sweep import run_recipe
from modelstitch.tasks import Classification

EXAMPLES = 259
STITCHING = {
    "task": Setting(Affine(), TaskLoss(epochs=2)),
    "patience": Setting(Affine(), TaskLoss(epochs=6, learning_rate=0.3, patience=1, start="random", batch_size=24)),
    # A small rate: batch statistics of few examples magnify what is rounded otherwise.
    "batch": Setting(Affine(), TaskLoss(epochs=1, learning_rate=1e-3), "batch"),
    "reestimated": Setting(Affine(), Direct(), "batch"),
    "stored": Setting(Affine(), Direct()),
}
RECIPE = """\
name: tiny
question: Do they?
data: {name: digits, train: 65, test: 40}
networks:
  net: {architecture: mlp, options: {widths: [8]}, samples: 200, epochs: 2, seeds: [0, 1]}
  early: {architecture: mlp, options: {widths: [8]}, samples: 200, epochs: 2, seeds: [0], checkpoint: 1}
  pairs: {architecture: mlp, options: {widths: [8]}, samples: 200, epochs: 1, seeds: [0], method: simclr}
  bad: {architecture: mlp, options: {widht: 8}, epochs: 1, seeds: [0]}
stitchings:
  - pairs: [[early-0, net-1], [pairs-0, net-1], [bad-0, net-0]]
    matchings: [{name: direct}, {name: task, epochs: 1}]
measures: [cka_minibatch]
"""


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
    writes = Writes()
    split = digits()
    train, test = split.train.first(EXAMPLES), split.test
    curves, bases = _base_networks(train)
    kept = {"folder": folder / "net", "schedule": Schedule(epochs=2), "checkpoints": [1], "widths": (4,)}
    config = [train_network("mlp", Split(train, test), seed=0, **kept) for _ in range(2)]
    a, b = network(0), network(1)
    # Each process trains them by itself, to the same bits: what is compared is what follows.
    for one in (a, b):
        with among(Ranks()):
            train_supervised(one, train, schedule=Schedule(epochs=12, learning_rate=0.2), seed=0)
    store = Store(folder / "records.sqlite")
    first, second = (Network(name, one).ready(test.example, Compute()) for name, one in (("A", a), ("B", b)))
    records = _stitched(first, second, train, test, store)
    mine = {
        "weights": [fingerprint(one.state_dict()) for one in (*bases, a, b)],
        "records": {name: [record.score("loss").stitched for record in found] for name, found in records.items()},
        "writes": writes.counts,
        "training": [module.training for module in a.modules()] + ["forward" in vars(m) for m in a.modules()],
        "failure": _failure(first, train),
        "different": _different(first, split),
        "rows": _rows(),
    }
    return {
        "curves": curves,
        "config": config,
        "contrast": _contrast(),
        "records": records,
        "count": ranks().count,
        "each": ranks().gathered(mine),
    }


class Writes:
    """How often this process opened a store to write, and saved a network."""

    def __init__(self):
        self.counts = {}
        for room, name in (("records", "writing"), ("pretraining", "save_network")):
            self._count(importlib.import_module(f"modelstitch.{room}.store"), name)

    def _count(self, module, name):
        before = getattr(module, name)
        self.counts[name] = 0

        def counted(*args):
            self.counts[name] += 1
            return before(*args)

        setattr(module, name, counted)


def _base_networks(train: Samples) -> tuple[dict, list[nn.Module]]:
    """Curves of networks trained in each way, and the networks."""
    # In float64: over steps that are badly conditioned, such as a batch norm over the last three examples, float32
    # turns rounding into another training.
    exact = Samples("digits", train.normalised(train.inputs).double(), train.labels, 10, crop=1, flip=True)
    mlp, resnet = build("mlp", seed=0, inputs=64).double(), build("resnet18", seed=0, width=2, channels=1).double()
    curves = {
        name: train_supervised(one, exact, schedule=Schedule(epochs=3), seed=0)
        for name, one in {"mlp": mlp, "resnet": resnet}.items()
    }
    # Begun from other weights in each process.
    begun = network(10 + ranks().rank)
    train_supervised(begun, train, schedule=Schedule(epochs=1), seed=0)
    views = build("mlp", seed=0, inputs=64, widths=(8,))
    curves["simclr"] = train_simclr(views, train, schedule=Schedule(epochs=2), seed=0)
    curves["head"] = fit_head(views, train, seed=0)[:3]
    return curves, [mlp, resnet, begun, views]


def _contrast() -> list[torch.Tensor]:
    """Gradients of the contrastive loss of ten views in float64."""
    one = simclr._Contrast(build("mlp", seed=0, inputs=64, widths=(8,))).double()
    for parameter in one.projection.parameters():
        nn.init.normal_(parameter, generator=generator("projection"))
    views = torch.randn(10, 1, 8, 8, generator=generator("views"), dtype=torch.float64)
    targets = ranks().part(simclr.twins(5))
    loss = cross_entropy(one(ranks().part(views)), targets, reduction="sum" if ranks().several else "mean")
    loss.backward()
    ranks().average_gradients(one.parameters(), float(len(targets)))
    return [parameter.grad for parameter in one.parameters() if parameter.grad is not None]


def _rows() -> tuple:
    """Rows of all where each process has another number of them, and a gradient that each gives another row."""
    mine = torch.full((ranks().rank + 1, 2), float(ranks().rank), requires_grad=True)
    found, own = rows_of_all(mine)
    (found[0] * 2 + found[-1] * 10 ** ranks().rank).sum().backward()
    return found.tolist(), (own.start, own.stop), mine.grad.tolist()


def _stitched(first: Network, second: Network, train: Samples, test: Samples, store: Store) -> dict:
    """Records of each setting, and of the stored one asked for again."""
    found = {}
    for name, setting in [*STITCHING.items(), ("again", STITCHING["stored"])]:
        made = pairings(train, test, Classification(), setting, Compute())
        asked = made.directions(first, second, both=True)
        if name == "task":
            asked += [made.self_stitches(first), *controls(("untrained", "noise", "shuffled"), made, first, second)]
        found[name] = run(asked, store if name in ("stored", "again") else None)
    return found


def _failure(one: Network, train: Samples) -> str:
    """The moments of activations of which a single one, and so one process's, is not finite."""
    inputs = train.inputs.float()
    inputs[-1] = float("inf")
    cut = one.captured.blocks[0]
    source = Sources(Samples("x", inputs, train.labels, 10)).of(one.captured)
    (found,) = moments_or_failures(source, source, [(cut, cut)])
    return str(found) if isinstance(found, NumericalFailure) else ""


def _different(one: Network, split: Split) -> str:
    """What processes meet that were given different data to fit on."""
    train = split.train.first(64 + ranks().rank)
    made = pairings(train, split.test, Classification(), STITCHING["stored"], Compute())
    try:
        run(made.directions(one, one, both=False), None)
    except SettingError as error:
        return str(error)
    return ""


def dies(_: Path) -> None:
    if ranks().rank == 1:
        os._exit(3)
    train_supervised(network(0), digits().train.first(64), schedule=Schedule(epochs=1), seed=0)


def errs_alone(folder: Path) -> None:
    """A recipe of which one process cannot train a network."""
    network_store = importlib.import_module("modelstitch.sweep.network_store")
    train = network_store.train_network

    def refuse(*args, **kwargs):
        if ranks().rank == 1:
            raise SettingError("something", "only by the second process", "see to it")
        return train(*args, **kwargs)

    network_store.train_network = refuse
    run_recipe(RECIPE, Store(folder / "run.sqlite"), networks=folder / "nets")


def launched(job, folder: Path) -> None:
    """Do a job over two processes."""
    # The default is minutes of a test that waits for what never comes.
    importlib.import_module("modelstitch.parallel.launch")._PATIENCE = timedelta(seconds=3)
    launch(job, folder, devices=2)


if __name__ == "__main__":
    place = Path(sys.argv[1])
    torch.set_num_threads(1)
    found = launch(everything, place, devices=2)
    # Below the call the first process is alone.
    print(f"written by process {os.environ.get('LOCAL_RANK', '0')}")
    (place / "found.pickle").write_bytes(pickle.dumps(found))
