"""What a language model recites: greedy continuations of the beginnings of its texts (Carlini et al. 2023)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from landscape.batches import Batch
from landscape.objective import Objective
from landscape.pieces import own_batches

SEQUENCES = 64  # of a population that are decoded
CONTINUED = 50  # tokens at most, as in the literature
IDS = "input_ids"
CAUSAL = 1e-3  # relative: outputs at the beginning of a text that depend on its end differ more than that


@dataclass(frozen=True)
class Recitation:
    """Of the sequences that were decoded: the share recited to the last token, and of tokens that are right."""

    whole: float
    tokens: float


@dataclass(frozen=True)
class Texts:
    """Token ids `(N, T)` and the tokens that follow each `(N, T)`; -100 where nothing is scored."""

    ids: Tensor
    following: Tensor
    batch: Batch


def texts(objective: Objective) -> Texts | None:
    """The first sequences of an objective whose targets are each the next input; None if it is no language model."""
    batch = next(next(own_batches(objective)).split(SEQUENCES))
    ids = batch.inputs.get(IDS) if isinstance(batch.inputs, dict) else batch.inputs
    if not isinstance(ids, Tensor) or ids.ndim != 2 or ids.is_floating_point() or ids.shape[1] < 4:
        return None
    following = _following(objective, batch, ids)
    if following is None or not _causal(objective, Texts(ids, following, batch)):
        return None
    return Texts(ids, following, batch)


def recited(objective: Objective, found: Texts, theta: Tensor | None = None) -> Recitation:
    """Greedy continuations of the first half of each text, at theta."""
    point = objective.theta if theta is None else theta
    length = found.ids.shape[1]
    begin, wanted = length // 2, found.following
    end = min(length, begin + CONTINUED)
    ids = found.ids[:, :begin].clone()
    decoded = []
    for _ in range(begin - 1, end):
        token = _logits(objective, found, ids, point)[:, -1].argmax(dim=-1)
        decoded.append(token)
        ids = torch.cat([ids, token[:, None].to(ids.dtype)], dim=1)
    target = wanted[:, begin - 1 : end]
    scored = target >= 0
    hits = (torch.stack(decoded, dim=1) == target) & scored
    every = scored.any(dim=1)
    whole = (hits.sum(dim=1) == scored.sum(dim=1))[every].double().mean()
    return Recitation(float(whole), float(hits.sum() / scored.sum()))


def _following(objective: Objective, batch: Batch, ids: Tensor) -> Tensor | None:
    """The token after each, in the ids' shape."""
    if getattr(objective.loss, "shifted", False):
        scored: Tensor = objective.loss.scored(batch.targets)  # type: ignore[attr-defined]
        return torch.cat([scored, torch.full_like(scored[:, :1], -1)], dim=1)
    target: Any = batch.targets
    pairs = isinstance(target, Tensor) and target.shape == ids.shape and not target.is_floating_point()
    inside = pairs and bool(((target[:, :-1] == ids[:, 1:]) | (target[:, :-1] < 0)).all())
    return target if inside else None


def _causal(objective: Objective, found: Texts) -> bool:
    """Whether outputs over the first half of a text are the same without the second, and are logits of tokens."""
    half = found.ids.shape[1] // 2
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
        output = objective.whole_output(theta, Batch(inputs, found.batch.targets, found.batch.first))
    logits: Tensor = getattr(output, "logits", output)
    return logits
