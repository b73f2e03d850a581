"""Reads a checkpoint's tensors as data: no code from the file runs, and every byte that is used is checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from math import prod
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from landscape.checkpoints import adapter_config, huggingface, huggingface_config, lora, selection, weight_sets
from landscape.checkpoints.checkpoint import BundledModel, Checkpoint, content_sha256
from landscape.checkpoints.formats.contents import Contents
from landscape.checkpoints.formats.detection import describe, detect_format
from landscape.checkpoints.formats.tensor_refs import OddTensor, TensorRef
from landscape.checkpoints.spec import DATA_KEY
from landscape.errors import CheckpointError, UsageError, listing

OPTIMIZER_FILE = "optimizer.pt"
MAX_TREE_DEPTH = 100  # levels of a data file; no batch has more


def read(
    path: str | Path,
    *,
    weights: str | None = None,
    ignore: Sequence[str] = (),
    trust: bool = False,
    base: str | None = None,
    one_by_one: bool = False,
) -> Checkpoint:
    """The checkpoint in a file or a directory; `base` is the directory of the model below an adapter.

    With `one_by_one` its tensors are left in the file, and the checkpoint's `fetch` reads one at a time.

    `weights` selects among several sets: `ema`, `raw`, or the location of one in the file; of several, joined by
    commas, each keeps its key in front of its names. Tensors that match a glob of `ignore` are left out. With `trust` a
    file may run code: its own library then opens it if it cannot be read as data. Raises CheckpointError for files that
    are damaged, are no checkpoints, or would run code.
    """
    path = Path(path)
    if one_by_one and trust:
        raise UsageError("--trust opens files whole, and --shard reads tensors one by one", fix="leave --trust out")
    if not trust or _is_data(path, weights):
        return read_contents(describe(path), weights, ignore, base, one_by_one=one_by_one)
    from landscape.checkpoints import trusted

    return trusted.open_trusted(path, detect_format(path), weights, ignore)


def _is_data(path: Path, weights: str | None) -> bool:
    """Whether a file can be read as data, and holds no model beside its weights as a Python object."""
    try:
        tree = describe(path).tree
        selection.select_weights(tree, weights, path)
    except CheckpointError:
        return False
    return not weight_sets.find_objects(tree)


def count_numbers(path: Path, weights: str | None, ignore: Sequence[str] = ()) -> int:
    """How many numbers the selected weights of a checkpoint have; reads none of them."""
    tensors = selection.select_weights(describe(path).tree, weights, path, ignore).weight_set.tensors
    return sum(prod(tensor.shape) for tensor in tensors.values() if isinstance(tensor, TensorRef))


def read_contents(
    contents: Contents,
    weights: str | None = None,
    ignore: Sequence[str] = (),
    base: str | None = None,
    *,
    one_by_one: bool = False,
) -> Checkpoint:
    """The checkpoint with this description; reads the tensors of the selected weights, and no others."""
    path = contents.path
    if base is not None and not contents.format.adapts_model:
        raise UsageError(
            f"--base {base} is for adapters, and {path} is a {contents.format.name}", fix="leave --base out"
        )
    spec = contents.spec
    selected = selection.select_weights(contents.tree, weights, path, ignore)
    weight_set = selected.weight_set
    _require_plain(weight_set.tensors, path)
    entries = contents.tree.get(DATA_KEY) if isinstance(contents.tree, dict) else None
    extra_refs = {n: t for n, t in (entries if isinstance(entries, dict) else {}).items() if isinstance(t, TensorRef)}
    refs = {name: tensor for name, tensor in weight_set.tensors.items() if isinstance(tensor, TensorRef)}
    with ThreadPoolExecutor(1) as hashing:
        digest = hashing.submit(content_sha256, contents.files, path)
        tensors = {name: _stand_in(ref) for name, ref in refs.items()} if one_by_one else fetch_tensors(contents, refs)
        extras = fetch_tensors(contents, extra_refs)
        hexdigest = digest.result()
    contents.require_unchanged()
    notes = selected.notes
    if contents.bystanders:
        notes += (f"passed over {listing(contents.bystanders)}: Python objects, not read",)
    module = _model_of_directory(path, tensors, one_by_one) if contents.format.describes_model else None
    if contents.format.adapts_model:
        module = _model_of_adapter(path, tensors, base)
    return Checkpoint(
        path,
        hexdigest,
        contents.format.name,
        tensors,
        spec,
        extras,
        lambda: _optimizer_state(contents),
        module,
        notes,
        weight_set.unread,
        weight_set.prefix,
        (lambda name: fetch_tensors(contents, {name: refs[name]})[name]) if one_by_one else None,
        _optimizer_groups(contents),
    )


def _with_optimizer(contents: Contents) -> Contents:
    """What holds the state of the optimizer: the file beside the model in a directory of Hugging Face's Trainer."""
    beside = contents.path / OPTIMIZER_FILE
    return describe(beside) if contents.path.is_dir() and beside.is_file() else contents


