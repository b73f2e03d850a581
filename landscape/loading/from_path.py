"""From a checkpoint's path to an Objective: read, find the task, build the model, fit the weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from landscape import checkpoints
from landscape.checkpoints import adapter_config, huggingface, lora, optimizer
from landscape.checkpoints.names import find_casts, strip_wrappers
from landscape.compute import ranks
from landscape.compute.strategy import ProductSettings
from landscape.compute.turns import take_turn
from landscape.conditions import HUGGING_FACE, Conditions
from landscape.data.freezing import freeze
from landscape.errors import CheckpointError, TaskError, UsageError
from landscape.fields import validate
from landscape.loading.parts import Place, build_without_memory, place_of_parts
from landscape.objective import Objective, ObjectiveSource, PlannedObjective
from landscape.objective.sharded.objective import ShardedObjective
from landscape.objective.shared_memory import take_back
from landscape.tasks.task import Task, find_task
from landscape.tasks.texts import TextData

EARLIER_VERSIONS = "names or shapes of earlier versions of the modules: these changed them as they loaded the weights"
FACTORY_SEED = 0  # of torch's generator, while a factory makes the weights that a file lacks


def load(
    path: str | Path,
    conditions: Conditions | None = None,
    *,
    origins: Mapping[str, str] | None = None,
    folder: Path | None = None,
    planned: bool = False,
    **named: Any,
) -> Objective:
    """The objective of a checkpoint: `load("ckpt.pt")`, or `load("ckpt.pt", model="model.py:build", data=...)`.

    `named` are fields of `landscape.conditions.Conditions`, as an alternative to `conditions`; `origins` says, for the
    notes, where each was named ("flag", a settings file), and `folder` where data may be kept, by default beside the
    checkpoint. An objective that is `planned` is for `Analysis.plan` alone. Raises CheckpointError or TaskError with
    what is missing, and NumericalError for NaN or infinity in the weights.

    >>> import landscape
    >>> objective = landscape.load("digits-mlp.pt", limit=100)
    >>> objective.theta.shape, objective.count
    (torch.Size([2950]), 100)
    """
    _require_names(named)
    conditions = conditions or Conditions(**named)
    validate(conditions)
    together = ranks.current()
    together.agree_on_memory()
    with take_turn():
        place = together.together(lambda: place_of_parts(Path(path), conditions))
        prepare = partial(_prepare, path, conditions, origins=origins, folder=folder, planned=planned, place=place)
        if place is None:
            return together.together(lambda: prepare()())
        make = together.together(prepare)
        with together.lockstep():
            return make()


def _prepare(
    path: str | Path,
    conditions: Conditions,
    *,
    origins: Mapping[str, str] | None,
    folder: Path | None,
    planned: bool,
    place: Place | None,
) -> Callable[[], Objective]:
    """What makes the objective of a checkpoint; nothing here waits for other processes."""
    checkpoint = checkpoints.read(
        path,
        weights=conditions.weights,
        ignore=conditions.ignore_tensors,
        trust=conditions.trust,
        base=conditions.base,
        one_by_one=place is not None,
    )
    task = find_task(checkpoint, conditions, origins)
    if task.described and not task.weighted:
        _require_proportion(task, checkpoint)
    fetch = None
    if place is not None:
        model, fetch, stripped = build_without_memory(task, checkpoint, conditions)
        own: tuple[str, ...] = ()
    else:
        model, stripped, own = _make_model(task, checkpoint, conditions)
    preconditioner = preconditioner_source(str(path), checkpoint, conditions, dict(model.named_parameters()))
    data, frozen = _make_data(task, conditions, folder or Path(path).parent)
    notes = (*_notes(task, checkpoint, stripped, conditions.dtype), *frozen)
    groups = checkpoint.groups
    source = ObjectiveSource(checkpoint.path, checkpoint.sha256, asdict(conditions), task.resolved_from, notes, groups)
    measured = {"loss": task.loss, "populations": task.populations, "objective": task.objective}
    del checkpoint, task  # its tensors are in the model, and would take as much memory again
    kind = PlannedObjective if planned else Objective
    return partial(
        partial(ShardedObjective, fetch=fetch, on_host=place == "host") if place else kind,
        model,
        data,
        **measured,
        params=conditions.params or own,
        device=conditions.device,
        dtype=conditions.dtype,
        micro_batch=conditions.micro_batch,
        settings=_product_settings(conditions),
        limit=conditions.limit,
        preconditioner=preconditioner,
        source=source,
        outputs=conditions.outputs,
        term=conditions.term,
        weight_decay=conditions.weight_decay,
        decay_params=conditions.decay_params,
        mode=conditions.mode,
        share_memory=True,
    )


def _make_model(
    task: Task, checkpoint: checkpoints.Checkpoint, conditions: Conditions
) -> tuple[nn.Module, str, tuple[str, ...]]:
    """The model with the checkpoint's weights, a note on their names, and the parameters of an adapter among them."""
    own = checkpoint.module.params if checkpoint.module else ()
    if not (task.weighted or own):
        return *_model_with_weights(task, checkpoint, conditions.partial), ()
    _refuse_choices(checkpoint, conditions)
    model = _build(task)
    if task.weighted:
        return model, "", own
    return model, *_insert_adapter(model, checkpoint, conditions.model or "")


