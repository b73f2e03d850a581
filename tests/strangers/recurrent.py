"""Recurrent nets: packed and padded sequences, both directions, cells, and a state that is kept."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from strangers.stranger import Problem, bring, cross_entropy_terms, integers, numbers, ragged


class Recurrent(nn.Module):
    """The last output of a recurrent layer, classified."""

    def __init__(self, layer: nn.Module, width: int) -> None:
        super().__init__()
        self.layer, self.head = layer, nn.Linear(width, 3)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(self.layer(x)[0][:, -1])
        return logits


def series(model: nn.Module) -> Problem:
    """Sequences of two features in three classes."""
    return model, ragged(numbers(15, 4, 2), integers(3, 15), sizes=(6, 6, 3)), "cross_entropy"


@bring("LSTM", "classifiers of time series", terms=cross_entropy_terms)
def _() -> Problem:
    torch.manual_seed(0)
    return series(Recurrent(nn.LSTM(2, 3, batch_first=True), 3))


@bring("GRU, both directions", "taggers and classifiers", terms=cross_entropy_terms)
def _() -> Problem:
    torch.manual_seed(1)
    return series(Recurrent(nn.GRU(2, 2, batch_first=True, bidirectional=True), 4))


class Packed(nn.Module):
    """An LSTM in both directions over packed sequences, whose lengths come with the batch."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(2)
        self.layer, self.head = nn.LSTM(2, 2, batch_first=True, bidirectional=True), nn.Linear(4, 3)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        packed = pack_padded_sequence(x, lengths.cpu(), batch_first=True, enforce_sorted=False)
        outputs, _ = pad_packed_sequence(self.layer(packed)[0], batch_first=True)
        kept = (torch.arange(outputs.shape[1]) < lengths[:, None])[..., None]
        logits: Tensor = self.head((outputs * kept).sum(1) / lengths[:, None])
        return logits


@bring("LSTM, packed", "sequences of several lengths, inputs in a tuple", terms=cross_entropy_terms)
def _() -> Problem:
    x, lengths, labels = numbers(12, 4, 2), 1 + integers(4, 12, seed=7), integers(3, 12)
    parts = (slice(0, 5), slice(5, 10), slice(10, 12))
    return Packed(), [((x[part], lengths[part]), labels[part]) for part in parts], "cross_entropy"


@bring("LSTM, packed, by name", "the same in dictionaries of inputs", terms=cross_entropy_terms)
def _() -> Problem:
    x, lengths, labels = numbers(12, 4, 2), 1 + integers(4, 12, seed=7), integers(3, 12)
    parts = (slice(0, 5), slice(5, 10), slice(10, 12))
    return Packed(), [({"x": x[part], "lengths": lengths[part]}, labels[part]) for part in parts], "cross_entropy"


class Cell(nn.Module):
    """A loop over an LSTM cell."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.cell, self.head = nn.LSTMCell(2, 3), nn.Linear(3, 1)

    def forward(self, x: Tensor) -> Tensor:
        hidden = cell = x.new_zeros(len(x), 3)
        for step in x.unbind(1):
            hidden, cell = self.cell(step, (hidden, cell))
        out: Tensor = self.head(hidden)[:, 0]
        return out


@bring("LSTM cell in a loop", "own recurrent nets", terms=lambda o, t: (((o - t) ** 2).sum(), len(t)))
def _() -> Problem:
    return Cell(), ragged(numbers(15, 4, 2), numbers(15, seed=3), sizes=(6, 6, 3)), "mse"


class Ragged(nn.Module):
    """A sum over sequences whose length changes from batch to batch."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(4)
        self.layer, self.head = nn.RNN(2, 3, batch_first=True), nn.Linear(3, 3)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(self.layer(x)[0].mean(1))
        return logits


@bring("batches of several lengths", "collate functions that pad to the batch's longest", terms=cross_entropy_terms)
def _() -> Problem:
    batches = [(numbers(5, length, 2, seed=length), integers(3, 5, seed=length)) for length in (3, 5, 2)]
    return Ragged(), batches, "cross_entropy"


class Remembering(nn.Module):
    """A recurrent net that begins where the last batch ended."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(5)
        self.layer, self.head = nn.GRU(2, 3, batch_first=True), nn.Linear(3, 3)
        self.state: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        outputs, state = self.layer(x, None if self.state is None else self.state[:, : len(x)])
        self.state = state.detach().mean(1, keepdim=True).expand(-1, 64, -1).contiguous()
        logits: Tensor = self.head(outputs[:, -1])
        return logits


@bring("state from batch to batch", "stateful recurrent nets", expect="refused", clause="C5", alone=False)
def _() -> Problem:
    return series(Remembering())
