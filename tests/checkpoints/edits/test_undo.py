"""Originals are restored from edited copies, or nothing is written."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from edited_checkpoints import (
    STATE,
    content,
    double,
    edited,
    plain,
    rewrite_undo_file,
    sharded,
    torched,
)

from landscape.checkpoints.edits.segments import LITERAL
from landscape.checkpoints.edits.undo import read_manifest, undo_edit
from landscape.checkpoints.edits.write import write_edit
from landscape.errors import CheckpointError, UsageError
from landscape.storage import paths


class TestUndo:
    def test_without_one_nothing_is_undone(self, tmp_path: Path) -> None:
        with pytest.raises(UsageError, match=r"cannot be undone: there is no .*old.undo.safetensors\n.*undo file"):
            undo_edit(plain(tmp_path))
        with pytest.raises(UsageError, match="there is no .*nothing"):
            read_manifest(tmp_path / "nothing")
        with pytest.raises(UsageError, match=r"there is no .*old/landscape.undo"):
            undo_edit(sharded(tmp_path))

    def test_another_edit_s_is_refused(self, tmp_path: Path) -> None:
        path = plain(tmp_path)
        for name in ("one", "two"):
            write_edit(
                path, {"a.bias": double(1.0, len(name) + ord(name[0]))}, tmp_path / f"{name}.safetensors", about={}
            )
        shutil.copy(tmp_path / "one.undo.safetensors", tmp_path / "two.undo.safetensors")
        with pytest.raises(UsageError, match=r"two.undo.safetensors belongs to another edit, that of one.safetensors"):
            undo_edit(tmp_path / "two.safetensors", tmp_path / "back")
        assert not (tmp_path / "back").exists()

    def test_a_directory_s_is_not_a_file_s(self, tmp_path: Path) -> None:
        output = edited(sharded(tmp_path))
        file = plain(tmp_path)
        shutil.copy(paths.undo_file(output), paths.undo_beside(file))
        with pytest.raises(UsageError, match="belongs to another edit"):
            undo_edit(file)

    def test_a_renamed_pair_is_undone(self, tmp_path: Path) -> None:
        path = plain(tmp_path)
        output = edited(path)
        output.rename(tmp_path / "x.safetensors")
        paths.undo_beside(output).rename(tmp_path / "x.undo.safetensors")
        assert content(undo_edit(tmp_path / "x.safetensors", tmp_path / "back")) == content(path)

    @pytest.mark.parametrize(
        "row",
        [(0, 0, 10**12), (0, -5, 5), (0, 10**9, 5), (1, 0, 5), (-2, 0, 5), (LITERAL, 1, 10**9), (0, 0, -5), (0, 0, 0)],
        ids=["long", "negative", "beyond", "no-source", "odd-source", "literal", "backwards", "nothing"],
    )
    def test_segments_outside_the_files_are_refused(self, row: tuple[int, int, int], tmp_path: Path) -> None:
        output = edited(plain(tmp_path))
        rewrite_undo_file(output, lambda _, arrays: arrays.update({"segments.0": np.array([row], np.int64)}))
        with pytest.raises(CheckpointError, match="takes bytes from where none are"):
            undo_edit(output, tmp_path / "back")
        assert not (tmp_path / "back").exists()

    def test_a_small_file_cannot_ask_for_a_large_one(self, tmp_path: Path) -> None:
        output = edited(plain(tmp_path))
        rows = np.tile(np.array([(0, 0, output.stat().st_size)], np.int64), (10_000, 1))
        rewrite_undo_file(output, lambda _, arrays: arrays.update({"segments.0": rows}))
        with pytest.raises(CheckpointError, match="takes bytes from where none are"):
            undo_edit(output, tmp_path / "back")

    def test_wrong_bytes_are_found_before_anything_is_there(self, tmp_path: Path) -> None:
        output = edited(torched(STATE, tmp_path))
        rewrite_undo_file(output, lambda _, held: held.update({"literal.0": held["literal.0"] ^ 1}))
        before = content(tmp_path)
        with pytest.raises(CheckpointError, match=r"is damaged\n.*does not give old.pt back\n.*copy both again"):
            undo_edit(output)
        assert content(tmp_path) == before
