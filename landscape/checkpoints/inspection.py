"""What a checkpoint holds, from its description alone: no model is built and no weights are read. Needs no torch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from landscape.checkpoints import adapter_config, huggingface_config, selection, weight_sets
from landscape.checkpoints.formats.contents import Contents
from landscape.checkpoints.formats.detection import describe
from landscape.checkpoints.formats.pickle_values import GlobalName, OpaqueValue
from landscape.checkpoints.formats.tensor_refs import OddTensor
from landscape.checkpoints.names import PREFIXES, WRAPPERS
from landscape.checkpoints.spec import DATA_KEY, SPEC_KEY, Spec
from landscape.checkpoints.weight_sets import WeightSet
from landscape.errors import CheckpointError, safe_excerpt

MAX_ENTRIES = 20  # entries beside the weights that are listed
MAX_TEXT = 60  # characters of one of them


@dataclass(frozen=True)
class Inspection:
    """A checkpoint's description of its contents; the fields are those of `landscape inspect --json`.

    `place` is the location of the selected weights, whose shapes and dtypes `tensors` gives by name, and whose count of
    numbers is `numbers`. `averaged` and `others` are the locations of further sets of weights, `tied` groups of names
    of one tensor, `wrappers` parts of names that will be stripped, `entries` descriptions of the other entries.
    """

    path: Path
    format: str
    nbytes: int
    place: str
    tensors: Mapping[str, tuple[tuple[int, ...], str]]
    numbers: int
    dtypes: Mapping[str, int]
    averaged: tuple[str, ...]
    others: tuple[str, ...]
    tied: tuple[tuple[str, ...], ...]
    wrappers: tuple[str, ...]
    optimizer: bool
    spec: Spec | None
    batch: bool
    architecture: str | None
    entries: Mapping[str, str]
    passed_over: tuple[str, ...]

    def missing(self) -> tuple[str, ...]:
        """The parts, of "model" and "data", that the checkpoint does not name."""
        spec = self.spec or Spec()
        named = {"model": spec.model or self.architecture, "data": spec.data or self.batch}
        return tuple(part for part, name in named.items() if not name)


def inspect(path: Path, weights: str | None = None) -> Inspection:
    """Inspects a checkpoint; `weights` selects among several sets as for `landscape.checkpoints.read`.

    Raises CheckpointError for files that are no checkpoint, are damaged or run code when they are opened.
    """
    contents = describe(path)
    every = list(weight_sets.find_weight_sets(contents.tree))
    selected = selection.select_weights(contents.tree, weights, path).weight_set
    others = [weight_set for weight_set in every if weight_set.location != selected.location]
    refs = {name: tensor for name, tensor in selected.tensors.items() if not isinstance(tensor, OddTensor)}
    odd = {name: tensor for name, tensor in selected.tensors.items() if isinstance(tensor, OddTensor)}
    extras = contents.tree.get(DATA_KEY) if isinstance(contents.tree, dict) else None
    return Inspection(
        path=path,
        format=contents.format.name,
        nbytes=contents.nbytes,
        place=selected.location,
        tensors={n: (ref.shape, ref.dtype) for n, ref in refs.items()} | {n: ((), t.kind) for n, t in odd.items()},
        numbers=sum(ref.count for ref in refs.values()),
        dtypes=dict(Counter(ref.dtype for ref in refs.values())),
        averaged=tuple(weight_set.location for weight_set in others if weight_set.averaged),
        others=tuple(weight_set.location for weight_set in others if not weight_set.averaged),
        tied=_tied_names(selected),
        wrappers=_wrappers(selected),
        optimizer=_has_adam_state(contents.tree),
        spec=contents.spec,
        batch=isinstance(extras, dict) and {"inputs", "targets"} <= extras.keys(),
        architecture=_architecture(contents),
        entries=_entries(contents, every),
        passed_over=contents.bystanders,
    )


def _tied_names(weight_set: WeightSet) -> tuple[tuple[str, ...], ...]:
    """The groups of names that belong to one tensor."""
    views: dict[Any, list[str]] = {}
    for name, ref in weight_set.tensors.items():
        if not isinstance(ref, OddTensor) and ref.count:
            views.setdefault((ref.storage.key, ref.offset, ref.shape, ref.stride), []).append(name)
    return tuple(tuple(names) for names in views.values() if len(names) > 1)


def _wrappers(weight_set: WeightSet) -> tuple[str, ...]:
    parts = {part for name in weight_set.tensors for part in name.split(".")[:-1]}
    shared = [prefix for prefix in PREFIXES if all(name.startswith(prefix) for name in weight_set.tensors)]
    return (*sorted(parts & WRAPPERS), *shared)


def _architecture(contents: Contents) -> str | None:
    """The model class that a Hugging Face directory names, if transformers can build it."""
    if contents.format.adapts_model:
        return f"LoRA adapter of {safe_excerpt(adapter_config.read_adapter(contents.path).base or 'a model')}"
    if not contents.format.describes_model:
        return None
    try:
        return huggingface_config.architecture_name(contents.path)
    except CheckpointError:  # its weights can be measured all the same, in a model that the user names
        return None


def _has_adam_state(tree: Any) -> bool:
    """Whether one optimizer's state is in the file, with second moments."""
    states = [optimizer["state"] for optimizer in weight_sets.find_optimizers(tree).values()]
    moments = states[0].values() if len(states) == 1 and isinstance(states[0], dict) else ()
    return any(isinstance(one, dict) and "exp_avg_sq" in one for one in moments)


def _entries(contents: Contents, every: list[WeightSet]) -> dict[str, str]:
    """Descriptions of the entries beside the weights, by key."""
    tree = contents.tree if isinstance(contents.tree, dict) else {}
    tops = {weight_set.location.partition(".")[0] for weight_set in every}
    own = next((weight_set.tensors for weight_set in every if weight_set.location == ""), {})
    others = [key for key in tree if isinstance(key, str) and key not in {*tops, *own, SPEC_KEY, DATA_KEY}]
    return {safe_excerpt(key, MAX_TEXT): _describe_value(tree[key]) for key in others[:MAX_ENTRIES]}


def _describe_value(value: Any) -> str:
    if isinstance(value, int) and value.bit_length() > 64:
        return "a large int"
    if value is None or isinstance(value, bool | int | float | str):
        return safe_excerpt(repr(value[:MAX_TEXT] if isinstance(value, str) else value), MAX_TEXT)
    if isinstance(value, dict):
        simple = all(inner is None or isinstance(inner, bool | int | float | str) for inner in value.values())
        if not (simple and value):  # what is below could be wide and deep, or the value itself
            return f"a table of {len(value)} entries"
        first = list(value.items())[:MAX_ENTRIES]
        pairs = ", ".join(f"{safe_excerpt(key)}={_describe_value(inner)}" for key, inner in first)
        return safe_excerpt(pairs, 4 * MAX_TEXT)
    if isinstance(value, list | tuple):
        return f"{len(value)} values"
    return (
        safe_excerpt(value.kind)
        if isinstance(value, OpaqueValue | GlobalName)
        else weight_sets.kind_with_article(value)
    )
