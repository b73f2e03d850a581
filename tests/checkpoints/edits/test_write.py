"""An edited copy differs in the tensors that were changed alone, and gives its original back bit for bit."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import resource
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import SAMPLES, quiet_transformers
from safetensors import safe_open
from safetensors.numpy import save_file as save_arrays
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

import landscape
from landscape.checkpoints import read
from landscape.checkpoints.edits import segments as recipes
from landscape.checkpoints.edits import write as editing
from landscape.checkpoints.edits.segments import LITERAL, Segment
from landscape.checkpoints.edits.undo import read_manifest, undo_edit
from landscape.checkpoints.edits.write import write_edit
from landscape.errors import CheckpointError, LandscapeError, NumericalError, OutputError, UsageError
from landscape.evaluation.other_checkpoints import find_trajectory
from landscape.storage import paths

STATE = {
    "a.weight": torch.arange(6.0).view(2, 3),
    "a.bias": torch.tensor([0.1, -0.2]),
    "half": torch.arange(5).half() / 3,
    "brain": torch.arange(7).bfloat16() / 3,
    "steps": torch.tensor(7),
    "flags": torch.tensor([True, False]),
    "empty": torch.ones(0, 3),
    "scalar": torch.tensor(2.5, dtype=torch.float64),
}
LARGE = {"large": torch.linspace(-1, 1, 5000), **STATE}
THIRDS = {
    "a.weight": torch.arange(6, dtype=torch.float64).view(2, 3) / 3,
    "half": torch.full((5,), 1 / 3, dtype=torch.float64),
    "brain": torch.linspace(-1, 1, 7, dtype=torch.float64) / 3,
    "scalar": torch.tensor(1 / 3, dtype=torch.float64),
    "steps": torch.tensor(8.0, dtype=torch.float64),
    "empty": torch.ones(0, 3, dtype=torch.float64),
}
ABOUT = {"method": "a test", "rho": 0.05, "layers": ["a"], "command": "none"}


def plain(folder: Path) -> Path:
    save_file(STATE, folder / "old.safetensors", {"format": "pt", "note": "ä"})
    return folder / "old.safetensors"


def torched(content: Any, folder: Path, *, zipped: bool = True) -> Path:
    torch.save(content, folder / "old.pt", _use_new_zipfile_serialization=zipped)
    return folder / "old.pt"


def with_optimizer(folder: Path, *, zipped: bool = True) -> Path:
    model = nn.Linear(3, 2)
    adam = torch.optim.Adam(model.parameters())
    model(torch.ones(1, 3)).sum().backward()
    adam.step()
    loose = {"model": STATE, "optimizer": adam.state_dict(), "epoch": 3, "history": [torch.ones(4), "a word"]}
    return torched(loose, folder, zipped=zipped)


def of_landscape(folder: Path) -> Path:
    torch.save(
        {"state_dict": STATE, "landscape": landscape.checkpoints.Spec(about={"step": 5}).to_json()}
        | {"landscape_data": {"mask": torch.tensor([True, False]), "inputs": torch.rand(4, 3)}},
        folder / "old.pt",
    )
    return folder / "old.pt"


def sharded(folder: Path) -> Path:
    path = folder / "old"
    path.mkdir()
    homes = {name: f"model-{1 + place % 2}-of-2.safetensors" for place, name in enumerate(STATE)}
    for file in set(homes.values()):
        save_file({name: STATE[name] for name, home in homes.items() if home == file}, path / file)
    (path / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": homes}))
    (path / "vocab.txt").write_text("words")
    (path / "nothing").touch()
    return path


KINDS: dict[str, Callable[[Path], Path]] = {
    "safetensors": plain,
    "zip": lambda folder: torched(STATE, folder),
    "legacy": lambda folder: torched(STATE, folder, zipped=False),
    "zip-with-optimizer": with_optimizer,
    "legacy-with-optimizer": lambda folder: with_optimizer(folder, zipped=False),
    "self-describing": of_landscape,
    "shards": sharded,
}
every_kind = pytest.mark.parametrize("kind", KINDS)


def edited(path: Path, changes: dict[str, Tensor] = THIRDS, **options: Any) -> Path:
    """The edited copy, in a folder of its own."""
    home = path.parent / "there"
    home.mkdir(exist_ok=True)
    output = home / ("new" if path.is_dir() else "new.safetensors")
    write_edit(path, changes, output, **{"about": ABOUT, **options})
    return output


def content(path: Path) -> dict[str, bytes]:
    """Every file under a path, by its place."""
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return {str(file.relative_to(path)): file.read_bytes() for file in files}


def bits(tensor: Tensor) -> tuple[torch.dtype, torch.Size, bytes]:
    return tensor.dtype, tensor.shape, tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


@every_kind
class TestEveryKind:
    def test_changed_tensors_are_the_cast_of_their_new_values_and_all_others_have_the_same_bits(
        self, kind: str, tmp_path: Path
    ) -> None:
        path = KINDS[kind](tmp_path)
        before, after = read(path), read(edited(path))
        assert before.tensors.keys() == after.tensors.keys()
        for name, old in before.tensors.items():
            meant = THIRDS[name].to(old.dtype) if name in THIRDS else old
            assert bits(after.tensors[name]) == bits(meant), name
        assert after.spec == before.spec
        assert {n: bits(t) for n, t in after.extras.items()} == {n: bits(t) for n, t in before.extras.items()}

    def test_the_original_comes_back_bit_for_bit_from_the_copy_alone(self, kind: str, tmp_path: Path) -> None:
        path = KINDS[kind](tmp_path)
        before = content(path)
        output = edited(path)
        assert content(path) == before
        path.rename(tmp_path / "gone")
        assert undo_edit(output) == output.parent / path.name
        assert content(output.parent / path.name) == before
        assert content(undo_edit(output, tmp_path / "elsewhere")) == before

    def test_nothing_is_there_but_what_is_said_to_be_written(self, kind: str, tmp_path: Path) -> None:
        path = KINDS[kind](tmp_path)
        home = tmp_path / "home"
        home.mkdir()
        written = write_edit(path, THIRDS, home / ("new" if path.is_dir() else "n.safetensors"), about=ABOUT)
        assert sorted(file for file in home.rglob("*") if file.is_file()) == sorted(written)
        undo_edit(home / ("new" if path.is_dir() else "n.safetensors"))
        assert sorted(entry.name for entry in home.iterdir() if entry.name.startswith(".")) == []

    def test_an_earlier_copy_is_replaced_and_an_altered_one_is_not(self, kind: str, tmp_path: Path) -> None:
        path = KINDS[kind](tmp_path)
        other = {"a.bias": torch.tensor([1.0, 2.0], dtype=torch.float64)}
        first, second = content(edited(path).parent), content(edited(path, other).parent)
        assert first.keys() == second.keys()
        assert first != second
        assert torch.equal(read(edited(path, other)).tensors["a.bias"], torch.tensor([1.0, 2.0]))
        weights = next(file for file in (path.parent / "there").rglob("*.safetensors") if "undo" not in file.name)
        weights.write_bytes(weights.read_bytes()[:-1] + b"x")
        altered = content(path.parent / "there")
        with pytest.raises(UsageError, match=r"exists, and is not what an earlier edit wrote\n.*write elsewhere"):
            edited(path)
        assert content(path.parent / "there") == altered

    def test_an_altered_copy_is_not_undone(self, kind: str, tmp_path: Path) -> None:
        output = edited(KINDS[kind](tmp_path))
        weights = sorted(output.glob("*.safetensors"))[0] if output.is_dir() else output
        weights.write_bytes(weights.read_bytes()[:-1] + b"x")
        with pytest.raises(
            CheckpointError, match=rf"was altered after its edit: {weights.name}\n.*\n.*put those files"
        ):
            undo_edit(output, tmp_path / "elsewhere")
        assert not (tmp_path / "elsewhere").exists()

    def test_undoing_says_nothing_where_the_original_is_and_refuses_where_something_else_is(
        self, kind: str, tmp_path: Path
    ) -> None:
        path = KINDS[kind](tmp_path)
        output = edited(path)
        assert undo_edit(output, path) == path
        victim = path / "vocab.txt" if path.is_dir() else path
        victim.write_bytes(b"my own work")
        with pytest.raises(UsageError, match=r"exists, and is not the original\n.*elsewhere"):
            undo_edit(output, path)
        assert victim.read_bytes() == b"my own work"

    def test_the_manifest_tells_the_files_the_names_and_the_facts(self, kind: str, tmp_path: Path) -> None:
        path = KINDS[kind](tmp_path)
        checkpoint = read(path)
        output = edited(path)
        said = read_manifest(output)
        assert said["about"] == ABOUT
        assert said["changed"] == sorted(THIRDS)
        assert (said["original"]["name"], said["edited"]["name"]) == (path.name, output.name)
        assert (said["original"]["format"], said["original"]["sha256"]) == (checkpoint.format, checkpoint.sha256)
        names = {file.name for file in path.iterdir()} if path.is_dir() else {path.name}
        assert {listed["name"] for listed in said["original"]["files"]} == names

    def test_an_edit_of_an_edit_is_undone_twice(self, kind: str, tmp_path: Path) -> None:
        path = KINDS[kind](tmp_path)
        first = edited(path)
        ending = "" if path.is_dir() else ".safetensors"
        second = tmp_path / f"second{ending}"
        write_edit(first, {"a.bias": torch.zeros(2, dtype=torch.float64)}, second, about={})
        once = content(first)
        assert content(undo_edit(second, tmp_path / f"back{ending}")) == once
        if not path.is_dir():
            shutil.copy(paths.undo_file(first), paths.undo_beside(tmp_path / f"back{ending}"))
        assert content(undo_edit(tmp_path / f"back{ending}", tmp_path / "twice")) == content(path)

    def test_a_full_disk_leaves_the_earlier_copy(self, kind: str, tmp_path: Path) -> None:
        """The file-size limit of the process stands for the disk: the write fails in the middle."""
        path = KINDS[kind](tmp_path)
        output = edited(path)
        before = content(tmp_path)
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))
        try:
            with pytest.raises(OutputError, match=r"cannot be written: File too large\n.*untouched\n.*free some space"):
                edited(path, {"a.bias": torch.zeros(2, dtype=torch.float64)})
            with pytest.raises(OutputError, match="cannot be written: File too large"):
                undo_edit(output, tmp_path / "elsewhere")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert content(tmp_path) == before
        assert not list(tmp_path.rglob(".*"))

    @pytest.mark.parametrize("earlier", [True, False], ids=["earlier", "fresh"])
    def test_a_disk_that_is_full_at_any_file_leaves_nothing_of_any(
        self, kind: str, earlier: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = KINDS[kind](tmp_path)
        (tmp_path / "there").mkdir()
        files = len(content(edited(path)).keys()) + (not path.is_dir())
        if not earlier:
            shutil.rmtree(tmp_path / "there")
            (tmp_path / "there").mkdir()
        before, fsync = content(tmp_path), os.fsync
        for allowed in range(files):
            left = [None] * allowed
            monkeypatch.setattr(os, "fsync", lambda descriptor, left=left: left.pop() if left else full())
            with pytest.raises(OutputError, match="No space left on device"):
                edited(path, {"a.bias": torch.zeros(2, dtype=torch.float64)})
            assert content(tmp_path) == before
            assert not list(tmp_path.rglob(".*"))
        monkeypatch.setattr(os, "fsync", fsync)
        edited(path)


def full() -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


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


def header_and_data(path: Path) -> tuple[bytes, bytes]:
    """The JSON text and the tensors' bytes of a safetensors file."""
    whole = path.read_bytes()
    end = 8 + int.from_bytes(whole[:8], "little")
    return whole[8:end], whole[end:]


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


