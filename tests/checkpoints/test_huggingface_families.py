"""Forty families of Hugging Face's models against the untouched module's own loss, differentiated by plain autograd."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import quiet_transformers
from huggingface_families import FAMILIES, OVERFLOW_IN_FLOAT64, WEIGHT_NORM, build
from safetensors.torch import load_file, save_file
from torch import Tensor

import landscape
from landscape.errors import CheckpointError, NumericalError
from landscape.operators import operator

transformers = pytest.importorskip("transformers")

WAYS = ("directory", "own model")
RTOL = 1e-6  # transformers computes some losses and softmaxes in float32 always
STEP = 1e-5  # of the differences of gradients, relative to the weights


@contextmanager
def default_float64() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


def load(name: str, way: str, folder: Path, dtype: str) -> landscape.Objective:
    """The objective of the saved model: as its directory describes it, or in a model that a user's file builds."""
    with quiet_transformers():
        build(FAMILIES[name]).save_pretrained(folder / "model")
    save_file({key: value.contiguous() for key, value in FAMILIES[name].batch().items()}, folder / "batch.safetensors")
    (folder / "own.py").write_text(
        "from huggingface_families import FAMILIES, build as tiny\n\n\n"
        f"def build():\n    return tiny(FAMILIES[{name!r}])\n"
    )
    model = {"own model": f"{folder}/own.py:build", "directory": None}[way]
    return landscape.load(folder / "model", model=model, data=str(folder / "batch.safetensors"), dtype=dtype)


class Untouched:
    """The module's own loss in float64, with its gradient and its Hessian's product as functions of nothing else."""

    def __init__(self, name: str) -> None:
        self.model = build(FAMILIES[name]).double()
        batch = FAMILIES[name].batch()
        self.batch = {key: value.double() if value.is_floating_point() else value for key, value in batch.items()}
        self.asked: dict[str, Any] = {"return_loss": True} if name == "clip" else {}
        self.parameters = [parameter for parameter in self.model.parameters() if parameter.requires_grad]

    def loss(self) -> Tensor:
        with quiet_transformers():
            torch.manual_seed(0)  # at which passes of models that draw numbers begin
            loss: Tensor = self.model(**self.batch, **self.asked).loss
        return loss

    def gradient(self, *, graph: bool = False) -> Tensor:
        parts = torch.autograd.grad(
            self.loss(), self.parameters, create_graph=graph, allow_unused=True, materialize_grads=True
        )
        return torch.cat([part.flatten() for part in parts])

    def product(self, vector: Tensor) -> Tensor:
        with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
            slope = self.gradient(graph=True) @ vector
        parts = torch.autograd.grad(slope, self.parameters, allow_unused=True, materialize_grads=True)
        return torch.cat([part.flatten() for part in parts])

    def difference(self, vector: Tensor) -> Tensor:
        """The product by differences of gradients, for modules whose second derivative torch gets wrong."""
        pieces = vector.split([parameter.numel() for parameter in self.parameters])

        def moved(step: float) -> Tensor:
            for parameter, piece in zip(self.parameters, pieces, strict=True):
                parameter.data += step * piece.view_as(parameter)
            return self.gradient()

        up, down = moved(STEP), moved(-2 * STEP)
        return (up - down) / (2 * STEP)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", sorted(FAMILIES.keys() - OVERFLOW_IN_FLOAT64))
def test_value_gradient_and_product_are_those_of_the_module_s_own_loss(name: str, way: str, tmp_path: Path) -> None:
    objective = load(name, way, tmp_path, "float64")
    own = Untouched(name)
    vector = torch.randn(objective.space.size, dtype=torch.float64, generator=torch.Generator().manual_seed(5))
    value, gradient = objective.value_and_gradient()
    product = operator("hessian", objective).matmat(vector[:, None])[:, 0]
    with default_float64():  # of the numbers that models create, as in a program that computes in float64
        assert float(value) == pytest.approx(float(own.loss().detach()), rel=RTOL)
        assert relative_gap(gradient, own.gradient()) < RTOL
        expected = own.difference(vector) if name in WEIGHT_NORM else own.product(vector)
    assert relative_gap(product, expected) < RTOL


def relative_gap(one: Tensor, other: Tensor) -> float:
    return float(torch.linalg.vector_norm(one - other) / torch.linalg.vector_norm(other))


@pytest.mark.parametrize("name", sorted(OVERFLOW_IN_FLOAT64))
def test_a_mask_that_overflows_in_float64_is_refused_with_the_precision_that_works(name: str, tmp_path: Path) -> None:
    wide = load(name, "directory", tmp_path, "float64")
    with pytest.raises(NumericalError, match=r"--dtype float32, in which they are finite"):
        landscape.run(landscape.Eig(k=1), wide)
    narrow = landscape.load(tmp_path / "model", data=str(tmp_path / "batch.safetensors"), dtype="float32")
    result = landscape.run(landscape.Eig(k=1, tol=1e-5), narrow)
    assert result.trouble() is None
    model, batch = build(FAMILIES[name]), FAMILIES[name].batch()
    parameters = list(model.parameters())
    gradient = torch.autograd.grad(model(**batch).loss, parameters, create_graph=True)
    vector = torch.randn(narrow.space.size, generator=torch.Generator().manual_seed(5))
    product = torch.autograd.grad(torch.cat([part.flatten() for part in gradient]) @ vector, parameters)
    measured = operator("hessian", narrow).matmat(vector[:, None])[:, 0]
    assert relative_gap(measured, torch.cat([part.flatten() for part in product])) < 1e-4  # of float32


def test_there_are_forty_families() -> None:
    assert len(FAMILIES) >= 40


def test_tables_that_the_class_fixes_are_no_parameters(tmp_path: Path) -> None:
    objective = load("whisper", "directory", tmp_path, "float32")
    assert "model.encoder.embed_positions.weight" not in objective.space.names
    assert "fixed by the model's class: model.encoder.embed_positions.weight" in objective.notes


def test_weights_of_float64_keep_their_precision(tmp_path: Path) -> None:
    """Also where transformers converts their names."""
    model = build(FAMILIES["vit"]).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1e-12)
    with quiet_transformers():
        model.save_pretrained(tmp_path / "model")
    save_file(FAMILIES["vit"].batch(), tmp_path / "batch.safetensors")
    (tmp_path / "own.py").write_text(
        "from huggingface_families import FAMILIES, build as tiny\n\n\ndef build():\n"
        "    return tiny(FAMILIES['vit']).double()\n"
    )
    for own in (None, f"{tmp_path}/own.py:build"):
        objective = landscape.load(
            tmp_path / "model", model=own, data=str(tmp_path / "batch.safetensors"), dtype="float64"
        )
        flat = objective.space.flatten({name: p.detach() for name, p in model.named_parameters()})
        assert torch.equal(objective.theta, flat)


def test_converted_names_must_be_all_of_the_model_s(tmp_path: Path) -> None:
    load("vit", "own model", tmp_path, "float32")
    file = tmp_path / "model" / "model.safetensors"
    tensors = load_file(file)
    del tensors["classifier.bias"]
    save_file(tensors, file)
    with pytest.raises(CheckpointError, match=r"does not fit the model .*own.py:build.*: missing .*classifier.bias"):
        landscape.load(tmp_path / "model", model=f"{tmp_path}/own.py:build", data=str(tmp_path / "batch.safetensors"))
