"""Undo files are read with suspicion."""

from __future__ import annotations

import json
import shutil
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
    double,
    edited,
    plain,
    sharded,
    torched,
)
from safetensors import safe_open
from safetensors.numpy import save_file as save_arrays
from safetensors.torch import save_file

from landscape.checkpoints.edits.segments import LITERAL
from landscape.checkpoints.edits.undo import read_manifest, undo_edit
from landscape.checkpoints.edits.write import write_edit
from landscape.errors import CheckpointError, UsageError
from landscape.storage import paths


class TestUndoFiles:
    """The undo file comes with the edited checkpoint, from wherever that came."""

    def rewritten(self, output: Path, change: Callable[[dict[str, Any], dict[str, np.ndarray]], object]) -> None:
        """The undo file with another manifest or other arrays."""
        path = paths.undo_file(output)
        with safe_open(path, framework="np") as file:
            said = json.loads(file.metadata()[paths.UNDO_KEY])
            arrays = {name: file.get_tensor(name).copy() for name in file.keys()}  # noqa: SIM118
        change(said, arrays)
        save_arrays(arrays, path, {paths.UNDO_KEY: json.dumps(said)})

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

    @pytest.mark.parametrize("name", ["../out", "/tmp/out", "a/b", "..", ".", "", "a\\b", "a\0b", 7, None])
    @pytest.mark.parametrize("where", ["name", "file"])
    @pytest.mark.parametrize("kind", ["zip", "shards"])
    def test_names_that_are_paths_are_refused(self, kind: str, where: str, name: Any, tmp_path: Path) -> None:
        output = edited(KINDS[kind](tmp_path))

        def change(said: dict[str, Any], _: object) -> None:
            (said["original"] if where == "name" else said["original"]["files"][0])["name"] = name

        self.rewritten(output, change)
        before = content(tmp_path)
        with pytest.raises(CheckpointError, match=r"undo file .* is damaged\n.*manifest is not readable\n.*copy both"):
            undo_edit(output, tmp_path / "back")
        assert content(tmp_path) == before

    @pytest.mark.parametrize(
        "row",
        [(0, 0, 10**12), (0, -5, 5), (0, 10**9, 5), (1, 0, 5), (-2, 0, 5), (LITERAL, 1, 10**9), (0, 0, -5), (0, 0, 0)],
        ids=["long", "negative", "beyond", "no-source", "odd-source", "literal", "backwards", "nothing"],
    )
    def test_segments_outside_the_files_are_refused(self, row: tuple[int, int, int], tmp_path: Path) -> None:
        output = edited(plain(tmp_path))
        self.rewritten(output, lambda _, arrays: arrays.update({"segments.0": np.array([row], np.int64)}))
        with pytest.raises(CheckpointError, match="takes bytes from where none are"):
            undo_edit(output, tmp_path / "back")
        assert not (tmp_path / "back").exists()

    def test_a_small_file_cannot_ask_for_a_large_one(self, tmp_path: Path) -> None:
        output = edited(plain(tmp_path))
        rows = np.tile(np.array([(0, 0, output.stat().st_size)], np.int64), (10_000, 1))
        self.rewritten(output, lambda _, arrays: arrays.update({"segments.0": rows}))
        with pytest.raises(CheckpointError, match="takes bytes from where none are"):
            undo_edit(output, tmp_path / "back")

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
        self.rewritten(output, lambda _, held: held.update(arrays))
        with pytest.raises(CheckpointError, match=r"is damaged\n.*arrays are of another kind"):
            undo_edit(output, tmp_path / "back")

    def test_missing_arrays_are_said(self, tmp_path: Path) -> None:
        output = edited(plain(tmp_path))
        self.rewritten(output, lambda _, held: held.pop("literal.0"))
        with pytest.raises(CheckpointError, match=r"is damaged"):
            undo_edit(output, tmp_path / "back")

    def test_wrong_bytes_are_found_before_anything_is_there(self, tmp_path: Path) -> None:
        output = edited(torched(STATE, tmp_path))
        self.rewritten(output, lambda _, held: held.update({"literal.0": held["literal.0"] ^ 1}))
        before = content(tmp_path)
        with pytest.raises(CheckpointError, match=r"is damaged\n.*does not give old.pt back\n.*copy both again"):
            undo_edit(output)
        assert content(tmp_path) == before

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
        self.rewritten(output, lambda said, _: change(said))
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
