"""Whether a loss has the structure that it declares: a wrong declaration would give wrong numbers without a word."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from landscape import seeds
from landscape.errors import LandscapeError, TaskError
from landscape.losses.protocol import Loss, OutputStructure, describe_tensor

HESSIAN_RTOL = 1e-3  # of the largest entry: far above float32 rounding, far below the effect of weights or another link


def require_declared_structure(loss: Loss, output: Any, target: Any) -> None:
    """Raises TaskError if the labels do not fit the output, or the Hessian is not that of the canonical link.

    `output` is the scored output of the first samples.
    """
    if loss.structure.kind == "unknown":
        return
    try:
        _require_structure(loss, output, target)
    except LandscapeError:
        raise
    except Exception as error:  # the user's own methods may raise anything
        raise TaskError(
            f"the structure that loss {loss.name} declares cannot be used: {type(error).__name__}: {error}",
            fix="a structure that fits the model's output and the targets, or none; --debug shows the traceback",
        ) from error


def _require_structure(loss: Loss, output: Any, target: Any) -> None:
    structure = loss.structure
    if not isinstance(output, Tensor):
        raise TaskError(
            f"loss {loss.name} declares {structure.kind} of a {type(output).__name__}",
            fix="an OutputStructure whose scored_output returns a tensor",
        )
    _require_fitting_labels(loss, output, target)
    if structure.canonical_link and not _has_canonical_hessian(loss, output, target):
        raise TaskError(
            f"loss {loss.name} declares canonical_link, and its Hessian in the output is another one",
            why="it weighs or scales its terms, has another link, or leaves out other labels than ignore_index",
            fix="canonical_link=False, or the sum over all labels without weights",
        )


def canonical_hessian_product(structure: OutputStructure, output: Tensor, target: Any, vector: Tensor) -> Tensor:
    """The product of the canonical link's Hessian in the output with a vector of the output's shape.

    It is diag(p) - p p' for each prediction of classes, p (1 - p) for each yes-or-no question, 2 for each real number.
    """
    if structure.kind == "squared_error":
        return 2 * vector
    if structure.kind == "binary":
        probability = output.sigmoid()
        return probability * (1 - probability) * vector
    axis = structure.axis(output, target)
    assert axis is not None
    probabilities = output.softmax(axis)
    product = probabilities * (vector - (probabilities * vector).sum(dim=axis, keepdim=True))
    mask = structure.label_mask(output, target)
    return product if mask is None else product * mask.unsqueeze(axis)


def _require_fitting_labels(loss: Loss, output: Tensor, target: Any) -> None:
    structure = loss.structure
    labels = structure.labels(target)
    axis = structure.axis(output, target)
    shape = output.shape
    if axis is not None and not labels.is_floating_point():
        shape = torch.Size([size for place, size in enumerate(output.shape) if place != axis])
    if labels.shape != shape:
        raise TaskError(
            f"loss {loss.name} declares {structure.kind}, and its labels do not fit: "
            f"output {describe_tensor(output)}, labels {describe_tensor(labels)}",
            fix="class_axis, shift, or an OutputStructure whose labels returns the right ones",
        )


def _has_canonical_hessian(loss: Loss, output: Tensor, target: Any) -> bool:
    point = _moderate(output.detach()).requires_grad_()
    vector = seeds.normal(point.numel(), point.detach(), 0, "structure").view_as(point)
    with torch.enable_grad():
        (gradient,) = torch.autograd.grad(loss.total(point, target), point, create_graph=True)
        if not gradient.requires_grad:
            return False
        (product,) = torch.autograd.grad(gradient, point, vector)
    expected = canonical_hessian_product(loss.structure, point.detach(), target, vector)
    scale = float(expected.abs().max())
    return not expected.isfinite().all() or torch.allclose(product, expected, rtol=0.0, atol=HESSIAN_RTOL * scale)


def _moderate(output: Tensor) -> Tensor:
    """The output, scaled so that no entry exceeds 1: of sure predictions the Hessian would be rounding.

    The link is the same at every output; infinite entries, of classes that are ruled out, stay.
    """
    finite = output[output.isfinite()]
    return output / finite.abs().max().clamp(min=1.0) if len(finite) else output
