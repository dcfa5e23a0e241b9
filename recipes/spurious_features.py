"""Spurious features: useless channels lower CKA and cost a stitching nothing; shuffled positions do the reverse.

    python recipes/spurious_features.py NETS OUT

Source: Bansal, Nakkiran & Barak 2021, section 3, argues both without an experiment.
Networks: six ResNet-18 of width 8 in NETS/seed0 … NETS/seed5, each made by
`modelstitch train resnet18 --data fashion_mnist --width 8 --epochs 4 --seed S --out NETS/seedS`.
Stitchings: 0 -> 1, 2 -> 3, 4 -> 5 after each stage. The bottom is one of four networks that classify exactly alike:

- `seed0`: as trained.
- `seed0+features0.9`: beside its layers runs an untrained network, whose channels are appended after each stage and
  read by nobody: its own layers drop them again. They hold 0.9 of the variance, and tell of the image.
- `seed0+noise0.9`: the same, but the untrained network sees noise in place of the image, and tells nothing.
- `seed0#0.5`: half of the positions are shuffled after each stage and put back before the next.

Expected: appended channels take CKA down and leave the penalty alone. Shuffled positions leave CKA of flattened
activations as it is, exactly, while the penalty rises, since a stitch works position by position; but not after the
last stage, above which the top only averages over positions. CKA with a row for each position falls with both.
OUT gets records.sqlite (penalties), its export records.jsonl once all is done, and cka.jsonl. Called again, it goes on;
spurious_figure.py draws it.
Time: about an hour on one core of a busy machine.
"""

from __future__ import annotations

import argparse
import json
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import modelstitch as ms
from modelstitch.data import Samples
from modelstitch.measures import MEASURES
from modelstitch.networks import Network, load_folder
from modelstitch.stitching import Setting, check_identity, pairings, provenance, run
from modelstitch.support.seeding import generator
from modelstitch.tasks import Classification

STAGES = ("layer1", "layer2", "layer3", "layer4")
SHARES = (0.5, 0.9, 0.99, 0.999)
SHUFFLED = (0.25, 0.5, 1.0)
PAIRS = ((0, 1), (2, 3), (4, 5))
FLATTENED = 1000
"""How many test images CKA is computed on by flattened activations, which costs time as the square of it."""


class Noise(nn.Module):
    """One of 512 noise pictures for each image, picked by what the image is and by nothing that it shows."""

    def __init__(self, shape: tuple[int, ...], seed: int) -> None:
        super().__init__()
        self.register_buffer("pictures", torch.randn(512, *shape, generator=generator("noise pictures", seed)))
        weights = torch.randn(self.pictures[0].numel(), generator=generator("noise weights", seed))
        self.register_buffer("weights", weights.double())

    def forward(self, images: Tensor) -> Tensor:
        """The pictures."""
        # In float64, so that the sum's last digits, which depend on the size of the batch, pick no other picture.
        sums = images.flatten(1).double() @ self.weights
        return self.pictures[(1000 * sums).long() % len(self.pictures)]


class Entry(nn.Module):
    """The image, and beside it what the useless layers see."""

    def __init__(self, second: nn.Module) -> None:
        super().__init__()
        self.second = second

    def forward(self, images: Tensor) -> Tensor:
        """Both, one after the other on the channel axis."""
        return torch.cat([images, self.second(images)], 1)


class Appended(nn.Module):
    """A stage beside a useless one: each reads its own channels, and the useless ones are scaled and shifted."""

    def __init__(self, useful: nn.Module, useless: nn.Module, read: int, scale: Tensor, shift: Tensor) -> None:
        super().__init__()
        self.useful, self.useless, self.read = useful, useless, read
        self.register_buffer("scale", scale.view(1, -1, 1, 1))
        self.register_buffer("shift", shift.view(1, -1, 1, 1))

    def forward(self, both: Tensor) -> Tensor:
        """The useful channels, then the useless ones."""
        # Whole in memory, as the useful layers had it alone: strided maps round otherwise.
        useful = self.useful(both[:, : self.read].contiguous())
        useless = self.useless(both[:, self.read :])
        return torch.cat([useful, self.scale * useless + self.shift], 1)


