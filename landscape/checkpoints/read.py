"""Reads a checkpoint as data: no code from the file runs."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from landscape.checkpoints import optimizer, sniff
from landscape.checkpoints.spec import DATA_KEY, KEY, Spec
from landscape.errors import CheckpointError, listing

NESTS = ("state_dict", "model_state_dict", "model")  # where training scripts put the weights


@dataclass(frozen=True)
class Checkpoint:
    """The tensors of a file by name, and what the file says of itself.

    `extras` are tensors beside the weights (an embedded batch, a mask of samples), by name; `optimizer` is the
    optimiser's state dict.
    """

    path: Path
    sha256: str
    format: str
    tensors: dict[str, Tensor]
    spec: Spec | None = None
    extras: dict[str, Tensor] = field(default_factory=dict)
    optimizer: Mapping[str, Any] | None = None


def read(path: str | Path) -> Checkpoint:
    """The checkpoint in a `.pt` or safetensors file; raises CheckpointError with the remedy."""
    path = Path(path)
    kind = sniff.sniff(path)
    tensors, spec, extras, state = _read_safetensors(path) if kind == sniff.SAFETENSORS else _read_torch(path)
    if not tensors:
        raise CheckpointError(f"{path} holds no tensors")
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return Checkpoint(path, digest, kind, tensors, spec, extras, state)


Parts = tuple[dict[str, Tensor], Spec | None, dict[str, Tensor], Mapping[str, Any] | None]


def _read_safetensors(path: Path) -> Parts:
    try:
        with safe_open(path, framework="pt") as file:
            spec = (file.metadata() or {}).get(KEY)
            everything = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path} is a damaged safetensors file: {error}", fix="copy it again") from error
    prefix = DATA_KEY + "."
    extras = {n.removeprefix(prefix): t for n, t in everything.items() if n.startswith(prefix)}
    tensors = {n: t for n, t in everything.items() if not n.startswith(prefix)}
    return tensors, spec and Spec.from_json(spec, str(path)), extras, None


def _read_torch(path: Path) -> Parts:
    loaded = _load_weights_only(path)
    if not isinstance(loaded, dict):
        raise CheckpointError(f"{path} holds {_article(loaded)}, not a dictionary of tensors")
    described = loaded.get(KEY)
    spec = Spec.from_json(described, str(path)) if isinstance(described, str) else None
    extras = loaded.get(DATA_KEY)
    kept = extras if isinstance(extras, dict) else {}
    named = {n: t for n, t in kept.items() if isinstance(t, Tensor)}
    return _weights(loaded, path), spec, named, optimizer.find(loaded)


def _load_weights_only(path: Path) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # on damaged bytes its unpickler may raise anything
        named = re.search(r"GLOBAL ([\w.]+)", str(error))
        if named:
            raise CheckpointError(
                f"{path} holds Python objects besides tensors: {named[1]}",
                why="landscape opens checkpoints as data only, and opening such an object runs code",
                fix="re-save the weights alone: torch.save(model.state_dict(), path)",
            ) from error
        raise CheckpointError(
            f"{path} is damaged or truncated: torch cannot read it",
            why=str(error).partition("\n")[0] or type(error).__name__,
            fix="copy or save it again",
        ) from error


def _weights(loaded: dict[Any, Any], path: Path) -> dict[str, Tensor]:
    """The tensors by name, in the dictionary itself or in the nest where a training script put them."""
    candidates = [loaded.get(nest) for nest in NESTS] + [loaded]
    tensors = next((found for inside in candidates if (found := _named_tensors(inside))), {})
    sparse = [name for name, tensor in tensors.items() if tensor.layout != torch.strided]
    if sparse:
        raise CheckpointError(f"{path} holds sparse tensors: {listing(sparse)}", fix="save them with .to_dense()")
    if not tensors:
        entries = listing(f"{name} ({_article(value)})" for name, value in loaded.items())
        raise CheckpointError(
            f"{path} holds no tensors by name, only: {entries or 'an empty dictionary'}",
            fix="save a state dict, or {'state_dict': model.state_dict()}",
        )
    return tensors


def _named_tensors(inside: Any) -> dict[str, Tensor]:
    if not isinstance(inside, dict):
        return {}
    return {name: value for name, value in inside.items() if isinstance(value, Tensor) and isinstance(name, str)}


def _article(value: Any) -> str:
    kind = type(value).__name__
    return f"{'an' if kind[0] in 'aeiouAEIOU' else 'a'} {kind}"
