"""The lists: what everything is called, what it is in a sentence, and its unit."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Word:
    """What something is called.

    Args:
        title: in tables, figures and pages.
        line: what it is, in a sentence.
        unit: of its values; of a score, of its penalty; empty for a number without unit.
        made_by: the class that makes it, where that is not called by the title.
    """

    title: str
    line: str = ""
    unit: str = ""
    made_by: str = ""


@dataclass(frozen=True)
class Control(Word):
    """What a control is called.

    Args:
        title: in tables, figures and pages.
        line: what it is, in a sentence.
        unit: empty.
        made_by: empty.
        reading: what its penalties say, in a sentence.
    """

    reading: str = ""


@dataclass(frozen=True)
class TaskWord(Word):
    """What a task is called.

    Args:
        title: in tables, figures and pages.
        line: what it is, in a sentence.
        unit: empty.
        made_by: empty.
        against_top: whether its scores are taken against the answers of the network of the tops.
    """

    against_top: bool = False


@dataclass(frozen=True)
class MeasureWord(Word):
    """What a measure is called.

    Args:
        title: in tables, figures and pages.
        line: what it is, in a sentence.
        unit: of its values.
        made_by: empty.
        farthest: of a distance, the most it can be; None for a similarity, where more is more similar.
        of_activations: whether it looks at activations alone, before any stitch.
    """

    farthest: float | None = None
    of_activations: bool = True


CONTROLS = {
    "self": Control("self-stitches", "A network stitched to itself by the identity.", reading="They must lose 0."),
    "untrained": Control(
        "untrained bottoms",
        "Bottoms that never saw data, at a scale of their own.",
        reading="Where these cost little, a low penalty of a trained bottom says little too.",
    ),
    "stem_reset": Control(
        "the top's own bottoms with a fresh stem",
        "The tops' own bottoms with a fresh first layer: all but the stem is trained.",
        reading="The code of Bansal, Nakkiran and Barak (2021) measured this in place of an untrained bottom.",
    ),
    "noise": Control(
        "noise in place of bottoms",
        "Noise in place of the bottom's activations: nothing can be known, so the score must be that of a guess.",
    ),
    "clustered_noise": Control(
        "noise that tells the class",
        "Noise about the mean of each example's class in place of the bottom's activations: nothing but the label.",
        reading="A penalty as low as these is that of a bottom that knows the labels and nothing else.",
    ),
    "shuffled": Control(
        "stitches fitted on shuffled pairs",
        "Fitted with each example's activations beside another's, measured on examples as they are.",
        reading="Where these cost little, the stitch knows what it was not told.",
    ),
}
"""Stitchings whose answer is known beforehand; `modelstitch.controls` makes them."""

SCORES = {
    "error": Word("test error", "Share of the test examples, labels or tokens that are decided wrong.", unit="points"),
    "loss": Word("test loss", "Mean cross-entropy over the test examples.", unit="nats"),
    "macro_f1": Word("test macro-F1", "Mean over classes of the F1 score.", unit="points", made_by="MacroF1"),
    "subset_accuracy": Word("test subset accuracy", "Share of the examples without a wrong label.", unit="points"),
    "r2": Word("R²", "Share of the targets' variance that is explained.", unit="R²"),
    "mse": Word("test squared error", "Mean squared error, in the square of the targets' unit.", unit="target²"),
    "nats": Word("test nats per token", "Mean cross-entropy over the predicted tokens.", unit="nats a token"),
    "perplexity": Word("test perplexity", "exp of the nats a token."),
    "mean_iou": Word("test mean IoU", "Mean over classes of intersection over union, in pixels.", unit="points"),
    "recall_at_1": Word("test recall@1", "Share of the examples whose own item is found first.", unit="points"),
    "recall_at_5": Word("test recall@5", "Share of the examples whose own item is among 5 found.", unit="points"),
    "recall_at_10": Word("test recall@10", "Share of the examples whose own item is among 10 found.", unit="points"),
    "mrr": Word("test mean reciprocal rank", "Mean of 1 / rank of an example's own item."),
    "distance": Word("squared distance from the top's outputs", "Relative to the square of the top's own outputs."),
    "imitation/error": Word(
        "decisions other than the top's", "Share of the test examples that are decided otherwise.", unit="points"
    ),
    "imitation/loss": Word(
        "divergence from the top's outputs",
        "Mean divergence from the top's outputs over the test examples.",
        unit="nats",
    ),
}
"""What the outputs of a network are judged by. A score in percent has penalties in percentage points: ``points``.

