"""Which linear layers of a model can be measured: the model calls them, and they compute W a + b."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from landscape.data.trees import leaves
from landscape.evaluation.layers.layer_io import PROBE_SAMPLES, LayerCall, LayerCapture
from landscape.network.linear_maps import LinearMap, input_rows, output_rows
from landscape.objective import Objective

LINEARITY_RTOL = 1e-3  # of the largest output = W a + b; layers that compute anything else miss it by far


def measurable_layers(objective: Objective, layers: Sequence[LinearMap]) -> tuple[list[LinearMap], list[str]]:
    """The layers in the order in which the model first calls them, and the paths of those that cannot be measured.

    The model never calls the latter, or they do not compute W a + b: a subclass may standardize its weight first.
    """
    capture, weights = LayerCapture(objective, layers), objective.space.unflatten(objective.theta)
    first_calls: dict[int, int] = {}
    nonlinear: set[int] = set()
    for piece in next(iter(objective.first(PROBE_SAMPLES).batches)).split(objective.micro_batch):
        for number, (one, calls) in enumerate(zip(layers, capture.run(piece).calls, strict=True)):
            if calls:
                first_calls.setdefault(number, calls[0].order)
            if not all(_is_linear(one, weights[one.parameter], call) for call in calls):
                nonlinear.add(number)
    used = sorted(first_calls.keys() - nonlinear, key=lambda number: first_calls[number])
    return [layers[number] for number in used], [one.name for n, one in enumerate(layers) if n not in used]


def without_head(objective: Objective, layers: Sequence[LinearMap]) -> list[LinearMap]:
    """The layers without the head: the last that is called, if it has as many outputs as the model."""
    with torch.no_grad():
        output = objective.batch_output(objective.theta, batch := next(iter(objective.first(1).batches)))
    axis = objective.loss.structure.axis(output, batch.targets)
    widths = {leaf.shape[-1 if axis is None else axis] for leaf in leaves(output) if leaf.ndim}
    return [*layers[:-1]] if layers[-1].outputs in widths else [*layers]


def _is_linear(layer: LinearMap, weight: Tensor, call: LayerCall) -> bool:
    """Whether the output of a call is W a + b."""
    rows = input_rows(call.module, call.input).to(weight) @ layer.matrix(weight).T
    bias = getattr(call.module, "bias", None)
    expected = rows if bias is None else rows + bias.detach().to(rows)
    output = output_rows(call.module, call.output.detach()).to(weight)
    scale = float(expected.abs().max()) if expected.numel() else 0.0
    return expected.shape == output.shape and torch.allclose(
        expected, output, rtol=LINEARITY_RTOL, atol=LINEARITY_RTOL * scale
    )