def _build(task: Task) -> nn.Module:
    """The task's model, with memory of its own also where the factory returns one that was loaded before."""
    model = task.build()
    take_back(model)
    return model


def _product_settings(conditions: Conditions) -> ProductSettings:
    """The settings of products among the conditions."""
    return ProductSettings(
        hvp=conditions.hvp,
        compile=conditions.compile,
        cuda_graphs=conditions.cuda_graphs,
        tf32=conditions.tf32,
        recompute=conditions.recompute,
        weights_dtype=conditions.weights_dtype,
    )


def _require_names(named: Mapping[str, Any]) -> None:
    """Raises UsageError if the model, the data or the loss is an object instead of a name."""
    objects = [kind for kind in ("model", "data", "loss", "objective") if not isinstance(named.get(kind), str | None)]
    if objects:
        raise UsageError(
            f"load() takes the {', '.join(objects)} by name",
            fix="pass the objects themselves to landscape.Objective(model, batches, loss)",
        )


def _make_data(task: Task, conditions: Conditions, folder: Path) -> tuple[Any, list[str]]:
    """The data, and notes on a text, and on passes over the data that are kept."""
    if conditions.freeze_data is None:
        data = task.data()
        return data, [data.note] if isinstance(data, TextData) else []
    as_items = task.objective is not None
    frozen = freeze(task.data, conditions.freeze_data, folder=folder, limit=conditions.limit, as_items=as_items)
    return frozen, [frozen.note]


def preconditioner_source(
    path: str, checkpoint: checkpoints.Checkpoint, conditions: Conditions, parameters: Mapping[str, nn.Parameter]
) -> Callable[[], Mapping[str, Tensor]]:
    """A function that reads the preconditioner: from the file that the user names, else the optimizer's own."""
    state = checkpoint.optimizer  # not the checkpoint itself: its tensors need not outlive the loading

    def read() -> Mapping[str, Tensor]:
        """The positive tensors by parameter."""
        if conditions.preconditioner is None:
            return optimizer.adam_preconditioner(state(), parameters, path)
        tensors = checkpoints.read(conditions.preconditioner).tensors
        return {strip_wrappers(name, frozenset(parameters)): tensor for name, tensor in tensors.items()}

    return read


def _notes(task: Task, checkpoint: checkpoints.Checkpoint, stripped: str, dtype: str) -> tuple[str, ...]:
    """What the loading found where, and what it did to the checkpoint's names and numbers."""
    notes = [
        *(f"{kind}: {name}" for kind, name in task.resolved_from.items()),
        *checkpoint.notes,
        *(checkpoint.module.notes if checkpoint.module and task.weighted else ()),
        stripped,
        _upcast_note(checkpoint.tensors, dtype),
    ]
    return tuple(filter(None, notes))


def _require_proportion(task: Task, checkpoint: checkpoints.Checkpoint) -> None:
    """Raises CheckpointError if the model that a checkpoint describes is much larger than its weights.

    A small file could otherwise ask for a model that fills the memory. The model's size is found on torch's meta
    device, which allocates nothing.
    """
    with torch.device("meta"), suppress(TaskError):  # not every registered model can be built on it
        described = sum(tensor.numel() for tensor in task.build().state_dict().values())
        stored = sum(tensor.numel() for tensor in checkpoint.tensors.values())
        if described > 2 * stored:
            raise CheckpointError(
                f"{checkpoint.path} does not fit the model {task.resolved_from['model']}: it holds {stored:,} "
                f"numbers for {described:,}",
                fix="name the model that these weights were trained in: --model pkg.mod:factory, --model-arg key=value",
            )


