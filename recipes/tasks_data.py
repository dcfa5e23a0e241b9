"""The data of tasks.py: real sets that need no network, each made by a function without arguments.

So each has a name for the command line, from the root of the repository: `--data py:recipes.tasks_data:diabetes`.

- `diabetes` comes with scikit-learn.
- `lemmas` and `glosses` are read from WordNet 3.0, Debian's package `wordnet-base`.
- `garments`, `halves`, `labelled` and `unlabelled` are made of Fashion-MNIST, Debian's package `dataset-fashion-mnist`.

Every function is deterministic: what is drawn at random is drawn from a seed that is written here.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from zlib import crc32

import numpy as np
import torch
from sklearn.datasets import load_diabetes
from torch import Tensor
from torch.nn.functional import avg_pool2d

import modelstitch as ms
from modelstitch.errors import DataError

WORDNET = Path("/usr/share/wordnet")
FIRST_NOUN, NOUNS = 3, 26
"""WordNet files its nouns under 26 categories (lexnames), numbers 3 to 28: act, animal, artifact, …"""
BUCKETS = 2048
LONGEST = 64
LETTERS = " abcdefghijklmnopqrstuvwxyz'(),-;"
FITTED, TESTED, WIDE = 6_000, 1_000, 32
"""Clothes cut in half to fit on and to test on; numbers in an embedding of one."""
SIDE, GARMENT, COVERED = 32, 14, 0.25
"""Pixels of a canvas and of a garment on it; how bright a pixel must be to belong to the garment."""


def shuffled(n: int, name: str) -> Tensor:
    """The numbers below n in a random order that the name decides."""
    return torch.randperm(n, generator=torch.Generator().manual_seed(crc32(name.encode())))


def diabetes() -> ms.Split[ms.Arrays]:
    """Ten measurements of a patient and the progress of the disease a year later: 332 patients and 110.

    Both are in standard deviations from the mean, those of the 332.
    """
    table, target = (torch.from_numpy(one).float() for one in load_diabetes(return_X_y=True, scaled=False))
    order = shuffled(len(table), "diabetes")
    fit, test = order[:332], order[332:]
    x, y = ((one - one[fit].mean(0)) / one[fit].std(0) for one in (table, target))
    return ms.Split(*(ms.Arrays("diabetes", x[index], y[index, None]) for index in (fit, test)))


def nouns() -> list[tuple[int, list[str], str]]:
    """The category, the words and the gloss of each noun synset of WordNet, in the order of its file.

    Raises:
        DataError: WordNet is not installed.
    """
    path = WORDNET / "data.noun"
    if not path.exists():
        raise DataError("read the nouns of WordNet", f"no file {path}", "apt-get install wordnet-base")
    found = []
    for line in path.read_text(encoding="latin-1").splitlines():
        if not line.startswith("  "):  # The licence stands first, indented.
            told, _, gloss = line.partition(" | ")
            parts = told.split()
            words = parts[4 : 4 + 2 * int(parts[3], 16) : 2]
            found.append((int(parts[1]) - FIRST_NOUN, words, gloss.partition(';  "')[0].partition('; "')[0].strip()))
    return found


def lemmas(train: int = 10_000, test: int = 2_000) -> ms.Split[ms.Arrays]:
    """Nouns: the words that define them, hashed, and every category that any of their senses has.

    No two of the nouns share a sense, so that no definition is both fitted and measured on.
    """
    synsets = nouns()
    senses: dict[str, list[int]] = {}
    for place, (_, words, _) in enumerate(synsets):
        for word in words:
            if re.fullmatch("[a-z]{3,}", word):
                senses.setdefault(word, []).append(place)
    every, taken = sorted(senses), set[int]()
    rows: dict[bytes, tuple[Tensor, Tensor]] = {}
    for place in shuffled(len(every), "lemmas").tolist():
        own = senses[every[place]]
        row = torch.zeros(BUCKETS)
        row[[crc32(word.encode()) % BUCKETS for one in own for word in re.findall("[a-z]+", synsets[one][2])]] = 1
        # Some senses are defined alike, word by word: such a noun is left out too.
        if taken.isdisjoint(own) and len(rows) < train + test and (key := row.numpy().tobytes()) not in rows:
            taken.update(own)
            rows[key] = row, torch.zeros(NOUNS).index_fill(0, torch.tensor([synsets[one][0] for one in own]), 1.0)
    x, y = (torch.stack(part) for part in zip(*rows.values(), strict=True))
    return ms.Split(*(ms.Arrays("lemmas", x[part], y[part]) for part in (slice(train), slice(train, None))))


def glosses(train: int = 4_000, test: int = 1_000) -> ms.Split[ms.Tokens]:
    """Definitions of nouns, of at most 64 characters each: a text is a definition, a token a character."""
    texts = sorted({gloss for _, _, gloss in nouns() if 16 <= len(gloss) < LONGEST and set(gloss) <= set(LETTERS)})
    order = shuffled(len(texts), "glosses")[: train + test].tolist()
    # The blank comes first and last, so that the first letter and the end are predicted too.
    documents = [[LETTERS.index(letter) for letter in f" {texts[place]}"] for place in order]
    halves = documents[:train], documents[train:]
    return ms.Split(*(ms.Tokens("glosses", half, next_token=True) for half in halves))


def letters_alone(texts: ms.Tokens) -> float:
    """Nats a letter of whoever knows nothing but how often each letter comes in these texts."""
    counts = torch.bincount(torch.cat([one[1:] for one in texts.documents])).double()
    shares = counts[counts > 0] / counts.sum()
    return float(-(shares * shares.log()).sum())


def garments(train: int = 1_500, test: int = 500) -> ms.Split[ms.Arrays]:
    """Canvases of 32 x 32 with two or three garments, and the class of each pixel: 0 is no garment, then ten kinds.

    The garments of the test canvases are test images of Fashion-MNIST.
    """
    source = ms.load("fashion_mnist")
    made = [canvases(one, n) for one, n in ((source.train, train), (source.test, test))]
    return ms.Split(*(ms.Arrays("garments", x, y) for x, y in made))


def canvases(source: ms.Samples, n: int) -> tuple[Tensor, Tensor]:
    """So many canvases (n, 1, side, side) and their pixels' classes (n, side, side)."""
    drawn = torch.Generator().manual_seed(len(source))
    images = avg_pool2d(source.inputs[: 3 * n].float() / 255, 2)[:, 0]
    x, y = torch.zeros(n, SIDE, SIDE), torch.zeros(n, SIDE, SIDE, dtype=torch.long)
    half = SIDE // 2
    for canvas in range(n):
        quarters = torch.randperm(4, generator=drawn).tolist()
        many = 2 + int(torch.randint(2, (1,), generator=drawn))
        for place, quarter in enumerate(quarters[:many]):
            # A garment stays in its quarter, so that none hides another.
            up, left = torch.randint(half - GARMENT + 1, (2,), generator=drawn).tolist()
            rows = slice(quarter // 2 * half + up, quarter // 2 * half + up + GARMENT)
            columns = slice(quarter % 2 * half + left, quarter % 2 * half + left + GARMENT)
            image = images[3 * canvas + place]
            shape = image > COVERED
            x[canvas, rows, columns] = image * shape
            y[canvas, rows, columns] = shape * (1 + source.labels[3 * canvas + place])
    noise = 0.05 * torch.randn(x.shape, generator=drawn)
    return (x + noise)[:, None], y


def halves() -> ms.Split[ms.Arrays]:
    """Left halves of clothes, and in which row of `gallery` the right half is: 6,000 to fit on and 1,000 to test on."""
    images, rows = both_halves()[0], torch.arange(FITTED + TESTED)
    return ms.Split(*(ms.Arrays("halves", images[part], rows[part]) for part in (slice(FITTED), slice(FITTED, None))))


def gallery() -> Tensor:
    """The right halves of all clothes of `halves`, each by its first 32 principal components at one scale.

    The components are those of the 6,000. Their signs are set, so that every machine finds the same ones.
    """
    right = both_halves()[1].flatten(1).double()
    mean = right[:FITTED].mean(0)
    axes = torch.linalg.eigh((right[:FITTED] - mean).T @ (right[:FITTED] - mean))[1].flip(1)[:, :WIDE]
    axes = axes * axes.gather(0, axes.abs().argmax(0, keepdim=True)).sign()
    found = (right - mean) @ axes
    scaled: Tensor = (found / found[:FITTED].std(0)).float()
    return scaled


def write_gallery(path: str | Path) -> None:
    """Keep `gallery` where the task reads it."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    np.save(path, gallery().numpy())


@cache
def both_halves() -> tuple[Tensor, Tensor]:
    """The left and the right halves of the first clothes of the train set, then of the test set."""
    source = ms.load("fashion_mnist")
    parts = (source.train.first(FITTED), source.test.first(TESTED))
    images = torch.cat([one.batch(slice(0, len(one))).inputs for one in parts])
    return images[..., :14].contiguous(), images[..., 14:].contiguous()


@cache
def labelled() -> ms.Split:
    """The first 10,000 train images of Fashion-MNIST and its first 5,000 test images, with their labels."""
    source = ms.load("fashion_mnist")
    return ms.Split(source.train.first(10_000), source.test.first(5_000))


def one_class(images: ms.Samples) -> float:
    """Percent of the images that are of another class than the commonest."""
    counts = torch.bincount(images.labels)
    return 100 * float(1 - counts.max() / counts.sum())


def unlabelled() -> ms.Split[ms.Arrays]:
    """The images of `labelled`, without labels."""
    both = labelled()
    halves = [one.batch(slice(0, len(one))).inputs for one in (both.train, both.test)]
    return ms.Split(*(ms.Arrays("unlabelled", images) for images in halves))
