"""The shape and the number of the samples that a plan is for: as the data have them, or as it assumes them."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from landscape.conditions import Conditions
from landscape.data.batches import Batch
from landscape.data.items import as_batch
from landscape.data.survey import FirstSamples, survey
from landscape.errors import UsageError
from landscape.losses.own_arguments import with_own_arguments
from landscape.network.one_dictionary import AsOneArgument
from landscape.objective.objective import DTYPES
from landscape.tasks.factories import data_factory
from landscape.tasks.texts import text_settings

ASSUMED_TOKENS = 1 << 20  # in all sequences, as of published spectra of language models
ASSUMED_LENGTH = 2048  # tokens of a sequence, or the model's positions if they are fewer
ASSUMED_IMAGES = 1000
LENGTHS = ("max_position_embeddings", "n_positions", "max_sequence_length", "seq_length")  # in configurations


@dataclass(frozen=True)
class DataShape:
    """One sample on the meta device, how many samples there are, and both in words."""

    sample: Batch
    samples: int
    words: str


def data_shape(model: nn.Module, conditions: Conditions, path: Path) -> DataShape:
    """The samples of --data, or those that are assumed of a Hugging Face model; raises UsageError for other models."""
    if conditions.data:
        return _of_data(model, conditions, path)
    config = getattr(model, "config", None)
    if config is None:
        raise UsageError(
            "a plan from a configuration needs the shape of the data, which a model of your own does not tell",
            fix="--data FILE or --data FILE.py:factory",
        )
    if (size := getattr(config, "image_size", None)) is not None:
        return _images(config, size, conditions)
    return _sequences(model, config, conditions)


def _of_data(model: nn.Module, conditions: Conditions, path: Path) -> DataShape:
    """The first sample of the data that the user names, and their number."""
    texts = text_settings(asdict(conditions), path, limit=conditions.limit)
    source = data_factory(str(conditions.data), conditions.data_arg, conditions.trusted_modules, texts)()
    source = AsOneArgument(with_own_arguments(model, conditions.loss, source), model)
    if conditions.limit:
        source = FirstSamples(source, conditions.limit, as_items=False)
    found = survey(source, device=torch.device("cpu"), dtype=DTYPES[conditions.dtype], budget=0)
    first = next(next(iter(found)).split(1))
    dtype = DTYPES[conditions.dtype]
    sample = first.map(lambda tensor: tensor.to("meta", dtype if tensor.is_floating_point() else tensor.dtype))
    if isinstance(sample.inputs, dict) and hasattr(model, "config") and "input_ids" in sample.inputs:
        # without a mask transformers look at numbers in order to find packed sequences
        mask = torch.ones_like(sample.inputs["input_ids"])
        sample = replace(sample, inputs={"attention_mask": mask, **sample.inputs})
    return DataShape(sample, found.samples, f"{found.samples:,} samples of {conditions.data}")


def _sequences(model: nn.Module, config: Any, conditions: Conditions) -> DataShape:
    """Sequences of tokens, as long as the options or the model's positions say."""
    positions = next((number for name in LENGTHS if isinstance(number := getattr(config, name, None), int)), None)
    length = conditions.seq_len or min(ASSUMED_LENGTH, positions or ASSUMED_LENGTH)
    if positions is not None and length > positions:
        raise UsageError(f"--seq-len {length} of a model with {positions} positions", fix=f"--seq-len {positions}")
    samples = conditions.limit or max(1, ASSUMED_TOKENS // length)
    counted = _apart_from_sizes(model, length)  # so that attention is told from weights by its shape
    ids = torch.zeros((1, counted), dtype=torch.long, device="meta")
    inputs: dict[str, Tensor] = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    named = type(model).__name__
    if getattr(config, "is_encoder_decoder", False):
        raise UsageError(f"{named} has two sequences, whose lengths a configuration does not tell", fix="--data FILE")
    labels = ids[:, 0] if named.endswith("ForSequenceClassification") else ids
    words = f"{samples:,} sequences of {length:,} tokens, assumed: --limit, --seq-len or --data say otherwise"
    return DataShape(Batch(inputs, labels), samples, words)


def _images(config: Any, size: Any, conditions: Conditions) -> DataShape:
    """Images of the size that the configuration names."""
    height, width = size if isinstance(size, list | tuple) else (size, size)
    pixels = torch.zeros((1, config.num_channels, height, width), device="meta", dtype=DTYPES[conditions.dtype])
    samples = conditions.limit or ASSUMED_IMAGES
    batch = as_batch((pixels, torch.zeros(1, dtype=torch.long, device="meta")))
    words = f"{samples:,} images of {height} x {width}, assumed: --limit or --data say otherwise"
    return DataShape(batch, samples, words)


def _apart_from_sizes(model: nn.Module, length: int) -> int:
    """A length next to `length` that is the size of no axis of a parameter."""
    sizes = {size for parameter in model.parameters() for size in parameter.shape}
    return next((near for near in range(length, length // 2, -1) if near not in sizes), length)
