"""Losses of Hugging Face models that are no loss of one tensor of logits: answers in texts, and classes of pixels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from landscape.errors import TaskError
from landscape.losses.builtin import draw_classes
from landscape.losses.protocol import IGNORE_INDEX, OutputStructure, Uniform

START, END = "start_positions", "end_positions"
ANSWER_OUTPUT = "QuestionAnsweringModelOutput"
SEGMENT_OUTPUT = "SemanticSegmenterOutput"


@dataclass(frozen=True)
class AnswerStructure(OutputStructure):
    """The places of answers as classes: logits `(N, T, 2)` of the first and of the last token, labels `(N, 2)`."""

    def scored_output(self, output: Any) -> Tensor:
        """The logits of both ends, `(N, T, 2)`."""
        return torch.stack([output.start_logits, output.end_logits], dim=-1)

    def labels(self, target: Any) -> Tensor:
        """The places of both ends, `(N, 2)`; places behind the text are left out, those before it are its first token.

        Raises TaskError for a batch without them.
        """
        if isinstance(target, Tensor):  # drawn ones
            return target
        if not (isinstance(target, Mapping) and {START, END, "input_ids"} <= target.keys()):
            raise TaskError("the batches have no answers", fix=f"{START} and {END} beside input_ids")
        places = torch.stack([target[START], target[END]], dim=-1).clamp_min(0)
        return places.masked_fill(places >= target["input_ids"].shape[1], IGNORE_INDEX)


@dataclass(frozen=True)
class AnswerLoss:
    """The cross-entropy of the first and the last token of an answer, averaged over both and over the samples."""

    name: str = "hf"
    origin: str = "model's output: hf, cross_entropy of the answer's first and last token"
    structure: AnswerStructure = AnswerStructure("classes", class_axis=1, canonical_link=True, likelihood=True)

    def total(self, output: Tensor, target: Any) -> Tensor:
        """The summed loss `()` of both ends."""
        return functional.cross_entropy(output, self.structure.labels(target).long(), reduction="sum")

    def count(self, target: Any) -> int:
        """How many ends are scored; raises TaskError if only one end of some answer lies in its text."""
        scored = self.structure.labels(target) != IGNORE_INDEX
        first, last = (int(number) for number in scored.sum(0))
        if first != last:
            raise TaskError(
                f"{first} first and {last} last tokens of answers lie in the text: their means have other counts",
                fix=f"{START} and {END} both behind the text where there is no answer",
            )
        return first + last

    def sample(self, output: Tensor, target: Any, uniform: Uniform) -> Tensor:
        """Places `(N, 2)` drawn from the softmax over the tokens."""
        return draw_classes(output, 1, self.structure.labels(target), uniform, IGNORE_INDEX)


@dataclass(frozen=True)
class SegmentLoss:
    """The cross-entropy of each pixel's class, with the logits enlarged to the labels' size.

    Labels equal to `ignored` are left out.
    """

    ignored: int
    name: str = "hf"
    origin: str = "model's output: hf, cross_entropy of the pixels"
    structure: OutputStructure = OutputStructure()

    def total(self, output: Any, target: Tensor) -> Tensor:
        """The summed loss `()` over the pixels."""
        size = target.shape[-2:]
        logits = functional.interpolate(output.logits, size=size, mode="bilinear", align_corners=False)
        return functional.cross_entropy(logits, target.long(), reduction="sum", ignore_index=self.ignored)

    def count(self, target: Tensor) -> int:
        """How many pixels are not ignored."""
        return int((target != self.ignored).sum())
