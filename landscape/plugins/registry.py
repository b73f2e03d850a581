"""Models, data sets and losses that go by a name: the zoo's, and those of installed packages.

A package registers its own under the entry points `landscape.models`, `landscape.data` and `landscape.losses`. These
are the only names that a checkpoint may use without the user's word.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from landscape.errors import TaskError
from landscape.losses.builtin import BUILT_IN_LOSSES
from landscape.zoo import DATA, MODELS

Factory = Callable[..., Any]
OWN: dict[str, Mapping[str, Any]] = {"models": MODELS, "data": DATA, "losses": BUILT_IN_LOSSES}


def registered_objects(kind: str) -> dict[str, Any]:
    """Everything of a kind (`models`, `data` or `losses`) by name; what a package registers is loaded when used.

    A package cannot stand in for the zoo's own names.
    """
    registered = entry_points(group=f"landscape.{kind}")
    return {**{entry.name: _Registered(entry) for entry in registered}, **OWN[kind]}


def load_registered(kind: str, name: str) -> Any:
    """The object of that name; KeyError if there is none, TaskError if its package fails."""
    found = registered_objects(kind)[name]
    return found.load() if isinstance(found, _Registered) else found


class _Registered:
    """An entry point that is not loaded yet."""

    def __init__(self, entry: EntryPoint) -> None:
        self.entry = entry

    def load(self) -> Any:
        try:
            return self.entry.load()
        except Exception as error:  # the package's own code may raise anything
            package = self.entry.dist.name if self.entry.dist else self.entry.value
            raise TaskError(
                f"{self.entry.name}, which {package} registers, cannot be loaded: {type(error).__name__}: {error}",
                fix=f"mend or uninstall {package}; --debug shows the traceback",
            ) from error
