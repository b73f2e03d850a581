"""How products with a matrix are made: what was asked for, and what a trial found to be fastest."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

StrategyKind = Literal["loop", "vmap", "linearize", "compiled", "recorded"]
Hvp = Literal["auto", "loop", "vmap", "linearize"]
CudaGraphs = Literal["auto", "on", "off"]


@dataclass(frozen=True)
class Strategy:
    """How a block of columns is pulled through one gradient graph: `columns` of them at once.

    "recorded" products are CUDA graphs.
    """

    kind: StrategyKind = "loop"
    columns: int = 1

    def __str__(self) -> str:
        return self.kind if self.columns == 1 else f"{self.kind} of {self.columns} columns"


@dataclass
class Engine:
    """What products share: the strategy asked for, and by kind of work the way that is taken.

    `compile` lets a trial also try compiled products; `cuda_graphs` records them as CUDA graphs; `tf32` allows CUDA to
    multiply with ten bits.
    """

    hvp: Hvp = "auto"
    compile: bool = False
    cuda_graphs: CudaGraphs = "auto"
    tf32: bool = False
    ways: dict[str, Strategy] = field(default_factory=dict)
    graphs: dict[str, str] = field(default_factory=dict)  # by kind of work: whether graphs are kept, in words
    programs: dict[Any, Any] = field(default_factory=dict, repr=False)  # compiled products, by what they are of

    def to_json(self) -> str:
        return json.dumps({work: asdict(way) for work, way in self.ways.items()}, sort_keys=True)

    def recall(self, ways: str) -> None:
        """Goes on in the ways that `to_json` described, as far as they are allowed now."""
        if self.hvp != "auto":
            return
        allowed = {"compiled": self.compile, "recorded": self.cuda_graphs != "off"}
        known = {work: Strategy(**way) for work, way in json.loads(ways).items()}
        self.ways.update({work: way for work, way in known.items() if allowed.get(way.kind, True)})

    def descriptions(self) -> Iterator[str]:
        """What was taken for each kind of work, in words."""
        for work, way in self.ways.items():
            yield ", ".join(filter(None, (f"{work}: {way}", self.graphs.get(work))))