def path_size(path: Path) -> int:
    return path.stat().st_size


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


class TestTied:
    def tied(self, folder: Path) -> Path:
        base = torch.arange(12.0).view(3, 4)
        return torched({"embed": base, "head": base, "turned": torch.ones(2), "other": torch.zeros(2)}, folder)

    def test_all_names_of_one_tensor_change_together(self, tmp_path: Path) -> None:
        path = self.tied(tmp_path)
        before = content(path)
        output = edited(path, {"head": torch.ones(3, 4, dtype=torch.float64)})
        tensors = read(output).tensors
        assert torch.equal(tensors["embed"], torch.ones(3, 4))
        assert torch.equal(tensors["head"], torch.ones(3, 4))
        assert torch.equal(tensors["turned"], torch.ones(2))
        assert read_manifest(output)["changed"] == ["embed", "head"]
        assert content(undo_edit(output)) == before

    def test_unchanged_ones_stay_and_are_undone(self, tmp_path: Path) -> None:
        path = self.tied(tmp_path)
        before = content(path)
        output = edited(path, {"other": torch.ones(2, dtype=torch.float64)})
        assert torch.equal(read(output).tensors["embed"], read(output).tensors["head"])
        assert content(undo_edit(output)) == before

    def test_two_new_values_for_one_tensor_are_refused(self, tmp_path: Path) -> None:
        ones = torch.ones(3, 4, dtype=torch.float64)
        edited(self.tied(tmp_path), {"embed": ones, "head": ones})
        with pytest.raises(UsageError, match="embed and head are one tensor, with different new values"):
            edited(self.tied(tmp_path), {"embed": ones, "head": 2 * ones})

    @pytest.mark.parametrize("part", ["row", "transposed"])
    def test_names_that_share_a_part_are_refused(self, part: str, tmp_path: Path) -> None:
        base = torch.arange(16.0).view(4, 4)
        path = torched({"whole": base, "part": base[1:2] if part == "row" else base.T}, tmp_path)
        with pytest.raises(UsageError, match=r"whole and part share a part of their memory\n.*\n.*clone"):
            edited(path, {"whole": torch.zeros(4, 4, dtype=torch.float64)})

    def test_interleaved_views_share_nothing(self, tmp_path: Path) -> None:
        base = torch.arange(16.0).view(4, 4)
        path = torched({"left": base[:, :2], "right": base[:, 2:]}, tmp_path)
        output = edited(path, {"left": torch.zeros(4, 2, dtype=torch.float64)})
        assert torch.equal(read(output).tensors["right"], base[:, 2:])


