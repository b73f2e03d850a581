"""What can be said of a checkpoint without building a model or reading its weights. Needs no torch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from landscape.checkpoints import huggingface_config, weight_sets
from landscape.checkpoints.formats.contents import Contents
from landscape.checkpoints.formats.detection import describe
from landscape.checkpoints.formats.pickled import OpaqueValue
from landscape.checkpoints.formats.tensor_refs import OddTensor
from landscape.checkpoints.names import PREFIXES, WRAPPERS
from landscape.checkpoints.spec import DATA_KEY, SPEC_KEY, Spec
from landscape.checkpoints.weight_sets import WeightSet
from landscape.errors import CheckpointError, safe_excerpt

DESCRIBED = 20  # entries beside the weights that are listed
LONGEST = 60  # characters of one of them


@dataclass(frozen=True)
class Inspection:
    """A checkpoint's description of its contents: `tensors` gives shape and dtype of the chosen weights by name.

    `averaged` and `others` are the places of further sets of weights, `tied` groups of names of one tensor, `wrappers`
    what will be stripped from names, `entries` what else is there, in words.
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
        """Which of model and data the checkpoint does not tell."""
        spec = self.spec or Spec()
        known = {"model": spec.model or self.architecture, "data": spec.data or self.batch}
        return tuple(kind for kind, found in known.items() if not found)


def inspect(path: Path, weights: str | None = None) -> Inspection:
    """What is in the checkpoint; raises CheckpointError for what is none, is damaged or would run code."""
    contents = describe(path)
    every = list(weight_sets.find_weight_sets(contents.tree))
    chosen = weight_sets.select_weights(contents.tree, weights, path).nest
    others = [nest for nest in every if nest.place != chosen.place]
    refs = {name: tensor for name, tensor in chosen.tensors.items() if not isinstance(tensor, OddTensor)}
    odd = {name: tensor for name, tensor in chosen.tensors.items() if isinstance(tensor, OddTensor)}
    extras = contents.tree.get(DATA_KEY) if isinstance(contents.tree, dict) else None
    return Inspection(
        path,
        contents.format.name,
        contents.nbytes,
        chosen.place,
        {name: (ref.shape, ref.dtype) for name, ref in refs.items()} | {n: ((), t.kind) for n, t in odd.items()},
        sum(ref.count for ref in refs.values()),
        dict(Counter(ref.dtype for ref in refs.values())),
        tuple(nest.place for nest in others if nest.averaged),
        tuple(nest.place for nest in others if not nest.averaged),
        _tied(chosen),
        _wrappers(chosen),
        _adam(contents.tree),
        contents.spec,
        isinstance(extras, dict) and {"inputs", "targets"} <= extras.keys(),
        _architecture(contents),
        _entries(contents, every),
        contents.bystanders,
    )


def _tied(nest: WeightSet) -> tuple[tuple[str, ...], ...]:
    """Names of one tensor."""
    views: dict[Any, list[str]] = {}
    for name, ref in nest.tensors.items():
        if not isinstance(ref, OddTensor) and ref.count:
            views.setdefault((ref.storage.key, ref.offset, ref.shape, ref.stride), []).append(name)
    return tuple(tuple(names) for names in views.values() if len(names) > 1)


def _wrappers(nest: WeightSet) -> tuple[str, ...]:
    parts = {part for name in nest.tensors for part in name.split(".")[:-1]}
    shared = [prefix for prefix in PREFIXES if all(name.startswith(prefix) for name in nest.tensors)]
    return (*sorted(parts & WRAPPERS), *shared)


def _architecture(contents: Contents) -> str | None:
    """The model class that a Hugging Face directory names, if it can be built."""
    if not contents.format.describes_model:
        return None
    try:
        return huggingface_config.architecture_name(contents.path)
    except CheckpointError:  # its weights can be measured all the same, in a model that the user names
        return None


def _adam(tree: Any) -> bool:
    """Whether an optimiser's state with second moments is there."""
    state = (weight_sets.optimizer_state(tree) or {}).get("state")
    return isinstance(state, dict) and any(isinstance(m, dict) and "exp_avg_sq" in m for m in state.values())


def _entries(contents: Contents, every: list[WeightSet]) -> dict[str, str]:
    """What stands beside the weights, in words."""
    tree = contents.tree if isinstance(contents.tree, dict) else {}
    tops = {nest.place.partition(".")[0] for nest in every}
    own = next((nest.tensors for nest in every if nest.place == ""), {})
    beside = [key for key in tree if isinstance(key, str) and key not in {*tops, *own, SPEC_KEY, DATA_KEY}]
    return {safe_excerpt(key, LONGEST): _worded(tree[key]) for key in beside[:DESCRIBED]}


def _worded(value: Any) -> str:
    if value is None or isinstance(value, bool | int | float | str):
        large = isinstance(value, int) and value.bit_length() > 64
        return (
            "a large int"
            if large
            else safe_excerpt(repr(value[:LONGEST] if isinstance(value, str) else value), LONGEST)
        )
    if isinstance(value, dict):
        simple = all(inner is None or isinstance(inner, bool | int | float | str) for inner in value.values())
        pairs = ", ".join(f"{safe_excerpt(key)}={_worded(inner)}" for key, inner in list(value.items())[:DESCRIBED])
        return safe_excerpt(pairs, 4 * LONGEST) if simple and value else f"a table of {len(value)} entries"
    if isinstance(value, list | tuple):
        return f"{len(value)} values"
    return value.kind if isinstance(value, OpaqueValue) else weight_sets.kind_with_article(value)
