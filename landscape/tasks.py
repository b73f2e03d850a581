"""What a checkpoint leaves out: the model, the data and the loss, and where each was found."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import nn

from landscape.checkpoints import Checkpoint, Spec
from landscape.conditions import Conditions
from landscape.errors import LandscapeError, TaskError, UsageError, nearest
from landscape.losses import Loss, as_loss
from landscape.zoo import DATA, MODELS

OWN = "the checkpoint's own description"


@dataclass(frozen=True)
class Task:
    """How to build the model and the data, and the loss (None: to be inferred from shapes).

    `resolved_from` says for each of model, data and loss what it is and where it was named.
    """

    build: Callable[[], nn.Module]
    data: Callable[[], Any]
    loss: Loss | None
    resolved_from: dict[str, str]


def find(checkpoint: Checkpoint, conditions: Conditions, origins: Mapping[str, str] | None = None) -> Task:
    """The task of a checkpoint: what the conditions name, then what the checkpoint says of itself.

    `origins` says where each condition came from ("flag", "environment", a config file). Raises TaskError with the
    line to type if the model or the data is named nowhere.
    """
    spec, where = checkpoint.spec or Spec(), str(checkpoint.path)
    origins = origins or {}
    resolved = {}

    def note(kind: str, name: str | None, given: str | None) -> None:
        if name is not None:
            resolved[kind] = f"{name}, from {origins.get(kind, 'the call') if given else OWN}"

    model, data, loss = conditions.model or spec.model, conditions.data or spec.data, conditions.loss or spec.loss
    embedded = {"inputs", "targets"} <= checkpoint.extras.keys()
    _require_named(where, conditions, {"model": model, "data": data or (embedded or None), "loss": loss})
    model_args = _arguments("--model-arg", conditions.model_arg, {} if conditions.model else spec.model_args)
    data_args = _arguments("--data-arg", conditions.data_arg, {} if conditions.data else spec.data_args)
    note("model", model, conditions.model)
    note("loss", loss, conditions.loss)
    if data is None:
        inside = (checkpoint.extras["inputs"], checkpoint.extras["targets"])
        note("data", "the batch inside the checkpoint", None)
        make_data: Callable[[], Any] = lambda: inside  # noqa: E731
    else:
        make_data = _factory("data", str(data), conditions.data is not None, DATA, where, data_args)
        note("data", data, conditions.data)
    build = _factory("model", str(model), conditions.model is not None, MODELS, where, model_args)
    return Task(lambda: _module(build(), str(model)), make_data, _loss(loss, conditions.loss is not None), resolved)


def _require_named(where: str, conditions: Conditions, named: Mapping[str, Any]) -> None:
    """Raises TaskError, with the line to type, if the model or the data is named nowhere."""
    missing = [kind for kind in ("model", "data") if named[kind] is None]
    if not missing:
        return
    examples = {"model": "model.py:build", "data": "data.py:batches", "loss": "cross_entropy"}
    given = {kind: getattr(conditions, kind) for kind in examples}
    words = " ".join(f"--{k} {given[k] or example}" for k, example in examples.items() if given[k] or not named[k])
    raise TaskError(
        f"{where} does not say which {' and which '.join(missing)} it belongs to",
        why="a state dict holds tensors only",
        fix=f"landscape eig {where} {words}\n"
        "        (or the same keys in landscape.toml; or write the checkpoint with landscape.save)",
    )


def _arguments(flag: str, pairs: tuple[str, ...], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """`key=value` pairs over the defaults; values are Python literals where they read as such, else text."""
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


def _factory(
    kind: str, name: str, given: bool, known: Mapping[str, Callable[..., Any]], where: str, args: dict[str, Any]
) -> Callable[[], Any]:
    """A call without arguments. A name that the user gave may be imported; one from inside a file may not."""
    if name in known:
        return _guarded(kind, name, known[name], args)
    if given and ":" in name:
        return _guarded(kind, name, imported(name), args)
    if given and name.endswith(".py"):
        raise TaskError(f"{name} is a file: name a function in it", fix=f"--{kind} {name}:FUNCTION")
    raise TaskError(
        f"there is no {kind} called {nearest(name, known)}" + ("" if given else f", which {where} names"),
        fix=f"one of {', '.join(known)}, or --{kind} pkg.mod:factory, or --{kind} path/file.py:factory",
    )


def _guarded(kind: str, name: str, target: Any, args: dict[str, Any]) -> Callable[[], Any]:
    def make() -> Any:
        if not callable(target) or isinstance(target, nn.Module):
            return target
        try:
            return target(**args)
        except LandscapeError:
            raise
        except (Exception, SystemExit) as error:  # the user's own code may raise anything
            raise TaskError(
                f"{kind} factory {name}({', '.join(f'{k}={v!r}' for k, v in args.items())}) failed: "
                f"{type(error).__name__}: {error}",
                fix=f"--{kind}-arg key=value sets its arguments; --debug shows the traceback",
            ) from error

    return make


def imported(reference: str) -> Any:
    """The object named `pkg.mod:name` or `path/file.py:name`; raises TaskError if it cannot be imported."""
    place, _, name = reference.rpartition(":")
    try:
        with _importing_from(Path(place).parent if place.endswith(".py") else Path.cwd()):
            module = _file_module(Path(place)) if place.endswith(".py") else importlib.import_module(place)
    except TaskError:
        raise
    except (Exception, SystemExit) as error:  # importing runs the user's own code
        raise TaskError(
            f"{place} cannot be imported: {type(error).__name__}: {error}",
            fix="check the name, or run from the folder that holds it"
            if isinstance(error, ImportError)
            else "mend that file; --debug shows the traceback",
        ) from error
    if not hasattr(module, name):
        raise TaskError(f"{place} has no {nearest(name, vars(module))}", fix=f"name a function of {place}")
    return getattr(module, name)


@contextmanager
def _importing_from(folder: Path) -> Iterator[None]:
    """The user's folder first on the path while the user's module is imported, afterwards last.

    It stays, for imports inside functions; last, so that no file in it stands in for a library that is loaded later.
    """
    entry = str(folder.resolve())
    sys.path.insert(0, entry)
    try:
        yield
    finally:
        sys.path.remove(entry)
        if entry not in sys.path:
            sys.path.append(entry)


def _file_module(path: Path) -> ModuleType:
    if not path.is_file():
        raise TaskError(f"there is no file {path}", fix="a path from the working directory, or the config's folder")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise TaskError(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules.setdefault(path.stem, module)  # dataclasses and pickle look their module up by name
    spec.loader.exec_module(module)
    return module


def _module(built: Any, name: str) -> nn.Module:
    if not isinstance(built, nn.Module):
        raise TaskError(f"model {name} gave a {type(built).__name__}, not a torch.nn.Module", fix="return the module")
    return built


def _loss(name: str | None, given: bool) -> Loss | None:
    if name is None:
        return None
    if given and ":" in name:
        return as_loss(imported(name))
    return as_loss(name)