class TestSample:
    @pytest.mark.parametrize("name", ["digits-mlp", "digits-noisy", "charlm"])
    def test_a_sample_s_copy_loads_without_flags(self, name: str, tmp_path: Path) -> None:
        path = SAMPLES / f"{name}.pt"
        tensors = read(path).tensors
        first = next(name for name, tensor in tensors.items() if tensor.is_floating_point())
        write_edit(path, {first: tensors[first].double() * 1.5}, tmp_path / "new.safetensors", about={})
        before, after = landscape.load(path), landscape.load(tmp_path / "new.safetensors")
        assert after.reference.loss != before.reference.loss
        assert after.count == before.count
        assert undo_edit(tmp_path / "new.safetensors").read_bytes() == path.read_bytes()

    def test_a_copy_without_changes_measures_the_same(self, tmp_path: Path) -> None:
        write_edit(SAMPLES / "digits-mlp.pt", {}, tmp_path / "new.safetensors", about={})
        before, after = landscape.load(SAMPLES / "digits-mlp.pt"), landscape.load(tmp_path / "new.safetensors")
        assert after.reference.loss == before.reference.loss


@pytest.mark.parametrize("size", ["9KB", "1GB"])
def test_a_hugging_face_directory_loads_with_transformers_and_comes_back(size: str, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    sizes = {"vocab_size": 40, "n_positions": 16, "n_embd": 12, "n_layer": 2, "n_head": 2}
    with quiet_transformers():
        model = transformers.GPT2LMHeadModel(transformers.GPT2Config(**sizes, bos_token_id=1, eos_token_id=2))
        model.save_pretrained(tmp_path / "gpt2", max_shard_size=size)
    assert len(list((tmp_path / "gpt2").glob("*.safetensors"))) == (1 if size == "1GB" else 3)
    for name in ("run.landscape.h5", "run.eig.partial"):
        (tmp_path / "gpt2" / name).touch()
    (tmp_path / "gpt2" / "run.png").write_bytes(b"\x89PNG Description\0landscape run 0123456789abcdef")
    (tmp_path / "gpt2" / "logo.png").write_bytes(b"\x89PNG not a figure of landscape")
    (tmp_path / "gpt2" / "sub").mkdir()
    (tmp_path / "gpt2" / "README.md").write_text("a card")
    tensors = read(tmp_path / "gpt2").tensors
    changed = [next(iter(tensors)), list(tensors)[-1]]
    write_edit(
        tmp_path / "gpt2", {name: tensors[name].double() + 1 / 3 for name in changed}, tmp_path / "new", about=ABOUT
    )
    with quiet_transformers():
        again = transformers.GPT2LMHeadModel.from_pretrained(tmp_path / "new").state_dict()
    names = {"": "", **{name: name if name in again else f"transformer.{name}" for name in tensors}}
    for name, tensor in tensors.items():
        meant = (tensor.double() + 1 / 3).float() if name in changed else tensor
        assert bits(again[names[name]]) == bits(meant), name
    kept = {file.name for file in (tmp_path / "gpt2").iterdir() if not file.name.startswith("run.")} - {"sub"}
    assert {file.name for file in (tmp_path / "new").iterdir()} == kept | {"landscape.undo"}
    before = content(tmp_path / "gpt2")
    assert undo_edit(tmp_path / "new") == tmp_path / "gpt2"
    shutil.rmtree(tmp_path / "gpt2")
    undo_edit(tmp_path / "new")
    assert content(tmp_path / "gpt2") == {name: held for name, held in before.items() if not name.startswith("run.")}


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


def test_the_weights_that_were_chosen_are_those_that_change(tmp_path: Path) -> None:
    path = torched({"state_dict": STATE, "ema": {name: tensor.clone() for name, tensor in STATE.items()}}, tmp_path)
    before = content(path)
    output = edited(path, weights="ema")
    assert torch.equal(read(output).tensors["a.weight"], THIRDS["a.weight"].float())
    assert read_manifest(output)["weights"] == "ema"
    assert content(undo_edit(output)) == before


def test_weights_by_a_prefix_keep_their_file_s_names(tmp_path: Path) -> None:
    save_file({f"backbone.{name}": tensor for name, tensor in STATE.items()} | {"x": torch.ones(1)}, tmp_path / "o")
    output = edited(tmp_path / "o", weights="backbone.*")
    held = load_file(output)
    assert torch.equal(held["backbone.a.weight"], THIRDS["a.weight"].float())
    assert held.keys() == load_file(tmp_path / "o").keys()


def test_an_edited_checkpoint_and_its_undo_file_are_left_out_of_a_trajectory(tmp_path: Path) -> None:
    for step in (1, 2):
        save_file(STATE, tmp_path / f"step-{step}.safetensors")
    write_edit(tmp_path / "step-1.safetensors", THIRDS, tmp_path / "step-3.safetensors", about={})
    found = find_trajectory(str(tmp_path))
    assert [Path(path).name for path in found.checkpoints] == ["step-1.safetensors", "step-2.safetensors"]
    assert found.left_out == ("step-3.safetensors", "step-3.undo.safetensors")


def double(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


REFUSED: dict[str, tuple[dict[str, Tensor], type[LandscapeError], str]] = {
    "unknown": ({"a.wieght": double(1.0)}, UsageError, r"no tensors called a.wieght \(did you mean a.weight\?\)"),
    "shape": ({"a.bias": double(1.0)}, UsageError, r"a.bias are torch.float64 \(1,\), not torch.float64 \(2,\)"),
    "dtype": ({"a.bias": torch.ones(2)}, UsageError, r"torch.float32 \(2,\), not torch.float64 \(2,\)\n.*rounded once"),
    "half": ({"half": double(0, 0, 7e4, 0, -7e4)}, NumericalError, "2 new values of half are beyond 65504"),
    "integer": ({"steps": torch.tensor(7.5, dtype=torch.float64)}, UsageError, "steps is int64, which cannot have"),
    "nan": ({"steps": torch.tensor(float("nan"), dtype=torch.float64)}, UsageError, "steps is int64"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_values_that_will_not_do_are_refused_and_nothing_is_written(case: str, tmp_path: Path) -> None:
    changes, kind, message = REFUSED[case]
    path = plain(tmp_path)
    before = content(tmp_path)
    with pytest.raises(kind, match=message):
        write_edit(path, changes, tmp_path / "new.safetensors", about={})
    assert content(tmp_path) == before


def test_values_that_are_not_finite_are_written_as_they_were_given(tmp_path: Path) -> None:
    output = edited(plain(tmp_path), {"a.bias": double(float("nan"), float("-inf"))})
    assert read(output).tensors["a.bias"].isnan().tolist() == [True, False]


def test_a_value_that_eight_bits_would_cut_off_is_refused(tmp_path: Path) -> None:
    save_file({"w": torch.ones(2).to(torch.float8_e4m3fn)}, tmp_path / "old.safetensors")
    with pytest.raises(NumericalError, match="1 new values of w are beyond 448"):
        edited(tmp_path / "old.safetensors", {"w": double(448.0, 1e6)})


@pytest.mark.parametrize("about", [{"x": float("nan")}, {"x": object()}, {"x": {1, 2}}], ids=["nan", "object", "set"])
def test_facts_that_no_file_can_hold_are_refused(about: Any, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="about is no plain data"):
        edited(plain(tmp_path), about=about)


class TestOutputs:
    def test_the_original_is_never_the_output(self, tmp_path: Path) -> None:
        path = plain(tmp_path)
        (tmp_path / "link.safetensors").symlink_to(path)
        before = content(tmp_path)
        for output in (path, tmp_path / "link.safetensors", tmp_path / "." / path.name):
            with pytest.raises(UsageError, match="is the original itself"):
                write_edit(path, THIRDS, output, about={})
        assert content(tmp_path) == before

    @pytest.mark.parametrize("name", ["new.pt", "new", "new.undo.safetensors"])
    def test_a_file_has_a_name_that_says_what_it_is(self, name: str, tmp_path: Path) -> None:
        with pytest.raises(UsageError, match=r"will not do.*\n.*written as safetensors.*\n.*ends in .safetensors"):
            write_edit(plain(tmp_path), THIRDS, tmp_path / name, about={})

    @pytest.mark.parametrize("what", ["file", "folder", "dangling link", "lone undo file"])
    def test_what_is_there_is_not_touched(self, what: str, tmp_path: Path) -> None:
        path, output = plain(tmp_path), tmp_path / "new.safetensors"
        if what == "file":
            output.write_bytes(b"mine")
        elif what == "folder":
            output.mkdir()
        elif what == "dangling link":
            output.symlink_to(tmp_path / "nowhere")
        else:
            paths.undo_beside(output).write_bytes(b"mine")
        before = content(tmp_path)
        with pytest.raises(UsageError, match="exists"):
            write_edit(path, THIRDS, output, about={})
        assert content(tmp_path) == before
        assert not (tmp_path / "nowhere").exists()

    def test_an_edited_directory_with_something_else_in_it_is_not_replaced(self, tmp_path: Path) -> None:
        path = sharded(tmp_path)
        output = edited(path)
        (output / "notes.txt").write_text("mine")
        with pytest.raises(UsageError, match="exists, and is not what an earlier edit wrote"):
            edited(path)
        assert (output / "notes.txt").read_text() == "mine"

    def test_a_failed_renaming_leaves_the_earlier_directory(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = sharded(tmp_path)
        before = content(edited(path).parent)
        rename = Path.rename

        def failing(self: Path, to: Path) -> Path:
            if self.name.endswith(".tmp"):
                full()
            return rename(self, to)

        monkeypatch.setattr(Path, "rename", failing)
        with pytest.raises(OutputError, match="No space left"):
            edited(path, {"a.bias": double(1.0, 2.0)})
        assert content(path.parent / "there") == before

    def test_the_bytes_are_on_the_disk_before_the_names_are_and_the_undo_file_is_first(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        order: list[str] = []
        fsync, replace = os.fsync, Path.replace
        monkeypatch.setattr(os, "fsync", lambda descriptor: (order.append("fsync"), fsync(descriptor)))
        monkeypatch.setattr(Path, "replace", lambda self, to: (order.append(to.name), replace(self, to)))
        edited(plain(tmp_path))
        assert order == ["fsync", "fsync", "new.undo.safetensors", "new.safetensors", "fsync"]

    def test_a_checkpoint_that_is_written_to_meanwhile_is_refused(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = torched(STATE, tmp_path)
        real = editing.conversion_layout

        def interfering(*arguments: Any) -> Any:
            plan = real(*arguments)
            path.write_bytes(path.read_bytes().replace(STATE["a.bias"].numpy().tobytes(), bytes(8)))
            return plan

        monkeypatch.setattr(editing, "conversion_layout", interfering)
        with pytest.raises(CheckpointError, match=r"changed while it was read\n.*copy it"):
            edited(path)
        assert not list((tmp_path / "there").iterdir())

    def test_an_undo_file_that_does_not_undo_is_never_left(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        real = editing.conversion_layout

        def mistaken(*arguments: Any) -> Any:
            plan = real(*arguments)
            return replace(plan, originals={path: (Segment(0, 0, 100),) for path in plan.originals})

        monkeypatch.setattr(editing, "conversion_layout", mistaken)
        with pytest.raises(CheckpointError, match="changed while it was read"):
            edited(torched(STATE, tmp_path))
        assert not list((tmp_path / "there").iterdir())

    def test_names_that_safetensors_would_read_otherwise_are_refused(self, tmp_path: Path) -> None:
        path = torched({"state_dict": {"landscape_data.x": torch.ones(2), "w": torch.ones(2)}}, tmp_path)
        with pytest.raises(CheckpointError, match=r"cannot be written so that it reads as it does: its names"):
            edited(path, {"w": double(1.0, 2.0)})
        assert not list((tmp_path / "there").iterdir())

    def test_dtypes_that_safetensors_does_not_have_are_refused(self, tmp_path: Path) -> None:
        path = torched({"w": torch.ones(2), "z": torch.ones(2, dtype=torch.complex128)}, tmp_path)
        with pytest.raises(CheckpointError, match="holds complex128, which safetensors cannot"):
            edited(path, {"w": double(1.0, 2.0)})


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


class TestRecipes:
    def test_what_is_found_nowhere_is_literal(self) -> None:
        found = [(7, Segment(0, 100, 2)), (2, Segment(1, 0, 3)), (5, Segment(0, 9, 0))]
        assert recipes.segments_covering(10, found) == (
            Segment(LITERAL, 0, 2),
            Segment(1, 0, 3),
            Segment(LITERAL, 2, 2),
            Segment(0, 100, 2),
            Segment(LITERAL, 4, 1),
        )
        assert recipes.segments_covering(0, []) == ()

    def test_a_source_that_ends_too_early_is_said(self, tmp_path: Path) -> None:
        (tmp_path / "a").write_bytes(b"abc")
        with pytest.raises(CheckpointError, match="shorter than it was"):
            list(recipes.read_range(tmp_path / "a", 1, 3))

    def test_long_stretches_come_in_pieces(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(recipes, "PIECE", 4)
        (tmp_path / "a").write_bytes(b"abcdefghij")
        assert list(recipes.read_range(tmp_path / "a", 1, 8)) == [b"bcde", b"fghi"]
