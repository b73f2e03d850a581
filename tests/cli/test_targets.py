"""Targets: the file for the results of each checkpoint."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from landscape.errors import UsageError
from landscape.storage.paths import names_folder
from landscape_cli.targets import find_targets, require_checkpoints

pytestmark = pytest.mark.usefixtures("clean_folder")
A, B = Path("runs/a.pt"), Path("runs/b.pt")


@pytest.mark.parametrize(
    ("output", "kind", "files"),
    [
        (None, "", ["runs/a.landscape.h5", "runs/b.landscape.h5"]),
        (None, ".check", ["runs/a.check.landscape.h5", "runs/b.check.landscape.h5"]),
        ("all/", "", ["all/a.landscape.h5", "all/b.landscape.h5"]),
        (".", ".check", ["a.check.landscape.h5", "b.check.landscape.h5"]),
    ],
    ids=["beside", "beside-of-a-check", "new-folder", "existing-folder"],
)
def test_results_lie_beside_each_checkpoint_or_in_one_folder(output: str | None, kind: str, files: list[str]) -> None:
    targets = find_targets([A, B], output, kind)
    assert [target.checkpoint for target in targets] == [A, B]
    assert [str(target.output) for target in targets] == files


def test_files_of_one_name_lie_in_folders_that_tell_them_apart() -> None:
    targets = find_targets([Path("sgd/7/last.pt"), Path("sam/7/last.pt")], "all/")
    assert [str(target.output) for target in targets] == ["all/sgd/7/last.landscape.h5", "all/sam/7/last.landscape.h5"]
    assert [target.label for target in targets] == ["sgd/7/last.pt", "sam/7/last.pt"]
    assert all(target.output.parent.is_dir() for target in targets)


def test_folders_and_patterns_stand_for_their_checkpoints_in_natural_order() -> None:
    for name in ("run/epoch_10.pt", "run/epoch_2.pt", "run/epoch_2.eig.safetensors", "run/deep/epoch_1.pt"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        torch.save({"a": torch.ones(2)}, name)
    Path("run/notes.txt").write_text("x")
    Path("run/broken.pt").write_text("x")
    save_file({"a": torch.ones(2)}, "run/epoch_2.eig.safetensors", metadata={"landscape_schema": "1"})
    inside = [Path("run/epoch_2.pt"), Path("run/epoch_10.pt")]
    assert require_checkpoints([Path("run")], "eig") == inside
    assert require_checkpoints([Path("run/epoch_*.pt")], "eig") == inside
    assert require_checkpoints([Path("run/**/epoch_1.pt"), Path("a.pt")], "eig") == [
        Path("run/deep/epoch_1.pt"), Path("a.pt")
    ]  # fmt: skip
    with pytest.raises(UsageError, match=r"the pattern run/\*.ckpt fits no checkpoint"):
        require_checkpoints([Path("run/*.ckpt")], "eig")
    Path("empty").mkdir()
    assert require_checkpoints([Path("empty")], "eig") == [Path("empty")]


def test_a_directory_that_is_a_checkpoint_stands_for_itself() -> None:
    Path("hf").mkdir()
    Path("hf/config.json").write_text("{}")
    save_file({"a": torch.ones(2)}, "hf/model.safetensors")
    assert require_checkpoints([Path("hf")], "eig") == [Path("hf")]
    assert require_checkpoints([Path(".")], "eig") == [Path.cwd() / "hf"]


def test_one_checkpoint_may_have_a_file_of_any_name() -> None:
    assert find_targets([A], "mine.h5", ".check")[0].output == Path("mine.h5")


@pytest.mark.parametrize(
    ("checkpoints", "output", "message"),
    [
        ([A, B], "mine.h5", r"several checkpoints would be written to mine.h5\n.*-o mine.h5/"),
        ([A, Path("runs/a.pth")], None, r"would be written to runs/a.landscape.h5\n.*one by one with -o"),
        ([A], "b.pt", r"-o b.pt would hold results, not a checkpoint\n.*-o b.landscape.h5"),
    ],
    ids=["one-file", "one-stem", "a-checkpoint"],
)
def test_files_that_would_be_lost_are_refused(checkpoints: list[Path], output: str | None, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        find_targets(checkpoints, output)


def test_a_number_that_a_flag_should_have_is_no_checkpoint() -> None:
    with pytest.raises(UsageError, match=r"0.2 is taken for a checkpoint.*\n.*--rho 0.1,0.2"):
        require_checkpoints([Path("a.pt"), Path("0.2")], "sharpness")
    Path("0.2").touch()
    assert require_checkpoints([Path("0.2")], "eig") == [Path("0.2")]


def test_the_working_directory_has_a_name() -> None:
    assert require_checkpoints([Path(".")], "eig") == [Path.cwd()]
    with pytest.raises(UsageError, match=r"no checkpoint is named\n.*landscape eig CKPT"):
        require_checkpoints([], "eig")


@pytest.mark.parametrize(
    ("checkpoints", "files"),
    [
        (["../a/m.pt", "a/m.pt"], ["all/PARENT/a/m.landscape.h5", "all/HERE/a/m.landscape.h5"]),
        (["/m.pt", "/x/m.pt"], ["all/m.landscape.h5", "all/x/m.landscape.h5"]),
        (["../m.pt", "../n.pt"], ["all/m.landscape.h5", "all/n.landscape.h5"]),
    ],
    ids=["from-the-parent", "from-the-root", "of-unlike-names"],
)
def test_results_for_one_folder_never_lie_outside_of_it(checkpoints: list[str], files: list[str]) -> None:
    here = Path.cwd()
    targets = find_targets([Path(name) for name in checkpoints], "all/")
    names = [file.replace("PARENT", here.parent.name).replace("HERE", here.name) for file in files]
    assert [str(target.output) for target in targets] == names


def test_both_separators_of_windows_name_a_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sep", "\\")
    monkeypatch.setattr("os.altsep", "/")
    assert names_folder("all\\")
    assert names_folder("all/")
    assert not names_folder("all")
