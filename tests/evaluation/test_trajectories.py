"""A contract: no file that any command of landscape writes is taken for a checkpoint of a run."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from conftest import SAMPLES
from safetensors.torch import save_file

import landscape
from landscape import Memorization, Surface
from landscape.analyses import ANALYSES
from landscape.checkpoints import read
from landscape.checkpoints.edits.write import write_edit
from landscape.errors import CheckpointError
from landscape.evaluation.other_checkpoints import find_trajectory
from landscape.storage import paths
from landscape.storage.lock import hold_lock
from landscape.storage.read import read_results
from landscape_cli.main import status

STEPS = ("step-0000.pt", "step-0840.pt")
FEW = ["--limit", "16"]
COMMANDS = (
    ["eig", "-k", "1", "--save-vectors", *FEW],
    ["density", "--probes", "2", "--steps", "5", *FEW],
    ["diagonal", "--operator", "ggn", "--top", "10%", *FEW],
    ["trace", "--max-products", "10", *FEW],  # inconclusive, so that its snapshot stays
    ["sharpness", "--starts", "1", *FEW],
    ["flatness", "--rho", "0.05", "--starts", "1", *FEW],
    ["surface", "--grid", "3", *FEW],
    ["measures", *FEW],
    ["direction", *FEW],
    ["critical", *FEW],
    ["sensitivity", "--budget", "4", *FEW],
    ["llc", "--draws", "32", *FEW],
    ["memorization", "--controls", "0", "--no-per-layer", "--resamples", "20", *FEW],
    ["edit", "--rho", "0.9", *FEW],
    ["influence", "--query", "samples:0,3", "--self", *FEW],
)
AFTERWARDS = (
    ["plot", "step-0840.landscape.h5", "--analysis", "surface", "-o", "surface.svg"],
    ["plot", "step-0840.landscape.h5", "--analysis", "surface", "-o", "surface.pdf"],
    ["plot", "step-0840.landscape.h5", "--solid"],
    ["export", "step-0840.landscape.h5", "--vts", "--csv"],
    ["check", "step-0840.pt", "--metric", "eig.eigenvalues[0]", "--update", *FEW],
    ["check", "step-0840.pt", "--metric", "eig.eigenvalues[0]", *FEW]
    + [word for name in ("json", "junit", "markdown", "text") for word in ("--format", f"{name}={name}.report")],
)
SENTENCES = ("text.report",)  # plain sentences, which no mark could make known


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with two steps of training in which every command has written everything that it can write."""
    folder = tmp_path_factory.mktemp("run")
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("LANDSCAPE_") or name == "CI"]:
            patch.delenv(name)
        patch.chdir(folder)
        for name in STEPS:
            shutil.copy(SAMPLES / "digits-mlp-trajectory" / name, folder)
        assert {words[0] for words in COMMANDS} == {analysis.name for analysis in ANALYSES}
        for command, *options in COMMANDS:
            assert status([command, "step-0840.pt", *options]) in (0, 3), command
        for words in AFTERWARDS:
            assert status(words) == 0, words
        weights = read("step-0840.pt").tensors
        (folder / "shards").mkdir()
        save_file(weights, folder / "shards" / "model.safetensors")
        changes = {"0.bias": torch.zeros(weights["0.bias"].shape, dtype=torch.float64)}
        write_edit(folder / "shards", changes, folder / "folder.edited", about={})
        shutil.rmtree(folder / "shards")
        with hold_lock(folder / "locked.landscape.h5"):
            shutil.copy(folder / ".locked.landscape.h5.lock", folder / "lock.copy")
        yield folder


def test_every_kind_of_file_is_there(run: Path) -> None:
    kinds = {paths.file_kind(entry) for entry in run.iterdir() if entry.name not in (*STEPS, *SENTENCES)}
    assert kinds == set(paths.FileKind.__args__) - {"temporary"}  # type: ignore[attr-defined]


