"""The main job: two networks, every matching cut, both directions, with controls and measures beside each penalty."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import nn

from modelstitch.budget import Budget
from modelstitch.data import Samples, as_samples, check_disjoint
from modelstitch.errors import NetworkNotFound, SettingError, ShapeMismatch, did_you_mean
from modelstitch.matching import BatchNorm, Matching, TaskLoss
from modelstitch.records import Record, Records, Store
from modelstitch.stitches import Affine, Family
from modelstitch.stitching import Setting, Stitching, check_classes, check_identity, prepare
from modelstitch.sweep.groups import Shared, run
from modelstitch.vocabulary import CONTROLS


def stitch_all(
    a: nn.Module,
    b: nn.Module,
    train: object,
    test: object,
    *,
    names: tuple[str, str] = ("A", "B"),
    family: Family | None = None,
    by: Matching | None = None,
    batch_norm: BatchNorm = "frozen",
    every: bool = False,
    controls: Sequence[str] = ("self", "untrained"),
    seed: int = 0,
    device: str | None = None,
    budget: Budget | None = None,
    store: Store | None = None,
) -> Records:
    """Stitch two networks at every matching cut, in both directions.

    For each pair of cuts a stitch is fitted on ``train`` and measured on ``test``; what measures say of the same
    activations, a row for each position, stands beside it. Controls: each network with itself by the identity, and an
    untrained bottom in place of each trained one; others are told in `modelstitch.controls`.

    Args:
        a: a network; neither is changed.
        b: another, with the same classes; it need not have the same architecture.
        train: examples to fit on: what `modelstitch.data.as_samples` takes.
        test: examples to measure on, none of them in ``train``.
        names: what to call the two in records.
        family: the set of stitches; `Affine` unless told otherwise.
        by: how to match; `TaskLoss` from a least-squares start unless told otherwise.
        batch_norm: ``frozen`` or ``batch``.
        every: all legal cuts instead of one a block.
        controls: which, among `modelstitch.vocabulary.CONTROLS`; empty for none.
        seed: of the controls, the matching and the intervals.
        device: where to compute; by default where ``a`` is.
        budget: room for activations, in memory and on disk; it changes no record.
        store: takes each record as soon as it is measured; what it already holds is not measured again.

    Returns:
        The records, stitchings first, then controls.

    Raises:
        ClassMismatch: the networks or the data disagree about the classes.
        ShapeMismatch: no cut of one can be mapped onto a cut of the other.
        DataError: examples that no honest number can come from, or that are in both sets.
        SettingError: no such control.
    """
    _check_controls(controls)
    fit_on, measure_on = _data(train, test)
    setting = Setting(family or Affine(), by or TaskLoss(), batch_norm, seed)
    check_classes(list(zip(names, (a, b), strict=True)), measure_on)
    first = prepare(a, names[0], measure_on, device=device)
    second = prepare(b, names[1], measure_on, device=first.device)
    shared = Shared(fit_on, measure_on, setting, "all" if every else "blocks", budget or Budget())
    groups = shared.directions(first, second, both=True)
    if not any(group.pairs for group in groups):
        found = "no two cuts with the same positions and kind"
        raise ShapeMismatch(f"to stitch {names[0]} and {names[1]}", found, "compare networks that take the same input")
    if "self" in controls:
        groups += [shared.self_stitches(first), shared.self_stitches(second)]
    groups += [*shared.controls(controls, first, second), *shared.controls(controls, second, first)]
    return run(groups, store)


def stitch(
    stitching: str | Stitching,
    networks: Mapping[str, nn.Module],
    train: object,
    test: object,
    *,
    family: Family | None = None,
    by: Matching | None = None,
    batch_norm: BatchNorm = "frozen",
    seed: int = 0,
    device: str | None = None,
    budget: Budget | None = None,
    store: Store | None = None,
) -> Record:
    """One stitching: ``stitch("A@layer2.1 -> B@layer2.1", {"A": A, "B": B}, train, test)``.

    Args:
        stitching: the notation.
        networks: the networks that it names.
        train: examples to fit on.
        test: examples to measure on, none of them in ``train``.
        family: as in `stitch_all`.
        by: as in `stitch_all`.
        batch_norm: as in `stitch_all`.
        seed: as in `stitch_all`.
        device: as in `stitch_all`.
        budget: as in `stitch_all`.
        store: as in `stitch_all`.

    Raises:
        NotationError: not a stitching.
        NetworkNotFound: it names a network that was not given.
        CutNotFound: no such place.
        IllegalCut: more than one tensor crosses there.
        ShapeMismatch: the family cannot map the one cut onto the other.
    """
    stitching = Stitching.parse(stitching) if isinstance(stitching, str) else stitching
    for name in (stitching.bottom, stitching.top):
        if name not in networks:
            known = ", ".join(networks)
            do = did_you_mean(name, networks, f"name one of {known}")
            raise NetworkNotFound(f"the stitching {str(stitching)!r}", f"no network {name!r}, but {known}", do)
    fit_on, measure_on = _data(train, test)
    named = [(name, networks[name]) for name in dict.fromkeys((stitching.bottom, stitching.top))]
    check_classes(named, measure_on)
    ready = {name: prepare(network, name, measure_on, device=device) for name, network in named}
    bottom, top = ready[stitching.bottom], ready[stitching.top]
    pair = (bottom.captured.find(stitching.bottom_cut), top.captured.find(stitching.top_cut))
    setting = Setting(family or Affine(), by or TaskLoss(), batch_norm, seed)
    setting.family.check(*pair)
    check_identity(bottom, [pair[0]], measure_on)
    check_identity(top, [pair[1]], measure_on)
    shared = Shared(fit_on, measure_on, setting, budget=budget or Budget())
    return run([shared.group(bottom, top, [pair])], store)[0]


def _check_controls(controls: Sequence[str]) -> None:
    for name in controls:
        if name not in CONTROLS:
            do = did_you_mean(name, CONTROLS, f"choose among {', '.join(CONTROLS)}")
            raise SettingError(f"to stitch with the control {name!r}", "no such control", do)


def _data(train: object, test: object) -> tuple[Samples, Samples]:
    fit_on = as_samples(train)
    # A test set may lack the last classes; the train set says how many there are.
    measure_on = as_samples(test, classes=fit_on.classes)
    check_disjoint(fit_on, measure_on)
    return fit_on, measure_on
