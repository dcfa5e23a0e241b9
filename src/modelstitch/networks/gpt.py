"""A small language model: a transformer in which a token sees itself and those before it.

After Radford et al. (2019, "Language models are unsupervised multitask learners"): learned positions, layer norm before
attention and before the MLP, and one after the last block. The last layer has weights of its own. Beware: a text longer
than ``longest`` has positions that were never learned, and is refused.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from modelstitch.errors import SettingError, ShapeMismatch


class CausalAttention(nn.Module):
    """``softmax(q kᵀ / √d) v`` for each head over the tokens so far, the heads then mixed by a linear layer."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.mix = nn.Linear(width, width)

    def forward(self, x: Float[Tensor, "n length width"]) -> Float[Tensor, "n length width"]:
        """What each token gathers from itself and those before it."""
        n, length, width = x.shape
        q, k, v = self.qkv(x).reshape(n, length, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4).unbind(0)
        seen = scaled_dot_product_attention(q, k, v, is_causal=True)
        mixed: Tensor = self.mix(seen.transpose(1, 2).reshape(n, length, width))
        return mixed


class CausalBlock(nn.Module):
    """``x ↦ y + mlp(norm2(y))`` with ``y = x + attention(norm1(x))``; the MLP is four times as wide."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attention = CausalAttention(width, heads)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: Float[Tensor, "n length width"]) -> Float[Tensor, "n length width"]:
        """The token stream after this block."""
        x = x + self.attention(self.norm1(x))
        changed: Tensor = x + self.mlp(self.norm2(x))
        return changed


class Embedding(nn.Module):
    """Each token as a learned vector, its place added as another."""

    def __init__(self, vocabulary: int, width: int, longest: int) -> None:
        super().__init__()
        self.token = nn.Embedding(vocabulary, width)
        self.place = nn.Parameter(0.02 * torch.randn(longest, width))
        nn.init.normal_(self.token.weight, std=0.02)

    def forward(self, tokens: Int[Tensor, "n length"]) -> Float[Tensor, "n length width"]:
        """The token stream before the first block.

        Raises:
            ShapeMismatch: a text with more tokens than there are places.
        """
        if tokens.shape[1] > len(self.place):
            asked, found = f"a language model for {len(self.place)} tokens", f"a text of {tokens.shape[1]}"
            raise ShapeMismatch(asked, found, "cut the text, or build the network with the `longest` of its texts")
        placed: Tensor = self.token(tokens) + self.place[: tokens.shape[1]]
        return placed


class GPT(nn.Module):
    """Embedding, blocks, layer norm, linear."""

    def __init__(self, vocabulary: int, width: int, depth: int, heads: int, longest: int) -> None:
        super().__init__()
        self.embedding = Embedding(vocabulary, width, longest)
        self.blocks = nn.Sequential(*(CausalBlock(width, heads) for _ in range(depth)))
        self.norm = nn.LayerNorm(width)
        self.fc = nn.Linear(width, vocabulary)

    def forward(self, tokens: Int[Tensor, "n length"]) -> Float[Tensor, "n length vocabulary"]:
        """At each position the logits of the token after it."""
        logits: Tensor = self.fc(self.norm(self.blocks(self.embedding(tokens))))
        return logits


def gpt(*, vocabulary: int = 256, width: int = 128, depth: int = 4, heads: int = 4, longest: int = 128) -> nn.Module:
    """A freshly initialised language model, called with token ids.

    Args:
        vocabulary: how many tokens there are.
        width: channels of a token.
        depth: number of blocks.
        heads: of each attention; they share the width.
        longest: tokens of the longest text.

    Raises:
        SettingError: heads that do not share the width evenly.

    Example:
        >>> gpt(vocabulary=9, width=8, depth=2, heads=2, longest=5)(torch.tensor([[1, 8, 0]])).shape
        torch.Size([1, 3, 9])
    """
    if heads < 1 or width % heads:
        found = f"a width of {width} channels"
        raise SettingError(f"a language model with {heads} heads", found, "choose heads that divide the width")
    return GPT(vocabulary, width, depth, heads, longest)
