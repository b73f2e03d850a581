"""Names of the files that landscape writes, and their recognition by name and by content."""

from __future__ import annotations

import os
from pathlib import Path

import h5py
import numpy as np
import pytest
from safetensors.numpy import save_file

from landscape.errors import UsageError
from landscape.storage import paths

RUN = Path("folder/run.landscape.h5")


def test_every_companion_of_a_results_file_carries_its_stem() -> None:
    names = {
        paths.snapshot_file(RUN, "eig").name: "run.eig.partial",
        paths.beside(RUN, paths.EIGENVECTORS).name: "run.eig.safetensors",
        paths.picture_file(RUN, "eig").name: "run.eig.png",
        paths.picture_file(RUN, "surface", form="solid").name: "run.surface-solid.png",
        paths.edited_checkpoint(RUN, directory=False).name: "run.edited.safetensors",
        paths.edited_checkpoint(RUN, directory=True).name: "run.edited",
        paths.lock_file(RUN).name: ".run.landscape.h5.lock",
        paths.temporary_file(RUN).name: f".run.landscape.h5.{os.getpid()}.tmp",
        paths.older_version(Path("run.edited")).name: f".run.edited.{os.getpid()}.old",
    }
    assert list(names) == list(names.values())
    assert paths.snapshot_file(RUN, "eig").parent == Path("folder")


def test_companions_of_different_outputs_differ() -> None:
    names = {paths.beside(Path(name), "eig.png").name for name in ("lr0.1", "lr0.5", "lr0.5.h5x", "b.landscape.h5")}
    assert names == {"lr0.1.eig.png", "lr0.5.eig.png", "lr0.5.h5x.eig.png", "b.eig.png"}


def test_results_are_called_after_a_file_s_stem_and_a_directory_s_whole_name(tmp_path: Path) -> None:
    (tmp_path / "gpt2-v1.5").mkdir()
    assert paths.results_file(tmp_path / "gpt2-v1.5").name == "gpt2-v1.5.landscape.h5"
    assert paths.results_file(tmp_path / "a.b.pt", ".check").name == "a.b.check.landscape.h5"


def test_an_undo_file_is_beside_a_file_and_inside_a_directory(tmp_path: Path) -> None:
    assert paths.undo_file(tmp_path / "a.safetensors") == tmp_path / "a.undo.safetensors"
    assert paths.undo_file(tmp_path) == tmp_path / "landscape.undo"


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("run.landscape.h5", "results"),
        ("run.eig.partial", "snapshot"),
        ("run.eig.safetensors", "sidecar"),
        ("run.factors.safetensors", "sidecar"),
        ("run.edited.safetensors", "edited checkpoint"),
        ("run.undo.safetensors", "undo file"),
        ("landscape.undo", "undo file"),
        ("landscape-baseline.json", "baseline"),
        (".run.landscape.h5.lock", "lock"),
        (".run.landscape.h5.lock.12.stale", "lock"),
        (".run.landscape.h5.12.tmp", "temporary"),
        ("run.safetensors", None),
        ("edited.safetensors", None),
        ("eig.safetensors", None),
        ("run.h5", None),
        ("model.png", None),
        (".hidden.tmp", None),
    ],
)
def test_files_are_recognized_by_their_names(tmp_path: Path, name: str, kind: str | None) -> None:
    (tmp_path / name).touch()
    assert paths.file_kind(tmp_path / name) == kind
    assert paths.is_ours(tmp_path / name) == (kind is not None)


@pytest.mark.parametrize(
    ("metadata", "kind"),
    [
        ({"fingerprint": "f", "analysis": "eig"}, "sidecar"),
        ({"landscape_schema": "1", "fingerprint": "f", "analysis": "eig"}, "sidecar"),
        ({"fingerprint": "f", "loss": "1.0", "seconds": "2"}, "snapshot"),  # before there was a mark
        ({"landscape_schema": "1", "anything": "x"}, "snapshot"),
        ({"landscape_edit": "0" * 64, "landscape": "{}"}, "edited checkpoint"),
        ({"landscape_undo": "{}"}, "undo file"),
        ({"landscape": "{}"}, None),  # a checkpoint that landscape.save wrote for its user
        ({"format": "pt"}, None),
        (None, None),
    ],
)
def test_safetensors_files_are_recognized_by_their_metadata(
    tmp_path: Path, metadata: dict[str, str] | None, kind: str | None
) -> None:
    save_file({"w": np.zeros(2)}, tmp_path / "step-1.pt", metadata)
    assert paths.file_kind(tmp_path / "step-1.pt") == kind


