"""PyHessian's products and power iteration (Yao et al. 2020) behind landscape's interface: a second opinion.

Its products are right, ragged batches included; its `eigenvalues()` stops on the change of the Rayleigh quotient, so
its values carry an error of a few per cent on clustered spectra.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from landscape.compute.precision import full_precision
from landscape.data.batches import to_device
from landscape.data.survey import own_random_stream
from landscape.errors import UsageError, listing
from landscape.objective import Objective
from landscape.operators.base import LinearOperator


class PyHessianOperator(LinearOperator):
    """The Hessian by PyHessian's own code, on a copy of the model (PyHessian changes mode and `.grad`).

    Raises UsageError where PyHessian cannot work: several inputs per sample, or parameters that the loss does not use.
    """

    def __init__(self, objective: Objective) -> None:
        from pyhessian import hessian  # other operators do without it

        objective.function.require_weights("--operator pyhessian")
        self.objective = objective
        self.like = objective.theta
        self.size = objective.space.size
        model = self._model_copy()
        self._check_support(model)
        with _quiet():
            self._computation = hessian(model, self._criterion, dataloader=self, cuda=objective.device.type == "cuda")

    def matmat(self, block: Tensor) -> Tensor:
        """The product `(P, K)`, one column at a time."""
        return torch.stack([self._product(column) for column in block.unbind(dim=1)], dim=1)

    def power_iteration(self, count: int, seed: int) -> list[float]:
        """PyHessian's `eigenvalues(top_n=count)` at its default settings: largest in magnitude first."""
        with _quiet(), own_random_stream(seed):
            values, _ = self._computation.eigenvalues(top_n=count)
        return [float(value) for value in values]

    def _product(self, vector: Tensor) -> Tensor:
        parts = list(self.objective.space.unflatten(vector.contiguous()).values())
        with _quiet(), full_precision(self.objective.settings.tf32):
            _, product = self._computation.dataloader_hv_product(parts)
        return torch.cat([part.detach().reshape(-1) for part in product])

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        """The micro-batches as pairs of inputs and targets, as PyHessian takes them."""
        objective = self.objective
        for batch in objective.batches:
            for piece in batch.split(objective.micro_batch):
                placed = to_device(piece, objective.device, objective.dtype)
                yield placed.inputs, placed.targets

    def _criterion(self, output: Tensor, target: Tensor) -> Tensor:
        """The loss, scaled so that PyHessian's average of batch losses by samples is the sum over the term count."""
        objective = self.objective
        return objective.loss.total(objective.scored_output(output), target) * (
            objective.batches.samples / (objective.count * len(target))
        )

    def _model_copy(self) -> nn.Module:
        objective = self.objective
        model = copy.deepcopy(objective.model).to(objective.device, objective.dtype).eval()
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(name in objective.space.names)
        return model

    def _check_support(self, model: nn.Module) -> None:
        function = self.objective.function
        if not function.is_plain or function.user_pass is not None or self.objective.decay:
            raise UsageError(
                "PyHessian cannot take a loss or a model with needs of its own (penalties, buffers that change, "
                "--objective, --weight-decay, --mode train)",
                fix="--operator hessian",
            )
        inputs, targets = next(iter(self))
        if not (isinstance(inputs, Tensor) and isinstance(targets, Tensor)):
            raise UsageError("PyHessian takes one input and one target tensor per batch", fix="--operator hessian")
        used = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
        with _quiet():
            loss = self._criterion(model(inputs), targets)
        gradients = torch.autograd.grad(loss, list(used.values()), allow_unused=True)
        unused = [name for name, gradient in zip(used, gradients, strict=True) if gradient is None]
        if unused:
            raise UsageError(
                f"PyHessian cannot work with parameters that the loss does not use: {listing(unused)}",
                fix="--operator hessian, or leave them out with --params",
            )


@contextmanager
def _quiet() -> Iterator[None]:
    """PyHessian's backward(create_graph=True) warns on every batch; fused attention has no second derivative."""
    with warnings.catch_warnings(), sdpa_kernel(SDPBackend.MATH):
        warnings.filterwarnings("ignore", message="Using backward.. with create_graph=True")
        yield
