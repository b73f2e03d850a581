"""The loss of models that return an object with `logits` and know their own loss: Hugging Face's.

It is written out as a sum with a count, so that padding, ragged batches and micro-batches leave it what it is.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from landscape.errors import TaskError
from landscape.losses.loss import BY_NAME, IGNORED, Likelihood, Loss, Uniform, no_likelihood

HF = "hf"  # the value of --loss that asks for the model's own loss
SHIFTED = "CausalLMOutput"  # in the names of outputs that are scored against the next token
PER_TOKEN = ("Seq2SeqLMOutput", "MaskedLMOutput", "TokenClassifierOutput")
PER_SAMPLE = ("SequenceClassifierOutput", "ImageClassifierOutput")


@dataclass(frozen=True)
class LogitsLoss:
    """A model's own loss on its logits: cross-entropy of tokens or classes, or mse or bce of real labels.

    With `shifted` the logits at a token are scored against the token that follows. Labels of -100 are left out; where
    no labels are given, they are the tokens themselves, without the padding that an attention mask tells of.
    """

    inner: Loss
    shifted: bool
    name: str = HF

    def select(self, output: Any) -> Tensor:
        """The part of the model's output that is scored."""
        logits: Tensor = output.logits
        if self.shifted:
            logits = logits[:, :-1]
        elif logits.shape[-1] == 1 and self.inner.name == "mse":
            logits = logits.squeeze(-1)
        return logits

    def total(self, output: Tensor, target: Any) -> Tensor:
        return self.inner.total(output, self.scored(target))

    def count(self, target: Any) -> int:
        return self.inner.count(self.scored(target))

    def class_axis(self, output: Tensor, target: Any) -> int | None:
        find = getattr(self.inner, "class_axis", None)
        return find(output, self.scored(target)) if find else None

    def sample(self, output: Tensor, target: Any, uniform: Uniform) -> Tensor:
        if not isinstance(self.inner, Likelihood):
            raise no_likelihood(self.name)
        drawn = self.inner.sample(output, self.scored(target), uniform)
        if not self.shifted:
            return drawn
        return torch.cat([torch.full_like(labels_of(target)[:, :1], IGNORED), drawn], dim=1)

    def scored(self, target: Any) -> Tensor:
        """The labels that the logits are scored against."""
        if self.shifted:
            return labels_of(target)[:, 1:]
        labels = _require_labels(target)
        column = self.inner.name == "mse" and labels.ndim == 2 and labels.shape[1] == 1
        return labels.squeeze(-1) if column else labels


def loss_origin(loss: Loss) -> str:
    """Where a loss that was not given came from, and what it is."""
    if not isinstance(loss, LogitsLoss):
        return f"shapes: {loss.name}"
    return f"model's output: {loss.name}, {loss.inner.name} of the {'next token' if loss.shifted else 'labels'}"


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Without transformers' remarks on models whose loss it does not know by name and takes for another."""
    logger = logging.getLogger("transformers")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def labels_of(target: Any) -> Tensor:
    """The labels of a batch: its own, or its tokens without the padding."""
    if isinstance(target, Tensor):
        return target
    tokens = target.get("input_ids") if isinstance(target, Mapping) else None
    if not isinstance(tokens, Tensor):
        raise TaskError("the batches have no labels", fix="a dictionary with labels beside the model's arguments")
    mask = target.get("attention_mask")
    return tokens.masked_fill(mask == 0, IGNORED) if isinstance(mask, Tensor) else tokens


def _require_labels(target: Any) -> Tensor:
    if not isinstance(target, Tensor):
        raise TaskError("the batches have no labels", fix="a dictionary with labels beside the model's arguments")
    return target


def taken(loss: Loss, output: Any) -> Any:
    """The part of a model's output that a loss takes."""
    return loss.select(output) if isinstance(loss, LogitsLoss) else output


def padding_token(loss: Loss, model: Any) -> int | None:
    """The token that pads a model's texts, if the loss scores tokens and the model has one."""
    token = getattr(getattr(model, "config", None), "pad_token_id", None)
    return token if isinstance(loss, LogitsLoss) and loss.shifted and isinstance(token, int) else None


def padding_count(loss: Any, token: int | None, target: Any) -> int:
    """How many scored tokens of a batch look like padding."""
    return 0 if token is None else int((loss.scored(target) == token).sum())


def has_logits(output: Any) -> bool:
    """Whether a model's output is an object of that kind."""
    return isinstance(output, Mapping) and isinstance(getattr(output, "logits", None), Tensor)


def own_loss(output: Any, target: Any, *, own_targets: bool = False) -> LogitsLoss:
    """The loss that goes with an output of its kind and with these labels; raises TaskError if there is none.

    With `own_targets` the batch has no labels but its own tokens, which only a model of the next token is scored by.
    """
    kind = type(output).__name__
    if not has_logits(output):
        raise TaskError(
            f"--loss hf needs a model that returns an object with logits, not a {kind}",
            fix="--loss cross_entropy|mse|bce, or --loss pkg.mod:function(output, target)",
        )
    if SHIFTED in kind:
        return LogitsLoss(BY_NAME["cross_entropy"], shifted=True)
    _require_labels({} if own_targets else target)
    if any(words in kind for words in PER_TOKEN):
        return LogitsLoss(BY_NAME["cross_entropy"], shifted=False)
    if not any(words in kind for words in PER_SAMPLE):
        raise TaskError(
            f"no loss is known for a model that returns a {kind}", fix="--loss pkg.mod:function(output, target)"
        )
    if output.logits.shape[-1] == 1:
        return LogitsLoss(BY_NAME["mse"], shifted=False)
    inner = "bce" if _require_labels(target).is_floating_point() else "cross_entropy"
    return LogitsLoss(BY_NAME[inner], shifted=False)
