"""An objective that follows a model in training: it is made once, then moved to the weights that the model has."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn
from torch.utils.data import DataLoader

from landscape.checkpoints.optimizer import adam_preconditioner
from landscape.data.freezing import freeze
from landscape.errors import UsageError, suggest
from landscape.network.wrappers import unwrap
from landscape.objective import Objective

GIVEN_APART = ("self", "model", "batches", "loss")
DISTURBING = ("share_memory",)  # it would give the model's tensors away
OPTIONS = tuple(
    name for name in inspect.signature(Objective.__init__).parameters if name not in (*GIVEN_APART, *DISTURBING)
)


class MovingObjective:
    """The loss of a model in training over fixed data, at the weights of the moment.

    A `DataLoader` gives one pass, whose batches are kept: the training's own loader is not iterated again, its
    generators and workers are left alone, and the data are the same at each step.

    Raises UsageError for an option that `landscape.Objective` does not have.
    """

    def __init__(self, data: Any, loss: Any, options: Mapping[str, Any]) -> None:
        wrong = next((name for name in options if name not in OPTIONS), None)
        if wrong is not None:
            raise UsageError(f"{suggest(wrong, OPTIONS)} is no option of a monitor", fix=f"one of {', '.join(OPTIONS)}")
        if isinstance(options.get("preconditioner"), Mapping):
            raise UsageError(
                "the preconditioner of a monitor is a mapping of tensors",
                why="they would stay those of the first step, and the optimizer's change",
                fix="optimizer=..., or a function that returns the tensors of the moment",
            )
        self.data, self.loss, self.options = data, loss, dict(options)
        self._objective: Objective | None = None

    @property
    def is_made(self) -> bool:
        """Whether the objective was made, so that it is only moved from now on."""
        return self._objective is not None

    def device_for(self, model: Any) -> str:
        """Where the model is measured: on the device of the options, else on its own."""
        if (asked := str(self.options.get("device", "auto"))) != "auto":
            return asked
        parameters = iter(model.parameters()) if isinstance(model, nn.Module) else iter(())
        first = next(parameters, None)
        return "cpu" if first is None else str(first.device)

    def follow_optimizer(self, model: nn.Module, optimizer: Any) -> None:
        """Takes the preconditioner from the state that an optimizer of Adam's kind has at the moment."""

        def preconditioner() -> dict[str, Tensor]:
            """Adam's divisors by the names of the parameters."""
            parameters = dict(unwrap(model).named_parameters())
            return adam_preconditioner(optimizer.state_dict(), parameters, "the training")

        self.options["preconditioner"] = preconditioner

    def at(self, model: nn.Module) -> Objective:
        """The objective at the weights that the model has now; raises as `Objective` and `Objective.at` do."""
        if self._objective is None:
            self._objective = self._make(model)
        else:
            self._objective = self._objective.at(model, preconditioner=self.options.get("preconditioner"))
        return self._objective

    def _make(self, model: nn.Module) -> Objective:
        options = {**self.options, "device": self.device_for(model)}
        if isinstance(self.data, DataLoader):
            self.data = freeze(
                _with_own_workers(self.data),
                limit=options.get("limit"),
                as_items=options.get("objective") is not None,
            )
        return Objective(unwrap(model), self.data, self.loss, **options).alone()


def _with_own_workers(loader: DataLoader[Any]) -> DataLoader[Any]:
    """The same loader, which does not restart persistent workers that training draws from at the moment."""
    other = copy.copy(loader)
    other._iterator = None
    return other
