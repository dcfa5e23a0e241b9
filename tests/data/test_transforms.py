"""Random crops and flips: every image a shifted, perhaps mirrored window of itself on black."""

import itertools

import numpy as np
import pytest
import torch

from modelstitch.data import augment
from modelstitch.support.seeding import generator


def windows(image: np.ndarray, crop: int, flip: bool) -> list[np.ndarray]:
    """Every image that a crop and a flip may give, from the definition."""
    _, height, width = image.shape
    padded = np.zeros((image.shape[0], height + 2 * crop, width + 2 * crop))
    padded[:, crop : crop + height, crop : crop + width] = image
    offsets = itertools.product(range(2 * crop + 1), repeat=2)
    cut = [padded[:, y : y + height, x : x + width] for y, x in offsets]
    return cut + [window[:, :, ::-1] for window in cut] if flip else cut


def choices(images: torch.Tensor, changed: torch.Tensor, crop: int, flip: bool) -> list[int]:
    """Which of its windows each changed image is; an error for one that is none."""
    found = []
    for before, after in zip(images.numpy(), changed.numpy(), strict=True):
        matches = [i for i, window in enumerate(windows(before, crop, flip)) if np.array_equal(window, after)]
        assert len(matches) == 1, "an image is not a window of itself"
        found.append(matches[0])
    return found


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
@pytest.mark.parametrize(("crop", "flip"), [(0, True), (1, False), (2, True)])
def test_each_image_becomes_one_of_its_windows_and_all_windows_occur(crop, flip, dtype):
    images = torch.randint(1, 255, (400, 2, 4, 5), generator=generator("images")).to(dtype)
    changed = augment(images, crop=crop, flip=flip, generator=generator("augment"))
    assert changed.dtype == dtype
    assert changed.is_contiguous()
    assert len(set(choices(images, changed, crop, flip))) == (2 * crop + 1) ** 2 * (1 + flip)


def test_the_window_check_catches_a_crop_that_wraps_around():
    images = torch.randint(1, 255, (4, 1, 4, 4), generator=generator("images"))
    with pytest.raises(AssertionError, match="not a window"):
        choices(images, images.roll(1, dims=3), 1, True)


def test_about_half_of_the_images_are_mirrored():
    images = torch.arange(4.0).expand(2000, 1, 4, 4).contiguous()
    mirrored = (augment(images, crop=0, flip=True, generator=generator("coins")) != images).any(3).any(2).any(1)
    assert 900 < int(mirrored.sum()) < 1100


@pytest.mark.parametrize("channels", [1, 3])
def test_images_come_out_in_the_plain_memory_layout(channels):
    # One channel is contiguous in either layout, and only its strides tell which of the two a convolution will use.
    images = torch.rand(3, channels, 4, 4, generator=generator("images"))
    assert augment(images, crop=1, flip=True, generator=generator("any")).stride() == images.stride()


def test_nothing_asked_changes_nothing():
    images = torch.rand(3, 1, 4, 4, generator=generator("images"))
    assert torch.equal(augment(images, crop=0, flip=False, generator=generator("any")), images)


def test_equal_generators_give_equal_images():
    images = torch.rand(9, 1, 4, 4, generator=generator("images"))
    a, b, c = (augment(images, crop=2, flip=True, generator=generator("augment", key)) for key in (0, 0, 1))
    assert torch.equal(a, b)
    assert not torch.equal(a, c)
