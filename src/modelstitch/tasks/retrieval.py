"""Retrieval: does an embedding find its own item in a gallery?"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize

from modelstitch.data import Batch
from modelstitch.errors import BadFile, SettingError, TaskMismatch
from modelstitch.tasks.shapes import integers
from modelstitch.tasks.task import Outcome, Score, Task, answer_of, require_finite, told

_DO = "name a file: Retrieval(gallery='gallery.npy'), floats (items, d)"


@dataclass(frozen=True)
class Retrieval(Task):
    """Embeddings against a fixed gallery of items, by cosine similarity; each example has one item of its own.

    - ``recall_at_k = 100 · examples whose own item is among the k most similar / n``, in percent, higher is better;
    - ``mrr = mean(1 / rank)``, the mean reciprocal rank of the own item, higher is better;
    - ``loss = mean(-log softmax(cos(o, gallery) / temperature)[own])``, in nats; also what fits minimise.

    Outputs are embeddings ``(n, d)``; targets are integers ``(n,)``, the rows of the own items in the gallery. The rank
    is one more than the number of other items that are at least as similar: a tie counts against the embedding, so that
    one which is the same for every example finds nothing.

    Args:
        gallery: a ``.npy`` file of floats ``(items, d)``. It does not depend on the networks that are judged: other
            embeddings of the same items, say, or those of a text encoder.
        k: which recalls.
        temperature: of the loss.
        content: the fingerprint of the gallery, which records keep; filled in from the file.

    Raises:
        SettingError: no such ``k`` or temperature, or the file holds another gallery than ``content`` says.
        BadFile: the file holds no gallery.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> file = Path(tempfile.mkdtemp()) / "gallery.npy"
        >>> np.save(file, np.eye(3, dtype=np.float32))
        >>> task = Retrieval(str(file), k=(1, 2))
        >>> batch = Batch(torch.zeros(2), torch.tensor([0, 2]))
        >>> outcome = task.judge(torch.tensor([[2.0, 1.0, 0.0], [0.0, 2.0, 1.0]]), batch)
        >>> [round(score.value(outcome.sums[score.name]), 4) for score in task.scores[:3]]
        [50.0, 100.0, 0.75]

    Reference:
        Manning, Raghavan & Schütze, "Introduction to Information Retrieval", 2008, chapter 8. The loss: van den Oord,
        Li & Vinyals, "Representation Learning with Contrastive Predictive Coding", 2018, equation 4.
    """

    name: ClassVar[str] = "retrieval"
    off: ClassVar[Mapping[str, Any]] = {}
    gallery: str = ""
    k: tuple[int, ...] = (1, 5, 10)
    temperature: float = 0.1
    content: str = ""

    def __post_init__(self) -> None:
        if not self.k or any(type(k) is not int or k < 1 for k in self.k) or len(set(self.k)) < len(self.k):
            raise SettingError(f"the recall at {self.k}", "no such numbers of items", "give whole numbers, 1 or more")
        if not 0 < self.temperature < float("inf"):
            found = f"temperature={self.temperature!r}"
            raise SettingError("the loss of embeddings", found, "choose a number above 0, such as 0.1")
        if not self.gallery:
            return
        there = _read(self.gallery)[1]
        if self.content not in ("", there):
            found = f"other embeddings than those of content {self.content}: {there}"
            raise SettingError(f"the gallery {self.gallery}", found, "put the old file back, or leave content out")
        object.__setattr__(self, "content", there)

    @property
    def scores(self) -> tuple[Score, ...]:
        """The recalls, the mean reciprocal rank, and the loss."""
        recalls = (Score(f"recall_at_{k}", f"test recall@{k}", "points", "higher", 100.0) for k in self.k)
        return (*recalls, Score("mrr", "test mean reciprocal rank", "", "higher"), Score("loss", "test loss", "nats"))

    def check(self, outputs: Any, batch: Batch) -> None:
        """One embedding an example, as wide as the gallery's, and its item.

        Raises:
            TaskMismatch: something else.
            SettingError: no gallery.
        """
        values, items = answer_of(outputs), batch.targets
        asked = f"the items of {batch.n} examples"
        if not isinstance(items, Tensor) or items.shape != (batch.n,) or not integers(items):
            raise TaskMismatch(asked, f"targets: {told(items)}", "give each example the row of its item, an integer")
        if values.ndim != 2 or len(values) != batch.n or not values.is_floating_point():
            raise TaskMismatch(asked, f"outputs: {told(values)}", "return one embedding, floats, for each example")
        if not self.gallery:
            raise SettingError(asked, "no gallery", _DO)
        rows, width = _read(self.gallery)[0].shape
        if values.shape[1] != width:
            found = f"embeddings of {values.shape[1]} numbers, and a gallery of {width}"
            raise TaskMismatch(asked, found, "use networks and a gallery of one space")
        if len(items) and not 0 <= int(items.min()) <= int(items.max()) < rows:
            found = f"rows from {int(items.min())} to {int(items.max())} of a gallery of {rows}"
            raise TaskMismatch(asked, found, "count the gallery's rows from 0")

    def losses(self, outputs: Any, batch: Batch) -> Float[Tensor, " n"]:
        """The cross-entropy of each example's own item among all, in nats."""
        similar = self._similarities(answer_of(outputs))
        return cross_entropy(similar / self.temperature, batch.targets.long(), reduction="none")

    def judge(self, outputs: Any, batch: Batch) -> Outcome:
        """The rank of each example's own item and its loss, in float64."""
        values = require_finite(answer_of(outputs).cpu(), batch.n)
        there = Batch(batch.inputs, batch.targets.detach().cpu().long())
        similar, one = self._similarities(values), torch.ones(batch.n, dtype=torch.float64)
        own = similar.gather(1, there.targets[:, None])
        rank = (similar >= own).sum(1).double()
        sums = {f"recall_at_{k}": (rank <= k).double() for k in self.k}
        sums |= {"mrr": 1 / rank, "loss": self.losses(values, there)}
        return Outcome({name: torch.stack([each, one], 1) for name, each in sums.items()}, similar.argmax(1))

    def _similarities(self, values: Tensor) -> Float[Tensor, "n items"]:
        gallery = _read(self.gallery)[0].to(values.device, values.dtype)
        return normalize(values, dim=1) @ normalize(gallery, dim=1).T


@lru_cache(maxsize=4)
def _read(gallery: str) -> tuple[Float[Tensor, "items d"], str]:
    """The embeddings of a file, and their fingerprint."""
    asked = f"the gallery {gallery}"
    try:
        found = np.load(gallery, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise BadFile(asked, " ".join(str(error).split()), _DO) from error
    if not isinstance(found, np.ndarray) or found.ndim != 2 or found.dtype.kind != "f" or not len(found):
        what = f"{found.dtype} of shape {found.shape}" if isinstance(found, np.ndarray) else "several arrays"
        raise BadFile(asked, what, _DO)
    if not np.isfinite(found).all():
        raise BadFile(asked, "numbers that are not finite", "embed the items again")
    content = hashlib.sha256(f"{found.dtype.str}{found.shape}".encode() + np.ascontiguousarray(found).tobytes())
    return torch.from_numpy(found.astype(np.float64)), content.hexdigest()[:16]
