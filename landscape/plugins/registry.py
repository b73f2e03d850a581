"""Registered models, data sets, losses and objectives by name: the zoo's, and those of installed packages.

A package registers its own under the entry points `landscape.models`, `landscape.data`, `landscape.losses` and
`landscape.objectives`.
Registered names are the only ones that a checkpoint may use without the user's consent.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from landscape.errors import TaskError
from landscape.losses.builtin import BUILT_IN_LOSSES
from landscape.zoo import DATA, MODELS

BUILT_IN: dict[str, Mapping[str, Any]] = {
    "models": MODELS,
    "data": DATA,
    "losses": BUILT_IN_LOSSES,
    "objectives": {},
}


def registry_entries(kind: str) -> dict[str, Any]:
    """The registered objects of a kind (`models`, `data`, `losses` or `objectives`) by name.

    A package's own are not loaded yet. It cannot replace the zoo's own names.
    """
    registered = entry_points(group=f"landscape.{kind}")
    return {**{entry.name: _PackageEntry(entry) for entry in registered}, **BUILT_IN[kind]}


def load_entry(kind: str, name: str) -> Any:
    """The registered object of that name; raises KeyError if there is none, TaskError if its package fails."""
    target = registry_entries(kind)[name]
    return target.load() if isinstance(target, _PackageEntry) else target


class _PackageEntry:
    """An entry point that is not loaded yet."""

    def __init__(self, entry: EntryPoint) -> None:
        self.entry = entry

    def load(self) -> Any:
        """Imports the package's object; raises TaskError if that fails."""
        try:
            return self.entry.load()
        except Exception as error:  # the package's own code may raise anything
            package = self.entry.dist.name if self.entry.dist else self.entry.value
            raise TaskError(
                f"{self.entry.name}, which {package} registers, cannot be loaded: {type(error).__name__}: {error}",
                fix=f"mend or uninstall {package}; --debug shows the traceback",
            ) from error
