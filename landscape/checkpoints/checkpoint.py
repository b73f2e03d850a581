"""A checkpoint in memory: tensors by name, and what else its file holds."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from landscape.checkpoints.spec import Spec


@dataclass(frozen=True)
class BundledModel:
    """A model that comes with a checkpoint: its name, and a function that builds it with the weights in it.

    `notes` is filled while the model is built. `params` are the names of the parameters that are measured unless the
    user names others; none stands for all.
    """

    name: Callable[[], str]
    build: Callable[[], nn.Module]
    notes: list[str] = field(default_factory=list)
    params: tuple[str, ...] = ()


@dataclass(frozen=True)
class Checkpoint:
    """The tensors of a file by name, and the file's description of itself.

    `extras` are tensors beside the weights (an embedded batch, a mask of samples), by name; `optimizer()` reads the
    optimizer's state dict (None without one). `module` is the model itself, if the file or directory holds it.
    `notes` say which of the file's contents were selected. `unread` are the kinds of Python objects beside the tensors,
    by name, and `prefix` is what the model may have in front of all names. Where `fetch(name)` reads the tensors one
    by one, `tensors` holds zeros of their shapes, of which one lies in memory. `groups` are the numbers of the
    optimizer's groups: learning rates, momenta.
    """

    path: Path
    sha256: str
    format: str
    tensors: dict[str, Tensor]
    spec: Spec | None = None
    extras: dict[str, Tensor] = field(default_factory=dict)
    optimizer: Callable[[], Mapping[str, Any] | None] = lambda: None
    module: BundledModel | None = None
    notes: tuple[str, ...] = ()
    unread: Mapping[str, str] = field(default_factory=dict)
    prefix: str = ""
    fetch: Callable[[str], Tensor] | None = None
    groups: tuple[Mapping[str, Any], ...] = ()


def content_sha256(files: Iterable[Path], home: Path) -> str:
    """The sha256 of one file, in hexadecimal; of several files, the sha256 of the lines `name sha256`."""
    digests = {}
    for file in sorted(files):
        with file.open("rb") as stream:
            digests[file] = hashlib.file_digest(stream, "sha256").hexdigest()
    if list(digests) == [home]:
        return digests[home]
    lines = "".join(f"{file.relative_to(home)} {digest}\n" for file, digest in digests.items())
    return hashlib.sha256(lines.encode()).hexdigest()
