"""Pairings measured one after the other, and their records handed to whoever keeps them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol, runtime_checkable

from modelstitch.parallel import ranks
from modelstitch.records import Record, Records
from modelstitch.stitching.measure import measure
from modelstitch.stitching.pairing import Pairing
from modelstitch.support.memory import kept_memory
from modelstitch.support.progress import track


@runtime_checkable
class Keeper(Protocol):
    """What takes records as they are made, such as a `Store`."""

    def finished(self, keys: Iterable[str]) -> Mapping[str, Record | None]:
        """Of these keys, those that need not be measured again; None where the record lies elsewhere."""

    def append(self, record: Record, stitch: bytes | None = None) -> None:
        """Take a record, and what its stitch has learnt."""


def run(pairings: Sequence[Pairing], store: Keeper | None) -> Records:
    """Measure what the store does not hold, each pairing in one pass, and put it there.

    Args:
        pairings: in the order that the records shall have.
        store: gets every record of a pairing as soon as that is done; None to keep nothing.

    Returns:
        All records, those found in the store among them.
    """
    # The keys hash weights, graphs, data and settings: all that could set two processes to different work.
    ranks().check_same("a sweep", [one.key(pair) for one in pairings for pair in one.pairs])
    records: list[Record | None] = []
    with contextlib.ExitStack() as stack:
        for sources in {id(each): each for one in pairings for each in (one.train, one.test)}.values():
            stack.enter_context(sources)
        for number, pairing in enumerate(track(pairings, "pairs of networks", len(pairings)), 1):
            records += _records(pairing, store)
            _forget(pairing, pairings[number:])
    return Records(record for record in records if record)


def _records(pairing: Pairing, store: Keeper | None) -> list[Record | None]:
    keys = [pairing.key(pair) for pair in pairing.pairs]
    # Looked up anew each time: another process may be filling the same store from the other end.
    found = dict(store.finished(keys)) if store else {}
    missing = [pair for pair, key in zip(pairing.pairs, keys, strict=True) if key not in found]
    with kept_memory():
        made = measure(pairing, missing) if missing else []
    for one in made:
        if store:
            store.append(one.record, one.stitch)
        found[one.record.key] = one.record
    return [found[key] for key in keys]


def _forget(done: Pairing, waiting: Sequence[Pairing]) -> None:
    """Let go of activations of networks that no pairing waits for."""
    needed = {one.captured for each in waiting for one in (each.bottom_of, each.top_of)}
    for network in (done.bottom_of, done.top_of):
        if network.captured not in needed:
            for sources in (done.train, done.test):
                sources.forget(network.captured)
