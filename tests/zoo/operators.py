"""Two operators that torchvision misses beside a torch without CUDA, since its own binary would bring them.

They are never called here, but torchvision does not load without them: import this before it.
"""

import torch

OPERATORS = torch.library.Library("torchvision", "FRAGMENT")
for name in ("nms", "qnms"):
    if not hasattr(torch.ops.torchvision, name):
        OPERATORS.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
