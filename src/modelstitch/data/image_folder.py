"""One's own images, a folder for each class as ImageNet is commonly unpacked: ``train/CLASS/*`` and ``val/CLASS/*``.

Classes are numbered and images decoded as torchvision's ``ImageFolder``, ``Resize`` and ``CenterCrop`` do it, so that
networks trained with torchvision see the images that they know. Beware: a turn noted in a photograph's EXIF is not
carried out, as there. Every image is decoded once, into a file in the cache that is mapped into memory, see
`modelstitch.data.image_cache`. Examples come in an order shuffled by the names of the files, not class by class, so
that the first ones are a fair sample.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from modelstitch.data.files import cache_folder, data_folders
from modelstitch.data.image_cache import decoded_once
from modelstitch.data.samples import Samples, check_samples
from modelstitch.data.split import Split
from modelstitch.errors import DataError, SettingError
from modelstitch.support.files import expanded
from modelstitch.support.seeding import seed_of

if TYPE_CHECKING:
    from PIL import Image

ENDINGS = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")
"""What counts as an image, in capital letters or small; all else in a class's folder is passed by."""
SIZE = 224
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Per channel: by which torchvision's networks are trained, whatever the images."""

_TESTS = ("val", "test")
# The TIFF tag: microscopes save 12 bits.
_BITS_PER_SAMPLE = 258


def image_folder(folder: str | Path | None = None, *, size: int = SIZE) -> Split:
    """Read a folder of images; the first time they are decoded, which may take long.

    Args:
        folder: holds ``train`` and ``val``, or ``train`` and ``test``, with a folder for each class in each; by
            default ``$MODELSTITCH_DATA`` is searched.
        size: side of the square that a network sees, in pixels. The shorter side of each image is brought to 256/224
            of it (bilinear, with antialiasing), and the middle cut out.

    Returns:
        uint8 images ``(n, 3, size, size)`` mapped from a file and not to be written to, normalised by `MEAN` and `STD`
        (``dataclasses.replace`` gives them others); the name shows how many.

    Raises:
        DataError: no such folder, a class without images, or other classes to test on than to train on.
        BadFile: images that cannot be decoded; a few are named.
        SettingError: no such size, or no Pillow to decode with.
        NotWritable: the cache refuses, or has no room.
    """
    if size < 1:
        raise SettingError(f"images of {size} pixels", "no such size", "choose 1 or more")
    root = find_image_folder() if folder is None else expanded(folder)
    if root is None or not _is_root(root):
        found = f"no folders train and val (or test) in {root}" if root else "no folder named"
        do = "name the folder that holds train/CLASS/*.jpg and val/CLASS/*.jpg"
        raise DataError("read a folder of images", found, do)
    try:
        halves = [_Half.listed(root / "train"), _Half.listed(_test_half(root))]
    except OSError as error:
        found = f"{error.filename}: {error.strerror}"
        raise DataError(f"read the images in {root}", found, "mend or remove what stands there") from error
    _check_classes(*halves)
    name = f"image_folder-{len(halves[0].files)}+{len(halves[1].files)}"
    train, test = (half.samples(name, size) for half in halves)
    return Split(train, test)


def find_image_folder() -> Path | None:
    """The folder that `image_folder` reads when none is named, or None."""
    return next((place for place in data_folders() if _is_root(place)), None)


def _is_root(place: Path) -> bool:
    return (place / "train").is_dir() and _test_half(place).is_dir()


def _test_half(place: Path) -> Path:
    return next((place / name for name in _TESTS if (place / name).is_dir()), place / _TESTS[0])


@dataclass(frozen=True)
class _File:
    """An image, and what shows that it is still the same one."""

    name: str
    label: int
    bytes: int
    changed: int


