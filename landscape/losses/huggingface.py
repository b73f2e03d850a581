"""The loss of models that return an object with `logits` and compute their own loss: Hugging Face's.

landscape computes it as a sum with a count, so that padding, ragged batches and micro-batches do not change it.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from landscape.errors import TaskError
from landscape.losses.builtin import BCE, CROSS_ENTROPY, MSE
from landscape.losses.huggingface_tasks import ANSWER_OUTPUT, SEGMENT_OUTPUT, AnswerLoss, SegmentLoss
from landscape.losses.protocol import IGNORE_INDEX, Likelihood, Loss, OutputStructure, Uniform
from landscape.losses.reductions import ReducedLoss
from landscape.losses.softmax import SoftmaxCrossEntropy, SoftmaxLoss, large_softmax, with_last_token
from landscape.losses.user import FunctionLoss

HF = "hf"  # the value of --loss that asks for the model's own loss
NEXT_TOKEN_OUTPUT = "CausalLMOutput"  # in the names of outputs that are scored against the next token
TOKEN_OUTPUTS = ("Seq2SeqLMOutput", "MaskedLMOutput", "TokenClassifierOutput", "ForTokenClassificationOutput")
SAMPLE_OUTPUTS = (
    *("SequenceClassifierOutput", "ImageClassifierOutput", "PerceiverClassifierOutput"),
    *("ForSequenceClassificationOutput", "ForImageClassificationOutput"),  # XLNet's, Hiera's
)
CHOICE_OUTPUTS = ("MultipleChoiceModelOutput", "ForMultipleChoiceOutput", "NextSentencePredictorOutput")
# what a configuration may say of the labels of samples
PROBLEMS: dict[str, Likelihood] = {
    "regression": MSE,
    "multi_label_classification": BCE,
    "single_label_classification": CROSS_ENTROPY,
}
IGNORED_SEGMENT = 255  # the class of pixels that models of segments leave out, unless their configuration names another
OTHER_LOSS = "the loss that is meant: --objective FILE.py:function(model, batch), or --loss pkg.mod:function"


@dataclass(frozen=True)
class LogitsStructure(OutputStructure):
    """The structure of an output object whose `logits` are scored; one real logit per sample is `(N,)`, not `(N, 1)`.

    With `shift` and a dictionary as targets, the labels are the tokens without the padding.
    """

    def scored_output(self, output: Any) -> Tensor:
        """The logits, without those of the last token if they are scored against the next one."""
        logits: Tensor = output.logits
        if self.shift:
            return logits[:, :-1]
        return logits.squeeze(-1) if self.kind == "squared_error" and logits.shape[-1] == 1 else logits

    def labels(self, target: Any) -> Tensor:
        """The labels that the logits are scored against; raises TaskError for a batch without labels."""
        if self.shift:
            return labels_of(target)[:, 1:]
        labels = _require_labels(target)
        column = self.kind == "squared_error" and labels.ndim == 2 and labels.shape[1] == 1
        return labels.squeeze(-1) if column else labels


@dataclass(frozen=True)
class LogitsLoss:
    """A model's own loss on its logits: cross-entropy of tokens or classes, or mse or bce of real labels.

    With `shifted` the logits at a token are scored against the next token. Labels of -100 are left out. Where no labels
    are given, they are the tokens themselves, without those that the attention mask marks as padding.
    """

    inner: Likelihood
    shifted: bool
    name: str = HF

    @cached_property
    def structure(self) -> LogitsStructure:
        """That of the inner loss, of an object's logits."""
        return LogitsStructure(**{**asdict(self.inner.structure), "shift": self.shifted})

    @property
    def origin(self) -> str:
        """Which loss it is, for the note on an inferred loss."""
        return f"model's output: {self.name}, {self.inner.name} of the {'next token' if self.shifted else 'labels'}"

    def total(self, output: Tensor, target: Any) -> Tensor:
        """The summed loss `()` of the scored logits."""
        if (large := large_softmax(self, output, target)) is not None:
            return large.total()
        return self.inner.total(output, self.structure.labels(target))

    def as_softmax(self, output: Tensor, target: Any) -> SoftmaxCrossEntropy | None:
        """The closed form of cross-entropy; None for another loss, or shapes that do not fit."""
        if not isinstance(self.inner, SoftmaxLoss):
            return None
        labels = self.structure.labels(target)
        if self.shifted:
            output, labels = with_last_token(output, labels, self.structure.ignore_index)
        return self.inner.as_softmax(output, labels)

    def count(self, target: Any) -> float:
        """How many labels are scored."""
        return self.inner.count(self.structure.labels(target))

    def sample(self, output: Tensor, target: Any, uniform: Uniform) -> Tensor:
        """Labels drawn from the model's own distribution; with `shifted` the first token's is -100."""
        drawn = self.inner.sample(output, self.structure.labels(target), uniform)
        if not self.shifted:
            return drawn
        return torch.cat([torch.full_like(labels_of(target)[:, :1], IGNORE_INDEX), drawn], dim=1)


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Silences transformers' warnings about models whose loss it does not know by name and guesses."""
    logger = logging.getLogger("transformers")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def labels_of(target: Any) -> Tensor:
    """The labels of a batch: the given ones, or its tokens without the padding."""
    if isinstance(target, Tensor):
        return target
    tokens = target.get("input_ids") if isinstance(target, Mapping) else None
    if not isinstance(tokens, Tensor):
        raise TaskError("the batches have no labels", fix="a dictionary with labels beside the model's arguments")
    mask = target.get("attention_mask")
    return tokens.masked_fill(mask == 0, IGNORE_INDEX) if isinstance(mask, Tensor) else tokens


