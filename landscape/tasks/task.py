"""What a checkpoint leaves out: the model, the data and the loss, and where each was found."""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import nn

from landscape.checkpoints import Checkpoint, Spec, huggingface
from landscape.checkpoints.formats.directories import CONFIG_FILE, WEIGHTS_FILE
from landscape.conditions import DATA_FILES, HUGGING_FACE, Conditions
from landscape.errors import LandscapeError, TaskError, UsageError, listing, suggest
from landscape.losses.huggingface import HF
from landscape.losses.protocol import Loss
from landscape.losses.user import as_loss
from landscape.plugins import registry
from landscape.plugins.imports import import_object
from landscape.tasks import batch_files as probes

OWN = "the checkpoint's own description"


@dataclass(frozen=True)
class Task:
    """How to build the model and the data, and the loss (None: to be inferred; `hf`: the model's own).

    `populations` are further data that the checkpoint describes. `resolved_from` says for each of model, data and loss
    what it is and where it was named. With `weighted` the model
    is built with the checkpoint's weights in it; with `described` the checkpoint alone says which model it is.
    """

    build: Callable[[], nn.Module]
    data: Callable[[], Any]
    loss: Loss | str | None
    resolved_from: dict[str, str]
    weighted: bool = False
    described: bool = False
    populations: Mapping[str, Callable[[], Any]] = field(default_factory=dict)


def find_task(checkpoint: Checkpoint, conditions: Conditions, origins: Mapping[str, str] | None = None) -> Task:
    """The task of a checkpoint: what the conditions name, then what the checkpoint says of itself.

    `origins` says where each condition came from ("flag", "environment", a config file). Raises TaskError with the
    line to type if the model or the data is named nowhere.
    """
    spec, where = checkpoint.spec or Spec(), str(checkpoint.path)
    origins = origins or {}
    resolved = {}

    def note(kind: str, name: str | None, given: str | None, source: str = OWN) -> None:
        if name is not None:
            resolved[kind] = f"{name}, from {origins.get(kind, 'the call') if given else source}"

    own = None if conditions.model or spec.model else checkpoint.module
    model, data, loss = conditions.model or spec.model, conditions.data or spec.data, conditions.loss or spec.loss
    embedded = {"inputs", "targets"} <= checkpoint.extras.keys()
    _require_named(where, conditions, {"model": model or own, "data": data or (embedded or None), "loss": loss})
    trusted = conditions.trusted_modules
    data_args = _arguments("--data-arg", conditions.data_arg, {} if conditions.data else spec.data_args)
    note("model", own.name() if own else model, conditions.model, "the checkpoint itself" if own else OWN)
    note("loss", loss, conditions.loss)
    if data is None:
        inside = (checkpoint.extras["inputs"], checkpoint.extras["targets"])
        note("data", "the batch inside the checkpoint", None)
        make_data: Callable[[], Any] = lambda: inside  # noqa: E731
    else:
        make_data = _factory("data", str(data), conditions.data is not None, where, data_args, trusted)
        note("data", data, conditions.data)
    build = own.build if own else _model(str(model), conditions, spec, where)
    found = _loss(loss, conditions.loss is not None, where, trusted)
    others = _populations(spec, where, trusted)
    return Task(build, make_data, found, resolved, own is not None, conditions.model is None, others)


def data_factory(name: str, pairs: tuple[str, ...], trusted: tuple[str, ...] = ()) -> Callable[[], Any]:
    """The data that the user named, as --data and --data-arg do; raises TaskError if there is none."""
    return _factory("data", name, True, "", _arguments("--population", pairs, {}), trusted)


def _populations(spec: Spec, where: str, trusted: tuple[str, ...]) -> dict[str, Callable[[], Any]]:
    """The further data that a checkpoint describes, looked up when it is used: others need not have it."""

    def later(name: str, entry: Any) -> Callable[[], Any]:
        def make() -> Any:
            given = entry.get("data") if isinstance(entry, dict) else None
            args = entry.get("data_args", {}) if isinstance(entry, dict) else None
            if not isinstance(given, str) or not isinstance(args, dict):
                raise TaskError(f"{where} describes its population {name} wrongly", fix=f"--population {name}=DATA")
            return _factory("data", given, False, where, args, trusted)()

        return make

    return {name: later(name, entry) for name, entry in spec.populations.items()}


