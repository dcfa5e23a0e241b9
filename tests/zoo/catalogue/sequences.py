"""Awkward networks over sequences: recurrent, packed, padded, of two sentences, mixed by a Fourier transform."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import rnn

WIDTH = 12


class Recurrent(nn.Module):
    """Two recurrent layers over a series, and a class from the last step."""

    def __init__(self, kind: type[nn.RNNBase], width: int = WIDTH, **told: Any) -> None:
        super().__init__()
        self.first = kind(5, width, batch_first=True, **told)
        out = width * (2 if told.get("bidirectional") else 1)
        self.second = kind(out, width, batch_first=True)
        self.head = nn.Linear(width, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.second(self.first(x)[0])[0][:, -1])


class Packed(nn.Module):
    """A recurrent reader that packs its sentences by their lengths."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.lstm = nn.Embedding(50, WIDTH, padding_idx=0), nn.LSTM(WIDTH, WIDTH, batch_first=True)
        self.body, self.head = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, 3)

    def forward(self, ids: Tensor) -> Tensor:
        lengths = (ids != 0).sum(1).cpu()
        packed = rnn.pack_padded_sequence(self.embed(ids), lengths, batch_first=True, enforce_sorted=False)
        return self.head(self.body(self.lstm(packed)[1][0][-1]).relu())


class TimeFirst(nn.Module):
    """A recurrent layer over (steps, examples, numbers): the examples stand on the second axis inside."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm, self.norm, self.head = nn.LSTM(5, WIDTH), nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.norm(self.lstm(x.transpose(0, 1))[0])[-1])


class Tied(nn.Module):
    """A language model whose last layer is its embedding."""

    def __init__(self, width: int = WIDTH) -> None:
        super().__init__()
        self.embed, self.body = nn.Embedding(50, width), nn.Linear(width, width)
        self.head = nn.Linear(width, 50, bias=False)
        self.head.weight = self.embed.weight

    def forward(self, ids: Tensor) -> Tensor:
        return self.head(self.body(self.embed(ids)).relu())


class Sentences(nn.Module):
    """PyTorch's own encoder, which leaves padding out."""

    def __init__(self, width: int = WIDTH) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(width, 2, 24, batch_first=True)
        self.embed, self.head = nn.Embedding(50, width), nn.Linear(width, 3)
        self.layers = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)

    def forward(self, ids: Tensor) -> Tensor:
        return self.head(self.layers(self.embed(ids), src_key_padding_mask=ids == 0).mean(1))


class Translator(nn.Module):
    """PyTorch's encoder and decoder, the target sentence a second input."""

    def __init__(self, width: int = WIDTH) -> None:
        super().__init__()
        self.source, self.target = nn.Embedding(50, width), nn.Embedding(50, width)
        self.body = nn.Transformer(width, 2, 1, 1, 24, batch_first=True)
        self.head = nn.Linear(width, 50)

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        return self.head(self.body(self.source(source), self.target(target)))


class Spectral(nn.Module):
    """Mixes positions by a Fourier transform, as FNet does."""

    def __init__(self, width: int = WIDTH) -> None:
        super().__init__()
        self.stem, self.body, self.head = nn.Linear(5, width), nn.Linear(width, width), nn.Linear(width, 3)

    def forward(self, x: Tensor) -> Tensor:
        h = self.stem(x)
        h = h + torch.fft.fft(h, dim=1).real
        return self.head((h + self.body(h).relu()).mean(1))
