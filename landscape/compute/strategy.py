"""How Hessian-vector products are computed: the user's settings, and the strategies that timed trials chose."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

StrategyKind = Literal["loop", "vmap", "linearize", "compiled", "recorded"]
Hvp = Literal["auto", "loop", "vmap", "linearize"]
CudaGraphs = Literal["auto", "on", "off"]


@dataclass(frozen=True)
class Strategy:
    """How a block of columns is multiplied on one micro-batch: `columns` of them in one call.

    "loop" and "vmap" pull vectors back through a gradient graph; "linearize" and "compiled" run a traced program;
    "recorded" replays a CUDA graph.
    """

    kind: StrategyKind = "loop"
    columns: int = 1

    def __str__(self) -> str:
        return self.kind if self.columns == 1 else f"{self.kind} of {self.columns} columns"


@dataclass(frozen=True)
class ProductSettings:
    """The user's settings of products.

    `hvp` names the strategy, or "auto" for a timed trial. `compile` lets trials also try compiled products.
    `cuda_graphs` says whether products may be recorded as CUDA graphs. `tf32` lets CUDA multiply float32 numbers with
    ten bits of mantissa.
    """

    hvp: Hvp = "auto"
    compile: bool = False
    cuda_graphs: CudaGraphs = "auto"
    tf32: bool = False

    def allows(self, strategy: Strategy) -> bool:
        """Whether a strategy of an earlier run may be used again under these settings."""
        if strategy.kind == "compiled":
            return self.compile
        return strategy.kind != "recorded" or self.cuda_graphs != "off"


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
    notes: tuple[str, ...] = ()  # why a strategy that was asked for is not used

    def latest(self, operator: str, columns: int) -> Strategy | None:
        """The strategy last chosen for this operator and so many columns, on any micro-batch; None without any."""
        matching = [way for key, way in self.chosen.items() if key[:2] == (operator, columns)]
        return matching[-1] if matching else None

    def add_note(self, note: str) -> None:
        """Adds a note, once."""
        if note not in self.notes:
            self.notes = (*self.notes, note)

    def to_json(self) -> str:
        """The chosen strategies, for `restore`."""
        return json.dumps([[*key, strategy.kind, strategy.columns] for key, strategy in self.chosen.items()])

    def restore(self, stored: str, settings: ProductSettings) -> None:
        """Takes over the strategies that `to_json` stored, unless the settings name a strategy or forbid theirs."""
        if settings.hvp != "auto":
            return
        for operator, columns, samples, kind, together in json.loads(stored):
            strategy = Strategy(kind, together)
            if settings.allows(strategy):
                self.chosen[ProductKey(operator, columns, samples)] = strategy

    def descriptions(self) -> Iterator[str]:
        """Each product with its strategy, in words; with the micro-batch where there is more than one."""
        labels = [str(key) for key in self.chosen]
        for key, strategy in self.chosen.items():
            label = str(key) if labels.count(str(key)) == 1 else f"{key} on {key.samples} samples"
            yield ", ".join(filter(None, (f"{label}: {strategy}", self.graphs.get(key))))
