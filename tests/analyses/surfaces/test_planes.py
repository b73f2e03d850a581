"""Directions: eigenvectors, the gradient, and the symmetries under which filter-normalized ones show the same line."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from conftest import tanh_net
from torch import Tensor

import landscape
from landscape import Eig, Objective, Surface
from landscape.analyses.surfaces.result import SurfaceResult
from landscape.zoo import digits, mlp, resnet

Data = tuple[Tensor, Tensor]


def measured(objective: Objective, **options: Any) -> SurfaceResult:
    result: SurfaceResult = landscape.run(Surface(**options), objective)
    return result


def test_along_the_top_eigenvector_the_second_difference_is_lambda_1(classification: Data) -> None:
    objective = Objective(tanh_net(), [classification], "cross_entropy", dtype="float64")
    eig = landscape.run(Eig(k=2, tol=1e-8), objective)
    result = measured(objective, axes="eigen", grid="5", range="1e-3")
    assert result.curvature_alpha == pytest.approx(eig.eigenvalues[0], rel=1e-5)
    assert result.curvature_beta == pytest.approx(eig.eigenvalues[1], rel=1e-4)
    assert result.norm_alpha == pytest.approx(1)
    assert result.cosine == pytest.approx(0, abs=1e-8)


def test_along_the_gradient_the_slope_is_its_norm(classification: Data) -> None:
    objective = Objective(tanh_net(), [classification], "cross_entropy", dtype="float64")
    line = measured(objective, axes="gradient", grid="5", range="1e-4")
    assert line.beta is None
    slope = (line.loss[3] - line.loss[1]) / (line.alpha[3] - line.alpha[1])
    assert slope == pytest.approx(objective.reference.gradient_norm, rel=1e-6)
    plane = measured(objective, axes="gradient", grid="5", dim=2, range="1e-4")
    assert plane.cosine == pytest.approx(0, abs=1e-12)
    across = (plane.loss[3, 2] - plane.loss[1, 2]) / (2e-4 / 2)
    assert across == pytest.approx(0, abs=1e-6 * objective.reference.gradient_norm + 1e-8)


def test_batchnorm_rescaling_leaves_the_filter_normalized_line_alone_and_changes_the_other() -> None:
    x, y = digits(images=True)[0]
    x = x.double()
    torch.manual_seed(0)
    net = resnet(1, 4, skip=False).double().eval()
    with torch.no_grad():
        for buffer in net.buffers():
            if buffer.is_floating_point():
                buffer += torch.rand_like(buffer)
    scaled = copy.deepcopy(net)
    generator = torch.Generator().manual_seed(1)
    pairs = [(scaled.stem, scaled.bn)] + [
        (getattr(b, f"conv{i}"), getattr(b, f"bn{i}")) for b in scaled.blocks for i in (1, 2)
    ]
    with torch.no_grad():
        for convolution, norm in pairs:
            s = torch.exp(2 * torch.randn(len(convolution.weight), generator=generator, dtype=torch.float64))
            convolution.weight *= s[:, None, None, None]
            norm.running_mean *= s
            norm.running_var.copy_(s**2 * (norm.running_var + norm.eps) - norm.eps)
    found = {}
    for normalize in ("filter", "none"):
        lines = [
            measured(
                Objective(n, [(x, y)], "cross_entropy", dtype="float64"), dim=1, grid="9", normalize=normalize
            ).loss
            for n in (net, scaled)
        ]
        found[normalize] = np.abs(lines[0] / lines[1] - 1).max()
    assert found["filter"] < 1e-11
    assert found["none"] > 0.1


def test_relu_layer_rescaling_leaves_the_line_alone_and_neuron_rescaling_does_not(classification: Data) -> None:
    x, y = classification[0].double(), classification[1]
    torch.manual_seed(0)
    net = mlp([5, 6, 3], "relu").double()

    def line(factor: Tensor | float) -> np.ndarray:
        other = copy.deepcopy(net)
        with torch.no_grad():
            other[0].weight *= factor if isinstance(factor, float) else factor[:, None]
            other[0].bias *= factor
            other[2].weight /= factor
        loss: np.ndarray = measured(Objective(other, [(x, y)], "cross_entropy", dtype="float64"), dim=1, grid="9").loss
        return loss

    assert np.allclose(line(1.0), line(7.5), rtol=1e-13)
    assert not np.allclose(line(1.0), line(torch.linspace(0.1, 5, 6).double()), rtol=1e-2)
