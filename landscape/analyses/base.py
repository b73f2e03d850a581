"""The interface of an analysis: options in fields, a measurement that reports progress, and a result."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, TypeAlias

from landscape.errors import UsageError
from landscape.fields import Option, Options, described_fields, stored_name, validate

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np

    from landscape.objective import Objective
    from landscape.objective.checks.finding import Finding
    from landscape.storage.read import StoredResult

State = Mapping[str, "np.ndarray"]
TroubleKind: TypeAlias = Literal["unfinished", "not finite", "degenerate", "contract"]


@dataclass(frozen=True)
class Progress:
    """The progress of a measurement in words and numbers; `state()` returns a snapshot that a later run resumes.

    `done` and `total` count the steps of the `phase`, whose steps take about as long as each other.
    """

    done: int
    total: int
    note: str
    state: Callable[[], State]
    phase: str = ""


@dataclass(frozen=True)
class Plan:
    """The expected cost of a measurement: bytes beyond the model and the data, products, and seconds.

    `memory` names the parts of these bytes, `phases` those of the seconds, in their order. A measurement whose plan
    names no phases is one phase. The name `plane` stands for all phases `plane 0`, `plane 1` and so on together.
    """

    bytes: int
    products: int
    seconds: float
    facts: Mapping[str, str]
    memory: Mapping[str, int] = field(default_factory=dict)
    phases: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Trouble:
    """Why a result is inconclusive, and how to fix it; `str()` of it is the reason.

    The kind is "unfinished" where more work would do, "not finite" where a number is NaN or infinite, "degenerate"
    where the matrix has nothing to measure, and "contract" where a check found that the model, the loss or the data
    are not what every measurement assumes.
    """

    why: str
    fix: str = ""
    kind: TroubleKind = "unfinished"

    def __str__(self) -> str:
        return self.why


@dataclass(frozen=True, kw_only=True)
class Result:
    """The outcome of a measurement: a frozen dataclass of described scalars and arrays.

    Arrays over a dimension in `tables` are the columns of a printed table. An array over two dimensions, of which the
    first is in `across`, has a column for each entry of the first. A scalar `x` is printed together with its standard
    error, the scalar `x_se`. `notes` are sentences about how the result was measured, `checks` what the checks of the
    model, the loss and the data found; the session stores both. `attributes` say how it was measured: those that are
    stored with it, and the `analysis` by name. `captions` explain the columns of a table, by its dimension; a table of
    `more_tables` is printed on request.
    """

    tables: ClassVar[tuple[str, ...]] = ()
    more_tables: ClassVar[tuple[str, ...]] = ()
    captions: ClassVar[Mapping[str, str]] = {}
    across: ClassVar[tuple[str, ...]] = ()
    facts: ClassVar[tuple[str, ...]] = ()  # the scalars that are always printed; none: all of them
    follows_loss: ClassVar[bool] = True  # whether only results at about the same loss are comparable

    notes: tuple[str, ...] = field(default=(), repr=False)
    checks: tuple[Finding, ...] = field(default=(), repr=False)
    attributes: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)

    def __init_subclass__(cls) -> None:
        cls.__repr__ = Result.__repr__  # type: ignore[method-assign]  # or the dataclass would print all numbers

    def __repr__(self) -> str:
        """What was measured, in a line."""
        line: str = _views().in_a_line(self)
        return line

    def _repr_html_(self) -> str:
        """Numbers, tables and the picture, as notebooks show them."""
        page: str = _views().as_page(self)
        return page

    def plot(self, ax: Any = None, **look: Any) -> Any:
        """Draws the result with matplotlib, on new axes or on those given, as many as it has panels.

        The look is that of `landscape.figures.draw`: `panel`, `title`, `width` and others. Returns the axes, a list of
        several. Raises UsageError for another number of axes, and for a result without a picture.

        >>> import landscape
        >>> result = landscape.run(landscape.Eig(k=2), landscape.load("digits-mlp.pt", limit=100))
        >>> len(result.plot())
        2
        """
        return _views().draw_result(self, ax, **look)

    def to_dict(self) -> dict[str, Any]:
        """The numbers, lists and texts of the result by name, as JSON has them; NaN and infinity are None."""
        values: dict[str, Any] = _views().plain_values(self)
        return values

    def to_dataframe(self, dims: str | Sequence[str] | None = None) -> Any:
        """The quantities with these dimensions as a DataFrame of pandas, a row for each entry.

        By default they are those of the first printed table. Dimensions `()` are those of the scalars, which are in
        `attrs` of every frame too. Raises UsageError for other dimensions, and if pandas is not installed.
        """
        return _views().to_dataframe(self, dims)

    def to_xarray(self) -> Any:
        """All arrays and scalars as a Dataset of xarray, with their descriptions and units, and the attributes.

        Raises UsageError if xarray is not installed.
        """
        return _views().to_xarray(self)

    def save(self, path: str | Path) -> None:
        """Writes the result into a results file (HDF5), as `landscape.run(..., output=path)` does; others in it stay.

        Raises OutputError if the file cannot be written, and UsageError for a result that no session has measured.
        """
        _views().save_result(self, path)

    def reference_loss(self) -> float:
        """Mean loss at the checkpoint; NaN if the result does not hold it."""
        return float(getattr(self, "loss", math.nan))

    def trouble(self) -> Trouble | None:
        """Why the result is inconclusive, by a check that failed or by its own numbers; None if it is conclusive."""
        broken = next((finding for finding in self.checks if finding.verdict == "broken"), None)
        return Trouble(broken.found, broken.fix, "contract") if broken else self.inconclusive()

    def inconclusive(self) -> Trouble | None:
        """Why the result's own numbers are inconclusive; None if they are conclusive. A result overrides this."""
        return None

    def meaning(self) -> str:
        """One sentence that says what the numbers mean; "" where their errors leave it open. A result overrides this.

        It is true whenever the result is conclusive: `sentences` leaves it out of others.
        """
        return ""

    def remarks(self) -> list[str]:
        """Sentences that a reader of the numbers needs in order to interpret them."""
        return []

    def sentences(self) -> list[str]:
        """What a conclusive result means, and the remarks."""
        meaning = "" if self.trouble() else self.meaning()
        return [*([meaning] if meaning else []), *self.remarks()]

    def gist(self) -> list[str]:
        """What a line about the result tells first; empty: its first values, or numbers with errors."""
        return []

    def bought(self) -> str:
        """What the work of this measurement bought: its sizes, and the errors that they left; "" if it does not say."""
        return ""

    def more(self, seconds: float) -> str:
        """What more work would buy, with its options, and with its time if this result took so many seconds.

        "" if that is not known.
        """
        return ""

    def not_gateable(self, field: str, place: tuple[int, ...]) -> str:
        """Why a gate must not use this element of `field`; "" if it may."""
        trouble = self.trouble()
        return trouble.why if trouble else ""

    def not_unique(self, field: str, place: tuple[int, ...]) -> str:
        """Why this element is not unique (e.g. one of several maxima), so that a gate only warns; "" if it is."""
        return ""