def _insert_adapter(model: nn.Module, checkpoint: checkpoints.Checkpoint, named: str) -> tuple[str, tuple[str, ...]]:
    """Puts a PEFT adapter on a user's model, or into the one that PEFT put it on; returns a note and its names there.

    Raises CheckpointError for an adapter of another model, and UsageError for a model whose weights would be random.
    """
    where = str(checkpoint.path)
    if named.startswith(HUGGING_FACE):
        directory = named.removeprefix(HUGGING_FACE)
        raise UsageError(f"--model {named} has no weights, and an adapter holds few", fix=f"--base {directory}")
    if hasattr(model, "peft_config"):
        names = lora.attach_by_name(model, checkpoint.tensors, where)
    else:
        lora.attach(model, adapter_config.read_adapter(checkpoint.path), checkpoint.tensors, where)
        names = lora.adapter_names(checkpoint.tensors)
    for name in names:  # PEFT loads an adapter frozen, unless it is to be trained
        model.get_parameter(name).requires_grad_()
    return f"adapter on model {named}, whose other weights are fixed unless --params names them", names


def _refuse_choices(checkpoint: checkpoints.Checkpoint, conditions: Conditions) -> None:
    """Raises UsageError for a choice among tensors if the checkpoint's own model comes with all of them."""
    choices = {"--partial": conditions.partial, "--ignore": conditions.ignore_tensors}
    if chosen := [flag for flag, value in choices.items() if value]:
        raise UsageError(
            f"{' and '.join(chosen)} choose among tensors, and {checkpoint.path} brings a model with all of them in it",
            fix="name the model that the tensors are for: --model model.py:build",
        )


def _model_with_weights(task: Task, checkpoint: checkpoints.Checkpoint, partial: bool) -> tuple[nn.Module, str]:
    """The task's model with the checkpoint's weights, and a note on what was done to their names.

    If the factory holds a part of the weights, it is called with torch's generator at one seed: what it draws is then
    the same in every run. Raises CheckpointError if the weights do not fit.
    """
    with torch.random.fork_rng(devices=[], enabled=partial):
        if partial:
            torch.default_generator.manual_seed(FACTORY_SEED)
        model = _build(task)
    try:
        fitted, note = checkpoints.fit(
            checkpoint.tensors,
            model.state_dict(),
            str(checkpoint.path),
            f"model {task.resolved_from['model']}",
            prefix=checkpoint.prefix,
            unread=checkpoint.unread,
            partial=partial,
        )
    except CheckpointError as error:  # the notes name the set of weights that was chosen, which may be the wrong one
        if find_casts(checkpoint.tensors, model.state_dict()):
            raise
        renamed = huggingface.under_module_names(model, checkpoint.tensors)
        if renamed is None and not partial and _takes_names_of_earlier_versions(model, checkpoint.tensors):
            return model, EARLIER_VERSIONS
        if renamed is None:
            raise CheckpointError(error.what, why=error.why or "; ".join(checkpoint.notes), fix=error.fix) from None
        fitted, note = renamed, "the weights' names are those of save_pretrained: transformers converted them"
    model.load_state_dict(fitted)
    return model, note


def _upcast_note(tensors: Mapping[str, Tensor], dtype: str) -> str:
    """A note on weights that the file holds in less precision than they are measured in, or ""."""
    narrow = {str(t.dtype).removeprefix("torch.") for t in tensors.values() if t.is_floating_point() and t.itemsize < 4}
    return f"{', '.join(sorted(narrow))} weights are computed in {dtype}" if narrow else ""


def _takes_names_of_earlier_versions(model: nn.Module, tensors: Mapping[str, Tensor]) -> bool:
    """Whether the model's modules take the tensors as they load a state dict; if so, the model holds them.

    Modules may rename what earlier versions of themselves saved (`torch.nn.utils.parametrizations.weight_norm`). Torch
    itself makes sure that no name is missing or left over, unless a module hides one: what it left as it was is found.
    """
    state = model.state_dict()
    if _disagree(state, tensors):
        return False
    floats = {name: tensor for name, tensor in state.items() if tensor.is_floating_point() and tensor.numel()}
    for tensor in floats.values():
        tensor.fill_(float("nan"))
    try:
        nn.Module.load_state_dict(model, dict(tensors), strict=True)
    except Exception:  # hooks of the user's modules may raise anything
        return False
    loaded = model.state_dict()
    return not any(loaded[name].isnan().all() for name in floats.keys() - tensors.keys())


def _disagree(state: Mapping[str, Tensor], tensors: Mapping[str, Tensor]) -> bool:
    """Whether two names of one tensor of the model come with different values: the last one would decide."""
    first: dict[int, str] = {}
    pairs = [(name, first.setdefault(t.data_ptr(), name)) for name, t in state.items() if name in tensors and t.numel()]
    return any(not tensors[name].equal(tensors[other]) for name, other in pairs if other != name)
