"""The UCI handwritten digits, shipped with the package: 1,797 grey images, 8 x 8 (Alpaydin and Kaynak 1998).

Pixels are the published counts from 0 to 16, as unsigned bytes. The split is stored with them: a sixth of each class,
drawn once, is for testing. No image occurs twice. Their licence is in ``digits.LICENSE``.
"""

from __future__ import annotations

from importlib import resources

import numpy as np
import torch
from torch import Tensor

from modelstitch.data.samples import Samples, channel_moments
from modelstitch.data.split import Split


def digits() -> Split:
    """Read the digits.

    Returns:
        uint8 images ``(1498, 1, 8, 8)`` and ``(299, 1, 8, 8)``, normalised by the training set's moments.

    Example:
        >>> split = digits()
        >>> len(split.train), len(split.test), tuple(split.train.inputs.shape[1:])
        (1498, 299, (1, 8, 8))
    """
    with resources.as_file(resources.files("modelstitch.data") / "digits.npz") as path, np.load(path) as arrays:
        images = torch.from_numpy(arrays["images"]).unsqueeze(1)
        labels = torch.from_numpy(arrays["labels"]).long()
        test = torch.from_numpy(arrays["test"])
    mean, std = channel_moments(images[~test])

    def half(chosen: Tensor) -> Samples:
        return Samples("digits", images[chosen], labels[chosen], 10, mean, std, crop=1, white=16)

    return Split(half(~test), half(test))
