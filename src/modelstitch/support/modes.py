"""The modes of torch that a caller may be in, and that no number may depend on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch


@contextmanager
def own_modes() -> Iterator[None]:
    """Within it, none of the modes that the caller happens to be in: no_grad, inference_mode, autocast.

    A stitch is fitted by gradients, and a number must not depend on where the call stands.

    Example:
        >>> with torch.no_grad(), own_modes():
        ...     torch.is_grad_enabled()
        True
    """
    with ExitStack() as stack:
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.enable_grad())
        for device in ("cpu", *(["cuda"] if torch.cuda.is_available() else [])):
            stack.enter_context(torch.autocast(device, enabled=False))
        yield
