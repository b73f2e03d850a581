"""Vectors in parts as a directory of torch.distributed.checkpoint, which any number of ranks reads."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any
from warnings import catch_warnings, simplefilter

import numpy as np
import torch

from landscape.checkpoints.formats.detection import describe
from landscape.checkpoints.reading import fetch_tensors
from landscape.compute.shards import Shards
from landscape.errors import OutputError

PIECE = "{name}/{row}/{piece}"  # a piece of one vector, as a tensor of the directory


def save_vectors(vectors: Mapping[str, np.ndarray], shards: Shards, directory: Path) -> None:
    """Writes this rank's parts of vectors `(..., length)` by name, together with all ranks.

    Raises OutputError where that fails.
    """
    # here, since their import alone can abort the interpreter at its end, and other measurements need none of them
    from torch.distributed.checkpoint import api, state_dict_saver

    # a tensor of NumPy's memory has a storage that ends with it: torch copies others, and keeps all copies to the end
    pieces = {
        key: torch.from_numpy(piece) for name, array in vectors.items() for key, piece in _pieces(name, array, shards)
    }
    try:
        with catch_warnings(), redirect_stdout(StringIO()):
            simplefilter("ignore")
            state_dict_saver.save(pieces, checkpoint_id=directory, no_dist=shards.ranks.size == 1)
    except (Exception, api.CheckpointException) as error:  # the second is torch's own for what fails on any rank
        shutil.rmtree(directory, ignore_errors=True)
        first = next(iter(error.failures.values()))[0] if isinstance(error, api.CheckpointException) else error
        raise OutputError(
            f"cannot write the parts of vectors in {directory}: {first}",
            fix="free some space, or write elsewhere with -o FILE",
        ) from error


def read_vectors(
    shapes: Mapping[str, Sequence[int]], shards: Shards, directory: Path, dtype: torch.dtype
) -> dict[str, np.ndarray]:
    """This rank's parts of the vectors that `save_vectors` wrote, `(*shape, length)` by name.

    Nothing in the directory is run. Raises CheckpointError for a damaged one.
    """
    found: dict[str, np.ndarray] = {}
    if not shapes:
        return found
    contents = describe(directory)
    tree: Any = contents.tree
    for name, shape in shapes.items():
        found[name] = torch.empty((*shape, shards.length), dtype=dtype).numpy()
        for key, piece in _pieces(name, found[name], shards):
            piece[:] = fetch_tensors(contents, {key: tree[key]})[key].numpy()
    return found


def _pieces(name: str, vectors: np.ndarray, shards: Shards) -> Iterator[tuple[str, np.ndarray]]:
    """Views of this rank's pieces of vectors `(..., length)`, each with its name in the directory."""
    for row, vector in enumerate(vectors.reshape(-1, shards.held, shards.width)):
        for number, piece in enumerate(vector, start=shards.first):
            yield PIECE.format(name=name, row=row, piece=number), piece
