"""An edited copy differs in the tensors that were changed alone, and gives its original back bit for bit."""

from __future__ import annotations

import os
import resource
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import SAMPLES, quiet_transformers
from edited_checkpoints import (
    ABOUT,
    KINDS,
    STATE,
    THIRDS,
    bits,
    content,
    double,
    edited,
    every_kind,
    full,
    plain,
    sharded,
    torched,
)
from safetensors.torch import load_file, save_file
from sharded_checkpoints import rows, write_sharded

import landscape
from landscape.checkpoints import read
from landscape.checkpoints.edits import write as editing
from landscape.checkpoints.edits.segments import Segment
from landscape.checkpoints.edits.undo import read_manifest, undo_edit
from landscape.checkpoints.edits.write import write_edit
from landscape.errors import CheckpointError, OutputError, UsageError
from landscape.evaluation.other_checkpoints import find_trajectory
from landscape.storage import paths


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


@pytest.mark.parametrize("size", [4, 1 << 19], ids=["in-the-description", "left-in-the-file"])
def test_a_file_of_arrays_becomes_safetensors_and_is_restored(size: int, tmp_path: Path) -> None:
    arrays = {"a": np.arange(float(size)), "b": np.ones(3)}
    torch.save(arrays, tmp_path / "a.pt")
    before = (tmp_path / "a.pt").read_bytes()
    change = {"b": torch.full((3,), 2.0, dtype=torch.float64)}
    write_edit(tmp_path / "a.pt", change, tmp_path / "a.edited.safetensors", about=ABOUT)
    edited = load_file(tmp_path / "a.edited.safetensors")
    assert np.array_equal(edited["a"].numpy(), arrays["a"])
    assert edited["b"].tolist() == [2.0] * 3
    (tmp_path / "a.pt").unlink()
    assert undo_edit(tmp_path / "a.edited.safetensors").read_bytes() == before


def test_a_distributed_checkpoint_is_not_edited_and_the_remedy_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_sharded(Path("dcp"), {"w": (torch.ones(4, 2), rows(torch.ones(4, 2), 2))})
    with pytest.raises(UsageError, match="is a distributed checkpoint, which is not edited as it is") as refusal:
        write_edit(Path("dcp"), {}, Path("dcp.edited"), about=ABOUT)
    assert "landscape.checkpoints.read('dcp').tensors, 'whole.pt')" in refusal.value.fix
    torch.save(read("dcp").tensors, "whole.pt")
    assert read("whole.pt").tensors.keys() == {"w"}