class Dropped(nn.Module):
    """The head, which reads the useful channels alone."""

    def __init__(self, head: nn.Module, read: int) -> None:
        super().__init__()
        self.head, self.read = head, read

    def forward(self, both: Tensor) -> Tensor:
        """Logits."""
        logits: Tensor = self.head(both[:, : self.read].contiguous())
        return logits


class Moved(nn.Module):
    """Every position gets the channels of another."""

    def __init__(self, order: Tensor) -> None:
        super().__init__()
        self.register_buffer("order", order)

    def forward(self, maps: Tensor) -> Tensor:
        """Maps of the same shape."""
        return maps.flatten(2)[:, :, self.order].view(maps.shape)


def stages(network: nn.Module) -> tuple[list[nn.Module], nn.Module]:
    """The four stages of a ResNet-18, the stem in the first, and its head."""
    first = nn.Sequential(network.conv1, network.layer1)
    head = nn.Sequential(network.bn, nn.ReLU(), network.pool, network.fc)
    return [first, network.layer2, network.layer3, network.layer4], head


@torch.no_grad()
def appended(network: nn.Module, share: float, images: Tensor, *, second: nn.Module, seed: int = 0) -> nn.Module:
    """The same network beside an untrained one, whose channels nobody reads.

    Args:
        network: a ResNet-18.
        share: of the variance after each stage, over positions of all images, that the useless channels hold.
        images: to measure the variances on, as the network sees them.
        second: from images to what the untrained network sees.
        seed: of the untrained network.
    """
    useful_stages, head = stages(network)
    useless_stages, _ = stages(ms.untrained(network, seed=seed))
    parts: dict[str, nn.Module] = {"entry": Entry(second)}
    useful, useless, read = images, second(images), images.shape[1]
    for name, stage, other in zip(STAGES, useful_stages, useless_stages, strict=True):
        useful, useless = stage(useful), other(useless)
        variance = useful.var((0, 2, 3)).sum() / useless.shape[1]
        scale = (variance * share / (1 - share) / useless.var((0, 2, 3))).sqrt()
        shift = -scale * useless.mean((0, 2, 3))
        parts[name] = Appended(stage, other, read, scale, shift)
        useless = scale.view(1, -1, 1, 1) * useless + shift.view(1, -1, 1, 1)
        read = useful.shape[1]
    return nn.Sequential(OrderedDict({**parts, "head": Dropped(head, read)})).eval()


def shuffled(network: nn.Module, share: float, image: Tensor, *, seed: int = 0) -> nn.Module:
    """The same network with a share of the positions shuffled after each stage and put back before the next."""
    blocks, head = stages(network)
    parts, back = OrderedDict[str, nn.Module](), nn.Sequential()
    for name, stage in zip(STAGES, blocks, strict=True):
        with torch.no_grad():
            image = stage(image)
        order = moved_order(image[0, 0].numel(), share, seed)
        parts[name] = nn.Sequential(*back, stage, Moved(order))
        back = nn.Sequential(Moved(order.argsort()))
    return nn.Sequential(OrderedDict({**parts, "head": nn.Sequential(*back, head)})).eval()


def moved_order(positions: int, share: float, seed: int) -> Tensor:
    """Which position each one gets its channels from: a share of them in one cycle, the others from themselves."""
    draws = generator("shuffled positions", positions, share, seed)
    chosen = torch.randperm(positions, generator=draws)[: round(share * positions)]
    order = torch.arange(positions)
    order[chosen] = chosen.roll(1)
    return order


def variants(network: nn.Module, seed: int, train: Samples) -> Iterator[tuple[str, nn.Module]]:
    """The bottom networks that classify exactly like one, and their names."""
    yield f"seed{seed}", network
    images = train.normalised(train.inputs[:1000])
    for kind, second in (("features", nn.Identity()), ("noise", Noise(tuple(images.shape[1:]), seed))):
        for share in SHARES:
            yield f"seed{seed}+{kind}{share}", appended(network, share, images, second=second, seed=seed)
    for share in SHUFFLED:
        yield f"seed{seed}#{share}", shuffled(network, share, images[:2], seed=seed)


def ready(name: str, network: nn.Module, test: Samples) -> Network:
    """A network with its cuts."""
    return Network(name, network).ready(test.example, ms.Compute())


