"""Named arrays with metadata in one safetensors file: the format of snapshots and of sidecars."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from landscape.errors import OutputError
from landscape.storage.atomic_files import replace_file
from landscape.storage.paths import MARK
from landscape.storage.provenance import SCHEMA


def save_arrays(path: Path, arrays: Mapping[str, np.ndarray], about: Mapping[str, str]) -> None:
    """Writes arrays by name, and the texts `about` them, as one file that replaces an earlier one as a whole.

    Raises OutputError if the file cannot be written.
    """
    metadata = {MARK: str(SCHEMA), **about}
    replace_file(path, save({name: np.asarray(a, order="C") for name, a in arrays.items()}, metadata))


def load_arrays(path: Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """The arrays and the texts that `save_arrays` wrote; raises OutputError if the file is damaged."""
    try:
        with safe_open(path, framework="numpy") as file:
            about = {key: text for key, text in (file.metadata() or {}).items() if key != MARK}
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
    except (SafetensorError, OSError, MemoryError) as error:
        raise OutputError(f"{path} is not a readable snapshot", fix="--restart discards it") from error
    return arrays, about