def test_under_their_own_names_they_are_left_out_and_named(run: Path) -> None:
    found = find_trajectory(str(run))
    assert tuple(Path(path).name for path in found.checkpoints) == STEPS
    assert found.left_out == (
        "folder.edited",
        "step-0840.diagonal-errors.safetensors",
        "step-0840.diagonal-mask.safetensors",
        "step-0840.diagonal.safetensors",
        "step-0840.edited.safetensors",
        "step-0840.edited.undo.safetensors",
        "step-0840.eig.safetensors",
        "step-0840.factors.safetensors",
    )


@pytest.mark.parametrize("name", ["step-0999.pt", "step-0999.safetensors"])
def test_renamed_and_alone_none_is_taken_for_a_checkpoint(run: Path, tmp_path: Path, name: str) -> None:
    for number, entry in enumerate(sorted(run.iterdir())):
        if entry.name in STEPS:
            continue
        folder = tmp_path / str(number)
        folder.mkdir()
        for step in STEPS:
            shutil.copy(run / step, folder)
        copy = folder / name
        shutil.copytree(entry, copy) if entry.is_dir() else shutil.copy(entry, copy)
        if entry.name in SENTENCES:
            with pytest.raises(CheckpointError, match="is not a checkpoint"):
                read(copy)
            continue
        found = find_trajectory(str(folder))
        assert tuple(Path(path).name for path in found.checkpoints) == STEPS, entry.name
        assert found.left_out == (name,), entry.name


def test_the_shards_of_an_edited_directory_are_known_without_its_undo_file(run: Path, tmp_path: Path) -> None:
    shutil.copytree(run / "folder.edited", tmp_path / "step-3")
    (tmp_path / "step-3" / "landscape.undo").unlink()
    assert paths.file_kind(tmp_path / "step-3") == "edited checkpoint"
    assert paths.file_kind(tmp_path / "step-3" / "model.safetensors") == "edited checkpoint"


def test_an_edit_of_an_earlier_version_is_known_by_the_undo_file_in_the_folder(tmp_path: Path) -> None:
    """Earlier versions did not mark edited files."""
    tensors = {"w": torch.arange(3.0)}
    for step in (1, 2):
        save_file({"w": tensors["w"] + step}, tmp_path / f"step-{step}.safetensors")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "landscape.checkpoints.formats.safetensors_format.headers_with_metadata",
            lambda file, entries: (header := unmarked(file), header),
        )
        write_edit(tmp_path / "step-1.safetensors", {"w": -tensors["w"].double()}, tmp_path / "e.safetensors", about={})
    (tmp_path / "e.safetensors").rename(tmp_path / "step-3.safetensors")
    assert not paths.is_ours(tmp_path / "step-3.safetensors")
    found = find_trajectory(str(tmp_path))
    assert [Path(path).name for path in found.checkpoints] == ["step-1.safetensors", "step-2.safetensors"]


def unmarked(file: object) -> bytes:
    file.seek(0)  # type: ignore[attr-defined]
    length = file.read(8)  # type: ignore[attr-defined]
    header: bytes = length + file.read(int.from_bytes(length, "little"))  # type: ignore[attr-defined]
    return header


@pytest.mark.parametrize(
    "analysis",
    [
        lambda folder: Surface(axes="trajectory", trajectory=folder, grid="5", dim=1),
        lambda folder: Memorization(trajectory=folder, per_layer=False, controls=0, resamples=20),
    ],
    ids=["surface", "memorization"],
)
def test_the_note_is_stored_with_the_result(run: Path, tmp_path: Path, analysis: object) -> None:
    objective = landscape.load(run / "step-0840.pt", limit=16)
    output = tmp_path / "a.landscape.h5"
    made = analysis(str(run))  # type: ignore[operator]
    landscape.run(made, objective, output=output)
    notes = json.loads(read_results(output)[made.name].attributes["notes"])
    assert [note for note in notes if note.startswith("left out of the trajectory, since landscape wrote them: folder")]
