"""The main job: two networks, every matching cut, both directions, with controls and measures beside each penalty."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from modelstitch.activations import Sources
from modelstitch.compute import Compute
from modelstitch.data import Examples, both_sets
from modelstitch.errors import NetworkNotFound, ShapeMismatch, TaskMismatch, did_you_mean
from modelstitch.matching import BatchNorm, Matching, TaskLoss, chained
from modelstitch.networks import AnyNetwork, Network, both_networks, network_of, with_kinds
from modelstitch.records import LeftOut, Record, Records, Store
from modelstitch.stitches import Affine, Family
from modelstitch.stitching.checks import check_identity, settled_both, settled_task
from modelstitch.stitching.controls import check_controls
from modelstitch.stitching.controls import controls as controls_of
from modelstitch.stitching.groups import run
from modelstitch.stitching.notation import Stitching
from modelstitch.stitching.pairing import Pairing, Pairings, Setting
from modelstitch.stitching.places import Cuts
from modelstitch.support.modes import own_modes
from modelstitch.support.tensors import Kind
from modelstitch.tasks import Task


@own_modes()
def stitch_all(
    a: AnyNetwork,
    b: AnyNetwork,
    train: object,
    test: object,
    *,
    names: tuple[str, str] | None = None,
    task: Task | None = None,
    family: Family | None = None,
    by: Matching | Sequence[Matching] | None = None,
    batch_norm: BatchNorm = "frozen",
    every: bool = False,
    controls: Sequence[str] = ("self", "untrained"),
    kinds: Mapping[str, Kind] | None = None,
    seed: int = 0,
    compute: Compute | None = None,
    store: Store | None = None,
) -> Records:
    """Stitch two networks at every matching cut, in both directions.

    For each pair of cuts a stitch is fitted on ``train`` and measured on ``test``; what measures say of the same
    activations, a row for each position, stands beside it. Controls: each network with itself by the identity, and an
    untrained bottom in place of each trained one; others are described in `modelstitch.stitching.controls`.

    Args:
        a: a network, or a reference to one (`modelstitch.load_network`); neither is changed.
        b: another that does the same task; it need not have the same architecture. One of the two may lack a head: it
            then lends bottoms alone.
        train: examples to fit on: what `modelstitch.data.as_examples` takes.
        test: examples to measure on, none of them in ``train``.
        names: what to call the two in records; by default a reference by itself, and modules A and B.
        task: what outputs are judged by; guessed from targets and outputs where it can only be one. Without targets it
            is `Imitation`: the penalty is taken against the top network's own answers.
        family: the set of stitches; `Affine` unless told otherwise.
        by: how to match; `TaskLoss` from a least-squares start unless told otherwise.
        batch_norm: ``frozen`` or ``batch``.
        every: all legal cuts instead of one a block.
        controls: which, among ``self``, ``untrained``, ``stem_reset``, ``noise``, ``clustered_noise`` and
            ``shuffled``; empty for none.
        kinds: where the channels are at cuts that no operator says it of, such as ``{"A@relu": "map"}``; cuts where it
            stays unknown are left out.
        seed: of the controls, the matching and the intervals.
        compute: where, by default where each network is, and room for activations; room changes no record.
        store: takes each record as soon as it is measured; what it already holds is not measured again.

    Returns:
        The records, stitchings first, then controls. ``left_out`` says what could not be stitched, and why.

    Raises:
        TaskMismatch: outputs, targets and task do not belong together.
        ShapeMismatch: no cut of one can be mapped onto a cut of the other.
        DataError: examples that no honest number can come from, or that are in both sets.
        SettingError: no such control, a kind that a tensor cannot have, or the task cannot be guessed.
    """
    check_controls(controls)
    one, other = with_kinds(both_networks(a, b, names), kinds)
    fit_on, measure_on = both_sets(train, test)
    task, headless = settled_both(task, (one.name, one.module), (other.name, other.module), measure_on)
    place = compute or Compute()
    first = one.ready(measure_on.example, place)
    second = other.ready(measure_on.example, replace(place, device=first.device))
    setting = Setting(family or Affine(), chained(TaskLoss() if by is None else by), batch_norm, seed)
    made = pairings(fit_on, measure_on, task, setting, place, "all" if every else "blocks")
    ways = [way for way in ((first, second), (second, first)) if way[1].name not in headless]
    found = made.directions(*ways[0], both=not headless)
    out = _left_out(made, ways, headless)
    _check_some(found, (first, second), out)
    if "self" in controls:
        found += [made.self_stitches(each) for each in (first, second) if each.name not in headless]
    found += [each for way in ways for each in controls_of(controls, made, *way)]
    if store:
        store.leave_out(out)
    return Records(run(found, store), out)


def _check_some(found: Sequence[Pairing], networks: Sequence[Network], out: Sequence[LeftOut]) -> None:
    """Refuse two networks of which nothing can be stitched."""
    if not any(pairing.pairs for pairing in found):
        raise ShapeMismatch(f"to stitch {networks[0].name} and {networks[1].name}", *_without_pairs(networks, out))


def _left_out(
    made: Pairings, ways: Sequence[tuple[Network, Network]], headless: Mapping[str, TaskMismatch]
) -> list[LeftOut]:
    """What is not stitched, and why: cuts that the family cannot map, and directions under a network without a head."""
    found = [one for way in ways for one in made.left_out(*way)]
    return found + [LeftOut(f"{ways[0][1].name} -> {name}", f"no head: {why.found}") for name, why in headless.items()]


def _without_pairs(networks: Sequence[Network], out: Sequence[LeftOut]) -> tuple[str, str]:
    """Why no cut of one network goes with one of the other, and what to do."""
    endless = [one.name for one in networks if len(one.captured.cuts) <= 2]
    if endless:
        found = f"no cut between input and output of {' and '.join(endless)}"
        return found, "stitch networks of two layers or more, through which one tensor passes alone"
    first = f": {out[0].stitching} is {out[0].reason}" if out else ""
    found = f"no two cuts with the same positions and a known kind, the same in both{first}"
    return found, "compare networks that take the same input"


@own_modes()
def stitch(
    stitching: str | Stitching,
    networks: Mapping[str, AnyNetwork],
    train: object,
    test: object,
    *,
    task: Task | None = None,
    family: Family | None = None,
    by: Matching | Sequence[Matching] | None = None,
    batch_norm: BatchNorm = "frozen",
    kinds: Mapping[str, Kind] | None = None,
    seed: int = 0,
    compute: Compute | None = None,
    store: Store | None = None,
) -> Record:
    """One stitching: ``stitch("A@layer2.1 -> B@layer2.1", {"A": A, "B": B}, train, test)``.

    Args:
        stitching: the notation.
        networks: the networks that it names, or references to them. The bottom's needs no head.
        train: examples to fit on.
        test: examples to measure on, none of them in ``train``.
        task: as in `stitch_all`.
        family: as in `stitch_all`.
        by: as in `stitch_all`.
        batch_norm: as in `stitch_all`.
        kinds: as in `stitch_all`.
        seed: as in `stitch_all`.
        compute: as in `stitch_all`.
        store: as in `stitch_all`.

    Raises:
        NotationError: not a stitching.
        NetworkNotFound: it names a network that was not given.
        CutNotFound: no such place.
        IllegalCut: more than one tensor crosses there.
        ShapeMismatch: the family cannot map the one cut onto the other, or where the channels are is unknown.
        SettingError: a kind that the tensor at its cut cannot have.
    """
    stitching = Stitching.parse(stitching) if isinstance(stitching, str) else stitching
    for name in (stitching.bottom, stitching.top):
        if name not in networks:
            known = ", ".join(networks)
            do = did_you_mean(name, networks, f"name one of {known}")
            raise NetworkNotFound(f"the stitching {str(stitching)!r}", f"no network {name!r}, but {known}", do)
    fit_on, measure_on = both_sets(train, test)
    given = {name: network_of(networks[name], name) for name in dict.fromkeys((stitching.bottom, stitching.top))}
    both = with_kinds([replace(one, name=name) for name, one in given.items()], kinds)
    named = [(one.name, one.module) for one in both]
    task = settled_task(task, named[-1:], measure_on, named[:-1])
    place = compute or Compute()
    ready = {one.name: one.ready(measure_on.example, place) for one in both}
    bottom, top = ready[stitching.bottom], ready[stitching.top]
    pair = (bottom.captured.find(stitching.bottom_cut), top.captured.find(stitching.top_cut))
    setting = Setting(family or Affine(), chained(TaskLoss() if by is None else by), batch_norm, seed)
    made = pairings(fit_on, measure_on, task, setting, place)
    made.setting.family.check(*pair)
    check_identity(bottom, [pair[0]], measure_on)
    check_identity(top, [pair[1]], measure_on)
    return run([made.pairing(bottom, top, [pair])], store)[0]


def pairings(
    train: Examples, test: Examples, task: Task, setting: Setting, compute: Compute, cuts: Cuts = "blocks"
) -> Pairings:
    """What makes the pairings of one call, both sets of examples in one room.

    Args:
        train: to fit on.
        test: to measure on.
        task: what outputs are judged by.
        setting: how to choose the stitches.
        compute: where, and how much room activations may take.
        cuts: where to stitch.
    """
    fit_on = Sources(train, compute)
    return Pairings(fit_on, fit_on.over(test), task, setting, cuts)