Where a task means something else by a score, its words stand behind the name of the task; see `score_of`.
"""

MEASURES = {
    "agreement_top": MeasureWord(
        "agreement with the top",
        "share of the test examples that get the class which the top's own network gives them",
        of_activations=False,
    ),
    "agreement_bottom": MeasureWord(
        "agreement with the bottom",
        "share of the test examples that get the class which the bottom's own network gives them",
        of_activations=False,
    ),
    "cka": MeasureWord("linear CKA", "linear CKA of the activations at the two cuts, a row for each position"),
    "cka_debiased": MeasureWord("linear CKA, debiased", "the same from unbiased estimates"),
    "cca": MeasureWord("mean CCA", "mean canonical correlation"),
    "svcca": MeasureWord("SVCCA", "the same of the components that hold 99 % of the variance"),
    "pwcca": MeasureWord("PWCCA", "the same weighted by how much of the bottom's activations each direction explains"),
    "procrustes": MeasureWord("Procrustes distance", "distance after the best rotation, 0 to √2", farthest=2**0.5),
    "procrustes_angular": MeasureWord(
        "angular Procrustes distance", "the same as an angle, 0 to π/2", unit="radians", farthest=1.5707963267948966
    ),
    "residual": MeasureWord(
        "residual of direct matching",
        "share of the activations' variance at the top's cut that the best direct map leaves",
        of_activations=False,
    ),
}
"""What a record holds beside its scores."""

FAMILIES = {
    "identity": Word("Identity", "no map at all"),
    "permutation": Word("Permutation", "the channels in another order"),
    "orthogonal": Word("Orthogonal", "the channels rotated or reflected"),
    "diagonal": Word("Diagonal", "every channel with a scale and a shift of its own"),
    "affine": Word("Affine", "an affine map of channels, by a convolution"),
    "bn_affine_bn": Word("BNAffineBN", "an affine map between two batch norms"),
}
"""The sets that a stitch is chosen from."""

MATCHINGS = {
    "direct": Word("Direct", "the top's own activations matched in closed form"),
    "task": Word("TaskLoss", "the loss of the stitched network minimised by descent"),
    "soft_labels": Word("SoftLabels", "the top's softened class probabilities matched by descent"),
}
"""How a stitch is chosen."""

TASKS = {
    "classification": Word("Classification", "one class an example"),
    "multi_label": Word("MultiLabel", "several labels an example, each there or not"),
    "regression": Word("Regression", "numbers"),
    "next_token": Word("NextToken", "the next token of a text"),
    "pixels": Word("Pixels", "one class a pixel"),
    "retrieval": Word("Retrieval", "which item of a gallery an embedding finds"),
    "imitation": TaskWord("Imitation", "the answers of the top's own network; no targets are read", against_top=True),
}
"""What the outputs of a network mean."""

SCHEMES = {
    "timm": Word("timm:NAME", "a model of timm; fresh weights unless ?pretrained is written"),
    "torchvision": Word("torchvision:NAME", "a model of torchvision; fresh weights unless ?pretrained is written"),
    "hf": Word("hf:NAME_OR_FOLDER", "a model of transformers, from a folder or the cache"),
    "file": Word("file:WEIGHTS.safetensors?architecture=REFERENCE", "weights for the network of another reference"),
    "pt2": Word("pt2:FILE.pt2", "an exported program"),
    "py": Word("py:package.module:function", "what a function of yours returns"),
}
"""How networks are named that are no network folders."""
