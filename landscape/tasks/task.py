"""The task of a checkpoint: the model, the data and the loss that it was trained in, and where each was named."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from torch import nn

from landscape.checkpoints import Checkpoint, Spec, huggingface
from landscape.checkpoints.formats.directories import CONFIG_FILE, WEIGHTS_FILE
from landscape.conditions import HUGGING_FACE, TEXT_FILES, Conditions
from landscape.errors import TaskError, UsageError, safe_excerpt
from landscape.fields import flag
from landscape.losses.protocol import Loss
from landscape.tasks.factories import Kind, ObjectName, parse_arguments
from landscape.tasks.texts import is_text_file, text_settings

OWN_DESCRIPTION = "the checkpoint's own description"


@dataclass(frozen=True)
class Task:
    """How to build the model and the data, and the loss (None: inferred from the shapes; `hf`: the model's own).

    `objective` is a function of the model and a batch in the place of a loss, or None.
    `populations` are further data that the checkpoint describes. `resolved_from` says for each of model, data and loss
    what it is and where it was named. With `weighted`, `build` returns a model that holds the checkpoint's weights;
    with `described`, the checkpoint alone names the model.
    """

    build: Callable[[], nn.Module]
    data: Callable[[], Any]
    loss: Loss | str | None
    resolved_from: dict[str, str]
    objective: Any = None
    weighted: bool = False
    described: bool = False
    populations: Mapping[str, Callable[[], Any]] = field(default_factory=dict)


def find_task(checkpoint: Checkpoint, conditions: Conditions, origins: Mapping[str, str] | None = None) -> Task:
    """The task of a checkpoint: as the conditions name it, else as the checkpoint describes itself.

    `origins` says where each condition came from ("flag", "environment", a config file). Raises TaskError with the
    line to type if the model or the data is named nowhere.
    """
    return _TaskSearch(checkpoint, conditions, origins or {}).task()


class _TaskSearch:
    """The search for one checkpoint's task; `resolved_from` grows with every part that is found."""

    def __init__(self, checkpoint: Checkpoint, conditions: Conditions, origins: Mapping[str, str]) -> None:
        self.checkpoint = checkpoint
        self.conditions = conditions
        self.origins = origins
        self.spec = checkpoint.spec or Spec()
        self.where = str(checkpoint.path)
        self.own = None if conditions.model or self.spec.model else checkpoint.module
        self.resolved_from: dict[str, str] = {}

    def task(self) -> Task:
        """All parts; raises TaskError for a part that is named nowhere, or whose name stands for nothing."""
        conditions, spec = self.conditions, self.spec
        embedded = {"inputs", "targets"} <= self.checkpoint.extras.keys() or None
        parts = {"model": conditions.model or spec.model or self.own, "data": conditions.data or spec.data or embedded}
        _require_model_and_data(self.where, conditions, {**parts, "loss": conditions.loss or spec.loss})
        self._note_model()
        objective = conditions.objective or (None if conditions.loss else spec.objective)
        loss = conditions.loss or (None if objective else spec.loss)
        if loss:
            self._note("loss", loss)
        if objective:
            self._note("objective", objective)
        data = self._data()
        return Task(
            build=self.own.build if self.own else self._model(),
            data=data,
            loss=self._name("loss", loss).loss() if loss else None,
            objective=self._name("objective", objective).objective() if objective else None,
            resolved_from=self.resolved_from,
            weighted=self.own is not None,
            described=conditions.model is None,
            populations={name: self._population(name, entry) for name, entry in spec.populations.items()},
        )

    def _name(self, kind: Kind, name: str) -> ObjectName:
        by_user = getattr(self.conditions, kind) is not None
        texts = text_settings(asdict(self.conditions), self.checkpoint.path, limit=self.conditions.limit)
        return ObjectName(kind, name, by_user, self.where, self.conditions.trusted_modules, texts)

    def _note(self, kind: Kind, name: str) -> None:
        by_user = getattr(self.conditions, kind)
        source = self.origins.get(kind, "the call") if by_user else OWN_DESCRIPTION
        self.resolved_from[kind] = f"{name}, from {source}"

    def _note_model(self) -> None:
        if self.own:
            self.resolved_from["model"] = f"{self.own.name()}, from the checkpoint itself"
        else:
            self._note("model", str(self.conditions.model or self.spec.model))

    def _model(self) -> Callable[[], nn.Module]:
        conditions, spec = self.conditions, self.spec
        name = str(conditions.model or spec.model)
        args = parse_arguments("--model-arg", conditions.model_arg, {} if conditions.model else spec.model_args)
        if conditions.model and name.startswith(HUGGING_FACE):
            directory = Path(name.removeprefix(HUGGING_FACE))
            if not directory.is_dir():
                raise TaskError(f"there is no directory {directory}", fix="--model hf:DIR, with a config.json in DIR")
            return lambda: huggingface.build_without_weights(directory)
        build = self._name("model", name).factory(args)
        return lambda: _require_module(build(), name)

    def _data(self) -> Callable[[], Any]:
        """The data as named, or the batch inside the checkpoint."""
        conditions, spec = self.conditions, self.spec
        args = parse_arguments("--data-arg", conditions.data_arg, {} if conditions.data else spec.data_args)
        name = conditions.data or spec.data
        if name is None:
            batch = self.checkpoint.extras["inputs"], self.checkpoint.extras["targets"]
            self._note("data", "the batch inside the checkpoint")
            return lambda: batch
        _require_text(conditions, str(name))
        factory = self._name("data", name).factory(args)
        self._note("data", name)
        return factory

    def _population(self, name: str, entry: Any) -> Callable[[], Any]:
        """Further data that the checkpoint describes; the name is looked up when the data are used, not before.

        The function does not hold the search, whose checkpoint has tensors.
        """
        where, trusted = self.where, self.conditions.trusted_modules

        def make() -> Any:
            """The population's batches."""
            data = entry.get("data") if isinstance(entry, dict) else None
            args = entry.get("data_args", {}) if isinstance(entry, dict) else None
            if not isinstance(data, str) or not isinstance(args, dict):
                raise TaskError(f"{where} describes its population {name} wrongly", fix=f"--population {name}=DATA")
            named = ObjectName("data", data, by_user=False, where=where, trusted=trusted)
            return named.factory(args)()

        return make


def _require_text(conditions: Conditions, data: str) -> None:
    """Raises UsageError for options of text files with data that are none."""
    given = [flag(name) for name in ("tokenizer", "text_field", "seq_len", "padded") if getattr(conditions, name)]
    if given and not is_text_file(data):
        raise UsageError(
            f"{given[0]} is for text files, and {safe_excerpt(data)} is none",
            fix=f"leave {', '.join(given)} out, or --data FILE{{{','.join(TEXT_FILES)}}}",
        )


def _require_model_and_data(where: str, conditions: Conditions, named: Mapping[str, Any]) -> None:
    """Raises TaskError, with the line to type, if the model or the data is named nowhere."""
    missing = [kind for kind in ("model", "data") if named[kind] is None]
    if not missing:
        return
    examples = {"model": "model.py:build", "data": "data.py:batches", "loss": "cross_entropy"}
    typed = {kind: getattr(conditions, kind) for kind in examples}
    if named["model"] and not isinstance(named["model"], str):  # the checkpoint holds its model
        examples |= {"data": "batch.safetensors", "loss": ""}
    options = {kind: typed[kind] or example for kind, example in examples.items() if typed[kind] or not named[kind]}
    flags = [f"--{kind} {word}" for kind, word in options.items() if word] + (["--trust"] if conditions.trust else [])
    raise TaskError(
        f"{where} does not say which {' and which '.join(missing)} it belongs to",
        why="a state dict holds tensors only" if "model" in missing else "a model can be measured on any data",
        fix=f"landscape eig {_directory_or_file(where)} {' '.join(flags)} "
        "(or the same keys in landscape.toml; or write the checkpoint with landscape.save)",
    )


def _directory_or_file(where: str) -> str:
    """The directory around a file of weights, if a config in it describes the model; else the file itself."""
    path = Path(where)
    return str(path.parent) if path.name == WEIGHTS_FILE and (path.parent / CONFIG_FILE).is_file() else where


def _require_module(built: Any, name: str) -> nn.Module:
    if not isinstance(built, nn.Module):
        raise TaskError(f"model {name} gave a {type(built).__name__}, not a torch.nn.Module", fix="return the module")
    return built
