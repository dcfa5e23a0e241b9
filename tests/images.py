"""A generated tree of images, a folder for each class, as the tests of several rooms read it."""

from pathlib import Path

import numpy as np
from PIL import Image

from modelstitch.support.seeding import numpy_generator

CLASSES = ["Zebra", "ant", "bee"]
_SHAPES = [(20, 31), (40, 23), (16, 16)]
_ENDINGS = [".jpg", ".JPEG", ".png", ".Jpg"]


def picture(*keys, shape=(20, 31), mode="RGB"):
    """Smooth, so that a JPEG looks like its source, and another picture for other keys."""
    few = numpy_generator("picture", *keys).integers(0, 256, (4, 4, 4), dtype=np.uint8)
    whole = Image.fromarray(few, "RGBA") if mode in ("RGBA", "LA") else Image.fromarray(few[..., :3])
    return whole.resize(shape, Image.Resampling.BICUBIC).convert(mode)


def write_tree(root: Path, train: int = 4, val: int = 2) -> Path:
    """So many images of each class, upright, lying and square, under every spelling of their endings."""
    for half, n in (("train", train), ("val", val)):
        for name in CLASSES:
            (root / half / name).mkdir(parents=True)
            for i in range(n):
                path = root / half / name / f"{name}_{i}{_ENDINGS[i % 4]}"
                picture(half, name, i, shape=_SHAPES[i % 3]).save(path)
    return root