def scores_of(one: Network, test: Samples) -> dict[str, float]:
    """Test error and loss."""
    outcome = ms.evaluate(one.captured.top("input"), test)
    return {score.name: score.value(outcome.sums[score.name]) for score in Classification().scores}


def check_same(bottom: str, found: dict[str, float], plain: str, wanted: dict[str, float]) -> None:
    """Refuse a variant that classifies otherwise than the network it was made of."""
    if found != wanted:
        raise SystemExit(f"{bottom} is another function than {plain}: {found} {wanted}")


def stitch(bottom: Network, top: Network, train: Samples, test: Samples, store: ms.Store) -> None:
    """The stitchings after each stage, by direct matching and by the task loss; those in the store are not repeated."""
    pairs = [(bottom.captured.find(stage), top.captured.find(stage)) for stage in STAGES]
    check_identity(bottom, [pair[0] for pair in pairs], test)
    for by in (ms.Direct(), ms.TaskLoss(epochs=1)):
        made = pairings(train, test, Classification(), Setting(by=by), ms.Compute())
        run([made.pairing(bottom, top, pairs)], store)


class Flattened:
    """Linear CKA of flattened activations after each stage, with a file of what was found already."""

    def __init__(self, path: Path, test: Samples) -> None:
        self.path, self.test = path, test.first(FLATTENED)
        self.done = {(line["bottom_network"], line["top_network"]) for line in lines(path)} if path.exists() else set()

    def sides(self, one: Network) -> list[Any]:
        """What CKA needs of one network, stage by stage."""
        half = one.captured.bottoms([one.captured.find(stage) for stage in STAGES])
        with torch.no_grad():
            batches = [half(inputs) for inputs, _ in self.test.batches()]
        cka = MEASURES["cka"]
        return [cka.one_side("x", torch.cat(maps).flatten(1)) for maps in zip(*batches, strict=True)]

    def add(self, bottom: Network, top: Network, top_sides: list[Any]) -> None:
        """One line a stage, all of a pair of networks at once."""
        if (bottom.name, top.name) in self.done:
            return
        told = {"data": self.test.name, "test_data": self.test.fingerprint, "n": len(self.test), "layout": "flatten"}
        found = []
        for stage, x, y in zip(STAGES, self.sides(bottom), top_sides, strict=True):
            values = {name: MEASURES[name].between(x, y) for name in ("cka", "cka_debiased")}
            networks = {"bottom_network": bottom.name, "top_network": top.name, "bottom_weights": bottom.weights}
            cut = top.captured.find(stage).name
            found.append({**networks, "top_weights": top.weights, "top_cut": cut, **told, **values})
        with self.path.open("a") as file:
            file.write("".join(json.dumps({**line, **provenance(ms.Compute("cpu"))}) + "\n" for line in found))


def lines(path: Path) -> list[dict[str, Any]]:
    """The lines of a file of JSON."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def main() -> None:
    """Stitch and measure what OUT does not hold."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("nets", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--limit", type=int, default=10_000, help="train images to fit on")
    parser.add_argument("--data-folder", type=Path, help="where Fashion-MNIST lies, if not in the usual place")
    asked = parser.parse_args()
    split = ms.load("fashion_mnist", folder=asked.data_folder)
    train, store = split.train.first(asked.limit), ms.Store(asked.out / "records.sqlite")
    flattened = Flattened(asked.out / "cka.jsonl", split.test)
    for a, b in PAIRS:
        networks = [load_folder(asked.nets / f"seed{seed}")[0] for seed in (a, b)]
        top = ready(f"seed{b}", networks[1], split.test)
        check_identity(top, [top.captured.find(stage) for stage in STAGES], split.test)
        top_sides = flattened.sides(top)
        plain = ready(f"seed{a}", networks[0], split.test)
        plain_scores = scores_of(plain, split.test)
        for name, network in variants(networks[0], a, train):
            bottom = plain if name == plain.name else ready(name, network, split.test)
            check_same(bottom.name, scores_of(bottom, split.test), plain.name, plain_scores)
            flattened.add(bottom, top, top_sides)
            stitch(bottom, top, train, split.test, store)
    store.records().save(asked.out / "records.jsonl")


if __name__ == "__main__":
    main()
