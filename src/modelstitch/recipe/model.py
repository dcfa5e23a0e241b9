"""What may stand in a recipe: one spelling for each thing, and nothing that is not known.

Defaults are those of the library's own calls: what a recipe leaves out, it leaves to them.
Beware: names of data sets are written out in ``choices``, because the room that holds them needs torch; a test compares
the two lists. Names of families, matchings, tasks and controls come from `modelstitch.vocabulary`.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, PositiveInt, StringConstraints, Tag, model_validator

from modelstitch.recipe.choices import Control, DataName, Family, Matching, Rate, Task

# Names become names of networks in records, in `A@cut -> B@cut` and in pages: letters, digits and three marks.
_NAME = r"^[A-Za-z0-9][A-Za-z0-9_.-]*$"
Name = Annotated[str, StringConstraints(pattern=_NAME, max_length=60)]
Pattern = Annotated[str, StringConstraints(min_length=1, max_length=120)]
Share = Annotated[float, Field(ge=0, le=1)]
Kinds = dict[str, Literal["map", "tokens", "vector"] | Annotated[int, Field(strict=True, ge=0)]]
"""By cut, which axis of an example holds the channels; needed only where `modelstitch cuts` lists it as unknown."""


class _Part(BaseModel):
    """A part of a recipe: unknown keys are refused, and nothing changes after reading."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Data(_Part):
    """The examples that stitches are fitted and measured on.

    Attributes:
        name: a data set that modelstitch knows, or ``py:package.module:function``, which returns a train and a test
            set.
        folder: where its files lie; by default the usual places are searched.
        size: side of an ``image_folder``'s images in pixels, 224 by default.
        train: how many train examples stitches are fitted on; all unless told otherwise.
        test: how many test examples they are measured on; all unless told otherwise.
    """

    name: DataName
    folder: str | None = None
    size: PositiveInt | None = None
    train: PositiveInt | None = None
    test: PositiveInt | None = None

    @model_validator(mode="after")
    def _check(self) -> Data:
        if self.size is not None and self.name != "image_folder":
            raise ValueError(f"a size, where the images of {self.name} have one of their own: leave it out")
        return self


class LabelMap(_Part):
    """What a network learns in place of the true labels.

    Attributes:
        superclasses: learn the data set's two super-classes instead of its classes.
        noise: share (0 to 1) of train labels replaced by uniformly random ones.
    """

    superclasses: bool = False
    noise: Share = 0.0


class TrainedNetwork(_Part):
    """A network to train; for each seed one, called ``NAME-SEED``.

    Attributes:
        architecture: as ``modelstitch train`` knows it.
        options: the architecture's own, such as ``width``.
        samples: learn from so many train examples, the first of one shuffled order, so that subsets are nested.
        half: learn from this half (0 or 1) of that order.
        labels: what to learn in place of the true labels.
        method: ``supervised``, or ``simclr`` with a linear classifier on frozen features.
        epochs: passes over the data; by default the data set's own number, as are the following.
        batch_size: examples a step.
        learning_rate: of the first half of all steps.
        weight_decay: on every parameter.
        checkpoint: use the network as it was after so many epochs of the whole schedule.
        seeds: of initial weights, order and augmentation.
        start: begin with the weights of this network of the recipe, such as ``small-0``, instead of fresh ones.
        freeze: names of modules, as shell patterns, that stay as they are at the start, batch norms included.
        kinds: by cut, which axis of an example holds the channels: ``map`` (the first), ``tokens`` (the last), or its
            number; by default what the network's operators say.
    """

    architecture: Name
    options: dict[str, int | float | bool | list[int]] = {}
    samples: PositiveInt | None = None
    half: Literal[0, 1] | None = None
    labels: LabelMap = LabelMap()
    method: Literal["supervised", "simclr"] = "supervised"
    epochs: PositiveInt | None = None
    batch_size: Annotated[int, Field(ge=2)] | None = None
    learning_rate: Rate | None = None
    weight_decay: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    checkpoint: PositiveInt | None = None
    seeds: Annotated[list[int], Field(min_length=1)] = [0]
    start: Name | None = None
    freeze: list[Pattern] = []
    kinds: Kinds = {}

    def trained_alike(self) -> TrainedNetwork:
        """The same without its seed, its checkpoint and its kinds: networks that share the rest are trained alike."""
        return self.model_copy(update={"checkpoint": None, "seeds": [0], "kinds": {}})


class GivenNetwork(_Part):
    """A network that exists already.

    Attributes:
        load: a network folder, or a reference as the command line takes it: ``timm:NAME``, ``hf:FOLDER``,
            ``py:package.module:function``. A network that prepares images itself is given raw ones, as are those that
            it meets.
        kinds: as of a network to train.
    """

    load: str
    kinds: Kinds = {}


def _kind_of_network(value: Any) -> str:
    loads = "load" in value if isinstance(value, dict) else isinstance(value, GivenNetwork)
    return "load" if loads else "train"