def _optimizer_state(contents: Contents) -> Any:
    """The optimizer's state dict; None without one."""
    holder = _with_optimizer(contents)
    return fetch_tree(holder, weight_sets.optimizer_state(holder.tree))


def _optimizer_groups(contents: Contents) -> tuple[Mapping[str, Any], ...]:
    """The numbers of the optimizer's groups; empty where the file beside the model cannot be read."""
    try:
        return weight_sets.optimizer_groups(_with_optimizer(contents).tree)
    except CheckpointError:  # it is no part of the weights
        return ()


def _stand_in(ref: TensorRef) -> Tensor:
    """Zeros in the place of a tensor that is read later, of which one lies in memory."""
    return torch.zeros((), dtype=getattr(torch, ref.dtype)).expand(ref.shape)


def fetch_tensors(contents: Contents, refs: Mapping[str, TensorRef]) -> dict[str, Tensor]:
    """The tensors of these descriptions by name, each storage read once; raises CheckpointError for damaged files."""
    missing = sorted({ref.storage.key for ref in refs.values()} - contents.places.keys())
    if missing:
        raise CheckpointError(
            f"{contents.path} is damaged: it has no bytes for {listing(missing)}", fix="copy or save it again"
        )
    return contents.format.fetch(contents, refs)


def fetch_tree(contents: Contents, value: Any) -> Any:
    """A part of a checkpoint's tree with tensors in place of their descriptions; shared parts stay shared.

    Raises CheckpointError for damaged files and for trees that are too deep.
    """
    refs = _refs(value)
    fetched = fetch_tensors(contents, {str(number): ref for number, ref in enumerate(refs)})
    known: dict[int, Any] = {id(ref): fetched[str(number)] for number, ref in enumerate(refs)}

    def fill(part: Any, depth: int) -> Any:
        if depth > MAX_TREE_DEPTH:
            raise CheckpointError(f"{contents.path} nests its entries too deeply", fix="save tensors by name")
        if id(part) not in known:
            if isinstance(part, dict):
                known[id(part)] = {key: fill(inner, depth + 1) for key, inner in part.items()}
            elif isinstance(part, list | tuple):
                known[id(part)] = type(part)(fill(inner, depth + 1) for inner in part)
            else:
                return part
        return known[id(part)]

    return fill(value, 0)


def _refs(value: Any) -> list[TensorRef]:
    """The descriptions of tensors in nested dictionaries, lists and tuples."""
    refs, seen, waiting = [], set(), [value]
    while waiting:
        part = waiting.pop()
        if id(part) in seen:
            continue
        seen.add(id(part))
        if isinstance(part, TensorRef):
            refs.append(part)
        elif isinstance(part, dict | list | tuple):
            waiting += part.values() if isinstance(part, dict) else part
    return refs


def _model_of_directory(path: Path, tensors: dict[str, Tensor], one_by_one: bool) -> BundledModel:
    """The model of a Hugging Face directory; without its weights where they are read one by one."""
    notes: list[str] = []

    def build() -> nn.Module:
        if one_by_one:
            return huggingface.build_plausible(path, tensors)
        model, note = huggingface.build_with_weights(path, tensors)
        notes[:] = [note] if note else []
        return model

    return BundledModel(lambda: huggingface_config.architecture_name(path), build, notes)


def _model_of_adapter(path: Path, tensors: dict[str, Tensor], base: str | None) -> BundledModel:
    """The model below a PEFT adapter, with the adapter on it."""
    notes: list[str] = []

    def below() -> BundledModel:
        """The model of the base's directory."""
        module = read(adapter_config.base_directory(path, base)).module
        assert module is not None  # of a directory with a config.json
        return module

    def build() -> nn.Module:
        settings = adapter_config.read_adapter(path)
        bundled = below()
        model = bundled.build()
        lora.attach(model, settings, tensors, str(path))
        where = adapter_config.base_directory(path, base)
        notes[:] = [
            f"adapter of the model in {where}, whose weights are fixed unless --params names them",
            *bundled.notes,
        ]
        return model

    name = lambda: f"{below().name()} with a LoRA adapter"  # noqa: E731
    return BundledModel(name, build, notes, lora.adapter_names(tensors))


def _require_plain(tensors: weight_sets.Tensors, path: Path) -> None:
    """Raises CheckpointError for sparse, quantized and other tensors that are no plain arrays."""
    odd = [f"{name} ({tensor.kind})" for name, tensor in tensors.items() if isinstance(tensor, OddTensor)]
    if odd:
        raise CheckpointError(
            f"{path} holds tensors that are no plain arrays: {listing(odd)}",
            fix="save sparse ones with .to_dense(), quantized ones with .dequantize()",
        )