def _views() -> Any:
    """The module that shows and converts results, which imports numpy; descriptions do without."""
    from landscape.analyses import result_views

    return result_views


class MeasurementModule(Protocol):
    """The module that measures what an analysis describes. It imports torch; the description does not."""

    def measure(
        self, analysis: Any, objective: Objective, resume: State | None, /
    ) -> Generator[Progress, None, Result]:
        """Yields progress after each step and returns the result; `resume` is the state of an earlier progress."""

    def plan(self, analysis: Any, objective: Objective, /) -> Plan:
        """The expected cost of `measure`, from the time of a gradient (`seconds_per_gradient`)."""


@dataclass(frozen=True)
class Analysis(Options):
    """The description of a measurement: a frozen dataclass of options, with a name and a type of result.

    A subclass returns its measuring module from `measurement()`, or overrides `measure` and `plan`. One whose sizes
    follow from a budget overrides `fit_budget`.
    """

    name: ClassVar[str]
    summary: ClassVar[str]  # one line for the command's help
    result: ClassVar[type[Result]]
    needs_weights: ClassVar[bool] = True  # whether it moves or reads the weights, in the precision that it computes in
    takes_few_passes: ClassVar[bool] = False  # whether timing a gradient beforehand would be a large part of it
    has_figure: ClassVar[bool] = True  # whether `landscape.figures` has a module of its name

    def __post_init__(self) -> None:
        for choice in described_fields(type(self), Option):
            value = getattr(self, choice.name)
            if hasattr(value, "item") and getattr(value, "ndim", None) == 0:  # a number of NumPy's or torch's
                object.__setattr__(self, choice.name, value.item())
        validate(self)

    def measurement(self) -> MeasurementModule:
        """The module that measures; imported here, so that the description alone does not import torch."""
        raise NotImplementedError(f"{type(self).__name__} defines neither measurement() nor measure() and plan()")

    def measure(self, objective: Objective, resume: State | None = None) -> Generator[Progress, None, Any]:
        """Yields progress after each step and returns the result; `resume` is the state of an earlier progress."""
        fitted = self.fit_budget(objective)
        return fitted.measurement().measure(fitted, objective, resume)

    def plan(self, objective: Objective) -> Plan:
        """The expected cost of `measure`, from the time of a gradient."""
        fitted = self.fit_budget(objective)
        return fitted.measurement().plan(fitted, objective)

    def fit_budget(self, objective: Objective) -> Analysis:
        """The analysis with every size of its work; those that are not given are what its budget buys.

        They follow from counted operations, never from a clock, so that every run and rank chooses alike. Equal sizes
        are one measurement, whoever chose them: fingerprints and stored options hold the sizes alone.
        """
        return self

    def require_parts(self) -> None:
        """Raises UsageError unless it measures a model whose weights lie in parts on the ranks."""
        raise UsageError(f"--shard on does not measure {self.name}", fix="eig, trace and density; or --shard off")

    def differentiates(self, objective: Objective) -> bool:
        """Whether the measurement takes gradients of the loss, so that they have to be derivatives of it."""
        del objective
        return True

    def sidecars(self, result: Any, objective: Objective) -> dict[str, dict[str, np.ndarray]]:
        """Arrays to write next to the results file, by the suffix of their file."""
        return {}

    def write_outputs(
        self, result: Any, objective: Objective, output: Path, say: Callable[[str], None] = lambda line: None
    ) -> list[Path]:
        """Writes the files that an analysis makes besides its result, and returns their paths; most make none.

        `say` receives sentences for the user, such as the name of a file that was replaced.
        """
        return []

    def check_outputs(self, objective: Objective, output: Path) -> None:
        """Raises UsageError, before anything is measured, if `write_outputs` must not write its files there."""
        return

    def warm_start(self, objective: Objective, stored: Mapping[str, StoredResult], output: Path) -> State | None:
        """A state to start from, made of the results that the file `output` already holds; None if they do not help."""
        return None

    def split_paths(self, paths: Sequence[Path]) -> tuple[list[Path], Analysis]:
        """Splits the named checkpoints: those to measure, and the analysis that may refer to the others."""
        return list(paths), self

    def ingredients(self, objective: Objective) -> dict[str, Any]:
        """Values that decide the result, besides the options and the identity of the objective."""
        return {}

    def identity(self) -> dict[str, Any]:
        """The options that decide the result."""
        return {stored_name(f): getattr(self, f.name) for f in described_fields(type(self), Option) if f.about.identity}
