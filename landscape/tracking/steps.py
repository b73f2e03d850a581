"""At which step of a run a checkpoint was written, by its name or by what its file holds."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any

from landscape import checkpoints
from landscape.errors import LandscapeError, UsageError
from landscape.storage import paths

KEYS = ("global_step", "step", "iteration", "iter", "epoch")  # of a file, the finest first
WORDS = (r"global_?step", r"steps?", r"iter(?:ation)?s?", r"epochs?", r"ep")  # before a number in a name, as well
VERSION = re.compile(r"-v\d+$")  # what Lightning adds to a name that is taken


def step_in_name(path: PurePath) -> int | None:
    """The number in a checkpoint's name: behind `step`, else `iteration`, else `epoch`, else the last one.

    >>> step_in_name(Path("epoch=3-step=1200-v1.ckpt")), step_in_name(Path("checkpoint-500"))
    (1200, 500)
    """
    stem = path.name
    for ending in paths.CHECKPOINTS:
        stem = stem.removesuffix(ending)
    stem = VERSION.sub("", stem)
    for word in WORDS:
        if found := re.findall(rf"(?<![a-z]){word}[-_=.]?(\d+)", stem, re.IGNORECASE):
            return int(found[-1])
    numbers = re.findall(r"\d+", stem)
    return int(numbers[-1]) if numbers else None


def step_in_file(path: Path, key: str | None = None) -> tuple[str, float] | None:
    """The key and the number under it in a checkpoint's file; None if there is none, or no readable file.

    It is at the top of the file, or among the facts in the file's description of itself.
    """
    try:
        contents = checkpoints.describe(path)
        about = contents.spec.about if contents.spec else {}
    except LandscapeError:
        return None
    entries = {**about, **(contents.tree if isinstance(contents.tree, Mapping) else {})}
    for name in KEYS if key is None else (key,):
        value = _number(entries.get(name))
        if value is not None:
            return name, value
    return None


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


class Steps:
    """The steps of a run's checkpoints, all from the same source.

    `source` is "name", a key of the files, or "auto": names if all of the first checkpoints have different numbers in
    theirs, else the first key of `KEYS` that the first file has, else the places in the natural order of names.
    """

    def __init__(self, first: Sequence[Path], source: str = "auto") -> None:
        self.is_chosen = source != "auto"
        self.source = source if self.is_chosen else _choose(first)
        self._places: dict[Path, int] = {}

    def of(self, path: Path) -> float:
        """The step of a checkpoint; raises UsageError if its source has none."""
        if self.source == "place":
            return float(self._places.setdefault(path, len(self._places)))
        if self.source == "name":
            named = step_in_name(path)
            if named is None:
                raise UsageError(f"the name of {path} has no number", fix="--step-from KEY, a key of the files")
            return float(named)
        found = step_in_file(path, self.source)
        if found is None:
            raise UsageError(f"{path} holds no number {self.source}", fix="--step-from name")
        return found[1]


def _choose(first: Sequence[Path]) -> str:
    named = [step_in_name(path) for path in first]
    if None not in named and len(set(named)) == len(named):
        return "name"
    found = step_in_file(first[0]) if first else None
    return found[0] if found else "place"
