"""Words: the names, titles and units of everything that a record, a recipe, a table or a figure speaks of.

This is the only list of them. A new control, measure, score, family, matching or task adds one line here; tables,
figures, pages and the command line take it from here. A name that is not listed is shown as it stands.
Beware: nothing here computes anything, and nothing here loads torch. The rooms that do are held to this list by tests.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
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

_SETTINGS = {**FAMILIES, **MATCHINGS, **TASKS}


def spoken(told: str) -> str:
    """A setting for tables and figures, as Python would write it: what a record holds as JSON text.

    Args:
        told: the JSON of a setting, or of a list of them, which is a chain; empty for none. Other text is given back
            as it stands.

    Example:
        >>> spoken('{"name": "affine", "kernel": 1}'), spoken('[{"name": "direct"}, {"name": "mine", "k": null}]')
        ('Affine(kernel=1)', 'Direct(), then mine(k=None)')
        >>> spoken(""), spoken("by hand")
        ('none', 'by hand')
    """
    if not told:
        return "none"
    try:
        found = json.loads(told)
    except ValueError:
        return told
    chain = found if isinstance(found, list) else [found]
    if not chain or not all(isinstance(one, dict) and isinstance(one.get("name"), str) for one in chain):
        return told
    return ", then ".join(map(_called, chain))


def _called(setting: dict[str, object]) -> str:
    name = str(setting["name"])
    told = ", ".join(f"{key}={value!r}" for key, value in setting.items() if key != "name")
    return f"{_SETTINGS[name].title if name in _SETTINGS else name}({told})"


def score_of(score: str, task: str) -> str:
    """The name of a score's words, as the other functions here take it: with its task where that means its own by it.

    Args:
        score: its name in a record.
        task: the JSON of the task, as a record holds it; empty where it is not known.

    Example:
        >>> score_of("error", '{"name": "imitation", "by": "kl"}'), score_of("error", '{"name": "classification"}')
        ('imitation/error', 'error')
    """
    named = f"{_task_name(task)}/{score}"
    return named if named in SCORES else score


def column_of(score: str) -> str:
    """The column of a table of records that holds a score, from what `score_of` gives.

    Example:
        >>> column_of("imitation/error"), column_of("error")
        ('error', 'error')
    """
    return score.rpartition("/")[2]


def against_top(task: str) -> bool:
    """Whether a task, as JSON, takes the answers of the network of the tops for right.

    Example:
        >>> against_top('{"name": "imitation", "by": "kl"}'), against_top("")
        (True, False)
    """
    known = TASKS.get(_task_name(task))
    return isinstance(known, TaskWord) and known.against_top


def _task_name(task: str) -> str:
    try:
        found = json.loads(task)
    except ValueError:
        return ""
    return str(found.get("name", "")) if isinstance(found, dict) else ""


def title_of(name: str) -> str:
    """The title of a score or a measure; of an unknown one its name, in words.

    Example:
        >>> title_of("error"), title_of("cka"), title_of("top_5_error")
        ('test error', 'linear CKA', 'top 5 error')
    """
    known = SCORES.get(name) or MEASURES.get(name)
    return known.title if known else name.replace("_", " ")


def unit_of(name: str) -> str:
    """The unit of a score's penalty or of a measure; empty of an unknown one."""
    known = SCORES.get(name) or MEASURES.get(name)
    return known.unit if known else ""


def value_unit(score: str, unit: str) -> str:
    """The unit of a score's values, where that of its penalty is ``unit``: a difference of percentages is in points.

    Example:
        >>> value_unit("error", "points"), value_unit("loss", "nats"), value_unit("R²", "R²")
        ('%', 'nats', '')
    """
    return "" if unit == title_of(score) else "%" if unit == "points" else unit


def with_unit(text: str, unit: str) -> str:
    """A title with the unit of what is under it.

    Example:
        >>> with_unit("penalty", "points"), with_unit("R²", "R²"), with_unit("penalty", "")
        ('penalty, points', 'R²', 'penalty')
    """
    return text if unit in ("", text) else f"{text}, {unit}"


def amount(score: str, unit: str) -> str:
    """What a penalty of a score counts.

    Example:
        >>> amount("error", "points"), amount("R²", "R²"), amount("perplexity", "")
        ('points of test error', 'R²', 'test perplexity')
    """
    title = title_of(score)
    return title if unit in ("", title) else f"{unit} of {title}"


def penalty_title(scores: Iterable[tuple[str, str]]) -> str:
    """The title of an axis or a column of penalties.

    Args:
        scores: the score and the unit of each penalty; several of records that were judged by several tasks.

    Example:
        >>> penalty_title([("error", "points")]), penalty_title([("R²", "R²"), ("error", "points")]), penalty_title([])
        ('penalty, points of test error', 'penalty, R² or points of test error', 'penalty')
    """
    return with_unit("penalty", " or ".join(dict.fromkeys(amount(*each) for each in scores)))


def decimals(unit: str) -> int:
    """How many decimals of a penalty are shown.

    Example:
        >>> f"{1.23456:+.{decimals('points')}f} points, {0.123456:+.{decimals('nats')}f} nats"
        '+1.23 points, +0.1235 nats'
    """
    return 2 if unit == "points" else 4
