"""Names of models, data sets and losses, turned into calls without arguments; only the user's names are imported."""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from torch import nn

from landscape.conditions import DATA_FILES, TEXT_FILES
from landscape.errors import LandscapeError, TaskError, UsageError, listing, safe_excerpt, suggest
from landscape.losses.huggingface import HF
from landscape.losses.protocol import Loss
from landscape.losses.user import as_loss
from landscape.plugins import registry
from landscape.plugins.imports import import_object
from landscape.tasks.batch_files import read_batch_file
from landscape.tasks.texts import TextSettings, is_text_file, read_text

Kind = Literal["model", "data", "loss", "objective"]
MAX_ARGUMENTS = 400  # letters of a factory's arguments in a message: a file may give it a list of any length
# of the registry
GROUPS: Mapping[Kind, str] = {"model": "models", "data": "data", "loss": "losses", "objective": "objectives"}


@dataclass(frozen=True)
class ObjectName:
    """The name of a model, a data set or a loss, and who gave it: the user, or the file at `where`.

    A name that a file gave is looked up among the registered names. It is imported only from a module in `trusted`.
    `texts` says how a text file becomes data.
    """

    kind: Kind
    name: str
    by_user: bool
    where: str = ""
    trusted: tuple[str, ...] = ()
    texts: TextSettings = TextSettings()

    def factory(self, args: dict[str, Any]) -> Callable[[], Any]:
        """A call without arguments that makes the object; raises TaskError for a name that stands for nothing."""
        group = GROUPS[self.kind]
        if self.name in registry.registry_entries(group):
            return _call_factory(self, registry.load_entry(group, self.name), args)
        if self._importable:
            return _call_factory(self, import_object(self.name), args)
        if self.kind == "data" and self.by_user and Path(self.name).suffix in DATA_FILES:
            return lambda: read_batch_file(Path(self.name))
        if self.kind == "data" and self.by_user and is_text_file(self.name):
            return lambda: read_text(Path(self.name), self.texts)
        if self.by_user and self.name.endswith(".py"):
            raise TaskError(f"{self.name} is a file: name a function in it", fix=f"--{self.kind} {self.name}:FUNCTION")
        raise self._unknown()

    def loss(self) -> Loss | str:
        """The loss of that name, or `hf` for a model's own; raises TaskError for a name that stands for nothing."""
        if self.name == HF:
            return self.name
        if self.name in registry.registry_entries("losses"):
            return as_loss(registry.load_entry("losses", self.name))
        if self._importable:
            return as_loss(import_object(self.name))
        raise self._unknown()

    def objective(self) -> Callable[..., Any]:
        """The function of that name; raises TaskError for a name that stands for nothing, or for no function."""
        if self.name in registry.registry_entries(GROUPS["objective"]):
            return _require_function(self.name, registry.load_entry(GROUPS["objective"], self.name))
        if self._importable:
            return _require_function(self.name, import_object(self.name))
        if self.by_user and self.name.endswith(".py"):
            raise TaskError(f"{self.name} is a file: name a function in it", fix=f"--objective {self.name}:FUNCTION")
        raise self._unknown()

    @property
    def _importable(self) -> bool:
        return ":" in self.name and (self.by_user or in_trusted_module(self.name, self.trusted))

    def _unknown(self) -> TaskError:
        known = registry.registry_entries(GROUPS[self.kind])
        files = f", or --data FILE ({', '.join((*DATA_FILES, *TEXT_FILES))})" if self.kind == "data" else ""
        choices = (
            f"one of {listing(known, 12)}, or --{self.kind} pkg.mod:name, or --{self.kind} path/file.py:name{files}"
        )
        if self.by_user:
            return TaskError(f"there is no {self.kind} called {suggest(self.name, known)}", fix=choices)
        module = self.name.rpartition(":")[0]
        setting = f'trusted-modules = ["{module}"]  in landscape.toml'
        trust = f" (or, if that module is yours: --trusted-modules {module}, or  {setting})" if module else ""
        return TaskError(
            f"there is no {self.kind} called {suggest(self.name, known)}, which {self.where} names",
            why="a name inside a file is looked up among registered ones, never imported" if module else "",
            fix=choices + trust,
        )


def _require_function(name: str, target: Any) -> Callable[..., Any]:
    if not callable(target):
        raise TaskError(
            f"objective {name} is a {type(target).__name__}, not a function",
            fix="def objective(model, batch) -> one loss for each sample, shape (N,)",
        )
    function: Callable[..., Any] = target
    return function


def in_trusted_module(name: str, modules: tuple[str, ...]) -> bool:
    """Whether `pkg.mod:name` lies in one of the modules, or in a package below one."""
    module = name.rpartition(":")[0]
    if not all(part.isidentifier() for part in module.split(".")):  # a path would lead out of the module
        return False
    return any(module == trusted or module.startswith(trusted + ".") for trusted in modules)


def parse_arguments(flag: str, pairs: tuple[str, ...], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """`key=value` pairs over the defaults; values are Python literals where they read as such, else text.

    Raises UsageError, which names the `flag`, for a pair of another form.
    """
    parsed = dict(defaults)
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key.isidentifier():
            raise UsageError(f"{flag} {pair!r} is not key=value", fix=f"{flag} width=64")
        try:
            parsed[key] = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            parsed[key] = value
    return parsed


def data_factory(
    name: str, pairs: tuple[str, ...], trusted: tuple[str, ...] = (), texts: TextSettings | None = None
) -> Callable[[], Any]:
    """A call that makes the data that the user named; `pairs` are arguments `key=value` of a population.

    Raises TaskError for a name that stands for nothing.
    """
    named = ObjectName("data", name, by_user=True, trusted=trusted, texts=texts or TextSettings())
    return named.factory(parse_arguments("--population", pairs, {}))


def _call_factory(name: ObjectName, target: Any, args: dict[str, Any]) -> Callable[[], Any]:
    """A call of the target with the arguments; an object that is no factory is returned as it is."""

    def make() -> Any:
        """The object that the factory returns."""
        if not callable(target) or isinstance(target, nn.Module):
            return target
        try:
            return target(**args)
        except LandscapeError:
            raise
        except (Exception, SystemExit) as error:  # the user's own code may raise anything
            call = ", ".join(f"{key}={value!r}" for key, value in args.items())
            raise TaskError(
                f"{name.kind} factory {name.name}({safe_excerpt(call, MAX_ARGUMENTS)}) failed: "
                f"{type(error).__name__}: {error}",
                fix=f"--{name.kind}-arg key=value sets its arguments; --debug shows the traceback",
            ) from error

    return make