Network = Annotated[
    Annotated[TrainedNetwork, Tag("train")] | Annotated[GivenNetwork, Tag("load")], Discriminator(_kind_of_network)
]


class Stitchings(_Part):
    """Pairs of networks to stitch, each in every setting that the lists span.

    Attributes:
        pairs: ``[bottom, top]`` each, by name.
        both_ways: also with the roles swapped.
        cuts: ``blocks`` (one a block), ``all`` (every legal cut), ``grid`` (every block of the bottom below every block
            of the top that the family can map), or names of cuts.
        families: the families to choose stitches from, each with its settings, as ``{name: affine, kernel: 3}``.
        matchings: the ways to choose them, each with its settings, as ``{name: task, epochs: 4}``.
        batch_norm: ``frozen`` (as trained) or ``batch`` (batch statistics).
        fit_on: ``all`` train examples of the recipe, or those that the ``top`` network was trained on.
        seeds: of the matching and of the intervals.
        controls: stitchings whose answer is known, beside these; `modelstitch.vocabulary.CONTROLS` lists them.
    """

    pairs: Annotated[list[Annotated[list[Name], Field(min_length=2, max_length=2)]], Field(min_length=1)]
    both_ways: bool = False
    cuts: Literal["blocks", "all", "grid"] | Annotated[list[str], Field(min_length=1)] = "blocks"
    families: Annotated[list[Family], Field(min_length=1)] = [{"name": "affine"}]
    matchings: Annotated[list[Matching], Field(min_length=1)] = [{"name": "task"}]
    batch_norm: Annotated[list[Literal["frozen", "batch"]], Field(min_length=1)] = ["frozen"]
    fit_on: Literal["all", "top"] = "all"
    seeds: Annotated[list[int], Field(min_length=1)] = [0]
    controls: list[Control] = []


class Claim(_Part):
    """What the recipe expects, judged by the intervals of the penalties that were found.

    Attributes:
        claim: in words.
        bottoms: which bottom networks, as a shell pattern.
        tops: which top networks.
        cuts: at which cuts of the top.
        control: one of the controls, or empty for the stitchings proper.
        statistic: whether ``each`` or ``some`` of these stitchings must keep within the bound, or their ``mean``.
        at_most: the largest penalty, in the unit of the task's first score.
        at_least: the smallest one.
    """

    claim: Annotated[str, StringConstraints(min_length=1)]
    bottoms: Pattern = "*"
    tops: Pattern = "*"
    cuts: Pattern = "*"
    control: Control | Literal[""] = ""
    statistic: Literal["each", "some", "mean"] = "each"
    at_most: Annotated[float, Field(allow_inf_nan=False)] | None = None
    at_least: Annotated[float, Field(allow_inf_nan=False)] | None = None

    @model_validator(mode="after")
    def _is_bounded(self) -> Claim:
        if self.at_most is None and self.at_least is None:
            raise ValueError("a claim without at_most and at_least: give one or both, in the unit of the penalty")
        return self


class Curve(_Part):
    """A published curve to draw beside ours, for its shape.

    Attributes:
        figure: of Bansal, Nakkiran and Barak (2021), such as ``fig2A``.
        curve: its name there.
    """

    figure: str
    curve: str


class Recipe(_Part):
    """One experiment: networks, stitchings of them, and what is expected.

    Attributes:
        name: of the run; lower-case letters, digits, ``-`` and ``_``.
        question: what the experiment asks.
        data: the examples.
        networks: by name, to train or to load.
        stitchings: what to stitch.
        task: what outputs are judged by; guessed from data and outputs where it is left out.
        measures: similarities of all pairs of cuts, beside those that every record holds.
        claims: what is expected.
        reference: published curves to draw beside ours.
        sizes: other numbers for the same experiment, by name; each is laid over the rest, mapping by mapping.
    """

    name: Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]*$", max_length=60)]
    question: Annotated[str, StringConstraints(min_length=1)]
    data: Data
    networks: Annotated[dict[Name, Network], Field(min_length=1)]
    stitchings: Annotated[list[Stitchings], Field(min_length=1)]
    task: Task | None = None
    measures: list[str] = []
    claims: list[Claim] = []
    reference: list[Curve] = []
    sizes: dict[Name, dict[str, Any]] = {}

    def kinds(self) -> dict[str, str]:
        """The key under ``networks`` of every network that is trained: what those that differ in their seed share."""
        trained = {name: seed for name, (one, seed) in self.network_names().items() if isinstance(one, TrainedNetwork)}
        return {name: name.removesuffix(f"-{seed}") for name, seed in trained.items()}

    def network_names(self) -> dict[str, tuple[TrainedNetwork | GivenNetwork, int]]:
        """Every network by the name it goes by, with its description and seed: ``NAME-SEED`` where it is trained."""
        return {
            name if isinstance(one, GivenNetwork) else f"{name}-{seed}": (one, seed)
            for name, one in self.networks.items()
            for seed in ([0] if isinstance(one, GivenNetwork) else one.seeds)
        }
