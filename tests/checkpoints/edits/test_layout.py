"""The bytes that an edit writes, and where the original bytes are in them."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import pytest
import torch
from conftest import SAMPLES
from edited_checkpoints import (
    LARGE,
    STATE,
    THIRDS,
    content,
    edited,
    header_and_data,
    path_size,
    plain,
    torched,
)
from safetensors import safe_open
from safetensors.torch import save_file

from landscape.checkpoints import read
from landscape.checkpoints.edits.undo import undo_edit
from landscape.checkpoints.edits.write import write_edit
from landscape.errors import CheckpointError
from landscape.storage import paths


def test_a_safetensors_file_keeps_every_byte_but_those_of_the_changed_tensors(tmp_path: Path) -> None:
    path = plain(tmp_path)
    output = edited(path, {"a.bias": torch.tensor([1 / 3, 2 / 3], dtype=torch.float64)})
    (old_header, old), (new_header, new) = header_and_data(path), header_and_data(output)
    values = torch.tensor([1 / 3, 2 / 3], dtype=torch.float64).float().numpy().tobytes()
    assert new == old.replace(STATE["a.bias"].numpy().tobytes(), values)
    assert new != old
    mark = {"landscape_edit": hashlib.sha256(path.read_bytes()).hexdigest()}
    metadata = {**json.loads(old_header)["__metadata__"], **mark}
    assert json.loads(new_header) == {**json.loads(old_header), "__metadata__": metadata}
    assert len(new_header) % 8 == 0
    with safe_open(paths.undo_beside(output), framework="np") as file:
        literal = file.get_tensor("literal.0").tobytes()
    assert literal == len(old_header).to_bytes(8, "little") + old_header + STATE["a.bias"].numpy().tobytes()


def test_the_metadata_of_a_safetensors_file_stays_beside_the_mark_of_the_edit(tmp_path: Path) -> None:
    save_file(STATE, tmp_path / "old.safetensors", {"format": "pt", "who": "é"})
    before = (tmp_path / "old.safetensors").read_bytes()
    output = edited(tmp_path / "old.safetensors")
    metadata = paths.safetensors_metadata(output)
    assert metadata == {"format": "pt", "who": "é", "landscape_edit": hashlib.sha256(before).hexdigest()}
    again = write_edit(output, {}, tmp_path / "again.safetensors", about={})[0]
    assert paths.safetensors_metadata(again)["landscape_edit"] == hashlib.sha256(output.read_bytes()).hexdigest()
    assert undo_edit(again, tmp_path / "back").read_bytes() == output.read_bytes()
    assert undo_edit(output).read_bytes() == before


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_the_undo_file_of_a_torch_file_does_not_hold_what_the_copy_holds(zipped: bool, tmp_path: Path) -> None:
    output = edited(torched(LARGE, tmp_path, zipped=zipped))
    with safe_open(paths.undo_beside(output), framework="np") as file:
        assert file.get_tensor("literal.0").size < path_size(tmp_path / "old.pt") - LARGE["large"].nbytes + 1
    assert paths.undo_beside(output).stat().st_size < LARGE["large"].nbytes


def test_the_undo_file_of_a_torch_file_does_not_hold_its_extras(tmp_path: Path) -> None:
    torch.save({"state_dict": STATE, "landscape_data": {"inputs": LARGE["large"]}}, tmp_path / "old.pt")
    assert paths.undo_beside(edited(tmp_path / "old.pt")).stat().st_size < LARGE["large"].nbytes


def test_views_that_are_not_whole_storages_are_written_as_they_are_and_undone(tmp_path: Path) -> None:
    base = torch.arange(24.0).view(4, 6)
    path = torched({"rows": base[:2], "more": base[2:], "turned": torch.arange(6.0).view(2, 3).T}, tmp_path)
    before = content(path)
    output = edited(path, {"rows": -base[:2].double()})
    tensors = read(output).tensors
    assert torch.equal(tensors["rows"], -base[:2])
    assert torch.equal(tensors["more"], base[2:])
    assert torch.equal(tensors["turned"], torch.arange(6.0).view(2, 3).T)
    assert content(undo_edit(output)) == before


def test_the_files_of_a_hub_s_cache_are_copied_and_a_link_to_elsewhere_is_refused(tmp_path: Path) -> None:
    blobs, snapshot = tmp_path / "blobs", tmp_path / "snapshots" / "rev"
    blobs.mkdir()
    snapshot.mkdir(parents=True)
    save_file(STATE, blobs / "abc")
    (blobs / "words").write_text("words")
    (snapshot / "model.safetensors").symlink_to(Path("../../blobs/abc"))
    (snapshot / "vocab.txt").symlink_to(Path("../../blobs/words"))
    write_edit(snapshot, THIRDS, tmp_path / "new", about={})
    assert not (tmp_path / "new" / "vocab.txt").is_symlink()
    assert (tmp_path / "new" / "vocab.txt").read_text() == "words"
    (tmp_path / "secret").write_text("secret")
    (snapshot / "more.txt").symlink_to(tmp_path / "secret")
    with pytest.raises(CheckpointError, match=r"more.txt is a link that leaves its directory"):
        write_edit(snapshot, THIRDS, tmp_path / "newer", about={})
    assert not (tmp_path / "newer").exists()


def test_a_converted_checkpoint_has_one_hash(tmp_path: Path) -> None:
    """The safetensors library writes two entries of metadata in either order."""
    shutil.copy(SAMPLES / "digits-mlp.pt", tmp_path / "a.pt")
    outputs = [write_edit(tmp_path / "a.pt", {}, tmp_path / f"{n}.safetensors", about={})[0] for n in range(8)]
    assert set(paths.safetensors_metadata(outputs[0])) == {"landscape", "landscape_edit"}
    assert len({output.read_bytes() for output in outputs}) == 1
