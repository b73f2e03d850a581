"""How a figure looks: its panels, title, width, style, and what the figures of surfaces alone have."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

from landscape.errors import UsageError
from landscape.fields import Options, flag, option, validate

Form = Literal["solid", "barcode"]
NARROWEST, WIDEST = 5.0, 100.0  # centimeters: in less width the labels of one panel leave no room for it
MAX_LEVELS = 100  # contour lines that can be told apart at most
OF_SURFACES = ("form", "levels", "range", "view")


@dataclass(frozen=True)
class Look(Options):
    """How a figure looks. Without options it is as wide as its panels need on a screen.

    Raises UsageError for values that no figure can have; whether an option applies to a result shows when it is drawn.
    """

    panel: tuple[str, ...] = option((), help="Draw this panel alone, e.g. eigenvalues. Repeatable.")
    form: Form | None = option(None, help="Another form of a surface's first plane.")
    title: str | None = option(None, help="Title, in the place of the checkpoint's name and what was measured.")
    width: float | None = option(
        None,
        help="Width of the figure in centimeters, with text of the size of print; 8.4 is a column of many journals.",
        min=NARROWEST,
        max=WIDEST,
    )
    style: str | None = option(None, help="Style sheet of matplotlib: a file, or a name that matplotlib knows.")
    levels: tuple[float, ...] = option(
        (), help="Contour lines of a surface: how many (one whole number), or at which losses."
    )
    range: tuple[float, ...] = option((), help="Losses at the ends of a surface's colors: LO,HI.")
    view: tuple[float, ...] = option((), help="With --solid: azimuth and elevation of the eye in degrees, e.g. -60,35.")

    def __post_init__(self) -> None:
        object.__setattr__(self, "panel", (self.panel,) if isinstance(self.panel, str) else tuple(self.panel))
        for name in ("levels", "range", "view"):
            object.__setattr__(self, name, _numbers(name, getattr(self, name)))
        validate(self)
        if len(set(self.panel)) < len(self.panel):
            raise UsageError(f"--panel {' '.join(self.panel)} names one twice", fix="name each panel once")
        if self.range and not (len(self.range) == 2 and self.range[0] < self.range[1]):
            raise UsageError(f"--range is {_text(self.range)}", fix="the lower and the higher loss: --range 0.01,10")
        if self.view and len(self.view) != 2:
            raise UsageError(f"--view is {_text(self.view)}", fix="azimuth and elevation in degrees: --view=-60,35")
        if self.view and self.form != "solid":
            raise UsageError("--view turns solids alone", fix="--solid beside it")
        if self.line_count is not None and not 1 <= self.line_count <= MAX_LEVELS:
            raise UsageError(f"--levels is {self.line_count}", fix=f"1 to {MAX_LEVELS} contour lines, or their losses")

    @property
    def line_count(self) -> int | None:
        """The number of contour lines, where `levels` is one whole number."""
        return int(self.levels[0]) if len(self.levels) == 1 and self.levels[0] == int(self.levels[0]) else None

    def of_surfaces(self) -> list[str]:
        """The flags that are given, and that only surfaces understand."""
        given = [name for name in OF_SURFACES if getattr(self, name)]
        return [f"--{self.form}" if name == "form" else flag(name) for name in given]


def _numbers(name: str, value: Any) -> tuple[float, ...]:
    """One number or several as a tuple of finite ones."""
    numbers = tuple(map(float, value if isinstance(value, Iterable) else (value,)))
    if not all(map(math.isfinite, numbers)):
        raise UsageError(f"{flag(name)} is {_text(numbers)}", fix="finite numbers")
    return numbers


def _text(numbers: tuple[float, ...]) -> str:
    return ",".join(f"{number:g}" for number in numbers)


@dataclass(frozen=True)
class Context:
    """What a figure is drawn with besides its result: results of the same matrix, by their analyses, and the look."""

    beside: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    look: Look = field(default_factory=Look)


PLAIN = Context()
