"""Which layers tolerate rounded or pruned weights: the options of `sensitivity`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, get_args

from landscape.analyses.base import MeasurementModule, Result
from landscape.analyses.sensitivity.sensitivity_result import SensitivityResult
from landscape.analyses.sensitivity.weight_changes import Granularity, WeightChange, parse_bits, parse_shares
from landscape.analyses.shared.curvature import MatrixOptions
from landscape.errors import UsageError
from landscape.fields import option
from landscape.storage import paths

if TYPE_CHECKING:
    from pathlib import Path

    from landscape.objective import Objective

Kind = Literal["weight", "embedding", "position", "norm", "bias"]
CostName = Literal["real", "forecast", "curvature"]


@dataclass(frozen=True)
class Sensitivity(MatrixOptions):
    """The change of the loss by rounding or pruning each layer: g'd + d'Hd / 2 beside a forward pass at theta + d.

    Sources: LeCun, Denker and Solla 1990 (the second-order forecast, saliencies), Dong et al. 2019 (layers by
    curvature, bits by layer).

    >>> import landscape
    >>> objective = landscape.load("digits-mlp.pt", limit=100)
    >>> result = landscape.run(landscape.Sensitivity(bits=(8, 3), budget=4), objective)
    >>> [str(name) for name in result.change[:2]], result.allocation_bits <= 4
    (['0 8 bits', '2 8 bits'], True)
    """

    name: ClassVar[str] = "sensitivity"
    summary: ClassVar[str] = "Which layers tolerate rounding or pruning, and bits by layer."
    result: ClassVar[type[Result]] = SensitivityResult
    needs_weights: ClassVar[bool] = True

    bits: tuple[float, ...] = option(
        (8, 4, 3), help="Bit widths to which the weights of a layer are rounded, symmetrically and to nearest."
    )
    granularity: str = option(
        "channel", title=True, help="Weights that share a scale: tensor, channel (an output's), or group:64."
    )
    prune: tuple[float, ...] = option((), help="Shares of the weights of a layer that are set to 0.")
    criterion: Literal["magnitude", "saliency"] = option(
        "magnitude",
        title=True,
        help="Weights that are pruned: those of smallest size, or of smallest h_ii w_i^2 / 2 (optimal brain damage), "
        "with the diagonal of the Gauss-Newton matrix.",
    )
    kinds: tuple[str, ...] = option(
        ("weight", "embedding"),
        help=f"Kinds of parameters that change, of {', '.join(get_args(Kind))}. Repeatable.",
    )
    sample_groups: int = option(
        16, help="Groups of consecutive samples whose scatter gives the errors of forecasts.", min=2
    )
    tolerance: float = option(
        0.2, help="Largest gap between forecast and real change, relative to these, of a forecast that holds.", min=0
    )
    budget: float | None = option(
        None, help="Bits for a weight on average: chooses bits for each layer, and writes them as JSON.", typed=True
    )
    allocate_by: CostName = option(
        "real", help="What --budget makes smallest in sum: the layers' real changes, g'd + d'Hd / 2, or d'Hd / 2 alone."
    )

    def __post_init__(self) -> None:
        for name in ("bits", "prune", "kinds"):
            value = getattr(self, name)
            object.__setattr__(self, name, tuple(value) if isinstance(value, tuple | list) else (value,))
        super().__post_init__()
        object.__setattr__(self, "bits", parse_bits(self.bits))
        object.__setattr__(self, "prune", parse_shares(self.prune))
        object.__setattr__(self, "kinds", parse_kinds(self.kinds))
        Granularity.parse(self.granularity)
        if not self.bits and not self.prune:
            raise UsageError("nothing changes: neither --bits nor --prune", fix="--bits 8,4,3, or --prune 0.5")
        if self.operator in ("preconditioned", "pyhessian"):
            raise UsageError(
                f"--operator {self.operator} forecasts no change, or not by samples", fix="--operator hessian or ggn"
            )
        if self.budget is not None and not (self.bits and self.budget >= min(self.bits)):
            raise UsageError(f"--budget {self.budget:g} is less than the fewest --bits", fix="a larger --budget")

    @property
    def changes(self) -> tuple[WeightChange, ...]:
        """The kinds of changes, in the order of the options."""
        rounded = [WeightChange(bits=int(bits)) for bits in self.bits]
        return (*rounded, *(WeightChange(share=share) for share in self.prune))

    @property
    def needs_saliency(self) -> bool:
        """Whether the diagonal of the curvature decides which weights are pruned."""
        return bool(self.prune) and self.criterion == "saliency"

    def measurement(self) -> MeasurementModule:
        """The module that measures."""
        from landscape.analyses.sensitivity import sensitivity_measurement

        return sensitivity_measurement

    def write_outputs(
        self, result: Any, objective: Objective, output: Path, say: Callable[[str], None] = lambda line: None
    ) -> list[Path]:
        """Writes the bits of each layer as JSON if --budget chose them; else says whether earlier ones are there."""
        from landscape.analyses.sensitivity import allocation_file

        target = paths.beside(output, paths.ALLOCATION)
        if result.layer is None:
            if target.exists():
                say(f"{target} holds the bits of an earlier run (--budget writes new ones)")
            return []
        allocation_file.write_allocation(self, result, objective, target)
        return [target]


def parse_kinds(values: tuple[str, ...]) -> tuple[str, ...]:
    """The kinds of parameters, also joined by commas; raises UsageError for words that are none."""
    words = tuple(dict.fromkeys(word.strip() for value in values for word in str(value).split(",")))
    for word in words:
        if word not in get_args(Kind):
            raise UsageError(f"--kinds is {word}", fix=f"kinds of parameters: {', '.join(get_args(Kind))}")
    return words
