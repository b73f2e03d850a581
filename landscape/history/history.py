"""A run's history: its checkpoints in the order of their steps, with what was measured at each."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from landscape.errors import UsageError, suggest
from landscape.history import views, writing
from landscape.history.columns import columns_of
from landscape.history.quantities import CHECKPOINT_QUANTITIES, STEP, Quantity, quantities_of
from landscape.storage.provenance import SCHEMA
from landscape.storage.write import Variable

NAME = "track"  # of histories in JSON, as analyses have theirs
CHECKPOINT, TROUBLE = "checkpoint", "trouble"


@dataclass(frozen=True)
class Moment:
    """A checkpoint of a run: the step at which it was written, and what was measured there, by name.

    `trouble` says why a number is missing or inconclusive; "" if all are as they should be. `sha256` is that of the
    checkpoint's file, "" for a model in memory.
    """

    step: float
    checkpoint: str
    values: Mapping[str, Any] = field(default_factory=dict)
    trouble: str = ""
    sha256: str = ""


@dataclass(frozen=True, repr=False)
class History(Mapping[str, np.ndarray]):
    """What was measured at the checkpoints of a run, in the order of their steps.

    `history["eig.eigenvalues"]` is an array whose first axis is the step: `(T, k)` at T checkpoints. `loss` and
    `gradient_norm` have no analysis in their names. Missing numbers are NaN. `attributes` say how it was measured.

    >>> from landscape.history import History
    >>> history = History().with_values(200, "b.pt", {"loss": 0.25}).with_values(100, "a.pt", {"loss": 0.5})
    >>> history["loss"].tolist()
    [0.5, 0.25]
    """

    moments: tuple[Moment, ...] = ()
    quantities: Mapping[str, Quantity] = field(default_factory=lambda: CHECKPOINT_QUANTITIES)
    attributes: Mapping[str, Any] = field(default_factory=dict, compare=False)

    # -- what it holds -------------------------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self.columns)

    def __getitem__(self, name: str) -> np.ndarray:
        if name not in self.columns:
            what = suggest(name, list(self.columns))
            raise KeyError(f"the history holds no {what}")
        return self.columns[name].values

    def __iter__(self) -> Iterator[str]:
        return iter(self.columns)

    @property
    def steps(self) -> np.ndarray:
        """The steps `(T,)`, integers if all of them are."""
        steps = [moment.step for moment in self.moments]
        whole = all(float(step).is_integer() for step in steps)
        return np.array(steps, dtype=np.int64 if whole else np.float64)

    @property
    def checkpoints(self) -> list[str]:
        """The names of the checkpoints."""
        return [moment.checkpoint for moment in self.moments]

    @property
    def run(self) -> str:
        """The folder of the run; "" if there is none."""
        return str(self.attributes.get("run", ""))

    @cached_property
    def columns(self) -> dict[str, Variable]:
        """Every quantity with its dimensions, of which the step is the first."""
        texts = {
            CHECKPOINT: (self.checkpoints, "Name of the checkpoint."),
            TROUBLE: ([moment.trouble for moment in self.moments], "Why a number is missing or inconclusive."),
        }
        held = {name for moment in self.moments for name in moment.values}
        kept = {name: about for name, about in self.quantities.items() if name in held}
        return {
            STEP: Variable((STEP,), self.steps, "Step at which the checkpoint was written."),
            **{name: Variable((STEP,), np.array(words, dtype=str), help) for name, (words, help) in texts.items()},
            **columns_of([moment.values for moment in self.moments], kept),
        }

    @property
    def fingerprint(self) -> str:
        """A short hash of how every checkpoint was measured, and of the checkpoints."""
        parts = [str(self.attributes.get("measurement", "")), *(moment.sha256 for moment in self.moments)]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]

    def error_of(self, name: str) -> np.ndarray | None:
        """The errors of a quantity, of its shape; None if it has none."""
        error = self.quantities[name].error if name in self.quantities else ""
        return self.get(error)

    # -- how it grows --------------------------------------------------------------------------------------------

    def with_moment(self, moment: Moment, quantities: Mapping[str, Quantity] = MappingProxyType({})) -> History:
        """The history with one more checkpoint, in the place of an earlier one of this name; ordered by steps."""
        if not math.isfinite(moment.step):
            raise UsageError(f"the step of {moment.checkpoint} is {moment.step}", fix="a finite number")
        others = [earlier for earlier in self.moments if earlier.checkpoint != moment.checkpoint]
        return replace(
            self,
            moments=tuple(sorted([*others, moment], key=lambda each: each.step)),
            quantities={**self.quantities, **quantities},
        )

    def with_results(
        self,
        step: float,
        checkpoint: str,
        results: Mapping[str, Any],
        values: Mapping[str, float],
        *,
        sha256: str = "",
        trouble: str = "",
    ) -> History:
        """The history with the results of one more checkpoint by the names of their analyses, and numbers by name."""
        found = {key: pair for name, result in results.items() for key, pair in quantities_of(name, result).items()}
        unclear = [f"{name}: {problem}" for name, result in results.items() if (problem := result.trouble())]
        moment = Moment(
            step,
            checkpoint,
            {**values, **{name: value for name, (_, value) in found.items()}},
            "; ".join(filter(None, [trouble, *unclear])),
            sha256,
        )
        abouts = {name: CHECKPOINT_QUANTITIES.get(name, Quantity()) for name in values}
        return self.with_moment(moment, {**abouts, **{name: about for name, (about, _) in found.items()}})

    def with_values(self, step: float, checkpoint: str, values: Mapping[str, float], trouble: str = "") -> History:
        """The history with numbers of one more checkpoint."""
        return self.with_results(step, checkpoint, {}, values, trouble=trouble)

    # -- what it is converted to ---------------------------------------------------------------------------------

    def save(self, path: str | Path) -> None:
        """Writes the history into a file (HDF5, variables in the root), in the place of an earlier one.

        Raises OutputError if the file cannot be written, or is not one of landscape's.
        """
        writing.write_history(self, Path(path))

    def to_dict(self) -> dict[str, Any]:
        """Lists by name, one entry for each step; NaN and infinity are None."""
        return views.plain_lists(self)

    def to_document(self) -> dict[str, Any]:
        """The document that `landscape track --json` prints, as plain data."""
        about = {name: value for name, value in self.attributes.items() if isinstance(value, str | int | float)}
        return {"schema": SCHEMA, "analysis": NAME, **about, "result": self.to_dict()}

    def to_csv(self) -> str:
        """Comma-separated text with a row for each step; `eig.eigenvalues[0]` is a column of its own."""
        return views.csv_of_history(self)

    def to_dataframe(self) -> Any:
        """A DataFrame of pandas with a row for each step, which is the index; raises UsageError without pandas."""
        return views.frame_of_history(self)

    def to_xarray(self) -> Any:
        """A Dataset of xarray with the dimension `step`; raises UsageError without xarray."""
        return views.dataset_of_history(self)

    def plot(self, ax: Any = None, **look: Any) -> Any:
        """Draws the quantities over the steps with matplotlib, a panel for each; returns the axes.

        The look is that of `landscape.figures.draw`: `panel`, `title`, `width` and others.
        """
        return views.draw_history(self, ax, **look)

    def short_table(self) -> tuple[list[str], list[list[str]]]:
        """The heads and the rows of a table for people: first values, with their errors, at each step."""
        return views.short_table(self)

    def __repr__(self) -> str:
        return views.line_of_history(self)

    def _repr_html_(self) -> str:
        return views.page_of_history(self)
