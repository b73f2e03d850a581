"""How Hessian-vector products are computed: the user's settings, and the strategies that timed trials chose."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from landscape.errors import UsageError

StrategyKind = Literal["loop", "vmap", "linearize", "compiled", "recorded", "difference"]
Hvp = Literal["auto", "loop", "vmap", "linearize", "difference"]
CudaGraphs = Literal["auto", "on", "off"]
Recompute = Literal["auto", "on", "off"]
Shard = Literal["auto", "on", "host", "off"]
WeightsDtype = Literal["bfloat16", "float16", "float32"]


@dataclass(frozen=True)
class Strategy:
    """How a block of columns is multiplied on one micro-batch: `columns` of them in one call.

    "loop" and "vmap" pull vectors back through a gradient graph; "linearize" and "compiled" run a traced program;
    "recorded" replays a CUDA graph; "difference" takes gradients at both sides, `step` times the norm of theta, or
    times 1 where that is less, away.
    """

    kind: StrategyKind = "loop"
    columns: int = 1
    step: float = 0.0

    def __str__(self) -> str:
        if self.kind == "difference":
            return f"differences of gradients, step {self.step:.2g} max(|theta|, 1)"
        return self.kind if self.columns == 1 else f"{self.kind} of {self.columns} columns"


@dataclass(frozen=True)
class ProductSettings:
    """The user's settings of products.

    `hvp` names the strategy, or "auto" for a timed trial. `compile` lets trials also try compiled products.
    `cuda_graphs` says whether products may be recorded as CUDA graphs. `tf32` lets CUDA multiply float32 numbers with
    ten bits of mantissa. `recompute` says whether the model's blocks keep their inputs alone; auto does so where memory
    is short. `weights_dtype` is the precision in which weights are kept; None and float32 keep them as they are
    computed.
    """

    hvp: Hvp = "auto"
    compile: bool = False
    cuda_graphs: CudaGraphs = "auto"
    tf32: bool = False
    recompute: Recompute = "auto"
    weights_dtype: WeightsDtype | None = None

    @property
    def keeps_narrow_weights(self) -> bool:
        """Whether weights are kept in fewer bits than they are computed in."""
        return self.weights_dtype in ("bfloat16", "float16")

    def require_possible(self, device: str) -> None:
        """Raises UsageError for settings that exclude each other, or that the device does not have."""
        if self.hvp in ("linearize", "difference") and (self.compile or self.cuda_graphs == "on"):
            raise UsageError(
                f"--hvp {self.hvp} excludes --compile and --cuda-graphs on",
                fix="leave out --compile and --cuda-graphs on",
            )
        if self.cuda_graphs == "on" and not device.startswith("cuda"):
            raise UsageError(f"--cuda-graphs on is for CUDA, not for {device}", fix="--cuda-graphs auto")

    def allows(self, strategy: Strategy) -> bool:
        """Whether a strategy of an earlier run may be used again under these settings."""
        if "difference" in (strategy.kind, self.hvp):
            return strategy.kind == self.hvp
        if strategy.kind == "compiled":
            return self.compile
        return strategy.kind != "recorded" or self.cuda_graphs != "off"


ROUGH = 0.01  # an error of products by differences, relative to the largest product, above which a note says so
ROUGH_REMEDY = "kinks or rounding: --dtype float64 errs less"


class ProductKey(NamedTuple):
    """The products that share a strategy: of one operator, with so many columns, on micro-batches of one size."""

    operator: str
    columns: int
    samples: int  # of the largest micro-batch

    def __str__(self) -> str:
        return f"{self.operator}, {self.columns} column{'s' if self.columns > 1 else ''}"


@dataclass
class StrategyCache:
    """The strategies that trials chose, with what else the operators of one objective share.

    An objective and its variants on other data hold one cache.
    """

    chosen: dict[ProductKey, Strategy] = field(default_factory=dict)
    graphs: dict[ProductKey, str] = field(default_factory=dict)  # "graphs kept" or "graphs rebuilt"
    programs: dict[Any, Any] = field(default_factory=dict, repr=False)  # compiled products
    room: int | None = None  # bytes for the columns of one call, as they were free before the first choice
    notes: tuple[str, ...] = ()  # why a strategy that was asked for is not used
    # the largest error of a product by differences with a unit vector, and the largest such product; None without any
    product_error: tuple[float, float] | None = None

    def latest(self, operator: str, columns: int) -> Strategy | None:
        """The strategy last chosen for this operator and so many columns, on any micro-batch; None without any."""
        matching = [way for key, way in self.chosen.items() if key[:2] == (operator, columns)]
        return matching[-1] if matching else None

    def share(self, samples: int) -> None:
        """Takes the strategies chosen last for micro-batches of this size too, so that no trial is made for it."""
        for key, strategy in list(self.chosen.items()):
            self.chosen.setdefault(ProductKey(key.operator, key.columns, samples), strategy)

    @property
    def difference_step(self) -> float | None:
        """The step of differences that were taken before; None without any."""
        return next((strategy.step for strategy in self.chosen.values() if strategy.kind == "difference"), None)

    def refine_differences(self, step: float) -> None:
        """Replaces the step of all differences by a finer one."""
        for key, strategy in self.chosen.items():
            if strategy.kind == "difference":
                self.chosen[key] = Strategy("difference", strategy.columns, step)

    def record_error(self, error: float, largest: float) -> None:
        """Takes in the largest error, and the largest norm, of an operator's products with unit vectors."""
        self.product_error = max((error, largest), self.product_error or (0.0, 0.0))

    def all_notes(self) -> tuple[str, ...]:
        """The notes, with the error of products by differences."""
        return (*self.notes, *self.difference_notes())

    def difference_notes(self) -> tuple[str, ...]:
        """How far products by differences of gradients are from exact; nothing without any."""
        if self.product_error is None:
            return ()
        (error, largest), step = self.product_error, self.difference_step or math.nan
        share = f" ({100 * error / largest:.2g} % of the largest product)" if largest else ""
        move = f"{step:.2g} max(|theta|, 1) to both sides"
        note = f"products are differences of gradients {move}: they err by up to {error:.2g}"
        rough = error > ROUGH * largest
        return (f"{note} for a unit vector{share}{'; ' + ROUGH_REMEDY if rough else ''}",)

    def add_note(self, note: str) -> None:
        """Adds a note, once."""
        if note not in self.notes:
            self.notes = (*self.notes, note)

    def to_json(self) -> str:
        """The chosen strategies, and the room for those that are still to be chosen, for `restore`."""
        chosen = [[*key, *_entry(strategy)] for key, strategy in self.chosen.items()]
        return json.dumps({"room": self.room, "chosen": chosen})

    def restore(self, stored: str, settings: ProductSettings) -> None:
        """Takes over what `to_json` stored, but no strategies where the settings name one or forbid theirs.

        Earlier versions stored the strategies alone.
        """
        content = json.loads(stored)
        held = content if isinstance(content, dict) else {"room": None, "chosen": content}
        self.room = held["room"]
        if settings.hvp not in ("auto", "difference"):
            return
        for operator, columns, samples, kind, together, *step in held["chosen"]:
            strategy = Strategy(kind, together, *step)
            if settings.allows(strategy):
                self.chosen[ProductKey(operator, columns, samples)] = strategy

    def descriptions(self) -> Iterator[str]:
        """Each product with its strategy, in words; with the micro-batch where there is more than one."""
        labels = [str(key) for key in self.chosen]
        for key, strategy in self.chosen.items():
            label = str(key) if labels.count(str(key)) == 1 else f"{key} on {key.samples} samples"
            yield ", ".join(filter(None, (f"{label}: {strategy}", self.graphs.get(key))))


def _entry(strategy: Strategy) -> list[str | int | float]:
    """A strategy in JSON; only differences have a step."""
    return [strategy.kind, strategy.columns, *([strategy.step] if strategy.step else [])]
