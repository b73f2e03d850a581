"""Greedy continuations of the beginnings of a language model's texts: how much it recites (Carlini et al. 2023)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from landscape.data.batches import Batch
from landscape.evaluation.forward_batches import data_batches
from landscape.objective import Objective
from landscape.objective.model_function import Theta

MAX_TEXTS = 64  # of a population that are decoded
MAX_CONTINUATION = 50  # tokens, as in the literature
MIN_CONTINUATION = 4  # tokens: fewer are guessed
IDS = "input_ids"
CAUSAL_RTOL = 1e-3  # of the largest logit: outputs that depend on later tokens differ more than that


@dataclass(frozen=True)
class Recitation:
    """Of the decoded texts: the share that is recited to the last token, and the share of right tokens."""

    whole: float
    tokens: float


@dataclass(frozen=True)
class Texts:
    """Token ids `(N, T)` and the tokens that follow each `(N, T)`; negative where none is scored."""

    ids: Tensor
    following: Tensor
    batch: Batch

    @property
    def continuations(self) -> tuple[Tensor, Tensor]:
        """Where each text's continuation begins, at its middle, and where it ends, `(N,)` each, in tokens."""
        positions = torch.arange(self.ids.shape[1], device=self.ids.device)
        scored = self.following >= 0
        first = torch.where(scored, positions, self.ids.shape[1]).amin(dim=1)
        last = torch.where(scored, positions, -2).amax(dim=1) + 2
        begin = torch.div(first + last, 2, rounding_mode="floor")
        end = torch.minimum(last, begin + MAX_CONTINUATION)
        long_enough = end - begin >= MIN_CONTINUATION
        return torch.where(long_enough, begin, self.ids.shape[1] + 1), torch.where(long_enough, end, 0)


def texts(objective: Objective) -> list[Texts]:
    """The first texts of an objective whose targets are each the next input; none if it is no language model."""
    batches = list(_first_texts(objective))
    return batches if batches and _is_causal(objective, batches[0]) else []


def recite(objective: Objective, texts: Sequence[Texts], theta: Theta | None = None) -> Recitation:
    """Continues the first half of each text greedily, at theta; the shares are NaN if all texts are too short."""
    point = objective.theta if theta is None else theta
    right_parts, count_parts = zip(*(_decode(objective, batch, point) for batch in texts), strict=True)
    right, counts = torch.cat(right_parts), torch.cat(count_parts)
    decoded = counts > 0
    return Recitation(float((right == counts)[decoded].double().mean()), float(right.sum().double() / counts.sum()))


def _decode(objective: Objective, texts: Texts, theta: Theta) -> tuple[Tensor, Tensor]:
    """How many tokens of each text's continuation are right, and of how many, `(N,)` each."""
    begin, end = texts.continuations
    ids, length = texts.ids.clone(), texts.ids.shape[1]
    right, counts = torch.zeros_like(begin), torch.zeros_like(begin)
    for position in range(int(begin.min()), int(end.max())):  # of the token that is decoded
        predicted = _logits(objective, texts, ids[:, :position], theta)[:, -1].argmax(dim=-1)
        expected = texts.following[:, position - 1]
        inside = (begin <= position) & (position < end)
        if position < length:  # up to its middle a text keeps its own tokens
            ids[:, position] = torch.where(inside, predicted.to(ids.dtype), ids[:, position])
        right += inside & (expected >= 0) & (predicted == expected)
        counts += inside & (expected >= 0)
    return right, counts


def _first_texts(objective: Objective) -> Iterator[Texts]:
    """The first texts by batch; stops at a batch that holds no token ids with their next tokens."""
    left = MAX_TEXTS
    for batch in data_batches(objective):
        if left <= 0:
            return
        piece = next(batch.split(left))
        ids = piece.inputs.get(IDS) if isinstance(piece.inputs, dict) else piece.inputs
        if not isinstance(ids, Tensor) or ids.ndim != 2 or ids.is_floating_point():
            return
        following = _following(objective, piece, ids)
        if following is None:
            return
        yield Texts(ids, following, piece)
        left -= piece.size


def _following(objective: Objective, batch: Batch, ids: Tensor) -> Tensor | None:
    """The token after each, in the ids' shape; None if the targets are something else."""
    structure = objective.loss.structure
    if structure.shift:
        scored: Tensor = structure.labels(batch.targets)
        return torch.cat([scored, torch.full_like(scored[:, :1], -1)], dim=1)
    target: Any = batch.targets
    same_shape = isinstance(target, Tensor) and target.shape == ids.shape and not target.is_floating_point()
    are_next = same_shape and bool(((target[:, :-1] == ids[:, 1:]) | (target[:, :-1] < 0)).all())
    return target if are_next else None


def _is_causal(objective: Objective, texts: Texts) -> bool:
    """Whether outputs over the first half of a text are the same without the second, and are logits of tokens."""
    half = texts.ids.shape[1] // 2
    if half < 1:
        return False
    try:
        short = _logits(objective, texts, texts.ids[:, :half], objective.theta)
        whole = _logits(objective, texts, texts.ids, objective.theta)[:, :half]
    except Exception:  # a model for one length only may raise anything
        return False
    if not isinstance(short, Tensor) or short.ndim != 3 or short.shape != whole.shape:
        return False
    return bool((short - whole).abs().max() <= CAUSAL_RTOL * whole.abs().max())


def _logits(objective: Objective, texts: Texts, ids: Tensor, theta: Theta) -> Tensor:
    """Logits of the token after each of `ids`, `(N, len, V)`."""
    length, whole = ids.shape[1], texts.ids.shape[1]

    def cut(value: Any) -> Any:
        """An input without what stands behind the text so far."""
        has_length = isinstance(value, Tensor) and value.ndim > 1 and value.shape[1] == whole
        return value[:, :length] if has_length else value

    inputs = texts.batch.inputs
    inputs = {**{k: cut(v) for k, v in inputs.items()}, IDS: ids} if isinstance(inputs, dict) else ids
    with torch.no_grad():
        output = objective.model_output(theta, Batch(inputs, texts.batch.targets, texts.batch.first))
    logits: Tensor = getattr(output, "logits", output)
    return logits
