"""An objective on torch's meta device: the sizes of everything, and no numbers."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from landscape.choices import Mode
from landscape.compute.strategy import ProductSettings, StrategyCache
from landscape.data.batches import Batch
from landscape.data.survey import Batches
from landscape.data.trees import leaves
from landscape.losses.preflight import select_loss
from landscape.losses.protocol import Loss
from landscape.network.blocks import find_repeated_blocks
from landscape.network.filters import filter_axes
from landscape.network.space import ParameterSpace
from landscape.network.wrappers import trainable_parameters, unwrap
from landscape.objective.micro_batch import SampleCost
from landscape.objective.model_function import ModelFunction
from landscape.objective.objective import DTYPES, Objective
from landscape.objective.source import ObjectiveSource

META = torch.device("meta")


class MetaObjective(Objective):
    """A model on the meta device over so many samples of one shape, for `Analysis.plan` and for counting costs.

    It has every size that a plan asks for. `loss` is as in `Objective`; outputs are taken for logits. Nothing of it can
    be evaluated. Raises whatever the model raises that cannot run on the meta device.
    """

    def __init__(
        self,
        model: nn.Module,
        sample: Batch,
        samples: int,
        loss: str | Loss | None,
        *,
        params: tuple[str, ...] = (),
        dtype: str = "float32",
        settings: ProductSettings | None = None,
        mode: Mode = "eval",
        path: Path | None = None,
    ) -> None:
        module = unwrap(model)
        self.dtype, self.device, self.mode = DTYPES[dtype], META, mode
        self.settings, self.strategies = settings or ProductSettings(), StrategyCache()
        space = ParameterSpace.of(trainable_parameters(module), filter_axes(module)).select(params)
        tensors = dict(module.named_parameters()) | dict(module.named_buffers())
        fixed = {
            name: tensor.detach().to(self.dtype if tensor.is_floating_point() else tensor.dtype)
            for name, tensor in tensors.items()
            if name not in set(space.names)
        }
        function = ModelFunction(module, space, fixed, mode=mode)
        self.theta = torch.empty(space.size, dtype=self.dtype, device=META)
        with torch.no_grad():
            output = function.output(self.theta, sample)
        chosen, self.loss_note = select_loss(module, loss, output, sample, "logits")
        super(Objective, self).__init__(function, chosen, None)
        self.objective_function, self.source, self.populations = None, ObjectiveSource(path), {}
        self.batches = Batches([sample], "", samples, 1, kept=True)
        self.count, self.joinable, self.as_given = float(samples), True, False
        self.activation_bytes, self.micro_batch = 0, 1
        self.checks, self.notes, self.weights_sha256 = (), (), ""
        scored = list(leaves(chosen.structure.scored_output(output)))
        self.outputs_width = scored[0].shape[-1] if scored and scored[0].ndim else 0
        self.output_bytes = sum(tensor.nbytes for tensor in scored)
        self.sample_cost = SampleCost(0.0, self.output_bytes)

    def with_blocks(self) -> MetaObjective:
        """The same objective whose model's blocks keep their inputs alone, and run again in backward passes."""
        other = copy.copy(self)
        other.function = replace(self.function, blocks=find_repeated_blocks(self.function.module))
        return other

    @property
    def sample(self) -> Batch:
        """The one sample whose shape all have."""
        return next(iter(self.batches))
