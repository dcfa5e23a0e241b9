"""Examples that occur more than once: what is natural passes, what was read twice does not."""

from pathlib import Path

import pytest
import torch
from torch.utils.data import DataLoader, IterableDataset, RandomSampler, TensorDataset

from modelstitch.data import Arrays, Tokens, as_examples, check_distinct, digits, distinct, load
from modelstitch.errors import DataError
from modelstitch.seeding import generator


def drawn(*shape, below=None):
    source = generator("distinct", *shape)
    values = torch.randn(shape, generator=source) if below is None else torch.randint(below, shape, generator=source)
    return values.float()


SMALL = Path(__file__).parents[1] / "fashion_mnist_small"
IMAGES, TABLE = drawn(400, 1, 8, 8), drawn(400, 5)
# Five questions with three answers each: 243 different sheets, of which most of 400 occur more than once.
ANSWERS = drawn(400, 5, below=3)
LONG = [torch.arange(70) + place for place in range(200)]


class Stream(IterableDataset):
    """One that does not share its examples among workers."""

    def __iter__(self):
        return iter(TensorDataset(IMAGES[:100], torch.arange(100) % 2))


def blank(share):
    images = IMAGES.clone()
    images[: int(400 * share)] = 0
    return images


def resampled(inputs):
    sampler = RandomSampler(inputs, replacement=True, generator=generator("resampled"))
    return as_examples(DataLoader(TensorDataset(inputs), batch_size=16, sampler=sampler))


NATURAL = {
    "digits": lambda: digits().test,
    "fashion": lambda: load("fashion_mnist", folder=SMALL).test,
    "none": lambda: Arrays("data", TABLE),
    "answers to a questionnaire": lambda: Arrays("data", ANSWERS),
    "as tokens": lambda: Arrays("data", ANSWERS.long()),
    "blank tiles": lambda: Arrays("data", blank(0.3)),
    "two of many images": lambda: Arrays("data", torch.cat([IMAGES, IMAGES[:2]])),
    "two of a hundred": lambda: Arrays("data", torch.cat([IMAGES[:100], IMAGES[:2]])),
    "short sentences": lambda: Tokens("text", [[1], [2], [3, 4], [1], [2], [3, 4], [5], [1]]),
    "a few documents": lambda: Tokens("text", [*LONG, *LONG[:2]]),
}


@pytest.mark.parametrize("make", NATURAL.values(), ids=NATURAL)
def test_natural_repeats_pass(make):
    check_distinct(make())


REFUSED = {
    "workers": (lambda: as_examples(DataLoader(Stream(), batch_size=16, num_workers=4)), 300, 400),
    "read twice": (lambda: Arrays("data", torch.cat([TABLE, TABLE])), 400, 800),
    "answers read twice": (lambda: Arrays("data", torch.cat([ANSWERS, ANSWERS])), None, 800),
    "under other labels": (lambda: Arrays("data", torch.cat([TABLE, TABLE]), torch.arange(800)), 400, 800),
    "two sets that overlap": (lambda: Arrays("data", torch.cat([IMAGES, IMAGES[:5]])), 5, 405),
    "images with replacement": (lambda: resampled(IMAGES), None, 400),
    "a table with replacement": (lambda: resampled(TABLE), None, 400),
    "several inputs": (lambda: Arrays("data", (torch.cat([TABLE, TABLE[:9]]), torch.zeros(409, 1))), 9, 409),
    "documents": (lambda: Tokens("text", [*LONG, *LONG[:50]]), 50, 250),
    "one example": (lambda: Arrays("data", torch.zeros(8, 3)), 7, 8),
}


@pytest.mark.filterwarnings("ignore:.*(fork|suggested max number of worker).*")
@pytest.mark.parametrize(("make", "repeats", "n"), REFUSED.values(), ids=REFUSED)
def test_systematic_repeats_are_refused(make, repeats, n):
    data = make()
    repeats = n - len(set(data.ids)) if repeats is None else repeats
    with pytest.raises(DataError, match=f"found: {repeats} of the {n} examples repeat an earlier one\ndo: .*worker"):
        check_distinct(data)
    once = distinct(data)
    assert len(once) == n - repeats
    check_distinct(once)


def test_the_first_of_each_is_kept_in_its_order():
    data = Arrays("data", torch.tensor([[3.0], [1.0], [3.0], [2.0], [1.0]]), torch.arange(5))
    assert distinct(data).targets.tolist() == [0, 1, 3]
    assert distinct(digits().test).ids == digits().test.ids
    whole = Arrays("data", TABLE)
    assert distinct(whole) is whole
