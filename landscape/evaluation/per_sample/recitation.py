"""What a language model recites: greedy continuations of the beginnings of its texts (Carlini et al. 2023)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from landscape.data.batches import Batch
from landscape.evaluation.forward_batches import data_batches
from landscape.objective import Objective

SEQUENCES = 64  # of a population that are decoded
CONTINUED = 50  # tokens at most, as in the literature
SHORTEST = 4  # tokens of a continuation that is worth one: fewer are guessed
IDS = "input_ids"
CAUSAL = 1e-3  # relative: outputs at the beginning of a text that depend on its end differ more than that


@dataclass(frozen=True)
class Recitation:
    """Of the sequences that were decoded: the share recited to the last token, and of tokens that are right."""

    whole: float
    tokens: float


@dataclass(frozen=True)
class Texts:
    """Token ids `(N, T)` and the tokens that follow each `(N, T)`; negative where nothing is scored."""

    ids: Tensor
    following: Tensor
    batch: Batch

    @property
    def halves(self) -> tuple[Tensor, Tensor]:
        """Where each text's continuation begins, at its middle, and where it ends, `(N,)` each, in tokens."""
        places = torch.arange(self.ids.shape[1], device=self.ids.device)
        scored = self.following >= 0
        first = torch.where(scored, places, self.ids.shape[1]).amin(dim=1)
        last = torch.where(scored, places, -2).amax(dim=1) + 2
        begin = torch.div(first + last, 2, rounding_mode="floor")
        end = torch.minimum(last, begin + CONTINUED)
        worth = end - begin >= SHORTEST
        return torch.where(worth, begin, self.ids.shape[1] + 1), torch.where(worth, end, 0)


def texts(objective: Objective) -> list[Texts]:
    """The first sequences of an objective whose targets are each the next input; none if it is no language model."""
    found = list(_first(objective))
    return found if found and _causal(objective, found[0]) else []


def recite(objective: Objective, found: Sequence[Texts], theta: Tensor | None = None) -> Recitation:
    """Greedy continuations of the first half of each text, at theta; NaN if all are too short."""
    point = objective.theta if theta is None else theta
    hits, scored = zip(*(_decoded(objective, one, point) for one in found), strict=True)
    right, every = torch.cat(hits), torch.cat(scored)
    told = every > 0
    return Recitation(float((right == every)[told].double().mean()), float(right.sum().double() / every.sum()))


def _decoded(objective: Objective, found: Texts, theta: Tensor) -> tuple[Tensor, Tensor]:
    """How many tokens of each text's continuation are right, and of how many, `(N,)` each."""
    begin, end = found.halves
    ids, length = found.ids.clone(), found.ids.shape[1]
    right, scored = torch.zeros_like(begin), torch.zeros_like(begin)
    for place in range(int(begin.min()), int(end.max())):  # the token at this place
        said = _logits(objective, found, ids[:, :place], theta)[:, -1].argmax(dim=-1)
        wanted = found.following[:, place - 1]
        own = (begin <= place) & (place < end)
        if place < length:  # before a text's middle its own tokens stand
            ids[:, place] = torch.where(own, said.to(ids.dtype), ids[:, place])
        right += own & (wanted >= 0) & (said == wanted)
        scored += own & (wanted >= 0)
    return right, scored


def _first(objective: Objective) -> Iterator[Texts]:
    left = SEQUENCES
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
    """The token after each, in the ids' shape."""
    if objective.loss.structure.shift:
        scored: Tensor = objective.loss.structure.labels(batch.targets)
        return torch.cat([scored, torch.full_like(scored[:, :1], -1)], dim=1)
    target: Any = batch.targets
    pairs = isinstance(target, Tensor) and target.shape == ids.shape and not target.is_floating_point()
    inside = pairs and bool(((target[:, :-1] == ids[:, 1:]) | (target[:, :-1] < 0)).all())
    return target if inside else None


def _causal(objective: Objective, found: Texts) -> bool:
    """Whether outputs over the first half of a text are the same without the second, and are logits of tokens."""
    half = found.ids.shape[1] // 2
    if half < 1:
        return False
    try:
        short = _logits(objective, found, found.ids[:, :half], objective.theta)
        whole = _logits(objective, found, found.ids, objective.theta)[:, :half]
    except Exception:  # a model of one length only may raise anything
        return False
    if not isinstance(short, Tensor) or short.ndim != 3 or short.shape != whole.shape:
        return False
    return bool((short - whole).abs().max() <= CAUSAL * whole.abs().max())


def _logits(objective: Objective, found: Texts, ids: Tensor, theta: Tensor) -> Tensor:
    """Logits of the token after each, `(N, len, V)`."""
    length, whole = ids.shape[1], found.ids.shape[1]

    def cut(tensor: Any) -> Any:
        fits = isinstance(tensor, Tensor) and tensor.ndim > 1 and tensor.shape[1] == whole
        return tensor[:, :length] if fits else tensor

    inputs = found.batch.inputs
    inputs = {**{k: cut(v) for k, v in inputs.items()}, IDS: ids} if isinstance(inputs, dict) else ids
    with torch.no_grad():
        output = objective.model_output(theta, Batch(inputs, found.batch.targets, found.batch.first))
    logits: Tensor = getattr(output, "logits", output)
    return logits
