"""Vectors in parts come back from their directory, on another number of ranks too, and damage is said."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from landscape.compute.ranks import Ranks
from landscape.compute.shards import Shards
from landscape.errors import LandscapeError, OutputError
from landscape.objective.sharded.stored_vectors import read_vectors, save_vectors

SHARDS = Shards((7, 5))


def vectors() -> dict[str, np.ndarray]:
    generator = np.random.default_rng(0)
    return {"basis": generator.normal(size=(3, SHARDS.length)), "one": generator.normal(size=SHARDS.length)}


def test_vectors_come_back(tmp_path: Path) -> None:
    save_vectors(vectors(), SHARDS, tmp_path / "parts")
    found = read_vectors({"basis": [3], "one": []}, SHARDS, tmp_path / "parts", torch.float64)
    assert found.keys() == vectors().keys()
    assert all(np.array_equal(found[name], array) for name, array in vectors().items())


def test_each_of_two_ranks_reads_its_half(tmp_path: Path) -> None:
    save_vectors(vectors(), SHARDS, tmp_path / "parts")
    halves = [
        read_vectors({"basis": [3]}, Shards((7, 5), Ranks(rank, 2)), tmp_path / "parts", torch.float64)["basis"]
        for rank in range(2)
    ]
    assert np.array_equal(np.concatenate(halves, axis=1), vectors()["basis"])


def test_a_damaged_directory_is_an_error_in_words(tmp_path: Path) -> None:
    save_vectors(vectors(), SHARDS, tmp_path / "parts")
    (tmp_path / "parts" / ".metadata").write_bytes(b"")
    with pytest.raises(LandscapeError):
        read_vectors({"basis": [3]}, SHARDS, tmp_path / "parts", torch.float64)


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot write the parts of vectors"):
        save_vectors(vectors(), SHARDS, tmp_path / "file" / "parts")
