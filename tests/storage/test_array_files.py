"""Arrays with metadata in one file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open

from landscape.errors import OutputError
from landscape.storage.array_files import load_arrays, save_arrays


def test_snapshots_keep_scalars_and_shapes(tmp_path: Path) -> None:
    state = {"count": np.asarray(3), "rows": np.zeros((0, 4)), "values": np.array([np.nan, -0.0])}
    save_arrays(tmp_path / "s", state, {"note": "a 'quoted' word"})
    again, about = load_arrays(tmp_path / "s")
    assert about == {"note": "a 'quoted' word"}
    assert all(again[name].shape == value.shape for name, value in state.items())
    assert again["values"].tobytes() == state["values"].tobytes()


def test_a_damaged_snapshot_names_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "s").write_bytes(b"\xff" * 40)
    with pytest.raises(OutputError, match="--restart discards it"):
        load_arrays(tmp_path / "s")


def test_a_file_of_arrays_is_an_ordinary_safetensors_file_with_the_mark_of_landscape(tmp_path: Path) -> None:
    values = np.arange(6.0).reshape(2, 3)
    save_arrays(tmp_path / "a.eig.safetensors", {"values": values.T}, {"analysis": "eig"})
    with safe_open(tmp_path / "a.eig.safetensors", framework="np") as file:
        assert file.metadata() == {"landscape_schema": "1", "analysis": "eig"}
        assert file.get_tensor("values").tolist() == values.T.tolist()