def test_only_hdf5_files_with_the_mark_are_results(tmp_path: Path) -> None:
    for name, mark in (("ours", {"landscape_schema": 1}), ("other", {"title": "x"})):
        with h5py.File(tmp_path / name, "w") as file:
            file.attrs.update(mark)
    assert paths.file_kind(tmp_path / "ours") == "results"
    assert paths.file_kind(tmp_path / "other") is None
    (tmp_path / "torn").write_bytes((tmp_path / "ours").read_bytes()[:100])
    assert paths.file_kind(tmp_path / "torn") is None


def test_a_pipe_and_a_path_without_a_file_are_of_no_kind_and_nothing_waits(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.pt")
    assert paths.file_kind(tmp_path / "pipe.pt") is None
    assert paths.file_kind(tmp_path / "none.pt") is None


@pytest.mark.parametrize(
    "content",
    [b"alpha,beta\n1,2\n", b'{"kind": "x"}', b"pid: 3", b"<testsuite name='pytest'>", b"\x89PNG landscape", b""],
    ids=["csv", "json", "text", "junit", "png", "empty"],
)
def test_other_programs_texts_are_of_no_kind(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.pt").write_bytes(content)
    assert not paths.is_ours(tmp_path / "x.pt")


def test_as_many_folders_are_kept_as_tell_names_apart() -> None:
    assert paths.short_names(["x/a.pt", "y/b.pt"]) == ["a.pt", "b.pt"]
    assert paths.short_names(["x/1/a.pt", "x/2/a.pt"]) == ["1/a.pt", "2/a.pt"]
    assert paths.short_names(["a.pt", "x/a.pt"]) == ["a.pt", "x/a.pt"]
    assert paths.short_names([]) == []


def test_what_is_named_twice_is_refused() -> None:
    with pytest.raises(UsageError, match="named twice"):
        paths.short_names(["a.pt", "a.pt"])


def test_numbers_in_names_are_in_the_order_of_their_values() -> None:
    names = ["epoch_10.pt", "epoch_2.pt", "epoch.pt", "a/step-9/x", "a/step-80/x"]
    ordered = sorted(map(Path, names), key=paths.natural_order)
    assert [str(name) for name in ordered] == ["a/step-9/x", "a/step-80/x", "epoch.pt", "epoch_2.pt", "epoch_10.pt"]


@pytest.mark.parametrize(
    ("run", "name"),
    [("sgd/lr=0.1", "sgd-lr=0.1"), ("12:30", "12-30"), ("a?b*c", "a-b-c"), ("C:\\\\run", "C---run"), ("ü λ.", "ü λ.")],
)
def test_a_file_that_is_called_after_a_run_can_be_copied_to_windows(run: str, name: str) -> None:
    file = paths.history_of_several(Path("all"), run)
    assert file == Path("all") / f"{name}.landscape.h5"
    assert not set(file.name) & set('<>:"/\\|?*')


def test_every_file_of_a_checkpoint_has_a_name_that_windows_allows() -> None:
    """A name must not end with a dot or a space there, nor be that of a device, such as `aux.txt`."""
    results = paths.results_file(Path("runs/epoch 3. .pt"))
    files = [
        results,
        paths.lock_file(results),
        paths.own_lock_file(paths.lock_file(results)),
        paths.temporary_file(results),
    ]
    files += [
        paths.picture_file(results, "surface", form="solid"),
        paths.undo_beside(results),
        paths.trial_file(Path()),
    ]
    files += [paths.beside(results, word) for word in (paths.EIGENVECTORS, paths.DIAGONAL_ERRORS, "trace.layer.csv")]
    assert all(file.name[-1] not in ". " and not set(file.name) & set('<>:"/\\|?*') for file in files)
