"""Eigenvectors of two checkpoints against each other."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from landscape.tracking.eigenvectors import COSINES, OVERLAP, Eigenvectors, load_vectors


def rotated(angle: float) -> Eigenvectors:
    """The first two unit vectors of three, turned in the plane of the first and the third."""
    cosine, sine = np.cos(angle), np.sin(angle)
    return Eigenvectors("a.pt", np.array([[cosine, 0.0], [0.0, 1.0], [sine, 0.0]]))


def test_cosines_and_overlap_are_those_of_the_rotation() -> None:
    found = rotated(0.3).compare(rotated(0.0))
    assert found[COSINES] == pytest.approx([np.cos(0.3), 1.0])
    assert found[OVERLAP] == pytest.approx((np.cos(0.3) ** 2 + 1) / 2)


def test_signs_and_exchanged_ranks_leave_the_overlap() -> None:
    one = rotated(0.0)
    other = Eigenvectors("b.pt", -one.vectors[:, ::-1])
    found = other.compare(one)
    assert found[COSINES] == pytest.approx([0.0, 0.0])
    assert found[OVERLAP] == pytest.approx(1.0)


def test_vectors_of_another_number_are_not_compared() -> None:
    assert rotated(0.0).compare(Eigenvectors("b.pt", np.eye(3))) == {}


def test_they_are_kept_beside_the_history(tmp_path: Path) -> None:
    output = tmp_path / "track.landscape.h5"
    assert load_vectors(output) is None
    rotated(0.2).save(output)
    again = load_vectors(output)
    assert again is not None
    assert again.checkpoint == "a.pt"
    assert np.array_equal(again.vectors, rotated(0.2).vectors)
    (tmp_path / "track.eig.safetensors").write_bytes(b"broken")
    assert load_vectors(output) is None