@dataclass(frozen=True)
class _Half:
    """The train or the test half as it lies on disk."""

    folder: Path
    classes: tuple[str, ...]
    files: tuple[_File, ...]

    @classmethod
    def listed(cls, folder: Path) -> _Half:
        """What is in a folder of classes: classes by name, files in the order of their shuffled names."""
        classes = sorted(one.name for one in os.scandir(folder) if one.is_dir() and not one.name.startswith("."))
        files: list[_File] = []
        for label, name in enumerate(classes):
            found = list(_images(folder, name, label))
            if not found:
                do = f"remove the folder, or put images into it ({', '.join(ENDINGS)})"
                raise DataError(f"read the classes in {folder}", f"no images of class {name!r}", do)
            files += found
        files.sort(key=lambda one: seed_of("image folder", one.name))
        return cls(folder, tuple(classes), tuple(files))

    def samples(self, name: str, size: int) -> Samples:
        labels = torch.tensor([one.label for one in self.files])
        _check_pillow()
        paths = [self.folder / one.name for one in self.files]
        cache = cache_folder() / "image_folder"
        inputs = decoded_once(paths, lambda path: decode(path, size), (3, size, size), cache, self._key(size))
        # An eighth of the side: what 28 are of 224, and 4 of CIFAR's 32.
        return check_samples(Samples(name, inputs, labels, len(self.classes), MEAN, STD, crop=size // 8, flip=True))

    def _key(self, size: int) -> tuple[str, str]:
        """Names the folder at this size, and its state: any file come, gone or changed makes another."""
        state = hashlib.blake2b(digest_size=16)
        for one in self.files:
            state.update(repr((one.name, one.bytes, one.changed)).encode())
        place = repr(("bilinear 256/224, 16 bits", size, str(self.folder.resolve())))
        return hashlib.blake2b(place.encode(), digest_size=8).hexdigest(), state.hexdigest()


def _images(folder: Path, class_name: str, label: int) -> Iterator[_File]:
    """The images of a class, in folders below its own too; what is hidden is passed by."""
    for place, below, names in os.walk(folder / class_name, followlinks=True):
        below[:] = [one for one in below if not one.startswith(".")]
        for name in names:
            if name.lower().endswith(ENDINGS) and not name.startswith("."):
                path = Path(place) / name
                told = path.stat()
                yield _File(path.relative_to(folder).as_posix(), label, told.st_size, told.st_mtime_ns)


def _check_classes(train: _Half, test: _Half) -> None:
    """Refuse halves with other classes: the numbers of their labels would not mean the same."""
    if train.classes == test.classes:
        return
    differ = sorted(set(train.classes) ^ set(test.classes))
    only = [f"{name} only in {(train if name in train.classes else test).folder.name}" for name in differ[:3]]
    found = f"{len(train.classes)} and {len(test.classes)} classes: {', '.join(only)}"
    raise DataError(f"read {train.folder} and {test.folder}", found, "give both a folder for each class")


def decode(path: Path, size: int) -> NDArray[np.uint8]:
    """One image file as a network's input, ``(3, size, size)``: RGB, shorter side resized, the middle cut out.

    Any other kind of image becomes RGB as Pillow has it: grey three times, transparency left out; grey of 16 bits is
    divided by 257 first.

    Raises:
        ValueError: values without a fixed range, such as floats.
    """
    from PIL import Image

    with Image.open(path) as image:
        return as_input(image, size)


def as_input(image: Image.Image, size: int) -> NDArray[np.uint8]:
    """One image of Pillow as `decode` has it."""
    return np.asarray(_cut_out(_rgb(image), size)).transpose(2, 0, 1)


def _check_pillow() -> None:
    try:
        import PIL  # noqa: F401
    except ModuleNotFoundError as error:
        do = "install it: pip install 'modelstitch[images]'"
        raise SettingError("to decode images", "no package Pillow", do) from error


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode in ("I", "F") or image.mode.startswith("I;"):
        return _grey(image).convert("RGB")
    if image.mode == "P" and "transparency" in image.info:
        # Straight to RGB, Pillow warns of a loss of transparency; the colours are the same.
        image = image.convert("RGBA")
    return image.convert("RGB")


def _grey(image: Image.Image) -> Image.Image:
    """Grey of up to 16 bits as 8, ``255 v / (2^bits - 1)``, ``v / 257`` for 16; Pillow itself cuts off above 255.

    Raises:
        ValueError: integers of 32 bits or floats, whose range no format fixes.
    """
    from PIL import Image

    # "I" is how Pillow hands out 16 bits of a PNG (before its version 11) and of a PGM, which it brings to that range.
    if image.mode == "F" or (image.mode == "I" and image.format not in ("PNG", "PPM")):
        raise ValueError(f"mode {image.mode}, whose values have no fixed range: save it with 8 or 16 bits")
    bits = getattr(image, "tag_v2", {}).get(_BITS_PER_SAMPLE, (16,))[0]
    values = np.asarray(image).astype(np.float64) * (255 / (2**bits - 1))
    return Image.fromarray(values.round().astype(np.uint8))


def _cut_out(image: Image.Image, size: int) -> Image.Image:
    """As torchvision's ``Resize(256 * size // 224)`` and ``CenterCrop(size)``, to the rounding of a half pixel."""
    from PIL import Image

    short = 256 * size // 224
    width, height = image.size
    long = short * max(width, height) // min(width, height)
    shape = (short, long) if width <= height else (long, short)
    left, upper = (round((side - size) / 2) for side in shape)
    return image.resize(shape, Image.Resampling.BILINEAR).crop((left, upper, left + size, upper + size))
