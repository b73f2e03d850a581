"""Undo files are read with suspicion."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from edited_checkpoints import (
    KINDS,
    LARGE,
    STATE,
    content,
    edited,
    plain,
    rewrite_undo_file,
    torched,
)
from safetensors.torch import save_file

from landscape.checkpoints.edits.undo import read_manifest, undo_edit
from landscape.errors import CheckpointError
from landscape.storage import paths


class TestUndoFiles:
    """The undo file comes with the edited checkpoint, from wherever that came."""

    @pytest.mark.parametrize("name", ["../out", "/tmp/out", "a/b", "..", ".", "", "a\\b", "a\0b", 7, None])
    @pytest.mark.parametrize("where", ["name", "file"])
    @pytest.mark.parametrize("kind", ["zip", "shards"])
    def test_names_that_are_paths_are_refused(self, kind: str, where: str, name: Any, tmp_path: Path) -> None:
        output = edited(KINDS[kind](tmp_path))

        def change(said: dict[str, Any], _: object) -> None:
            (said["original"] if where == "name" else said["original"]["files"][0])["name"] = name

        rewrite_undo_file(output, change)
        before = content(tmp_path)
        with pytest.raises(CheckpointError, match=r"undo file .* is damaged\n.*manifest is not readable\n.*copy both"):
            undo_edit(output, tmp_path / "back")
        assert content(tmp_path) == before

    @pytest.mark.parametrize(
        "arrays",
        [
            {"segments.0": np.zeros((1, 2), np.int64)},
            {"segments.0": np.zeros((1, 3))},
            {"literal.0": np.zeros(3)},
            {"literal.0": np.zeros((3, 1), np.uint8)},
            {"segments.0": np.zeros(3, np.int64)},
        ],
        ids=["two-columns", "reals", "literal-reals", "literal-table", "one-row"],
    )
    def test_arrays_of_another_kind_are_refused(self, arrays: dict[str, np.ndarray], tmp_path: Path) -> None:
        output = edited(plain(tmp_path))
        rewrite_undo_file(output, lambda _, held: held.update(arrays))
        with pytest.raises(CheckpointError, match=r"is damaged\n.*arrays are of another kind"):
            undo_edit(output, tmp_path / "back")

    def test_missing_arrays_are_said(self, tmp_path: Path) -> None:
        output = edited(plain(tmp_path))
        rewrite_undo_file(output, lambda _, held: held.pop("literal.0"))
        with pytest.raises(CheckpointError, match=r"is damaged"):
            undo_edit(output, tmp_path / "back")

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (lambda said: said.update(schema=2), "written by a newer landscape"),
            (lambda said: said.update(schema="1"), "manifest is not readable"),
            (lambda said: said.pop("original"), "manifest is not readable"),
            (lambda said: said["edited"].update(files=[]), "manifest is not readable"),
            (lambda said: said["edited"].update(files=["new.safetensors"]), "manifest is not readable"),
            (lambda said: said["edited"]["files"][0].pop("sha256"), "manifest is not readable"),
            (lambda said: said["edited"]["files"].append(said["edited"]["files"][0]), "manifest is not readable"),
            (lambda said: said["original"].update(directory="no"), "manifest is not readable"),
            (lambda said: said.update(about="words"), "manifest is not readable"),
            (lambda said: said.update(changed=None), "manifest is not readable"),
        ],
        ids=["newer", "schema", "original", "no-files", "words", "no-hash", "twice", "directory", "about", "changed"],
    )
    def test_a_manifest_that_makes_no_sense_is_refused(
        self, change: Callable[[dict[str, Any]], object], message: str, tmp_path: Path
    ) -> None:
        output = edited(plain(tmp_path))
        rewrite_undo_file(output, lambda said, _: change(said))
        with pytest.raises(CheckpointError, match=message):
            read_manifest(output)

    @pytest.mark.parametrize("share", [0, 0.3, 0.99])
    def test_a_truncated_one_is_said(self, share: float, tmp_path: Path) -> None:
        output = edited(torched(LARGE, tmp_path))
        path = paths.undo_beside(output)
        path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
        with pytest.raises(CheckpointError, match=r"damaged|empty|not a"):
            undo_edit(output)

    def test_a_safetensors_file_of_another_kind_is_said(self, tmp_path: Path) -> None:
        path = plain(tmp_path)
        save_file(STATE, paths.undo_beside(path))
        with pytest.raises(CheckpointError, match="it has no manifest"):
            undo_edit(path)