def _require_named(where: str, conditions: Conditions, named: Mapping[str, Any]) -> None:
    """Raises TaskError, with the line to type, if the model or the data is named nowhere."""
    missing = [kind for kind in ("model", "data") if named[kind] is None]
    if not missing:
        return
    examples = {"model": "model.py:build", "data": "data.py:batches", "loss": "cross_entropy"}
    given = {kind: getattr(conditions, kind) for kind in examples}
    if named["model"] and not isinstance(named["model"], str):  # the checkpoint's own
        examples |= {"data": "batch.safetensors", "loss": ""}
    asked = {kind: given[kind] or example for kind, example in examples.items() if given[kind] or not named[kind]}
    flags = [f"--{kind} {word}" for kind, word in asked.items() if word] + (["--trust"] if conditions.trust else [])
    words = " ".join(flags)
    raise TaskError(
        f"{where} does not say which {' and which '.join(missing)} it belongs to",
        why="a state dict holds tensors only" if "model" in missing else "a model can be measured on any data",
        fix=f"landscape eig {_whole(where)} {words}\n"
        "        (or the same keys in landscape.toml; or write the checkpoint with landscape.save)",
    )


def _whole(where: str) -> str:
    """The directory that describes its model, where only the weights in it were named."""
    path = Path(where)
    return str(path.parent) if path.name == WEIGHTS_FILE and (path.parent / CONFIG_FILE).is_file() else where


def _model(name: str, conditions: Conditions, spec: Spec, where: str) -> Callable[[], nn.Module]:
    args = _arguments("--model-arg", conditions.model_arg, {} if conditions.model else spec.model_args)
    if conditions.model and name.startswith(HUGGING_FACE):
        directory = Path(name.removeprefix(HUGGING_FACE))
        if not directory.is_dir():
            raise TaskError(f"there is no directory {directory}", fix="--model hf:DIR, with a config.json in DIR")
        return lambda: huggingface.build_without_weights(directory)
    build = _factory("model", name, conditions.model is not None, where, args, conditions.trusted_modules)
    return lambda: _module(build(), name)


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
    kind: str, name: str, given: bool, where: str, args: dict[str, Any], trusted: tuple[str, ...]
) -> Callable[[], Any]:
    """A call without arguments. A name that the user gave may be imported; one from inside a file may not."""
    group = "models" if kind == "model" else kind
    known = registry.registered_objects(group)
    if name in known:
        return _call_factory(kind, name, registry.load_registered(group, name), args)
    if ":" in name and (given or _trusted(name, trusted)):
        return _call_factory(kind, name, import_object(name), args)
    if kind == "data" and given and Path(name).suffix in DATA_FILES:
        return lambda: probes.read_batch_file(Path(name))
    if given and name.endswith(".py"):
        raise TaskError(f"{name} is a file: name a function in it", fix=f"--{kind} {name}:FUNCTION")
    raise _unknown(kind, name, given, known, where)


def _trusted(name: str, modules: tuple[str, ...]) -> bool:
    """Whether a name from inside a file lies in a module that the user trusts, or below one."""
    module = name.rpartition(":")[0]
    if not all(part.isidentifier() for part in module.split(".")):  # a path would lead out of the module
        return False
    return any(module == one or module.startswith(one + ".") for one in modules)


def _unknown(kind: str, name: str, given: bool, known: Mapping[str, Any], where: str) -> TaskError:
    """The error for a name that stands for nothing; one from inside a file is never imported on its word."""
    files = f", or --data FILE ({', '.join(DATA_FILES)})" if kind == "data" else ""
    ways = f"one of {listing(known, 12)}, or --{kind} pkg.mod:name, or --{kind} path/file.py:name{files}"
    if given:
        return TaskError(f"there is no {kind} called {suggest(name, known)}", fix=ways)
    module = name.rpartition(":")[0]
    setting = f'trusted-modules = ["{module}"]  in landscape.toml'
    ours = f"\n        (or, if that module is yours: --trusted-modules {module}, or  {setting})" if module else ""
    return TaskError(
        f"there is no {kind} called {suggest(name, known)}, which {where} names",
        why="a name inside a file is looked up among registered ones, never imported" if module else "",
        fix=ways + ours,
    )


def _call_factory(kind: str, name: str, target: Any, args: dict[str, Any]) -> Callable[[], Any]:
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


def _module(built: Any, name: str) -> nn.Module:
    if not isinstance(built, nn.Module):
        raise TaskError(f"model {name} gave a {type(built).__name__}, not a torch.nn.Module", fix="return the module")
    return built


def _loss(name: str | None, given: bool, where: str, trusted: tuple[str, ...]) -> Loss | str | None:
    if name is None or name == HF:
        return name
    known = registry.registered_objects("losses")
    if name in known:
        return as_loss(registry.load_registered("losses", name))
    if ":" in name and (given or _trusted(name, trusted)):
        return as_loss(import_object(name))
    raise _unknown("loss", name, given, known, where)
