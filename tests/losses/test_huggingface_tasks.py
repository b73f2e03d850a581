"""Answers in texts and classes of pixels: sums with counts, whatever the batches, as transformers' own means."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from conftest import quiet_transformers
from huggingface_families import FAMILIES, answer, build, segments
from torch import Tensor

import landscape
from landscape.errors import TaskError
from landscape.losses.huggingface_tasks import AnswerLoss, SegmentLoss
from landscape.operators import operator

pytest.importorskip("transformers")


def own_value(model: Any, batch: dict[str, Tensor]) -> float:
    with quiet_transformers(), torch.no_grad():
        return float(model(**batch).loss)


def cut(batch: dict[str, Tensor], *sizes: int) -> list[dict[str, Tensor]]:
    parts = zip(*(value.split(list(sizes)) for value in batch.values()), strict=True)
    return [dict(zip(batch, part, strict=True)) for part in parts]


class TestAnswers:
    def test_places_outside_the_text_are_left_out_as_transformers_does(self) -> None:
        model, data = build(FAMILIES["question_answering"]), answer()
        data["start_positions"][1] = data["end_positions"][1] = 50  # behind the text: no answer
        data["start_positions"][2] = -3  # before it: its first token
        whole = landscape.Objective(model, data, dtype="float32")
        ragged = landscape.Objective(model, cut(data, 3, 2), dtype="float32")
        assert isinstance(whole.loss, AnswerLoss)
        assert (whole.count, ragged.count) == (8, 8)
        assert float(whole.value()) == pytest.approx(own_value(model, data), rel=1e-5)
        assert float(ragged.value()) == pytest.approx(float(whole.value()), rel=1e-6)

    def test_answers_of_which_one_end_alone_lies_in_the_text_are_refused(self) -> None:
        model, data = build(FAMILIES["question_answering"]), answer()
        data["end_positions"][1] = 50
        with pytest.raises(TaskError, match=r"5 first and 4 last tokens.*\n.*both behind the text"):
            landscape.Objective(model, data)

    def test_a_batch_without_answers_is_said(self) -> None:
        inputs = {name: value for name, value in answer().items() if "positions" not in name}
        with pytest.raises(TaskError, match=r"no answers\n.*start_positions and end_positions"):
            landscape.Objective(build(FAMILIES["question_answering"]), inputs)

    def test_the_mean_of_the_drawn_fisher_matrix_is_the_gauss_newton_matrix(self) -> None:
        head = ("qa_outputs.*",)
        objective = landscape.Objective(build(FAMILIES["question_answering"]), answer(), dtype="float64", params=head)
        vector = torch.linspace(-1, 1, objective.space.size, dtype=torch.float64)[:, None]
        newton = float((vector.T @ operator("ggn", objective).matmat(vector)).item())
        hessian = float((vector.T @ operator("hessian", objective).matmat(vector)).item())
        drawn = float((vector.T @ operator("fisher", objective, labels=300).matmat(vector)).item())
        assert newton == pytest.approx(hessian, rel=1e-9)  # the head is linear
        assert drawn == pytest.approx(newton, rel=0.1)


class TestSegments:
    def test_ignored_pixels_are_not_counted_wherever_batches_end(self) -> None:
        model, data = build(FAMILIES["segformer"]), segments()
        whole = landscape.Objective(model, data)
        ragged = landscape.Objective(model, cut(data, 1, 4))
        assert isinstance(whole.loss, SegmentLoss)
        assert whole.count == ragged.count == int((data["labels"] != 255).sum())
        assert float(whole.value()) == pytest.approx(own_value(model, data), rel=1e-5)
        assert float(ragged.value()) == pytest.approx(float(whole.value()), rel=1e-6)

    def test_the_model_s_configuration_names_the_class_that_is_ignored(self) -> None:
        model, data = build(FAMILIES["segformer"]), segments()
        model.config.semantic_loss_ignore_index = 1
        data["labels"][data["labels"] == 255] = 0
        objective = landscape.Objective(model, data)
        assert objective.count == int((data["labels"] != 1).sum())
        assert float(objective.value()) == pytest.approx(own_value(model, data), rel=1e-5)
