"""What every analysis is: options in fields, a measurement that reports progress, and a result."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from landscape.fields import Option, described, validate

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np

    from landscape.objective import Objective
    from landscape.storage.results import Stored

State = Mapping[str, "np.ndarray"]


@dataclass(frozen=True)
class Progress:
    """How far a measurement is, in words and numbers; `state()` gives what a later run can go on from."""

    done: int
    total: int
    note: str
    state: Callable[[], State]


@dataclass(frozen=True)
class Plan:
    """What a measurement will take: bytes beyond the model and the data, products, and an estimate of seconds."""

    bytes: int
    products: int
    seconds: float
    facts: Mapping[str, str]


class Result:
    """A measurement's outcome: a dataclass of scalars and arrays.

    Arrays over a dimension in `tables` are the columns of a printed table; with another one in `across` before it, an
    array has a column for each of its entries. A scalar `x` with another `x_se` is printed
    with it, as an estimate with its standard error.
    """

    tables: ClassVar[tuple[str, ...]] = ()
    across: ClassVar[tuple[str, ...]] = ()
    follows_loss: ClassVar[bool] = True  # whether it is comparable only between nets of about the same loss

    def reference_loss(self) -> float:
        """Mean loss at the checkpoint; NaN if the result does not hold it."""
        return float(getattr(self, "loss", math.nan))

    def trouble(self) -> str:
        """Why the numbers are not conclusive; "" if they are."""
        return ""

    def remedy(self) -> str:
        """What to do about the trouble."""
        return ""

    def remarks(self) -> list[str]:
        """What a reader of the numbers must know, a sentence each."""
        return []

    def unknown(self, field: str, place: tuple[int, ...]) -> str:
        """Why this number decides nothing when it is compared with an earlier one; "" if it may."""
        return self.trouble()

    def ambiguous(self, field: str, place: tuple[int, ...]) -> str:
        """Why this number may be another one though all went well, so that one is only warned of it; "" if not."""
        return ""


@dataclass(frozen=True)
class Analysis(ABC):
    """A frozen dataclass of options; subclasses name themselves and their result."""

    name: ClassVar[str]
    summary: ClassVar[str]  # one line for the command's help
    result: ClassVar[type[Result]]

    def __post_init__(self) -> None:
        for field in described(type(self), Option):
            value = getattr(self, field.name)
            if hasattr(value, "item") and getattr(value, "ndim", None) == 0:  # a number of NumPy's or torch's
                object.__setattr__(self, field.name, value.item())
        validate(self)

    @abstractmethod
    def measure(self, objective: Objective, resume: State | None = None) -> Generator[Progress, None, Result]:
        """Yields progress after each step and returns the result; `resume` is an earlier progress' state."""

    @abstractmethod
    def plan(self, objective: Objective) -> Plan:
        """What `measure` will take, from a short trial."""

    def sidecars(self, result: Any, objective: Objective) -> dict[str, dict[str, np.ndarray]]:
        """Arrays to be written beside the results file, by the sidecar's suffix."""
        return {}

    def deliver(self, result: Any, objective: Objective, output: Path) -> list[Path]:
        """Writes what the measurement was made for besides its result, and returns the files; most have nothing."""
        return []

    def require_room(self, objective: Objective, output: Path) -> None:
        """Raises UsageError, before anything is measured, if what `deliver` writes must not be written there."""
        return

    def known(self, objective: Objective, stored: Mapping[str, Stored], output: Path) -> State | None:
        """What results in the file `output` already tell, as a state to begin with; None if they tell nothing."""
        return None

    def over(self, paths: Sequence[Path]) -> tuple[list[Path], Analysis]:
        """The checkpoints to be measured among those that are named, and the analysis to measure them with."""
        return list(paths), self

    def ingredients(self, objective: Objective) -> dict[str, Any]:
        """What decides the result besides the options and the objective's own identity."""
        return {}

    def identity(self) -> dict[str, Any]:
        """The options that decide the result."""
        return {f.name: getattr(self, f.name) for f in described(type(self), Option) if f.about.identity}
