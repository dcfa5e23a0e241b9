"""This process among those that work on one thing, and what they tell each other.

Alone, which is how everything runs outside `modelstitch.parallel.launch`, nothing is exchanged and nothing changes.
Beware: what is exchanged waits for every process, so all must ask in the same order. A decision that one of them takes
by itself (a failure, an early stop, a record found in a file) must be shared before anything follows from it.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from modelstitch.errors import Parted, SettingError, StitchError

if TYPE_CHECKING:
    from torch import Tensor, nn

T = TypeVar("T")
P = ParamSpec("P")


@dataclass(frozen=True)
class Ranks:
    """Which process this is, and of how many.

    Attributes:
        rank: the number of this process, from 0.
        count: how many there are.
        device: where this one computes; None where nobody has decided that.
        objects: the group that exchanges Python objects, over the hosts' memory.
        failing: the group in which those that met an error wait for the others, for a short time.
    """

    rank: int = 0
    count: int = 1
    device: str | None = None
    objects: Any = None
    failing: Any = None

    @property
    def first(self) -> bool:
        """Whether this is the process that writes and prints."""
        return self.rank == 0

    @property
    def several(self) -> bool:
        """Whether there are others."""
        return self.count > 1

    @property
    def counts(self) -> bool:
        """Whether what this process sums over its examples is no other's: see `sharing`."""
        return self.several or self.first

    def sharing(self, rows: int) -> Ranks:
        """Those that share a batch of so many rows: this process by itself where there are fewer rows than processes.

        No process may be left without a row: torch's convolutions crash on a batch of none (seen with 2.13.0, on the
        CPU: a floating point exception in the backward pass). Each then does the same with the whole batch, and the
        first alone counts it.

        Example:
            >>> Ranks(1, 3).sharing(3).count, Ranks(1, 3).sharing(2).count, Ranks(1, 3).sharing(2).counts
            (3, 1, False)
        """
        return self if rows >= self.count else replace(self, count=1)

    def part(self, batch: Tensor) -> Tensor:
        """This process's rows of a batch: the parts follow each other and differ by one row at most.

        A batch that is too small to be shared is everyone's: see `sharing`.

        Example:
            >>> import torch
            >>> [Ranks(rank, 3).part(torch.arange(4)).tolist() for rank in range(3)]
            [[0, 1], [2], [3]]
        """
        return batch.tensor_split(self.count)[self.rank] if self.sharing(len(batch)).several else batch

    def turns(self, items: Iterable[T]) -> Iterator[T]:
        """Every `count`-th item, starting at `rank`: batches in turn, where it does not matter how they are cut.

        Example:
            >>> list(Ranks(1, 3).turns("abcde"))
            ['b', 'e']
        """
        return itertools.islice(items, self.rank, None, self.count)

    def sum(self, tensors: Sequence[Tensor]) -> None:
        """Put into each tensor the sum over all processes, to the same bits on each; one exchange a type of number."""
        if not self.several:
            return
        import torch
        from torch import distributed

        with torch.no_grad():
            for dtype in dict.fromkeys(tensor.dtype for tensor in tensors):
                alike = [tensor for tensor in tensors if tensor.dtype == dtype]
                # On the process's own device: that is where the group of several GPUs adds.
                flat = torch.cat([tensor.reshape(-1) for tensor in alike]).to(self.device)
                distributed.all_reduce(flat)
                totals = torch.split(flat, [one.numel() for one in alike])
                for tensor, total in zip(alike, totals, strict=True):
                    tensor.copy_(total.view_as(tensor))

    def average_gradients(self, parameters: Iterable[nn.Parameter], examples: float) -> None:
        """Turn gradients of a loss summed over this part into those of its mean over the whole batch.

        Args:
            parameters: those of one graph, the same on every process.
            examples: in this process's part.
        """
        if not self.several:
            return
        import torch

        # One that the graph does not reach has no gradient on any process, and its optimiser must leave it alone.
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        if not gradients:
            return
        whole = torch.tensor(float(examples), device=gradients[0].device)
        self.sum([*gradients, whole])
        for gradient in gradients:
            gradient.div_(whole)

    def copy_from_first(self, tensors: Iterable[Tensor]) -> None:
        """Put the first process's values into these tensors."""
        if not self.several:
            return
        import torch
        from torch import distributed

        with torch.no_grad():
            for tensor in tensors:
                sent = tensor.contiguous().to(self.device)
                distributed.broadcast(sent, 0)
                tensor.copy_(sent)

    def gathered(self, thing: T) -> list[T]:
        """What each process has, in their order; tensors in it are on the CPU."""
        if not self.several:
            return [thing]
        from torch import distributed

        found: list[Any] = [None] * self.count
        distributed.all_gather_object(found, thing, group=self.objects)
        return found

    def from_first(self, make: Callable[[], T]) -> T:
        """What the first process makes, or the error that it meets; no other makes anything."""
        if not self.several:
            return make()
        from torch import distributed

        box: list[Any] = [None, None]
        if self.first:
            try:
                # It may itself ask the first process, which is this one.
                with among(Ranks()):
                    box[0] = make()
            except StitchError as error:
                box[1] = error
        distributed.broadcast_object_list(box, 0, group=self.objects)
        if box[1] is not None:
            raise box[1]
        made: T = box[0]
        return made

    def fail_alike(self, failure: StitchError | None) -> None:
        """Raise the first failure that any process has met, on all of them."""
        for one in self.gathered(failure):
            if one is not None:
                raise one

    def all_fail(self, error: Exception) -> None:
        """Wait until every process has met an error as well, after which all may go on.

        Raises:
            Parted: they have not, and wait for what this process will never send: its end is what stops them.
        """
        if not self.several:
            return
        from torch import distributed

        try:
            distributed.barrier(self.failing)
        except RuntimeError:
            found = f"an error that process {self.rank} met alone: {error}"
            do = "see to that, then start again: what is stored is whole"
            raise Parted(f"one run over {self.count} processes", found, do) from error

    def check_same(self, what: str, thing: object) -> None:
        """Refuse processes that were asked for different things: each would wait for what the others never do.

        Raises:
            SettingError: they differ.
        """
        things = self.gathered(thing)
        if any(other != things[0] for other in things):
            do = "build networks and data from the same files or seeds in every process"
            raise SettingError(f"{what} over {self.count} processes", "processes that were given different things", do)


_here = Ranks()


def ranks() -> Ranks:
    """This process among those that `modelstitch.parallel.launch` started; alone outside it.

    Example:
        >>> ranks().rank, ranks().count, ranks().first
        (0, 1, True)
    """
    return _here


@contextmanager
def among(here: Ranks) -> Iterator[None]:
    """Within it, this process is one of several."""
    global _here
    before, _here = _here, here
    try:
        yield
    finally:
        _here = before


def by_first(do: Callable[P, T]) -> Callable[P, T]:
    """A function that the first process carries out, and whose result or error all have; all must call it."""

    @functools.wraps(do)
    def run(*args: P.args, **kwargs: P.kwargs) -> T:
        return ranks().from_first(lambda: do(*args, **kwargs))

    return run
