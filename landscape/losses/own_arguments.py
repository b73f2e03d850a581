"""What a Hugging Face model must be given beside its inputs, so that it can compute its loss: the labels themselves."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from torch import nn

from landscape.data.batches import Batch
from landscape.data.items import as_batch, as_iterable
from landscape.errors import TaskError
from landscape.losses.huggingface import HF, labels_of

LABELS, RETURN_LOSS = "labels", "return_loss"  # arguments of models that compute their own loss
DECODER_INPUTS = "decoder_input_ids"
# The endings of classes whose loss follows from their logits and the labels: nothing more need be given to them
TASKS = (
    "CausalLM MaskedLM SequenceClassification TokenClassification ImageClassification AudioClassification "
    "MultipleChoice NextSentencePrediction"
)
OTHER_LOSS_OF_LOGITS = {"XLNetLMHeadModel", "ProphetNetForCausalLM"}  # each token by itself, several tokens ahead
LOSS_OF_LOGITS = ("LMHeadModel", *(f"For{task}" for task in TASKS.split()))


class WithOwnArguments:
    """Data whose inputs hold, by name, what the model computes its own loss from."""

    def __init__(self, source: Iterable[Any], accepted: Mapping[str, Any], *, labels: bool, return_loss: bool) -> None:
        self.source, self.labels, self.return_loss = source, labels, return_loss
        self.two_sequences = labels and DECODER_INPUTS in accepted

    def __iter__(self) -> Iterator[Batch]:
        for item in self.source:
            yield self._extend(as_batch(item))

    def _extend(self, batch: Batch) -> Batch:
        if not isinstance(batch.inputs, dict):
            return batch
        inputs = dict(batch.inputs)
        if self.two_sequences and batch.targets is batch.inputs and DECODER_INPUTS not in inputs:
            raise TaskError("the batches have no labels", fix="a dictionary with labels beside the model's arguments")
        if self.labels and batch.targets is not batch.inputs:
            inputs[LABELS] = labels_of(batch.targets)
        if self.return_loss:
            inputs[RETURN_LOSS] = True
        return replace(batch, inputs=inputs)


def with_own_arguments(model: nn.Module, loss: Any, data: Any) -> Any:
    """The data with the labels among the inputs, for models that compute their own loss from them.

    Such are models of two sequences, which make the decoder's inputs from the labels, and models whose loss is known to
    themselves alone. A model that compares images and texts is asked for its loss. The data of every other model, and
    data for another loss than the model's own, are returned as they are.
    """
    named = loss if isinstance(loss, str | None) else getattr(loss, "name", "")
    config = getattr(model, "config", None)
    if named not in (None, HF) or not hasattr(config, "model_type"):
        return data
    accepted = inspect.signature(model.forward).parameters
    labels, return_loss = LABELS in accepted and _needs_labels(model, accepted), RETURN_LOSS in accepted
    if not (labels or return_loss):
        return data
    return WithOwnArguments(as_iterable(data), accepted, labels=labels, return_loss=return_loss)


def _needs_labels(model: nn.Module, accepted: Mapping[str, Any]) -> bool:
    if DECODER_INPUTS in accepted and not _is_classifier(model):
        return True
    names = [kind.__name__ for kind in type(model).__mro__]
    return not OTHER_LOSS_OF_LOGITS.isdisjoint(names) or not any(name.endswith(LOSS_OF_LOGITS) for name in names)


def _is_classifier(model: nn.Module) -> bool:
    """Whether a model of two sequences makes the decoder's inputs from those of the encoder."""
    return any(kind.__name__.endswith("ForSequenceClassification") for kind in type(model).__mro__)