def _require_labels(target: Any) -> Tensor:
    if not isinstance(target, Tensor):
        raise TaskError("the batches have no labels", fix="a dictionary with labels beside the model's arguments")
    return target


def padding_token(loss: Loss, model: Any) -> int | None:
    """The token that pads a model's texts, if the loss scores the next token and the model's configuration names it."""
    token = getattr(getattr(model, "config", None), "pad_token_id", None)
    return token if loss.structure.shift and isinstance(token, int) else None


def padding_count(loss: Loss, token: int | None, target: Any) -> int:
    """How many scored tokens of a batch are the padding token."""
    return 0 if token is None else int((loss.structure.labels(target) == token).sum())


@dataclass(frozen=True)
class OwnMeanLoss(FunctionLoss):
    """The mean over a batch that the model itself computes, weighted by the batch's samples."""

    @property
    def origin(self) -> str:
        """Which loss it is, for the note on an inferred loss."""
        return f"model's output: {self.name}, the mean that the model computes over a batch"


@dataclass(frozen=True)
class OwnSumLoss(ReducedLoss):
    """The sum over a batch that the model itself computes."""

    @property
    def origin(self) -> str:
        """Which loss it is, for the note on it."""
        return f"model's output: {self.name}, the sum that the model computes, divided by the number of samples"


def _own(output: Any, target: Any) -> Any:  # noqa: ARG001
    return output.loss


OWN_MEAN, OWN_SUM = OwnMeanLoss(_own, HF), OwnSumLoss(_own, HF, "sum")


def has_logits(output: Any) -> bool:
    """Whether a model's output is an object with `logits`, as Hugging Face's models return it."""
    return isinstance(output, Mapping) and isinstance(getattr(output, "logits", None), Tensor)


def is_own_output(output: Any) -> bool:
    """Whether a model's output is an object that a loss of its own goes with."""
    return has_logits(output) or has_loss(output) or _has_answers(output)


def has_loss(output: Any) -> bool:
    """Whether a model's output holds the loss that the model computed itself."""
    loss = getattr(output, "loss", None) if isinstance(output, Mapping) else None
    return isinstance(loss, Tensor) and loss.numel() == 1


def _has_answers(output: Any) -> bool:
    return isinstance(output, Mapping) and ANSWER_OUTPUT in type(output).__name__


def own_loss(output: Any, target: Any, *, own_targets: bool = False, model: Any = None) -> OwnLoss:
    """The loss that goes with the class of an output and with these labels; raises TaskError if there is none.

    With `own_targets` the batch has no labels but its own tokens, which only a model of the next token is scored by.
    """
    kind = type(output).__name__
    if _has_answers(output):
        return AnswerLoss()
    if not is_own_output(output):
        raise TaskError(
            f"--loss hf needs a model that returns an object with logits, not a {kind}",
            fix="--loss cross_entropy|mse|bce, or --loss pkg.mod:function(output, target)",
        )
    if has_loss(output) and type(model).__name__.endswith("ForCTC"):
        return OWN_MEAN
    if NEXT_TOKEN_OUTPUT in kind:
        return LogitsLoss(CROSS_ENTROPY, shifted=True)
    known = (*TOKEN_OUTPUTS, *SAMPLE_OUTPUTS, *CHOICE_OUTPUTS, SEGMENT_OUTPUT)
    if not any(name in kind for name in known):
        if has_loss(output):
            return OWN_MEAN
        raise TaskError(
            f"no loss is known for a model that returns a {kind}",
            why="it returns no loss of its own for these batches",
            fix=OTHER_LOSS if isinstance(target, Tensor) else f"labels in the batches, or {OTHER_LOSS}",
        )
    return _loss_of_labels(output, _require_labels({} if own_targets else target), model)


def _loss_of_labels(output: Any, labels: Tensor, model: Any) -> OwnLoss:
    kind, config = type(output).__name__, getattr(model, "config", None)
    if SEGMENT_OUTPUT in kind:
        return SegmentLoss(getattr(config, "semantic_loss_ignore_index", IGNORED_SEGMENT))
    if any(name in kind for name in (*TOKEN_OUTPUTS, *CHOICE_OUTPUTS)):
        return LogitsLoss(CROSS_ENTROPY, shifted=False)
    problem = getattr(config, "problem_type", None)
    if problem in PROBLEMS:
        return LogitsLoss(PROBLEMS[problem], shifted=False)
    if output.logits.shape[-1] == 1:
        return LogitsLoss(MSE, shifted=False)
    return LogitsLoss(BCE if labels.is_floating_point() else CROSS_ENTROPY, shifted=False)


OwnLoss = LogitsLoss | AnswerLoss | SegmentLoss | OwnMeanLoss
